import pytest

from dskd.corpus.tagged_text import TaggedWord, check_tagged, tagged_words
from dskd.errors import UserError

DATA = """\
<?xml version="1.0" encoding="UTF-8" ?>
<corpus lang="en" source="semcor">
<text id="d000" source="br-e30">
<sentence id="d000.s000">
<wf lemma="how" pos="ADV">How</wf>
<instance id="d000.s000.t000" lemma="long" pos="ADJ">long</instance>
<wf lemma="have" pos="VERB">has</wf>
<wf lemma="it" pos="PRON">it</wf>
<instance id="d000.s000.t001" lemma="be" pos="VERB">been</instance>
<wf lemma="?" pos=".">?</wf>
</sentence>
<sentence id="d000.s001">
<wf lemma="the" pos="DET">The</wf>
<instance id="d000.s001.t000" lemma="fire_department" pos="NOUN">fire department</instance>
<wf lemma="of" pos="ADP">of</wf>
<wf lemma="R&amp;B" pos="NOUN">R&amp;B</wf>
<instance id="d000.s001.t001" lemma="O'Clock" pos="NOUN">o'clock</instance>
<instance id="d000.s001.t002" lemma="take_on" pos="VERB">takes</instance>
<instance id="d000.s001.t003" lemma="caf&#233;" pos="NOUN">Cafés</instance>
</sentence>
</text>
<text id="d001" source="br-e31">
<sentence id="d001.s000">
<instance id="d001.s000.t000" lemma="stop" pos="VERB">Stop</instance>
<wf lemma="!" pos=".">!</wf>
</sentence>
</text>
</corpus>
"""
KEYS = """\
d000.s000.t000 long%3:00:02::
d000.s000.t001 be%2:42:03:: be%2:42:06::
d000.s001.t000 fire_department%1:14:00::
d000.s001.t001 o'clock%4:02:00::
d000.s001.t002 take_on%2:30:00::
d000.s001.t003 café%1:06:00::
d001.s000.t000 stop%2:38:01::
"""
FIRST, SECOND = "How long has it been ?", "The fire department of R&B o'clock takes Cafés"
WORDS = [
    TaggedWord(lemma="long", text=FIRST, start=4, key="long%3:00:02::"),
    TaggedWord(lemma="be", text=FIRST, start=16, key="be%2:42:03::"),
    TaggedWord(lemma="o'clock", text=SECOND, start=27, key="o'clock%4:02:00::"),
    TaggedWord(lemma="café", text=SECOND, start=41, key="café%1:06:00::"),
    TaggedWord(lemma="stop", text="Stop !", start=0, key="stop%2:38:01::"),
]


def write(folder, data=DATA, keys=KEYS, name="semcor"):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.data.xml").write_bytes(data if isinstance(data, bytes) else data.encode())
    (folder / f"{name}.gold.key.txt").write_bytes(keys if isinstance(keys, bytes) else keys.encode())
    return folder


def error_of(folder):
    """What is said of a folder, in one line."""
    with pytest.raises(UserError) as raised:
        list(tagged_words(folder))
    assert str(raised.value).isprintable()
    return str(raised.value)


def test_words_have_their_lemma_sentence_place_and_first_sense_and_expressions_are_left_out(tmp_path):
    found = list(tagged_words(write(tmp_path / "semcor")))
    assert found == WORDS
    assert [word.text[word.start :].split()[0] for word in found] == ["long", "been", "o'clock", "Cafés", "Stop"]


def test_other_line_ends_and_an_empty_word_move_no_place(tmp_path):
    empty = DATA.replace('<wf lemma="it" pos="PRON">it</wf>', '<wf lemma="it" pos="PRON"></wf>')
    folder = write(tmp_path / "windows", empty.replace("\n", "\r\n"), KEYS.replace("\n", "\r\n"))
    word = list(tagged_words(folder))[1]
    assert word.text[word.start :] == "been ?" and word.key == "be%2:42:03::"


def test_other_files_of_the_folder_are_not_read(tmp_path):
    folder = write(tmp_path / "semcor")
    (folder / "README.txt").write_text("of SemCor")
    (folder / "semeval.gold.key.txt").write_text("of another set")
    assert list(tagged_words(folder)) == WORDS


@pytest.mark.parametrize("missing", ["semcor.data.xml", "semcor.gold.key.txt", None])
def test_a_folder_without_the_two_files_is_an_error(tmp_path, missing):
    folder = write(tmp_path / "semcor")
    if missing:
        (folder / missing).unlink()
    said = error_of(folder if missing else tmp_path / "none")
    assert said == "it must be a folder with one NAME.data.xml and its NAME.gold.key.txt"
    assert error_of(folder / "semcor.data.xml") == said


def test_two_sets_in_a_folder_are_an_error(tmp_path):
    write(tmp_path / "both")
    assert "with one NAME.data.xml" in error_of(write(tmp_path / "both", name="senseval2"))


@pytest.mark.parametrize(
    "data",
    [
        DATA[: len(DATA) // 2],
        DATA.replace("&amp;", "&"),
        DATA.replace("</wf>", "", 1),
        "",
        DATA.encode("latin-1"),
        DATA.replace("UTF-8", "nonsense"),
        DATA.replace("UTF-8", "shift_jis"),
    ],
    ids=["half", "entity", "tag", "empty", "no UTF-8", "unknown encoding", "encoding of many bytes"],
)
def test_a_damaged_file_of_sentences_is_an_error(tmp_path, data):
    said = error_of(write(tmp_path / "semcor", data))
    assert said.startswith("semcor.data.xml is no whole XML (") and said.endswith("): fetch it again")


def test_a_word_without_a_key_is_an_error_that_names_it(tmp_path):
    folder = write(tmp_path / "semcor", keys=KEYS.replace("d000.s000.t001", "d000.s000.t009"))
    assert error_of(folder) == (
        "semcor.data.xml: d000.s000.t001 is not in semcor.gold.key.txt: they are not of one set"
    )
    folder = write(tmp_path / "semcor", DATA.replace(' id="d001.s000.t000"', ""))
    assert "semcor.data.xml: None is not in" in error_of(folder)


@pytest.mark.parametrize("line", ["d000.s000.t001", "d000.s000.t001 be", "", "be%2:42:03::", "d0 be be%2:42:03::"])
def test_a_bad_line_of_keys_is_an_error_that_names_its_number(tmp_path, line):
    lines = KEYS.splitlines()
    lines[1] = line
    said = error_of(write(tmp_path / "semcor", keys="\n".join(lines) + "\n"))
    assert said.startswith("semcor.gold.key.txt:2: a line has the id of a place and its sense keys")


def test_the_key_of_another_word_is_an_error_and_so_is_a_place_that_stands_twice(tmp_path):
    folder = write(tmp_path / "semcor", keys=KEYS.replace("long%3:00:02::", "short%3:00:02::"))
    assert error_of(folder) == (
        "semcor.data.xml: 'd000.s000.t000' has the lemma 'long' and in semcor.gold.key.txt the sense "
        "'short%3:00:02::', 1 words are like it: they are not of one set"
    )
    twice = write(tmp_path / "semcor", keys=KEYS + "d000.s000.t001 be%2:42:06::\n")
    assert error_of(twice) == "semcor.gold.key.txt:8: 'd000.s000.t001' stands twice: keep one of the lines"


def test_keys_that_are_no_utf8_are_an_error(tmp_path):
    for keys in (b"\xff\xfe\x80\n" + KEYS.encode(), KEYS.encode("utf-16"), bytes(range(256))):
        error_of(write(tmp_path / "semcor", keys=keys))


def test_a_check_names_the_source_and_passes_a_whole_text(tmp_path):
    check_tagged("file:semcor", write(tmp_path / "semcor"))
    for folder in (tmp_path, write(tmp_path / "broken", DATA.replace("</wf>", "", 1))):
        with pytest.raises(UserError, match=r"^file:semcor: .*NAME\.data|^file:semcor: semcor\.data\.xml is no whole"):
            check_tagged("file:semcor", folder)
    untagged = write(tmp_path / "untagged", DATA.replace("instance", "wf"))
    with pytest.raises(UserError, match=r"^file:semcor: no word of it has a sense$"):
        check_tagged("file:semcor", untagged)


def test_a_shortened_text_and_a_place_that_stands_twice_are_errors(tmp_path):
    folder = write(tmp_path / "semcor", keys=KEYS + "d009.s000.t000 be%2:42:03::\n")
    assert error_of(folder) == "semcor.gold.key.txt: d009.s000.t000 is not in semcor.data.xml: they are not of one set"
    folder = write(tmp_path / "semcor", DATA.replace("d001.s000.t000", "d000.s000.t001"))
    assert "d000.s000.t001 stands twice" in error_of(folder)
