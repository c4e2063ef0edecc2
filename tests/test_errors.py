"""What is said of another library's error."""

import pytest
import torch

from dskd.errors import LONGEST, no_memory, one_line


def test_a_message_is_one_line_without_a_password():
    assert one_line(OSError("no\n  https://me:secret@host/x")) == "OSError: no https://host/x"


def test_a_long_message_keeps_its_beginning_and_its_end():
    line = one_line(TypeError("begin" + "9" * 10_000 + "end"))
    assert line.startswith("TypeError: begin9") and line.endswith("9end") and " ... " in line
    assert len(line) == LONGEST + len(" ... ")


def test_a_message_of_the_greatest_length_is_whole():
    text = "x" * (LONGEST - len("ValueError: "))
    assert one_line(ValueError(text)) == f"ValueError: {text}"


def test_a_want_of_memory_is_told_from_other_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**15)
    wanted = "out of memory (4000000000000000 bytes): free some, or take smaller numbers"
    assert no_memory("RuntimeError", str(caught.value)) == wanted
    of_gpu = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 139 GiB"
    assert no_memory("OutOfMemoryError", of_gpu) == "out of memory (20.00 GiB): free some, or take smaller numbers"
    assert "(no more could be had)" in no_memory("MemoryError", "")
    assert no_memory("RuntimeError", "shapes differ") is None and no_memory("ValueError", str(caught.value)) is None
