"""What is said of another library's error."""

from dskd.errors import LONGEST, one_line


def test_a_message_is_one_line_without_a_password():
    assert one_line(OSError("no\n  https://me:secret@host/x")) == "OSError: no https://host/x"


def test_a_long_message_keeps_its_beginning_and_its_end():
    line = one_line(TypeError("begin" + "9" * 10_000 + "end"))
    assert line.startswith("TypeError: begin9") and line.endswith("9end") and " ... " in line
    assert len(line) == LONGEST + len(" ... ")


def test_a_message_of_the_greatest_length_is_whole():
    text = "x" * (LONGEST - len("ValueError: "))
    assert one_line(ValueError(text)) == f"ValueError: {text}"
