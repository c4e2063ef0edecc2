"""The examples and the page, run on a tiny model as a user would run them."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from tiny.models import make_teacher
from tiny.wordnet import train_tokenizer, write_wordnet
from transformers import AutoModelForCausalLM

from dskd import IGNORE, Lexicon, SenseDictionary, UserError

ROOT = Path(__file__).resolve().parents[2]
NAME = "HuggingFaceTB/SmolLM2-135M"
LINES = [
    "we sat on the bank of a river and a fast car went by",
    "the bank is a slow place to travel to, and the big bank is not small",
    "you go and I stay; they travel fast, or not at all, on a rapid river",
]
TEXTS = [LINES[i % 3] for i in range(24)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with a tiny model, texts and a lexicon."""
    place = tmp_path_factory.mktemp("work")
    tokenizer = train_tokenizer(TEXTS, 400)
    model = make_teacher(vocabulary=len(tokenizer))
    model.config.max_position_embeddings = 256  # of the blocks that the page takes
    model.bfloat16().save_pretrained(place / "model")  # as most are
    tokenizer.save_pretrained(place / "model")
    (place / "texts.txt").write_text("\n\n".join(TEXTS) + "\n")  # lines may be empty
    rows = [{"prompt": text[:20], "completion": f"{text[20:]}\u2028"} for text in TEXTS]  # which is no end of a line
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (place / "answers.jsonl").write_text(lines + "\n", encoding="utf-8")
    Lexicon.from_pairs([("fast", "rapid")], [("big", "small"), ("fast", "slow")]).save(place / "lexicon.parquet")
    write_wordnet(place / "corpora" / "wordnet")
    return place


@pytest.fixture
def work(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nltk.data.path", [str(tmp_path)])
    return tmp_path


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options(*more):
    return ["model", *more, "--layers", "3", "--steps", "4", "--length", "24", "--lexicon", "lexicon.parquet"]


def test_the_plain_loop_learns(work):
    curve = example("plain_loop").main([*options("texts.txt"), "--steps", "12"])
    assert len(curve) == 12 and all(set(point) == {"step", "ce", "kl", "SenseLoss"} for point in curve)
    for term in ("ce", "SenseLoss"):  # the texts come round again after four steps
        first, last = (sum(point[term] for point in part) for part in (curve[:4], curve[8:]))
        assert 0 < last < first


@pytest.mark.filterwarnings("ignore")  # of transformers' and TRL's own
@pytest.mark.parametrize(("name", "text"), [("trainer", "texts.txt"), ("sft", "answers.jsonl")])
def test_the_trainers_log_every_term_and_save_a_student(work, name, text):
    if name == "sft":
        pytest.importorskip("trl")
    torch.use_deterministic_algorithms(False)
    try:
        history = example(name).main(options(text, "student"))
    finally:
        torch.use_deterministic_algorithms(True)
    points = [point for point in history if "loss" in point]
    assert len(points) == 4 and all(point[term] > 0 for point in points for term in ("loss", "ce", "kl", "SenseLoss"))
    state = [point.get("StateLoss", 0) for point in points]
    for point, other in zip(points, state):
        wanted = point["ce"] + 0.7 * 4 * point["kl"] + 0.1 * point["SenseLoss"] + other
        assert point["loss"] == pytest.approx(wanted, rel=1e-3)
    student = AutoModelForCausalLM.from_pretrained(work / "student")
    first = AutoModelForCausalLM.from_pretrained(work / "model", num_hidden_layers=3)
    assert student.config.num_hidden_layers == 3
    assert student.dtype == torch.float32  # in bfloat16 most weights would stay where they are
    moved = [(a != b).float().mean() for a, b in zip(student.parameters(), first.float().parameters(), strict=True)]
    assert min(moved) > 0.9


@pytest.mark.parametrize(
    ("name", "files"),
    [("plain_loop", ["texts.txt"]), ("trainer", ["texts.txt", "student"]), ("sft", ["answers.jsonl", "student"])],
)
@pytest.mark.parametrize("layers", [7, 0])  # the teacher has 6: transformers would make up one more
def test_a_student_has_no_layers_but_the_teachers(work, name, files, layers):
    if name == "sft":
        pytest.importorskip("trl")
    with pytest.raises(UserError, match=f"--layers {layers}: the student has the teacher's first layers, of 6"):
        example(name).main([*options(*files), "--layers", str(layers)])
    assert not (work / "student").exists()


@pytest.mark.parametrize("name", ["plain_loop", "trainer", "sft"])
def test_the_dictionary_is_of_the_texts_that_are_trained_on(work, name, monkeypatch):
    """Without a mark that begins the file, without empty texts, and without a space that TRL does not put in."""
    if name == "sft":
        pytest.importorskip("trl")
    file = "answers.jsonl" if name == "sft" else "texts.txt"
    (work / file).write_text("\ufeff" + (work / file).read_text(encoding="utf-8"), encoding="utf-8")
    read = []

    def from_model(teacher, tokenizer, texts, *_):
        read.extend(texts)
        raise InterruptedError

    monkeypatch.setattr(SenseDictionary, "from_model", from_model)
    with pytest.raises(InterruptedError):
        example(name).main(options(file, *["student"] * (name != "plain_loop")))
    assert [text.rstrip("\u2028") for text in read] == TEXTS


def test_messages_are_no_text_of_a_dictionary(work):
    """As Python writes them, `[{'role': ...`, the teacher would read them."""
    pytest.importorskip("trl")
    row = {"prompt": [{"role": "user", "content": LINES[0]}], "completion": [{"role": "assistant", "content": "no"}]}
    (work / "answers.jsonl").write_text(f"{json.dumps(row)}\n" * 9)
    with pytest.raises(TypeError, match="list found"):
        example("sft").main(options("answers.jsonl", "student"))


def test_curves_that_could_not_be_made_leave_those_that_are_there(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    module = example("curves")
    module.HERE = tmp_path
    (tmp_path / "curves.csv").write_text("student,step\n")
    with pytest.raises(OSError, match="nowhere"):
        module.run([str(tmp_path / "nowhere"), "texts.txt"])
    assert (tmp_path / "curves.csv").read_text() == "student,step\n"


def test_an_example_is_short():
    for path in (ROOT / "examples").glob("*.py"):
        assert len(path.read_text().splitlines()) < 80, path


@pytest.mark.skipif(not (ROOT / "examples/curves.csv").exists(), reason="examples/curves.py was not run")
def test_the_picture_is_that_of_the_numbers(tmp_path):
    module = example("curves")
    shutil.copy(ROOT / "examples" / "curves.csv", tmp_path)
    module.HERE = tmp_path
    module.draw()
    assert (tmp_path / "curves.svg").read_text() == (ROOT / "examples" / "curves.svg").read_text()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("page", "least"), [("docs/library.md", 5), ("README.md", 1)])
def test_the_page_runs_as_it_stands(work, page, least):
    (work / "texts.txt").write_text("\n".join(TEXTS * 10) + "\n")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    blocks = [block for block in blocks if "import dskd" in block or page != "README.md"]
    assert len(blocks) >= least
    known: dict = {}
    for number, block in enumerate(blocks):
        code = compile(block.replace(f'"{NAME}"', '"model"'), f"{page}, block {number + 1}", "exec")
        exec(code, known)  # the page's own code, in a folder of its own
    assert known["dictionary"].of("bank")
    if page == "docs/library.md":  # its rows are padded, which does not train
        rows = known["trainer"].train_dataset
        assert sum(int((row["labels"] != IGNORE).sum()) for row in rows) == int(known["rows"]["attention_mask"].sum())
