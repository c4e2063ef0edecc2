"""A student is used: by transformers alone, as docs/use.md shows it, and in a chat."""

import io
import re
import subprocess
import sys

import pytest
from tiny.models import make_teacher, make_tokenizer
from tiny.run import run_params
from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig
from whole.test_pipeline import ROOT

from dskd.__main__ import main
from dskd.errors import UserError
from dskd.explore import chat
from dskd.infra import artifacts

TEMPLATE = "{% for turn in messages %}{{ turn['content'] }} {% endfor %}"


@pytest.fixture(scope="module")
def pair():
    tokenizer = make_tokenizer()
    tokenizer.chat_template = TEMPLATE
    tokenizer.pad_token = tokenizer.eos_token
    return make_teacher(), tokenizer


@pytest.fixture
def student(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / artifacts.STUDENTS / "dskd-0"
    for part in pair:
        part.save_pretrained(folder)
    return folder


def talk(pair, monkeypatch, capsys, stdin, **options) -> str:
    monkeypatch.setattr(sys, "stdin", stdin)
    chat.chat(*pair, **options)
    return capsys.readouterr().out


def test_the_page_on_use_has_an_example_that_runs_without_dskd(student):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/use.md").read_text(), re.S)
    without = "import sys\nsys.modules['dskd'] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", without + code], cwd=student.parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_each_line_is_answered_and_the_end_of_the_input_ends_it(pair, monkeypatch, capsys):
    said = talk(pair, monkeypatch, capsys, io.StringIO("the quick fox\n\na lazy dog\n"), tokens=4)
    lines = said.splitlines()
    assert len(lines) == 3 and lines[-1] == chat.BYE
    model, tokenizer = pair
    ids = tokenizer("the quick fox ", return_tensors="pt")
    out = model.generate(**ids, max_new_tokens=4, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert lines[0] == tokenizer.decode(out, skip_special_tokens=True).strip("\n")


def test_each_token_that_ends_an_answer_ends_it(pair, monkeypatch, capsys):
    model, tokenizer = make_teacher(), pair[1]
    ids = tokenizer("the quick fox ", return_tensors="pt")
    free = model.generate(**ids, max_new_tokens=6, do_sample=False)[0, ids["input_ids"].shape[1] :]
    model.generation_config = GenerationConfig(eos_token_id=[int(free[3])])  # another than the tokenizer's
    said = talk((model, tokenizer), monkeypatch, capsys, io.StringIO("the quick fox\n"), tokens=6)
    stop = free.tolist().index(int(free[3]))
    assert said.splitlines()[0] == tokenizer.decode(free[: stop + 1], skip_special_tokens=True).strip("\n")
    model.generation_config = GenerationConfig()  # nothing there: the tokenizer's own ends an answer
    assert chat._ends(model, tokenizer) == {"eos_token_id": [0], "pad_token_id": 0}


@pytest.mark.parametrize("habits", [{"repetition_penalty": 1.5}, {"no_repeat_ngram_size": 1}, {"num_beams": 3}])
def test_the_likeliest_token_is_taken_whatever_the_teacher_was_published_with(pair, monkeypatch, capsys, habits):
    plain = talk(pair, monkeypatch, capsys, io.StringIO("the quick brown\n"), tokens=8)
    model = make_teacher()
    model.generation_config = GenerationConfig(eos_token_id=0, **habits)
    assert talk((model, pair[1]), monkeypatch, capsys, io.StringIO("the quick brown\n"), tokens=8) == plain


def test_a_line_that_ends_with_crlf_is_the_same_line(monkeypatch):
    """The end would be a token of its own."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("the quick brown\r\n", newline="\n"))
    assert chat._read() == "the quick brown"


def test_a_template_that_fails_is_one_line(pair, monkeypatch, capsys):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{{ raise_exception('turns must alternate') }}"
    with pytest.raises(UserError, match=r"chat template fails .*turns must alternate"):
        talk((pair[0], tokenizer), monkeypatch, capsys, io.StringIO("the quick fox\n"))


def test_a_continuation_follows_its_prompt_where_the_tokenizer_ends_each_text(student, pair):
    plain = chat.continuation(run_params(), "dskd-0", "the quick fox", 5)
    tokenizer = make_tokenizer()
    mark = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"$A {mark}", special_tokens=[(mark, 0)])
    tokenizer.save_pretrained(student)
    assert chat.continuation(run_params(), "dskd-0", "the quick fox", 5) == plain


def test_an_interrupt_ends_it_with_one_line(pair, monkeypatch, capsys):
    class Interrupted(io.StringIO):
        def readline(self, *_):
            raise KeyboardInterrupt

    assert talk(pair, monkeypatch, capsys, Interrupted()).splitlines() == [chat.BYE]


def test_the_oldest_turns_are_forgotten_when_the_context_is_full(pair):
    turns = [{"role": "user" if i % 2 == 0 else "assistant", "content": f"{'a ' * 9}{i}"} for i in range(9)]
    kept, ids = chat._fitting(*pair, turns, 8)
    assert kept == turns[-len(kept) :] and 1 < len(kept) < len(turns) and kept[0]["role"] == "user"
    assert ids["input_ids"].shape[1] <= 64 - 8
    with pytest.raises(UserError, match="with 8 for an answer 56 fit"):
        chat._fitting(*pair, [{"role": "user", "content": "a " * 100}], 8)


def test_a_student_is_found_by_name_or_folder(student):
    for name in ("dskd-0", str(student)):
        model, tokenizer = chat.load(name, "float32")
        assert model.config.num_hidden_layers == 6 and tokenizer.chat_template == TEMPLATE


def test_what_cannot_be_talked_with_is_one_clear_line(student):
    with pytest.raises(UserError, match=r"no student 'kd-7'; there are: dskd-0\. Get them with `dvc pull`"):
        chat.load("kd-7", "float32")
    (student / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match="no chat template"):
        chat.load("dskd-0", "float32")


@pytest.mark.parametrize("wrong", [["--tokens", "0"], ["--temperature", "-1"]])
def test_numbers_out_of_range_are_named(wrong, capsys):
    assert main(["chat", *wrong]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert wrong[0] in line
