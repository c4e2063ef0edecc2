"""What a reader is shown of words and of results: from tables made by hand, in a small project, and in notebooks."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import papermill
import pytest
import torch
from tiny.models import dictionary
from tiny.project import ROOT
from tiny.run import run_params, write_run
from whole.test_pipeline import ENV

from dskd.__main__ import main
from dskd.errors import UserError
from dskd.explore.cards import Card, Context, Word, as_html, as_text, by_frequency, nearest_senses
from dskd.explore.distances import compare_states
from dskd.explore.items import counts, differing_benchmarks, differing_words
from dskd.explore.runs import curves, runs
from dskd.explore.synsets import Fit
from dskd.explore.words import (
    concordance,
    look_up,
    open_run,
    related_words,
    sense_contexts,
    sense_groups,
    show_senses,
    with_synonyms,
    word_group,
)
from dskd.infra import artifacts, notebook
from dskd.infra.hashes import remove
from dskd.infra.made_of import save_made_of
from dskd.params import load_params
from dskd.report.tables import TABLES
from dskd.senses.store import Senses, save_senses

HAPPY = [  # head, tail, relation, source, sense, flipped, form
    ("happy", "glad", 1, "wordnet", "glad.s.01", False, "happy"),
    ("happy", "felicitous", 1, "wordnet", "felicitous.s.01;infelicitous.s.01", False, "happy"),
    ("happy", "felicitous", 1, "ppdb", "", False, "happy"),
    ("happy", "sad", -1, "wordnet", "unhappy.a.01", True, "happy"),
    ("happy", "glad", 1, "wordnet", "glad.s.01", False, "Happy"),
]
COLUMNS = ["head", "tail", "relation", "source", "sense", "flipped", "form"]
EVIL = "<script>evil()</script>"


@pytest.fixture
def table():
    return pd.DataFrame(HAPPY, columns=COLUMNS)


def test_the_best_supported_synonyms_come_first_and_antonyms_last(table):
    related, note = related_words(table, "happy")
    assert note == "" and related["word"].tolist() == ["felicitous", "felicitous", "glad", "sad"]
    assert related["relation"].tolist() == ["synonym"] * 3 + ["antonym"]
    assert related["source"].tolist() == ["ppdb", "wordnet", "wordnet", "wordnet"]
    assert related["negation undone"].tolist() == ["", "", "", "yes"]
    assert related["senses"][1] == "felicitous.s.01, infelicitous.s.01"


@pytest.mark.parametrize(
    ("word", "words", "says"),
    [
        ("Happy", ["glad"], ""),
        ("HAPPY", ["felicitous", "felicitous", "glad", "sad"], "those of 'happy'"),
        ("sad", ["happy"], "heads of the lexicon"),
        ("blue", [], "none in the lexicon"),
    ],
)
def test_a_word_that_is_no_head_as_written_is_found_in_lower_case_or_among_tails(table, word, words, says):
    related, note = related_words(table, word)
    assert related["word"].tolist() == words and says in note and bool(says) == bool(note)


def test_senses_are_in_the_order_of_their_frequency():
    contexts = torch.tensor([[4, -1], [7, 2], [0, 1]])
    counts = torch.tensor([1, 5, 2], dtype=torch.int32)
    tokens, occurrences = torch.tensor([3, 9], dtype=torch.int32), torch.tensor([6, 2])
    senses = Senses(tokens, torch.tensor([0, 2, 3]), occurrences, torch.zeros(3, 4), counts, contexts)
    assert by_frequency(senses, senses.rows(3)) == [1, 0]
    assert by_frequency(senses, senses.rows(5)) == []


def test_the_contexts_of_a_sense_are_the_first_rows_of_it():
    rows = [(" a", 0, "x", " y", "d"), (" a", 2, "so", "", ""), (" a", 2, "as", " if", "wiki:B"), (" b", 3, "", "", "")]
    table = pd.DataFrame(rows, columns=["token", "sense", "left", "right", "document"])
    assert sense_contexts(table, 2, 9) == [("so", "", ""), ("as", " if", "wiki:B")]
    assert sense_contexts(table, 2, 1) == [("so", "", "")] and sense_contexts(table, 0, 2) == [("x", " y", "d")]
    assert sense_contexts(table, 1, 2) == sense_contexts(table, 4, 2) == []


FIT = Fit("happy.a.01", 0.755, 2, "a", "enjoying <joy>")


def test_the_nearest_senses_of_other_words_are_numbered_by_their_frequency(tokenizer):
    words = [word for word in ("bank", "fast", "slow") if len(tokenizer(f", {word}")["input_ids"]) == 2][:2]
    if len(words) < 2:
        words = sorted({t.removeprefix("Ġ") for t in tokenizer.get_vocab() if t.startswith("Ġ") and t[1:].isalpha()})[
            :2
        ]
    ids = sorted((tokenizer(f", {word}", add_special_tokens=False)["input_ids"][-1], word) for word in words)
    centroids = torch.tensor([[5.0, 0], [1, 0], [0, 3], [9, 9]])
    counts, offsets = torch.tensor([1, 7, 2, 2], dtype=torch.int32), torch.tensor([0, 2, 4])
    tokens = torch.tensor([token for token, _ in ids], dtype=torch.int32)
    senses = Senses(tokens, offsets, offsets[1:], centroids, counts, torch.zeros(4, 1))
    near = nearest_senses(senses, torch.tensor([4.9, 0]), words, tokenizer)
    assert near == [f"{ids[0][1]} 2", f"{ids[1][1]} 1"]  # 5.0 is the rarer sense of the first


def test_what_comes_from_data_is_escaped(table):
    fit = Fit(EVIL, 0.5, 0, "n", EVIL)
    card = Card(1, 2, fit, {"synonym": [EVIL], "antonym": []}, [Context(EVIL, EVIL, EVIL)])
    found = Word(EVIL, EVIL, [card], related_words(table, "happy")[0], "")
    assert "<script" not in as_html(found) and "<b>&lt;script&gt;" in as_html(found)


def test_a_word_in_the_terminal_has_cards_relations_and_their_sources(table):
    contexts = [Context("so", " that", "wiki:Joy"), Context("a", "", "")]
    card = Card(1, 2, FIT, {"synonym": ["glad 2"], "antonym": []}, contexts)
    found = Word("happy", "1 sense of 2 states", [card], *related_words(table, "happy"))
    lines = as_text(found).splitlines()
    assert lines[0] == "happy: 1 sense of 2 states"
    title = "  1 adjective, 2 states; happy.a.01 (76% sure, 2 of its contexts in the gloss): enjoying <joy>"
    assert lines[2:4] == [title, "    near its synonyms: glad 2"]
    assert lines[4:6] == ["      so [happy] that  (wiki:Joy)", "      a [happy]"]
    assert lines[-1] == "  sad         wordnet, negation undone: unhappy.a.01"
    nothing = Word("blue", "1 sense of 2 states", [], *related_words(table, "blue"))
    assert as_text(nothing).splitlines()[-1] == "synonyms and antonyms: none in the lexicon"


def test_colour_changes_nothing_but_colour(table):
    card = Card(1, 1, FIT._replace(synset="", pos=""), {}, [Context("so", " that", "wiki:Joy")])
    found = Word("happy", "1 sense of 1 state", [card], *related_words(table, "happy"))
    coloured = as_text(found, colour=True)
    assert "\x1b[1m" in coloured and re.sub(r"\x1b\[\d+m", "", coloured) == as_text(found)
    assert "  1 not in WordNet, 1 state" in as_text(found).splitlines()


def test_what_comes_from_data_does_not_steer_the_terminal(table):
    evil = "\x1b]0;evil\x07\x1b[2J\r\n"
    card = Card(1, 1, Fit(f"a.n.01{evil}", 0.5, 0, "n", evil), {"synonym": [evil]}, [Context(evil, evil, evil)])
    related = related_words(table.assign(source=f"word{evil}", sense=evil), "happy")
    for colour in (False, True):
        text = as_text(Word("happy", f"1 sense{evil}", [card], *related), colour)
        left = re.sub(r"\x1b\[\d+m", "", text) if colour else text
        assert all(char.isprintable() for char in left.replace("\n", "")) and "evil" in left
        assert len(text.splitlines()) == len(text.split("\n"))


def test_a_word_may_be_written_with_accents_of_their_own(project, capsys):
    assert main(["senses", "fa\u0301st"]) == 1
    assert "'f\u00e1st' has" in capsys.readouterr().err


def test_a_concordance_has_a_row_for_each_context(table):
    cards = [Card(i, 1, FIT, {}, [Context("so", " that", "wiki:Joy")] * i) for i in (1, 2)]
    found = concordance(Word("happy", "", cards, table, ""))
    assert found["sense"].tolist() == [1, 2, 2] and found.iloc[0].tolist() == [1, "so", "happy", " that", "wiki:Joy"]


@pytest.mark.parametrize(
    "read", [open_run, lambda: word_group(["fast"]), lambda: show_senses("fast"), lambda: sense_groups(run_params())]
)
def test_senses_of_another_tokenizer_are_not_those_of_a_word(tokenizer, tmp_path, monkeypatch, read):
    monkeypatch.chdir(tmp_path)
    tokenizer.save_pretrained("artifacts/teacher")
    made_of = {"tokenizer": "the hash of another"}
    save_senses(Path(artifacts.SENSES), dictionary({1: [[0.0, 1.0]]}), lambda folder, _: save_made_of(folder, made_of))
    with pytest.raises(UserError, match="another tokenizer"):
        read()


# ---- a project in miniature


def test_the_command_reads_no_model(project):
    for name in ("states", "reservoir", "corpus"):
        shutil.rmtree(project / "artifacts" / name)
    (project / "artifacts/teacher/model.safetensors").unlink()
    code = (
        "import sys\nfrom dskd.__main__ import main\ncode = main(['senses', 'fast'])\n"
        "assert not {'transformers.modeling_utils', 'matplotlib', 'lm_eval', 'dvc'} & set(sys.modules)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout.startswith("fast: 2 senses of ") and " [fast]" in done.stdout
    assert "antonyms:\n  slow  wordnet: " in done.stdout


def test_a_card_names_a_synset_of_the_word(project):
    found = look_up("fast", load_params().lexicon)
    assert [card.number for card in found.cards] == [1, 2] and found.cards[0].states >= found.cards[1].states
    for card in found.cards:
        assert card.fit.synset.startswith("fast.") and 0 < card.fit.share <= 1 and card.fit.definition
        assert len(card.contexts) == 2 and set(card.near) == {"synonym", "antonym"}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        (" fast  bank ", "fast bank: 2 senses, composed of those of its 2 tokens (fast, bank)"),
        ("FAST", "synonyms (those of 'fast'):"),
    ],
)
def test_capitals_and_several_tokens_have_an_answer(project, capsys, word, says):
    assert main(["senses", word]) == 0
    assert says in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("zq", "'zq' has no senses"),
        ("fasst", "spelt nearly so: fast"),
        ("  ", "no word to look up"),
        ("\x1b[31m", r"'\x1b[31m' has no senses"),
    ],
)
def test_a_word_of_which_nothing_is_known_is_one_clear_line(project, capsys, word, says):
    assert main(["senses", word]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dskd: ") and says in line


@pytest.mark.parametrize(
    ("name", "stage"),
    [("teacher", "sources"), ("senses", "senses"), ("lexicon.parquet", "lexicon")],
)
def test_a_missing_artifact_is_named_with_both_ways_to_get_it(project, capsys, name, stage):
    remove(project / "artifacts" / name)
    assert main(["senses", "bank"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"artifacts/{name} is missing" in line and "`dvc pull`" in line and f"`dvc repro {stage}`" in line


def test_teacher_and_student_are_compared_where_the_word_is_predicted(project):
    found = compare_states(load_params(), "bank", ["dskd-0"], contexts=3)
    assert found["", "context"].str.endswith(" …").all() and len(found) == 3
    assert found["teacher", "sense"].isin([1, 2]).all() and ("teacher", "distance") not in found
    assert (found["cut", "distance"] > 0).all() and (found["dskd-0", "distance"] != found["cut", "distance"]).all()
    with pytest.raises(UserError, match=r"students/kd-7 is missing: .*dvc pull"):
        compare_states(load_params(), "bank", ["kd-7"])


def test_groups_of_a_map_are_words_of_one_token_with_senses(project):
    assert with_synonyms("fast")[0] == "fast"
    ((word, senses),) = word_group(["motor vehicle", "zq", "fast"])
    assert word == "fast" and senses.shape[1] == 32
    with pytest.raises(UserError, match="none of zq"):
        word_group(["zq"])


# ---- results


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(run_params())
    return tmp_path


def test_counts_and_items_agree_on_where_two_models_part(results):
    found = counts("kd-0", "dskd-0")
    benchmarks = found.loc[TABLES["cloze"], ["only kd-0", "only dskd-0"]].to_numpy().sum()
    found = found.loc[TABLES["lexical"]]
    parted = found["only kd-0"] + found["only dskd-0"]
    words = differing_words("kd-0", "dskd-0", items=10**6)
    assert words["task"].value_counts().to_dict() == parted[["synonym", "antonym", "definition"]].to_dict()
    assert words["kd-0"].str.endswith(" *").sum() == found["only kd-0"][["synonym", "antonym", "definition"]].sum()
    assert not (words["kd-0"].str.endswith(" *") & words["dskd-0"].str.endswith(" *")).any()
    asked = differing_benchmarks("kd-0", "dskd-0", items=10**6)
    assert set(asked["benchmark"]) == {"PIQA", "WiC"} and len(asked) == benchmarks
    distance = asked["p(answer), dskd-0 - kd-0"].astype(float).abs()
    assert distance.is_monotonic_decreasing and asked["answer"].isin(["A", "B"]).all()


def test_without_benchmarks_there_are_no_such_items(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(run_params(), benchmarks=False)
    assert differing_benchmarks("kd-0", "dskd-0").empty and len(counts("kd-0", "dskd-0")) == 3


@pytest.mark.parametrize("show", [counts, differing_words, differing_benchmarks])
def test_an_unknown_model_is_named_with_those_there_are(results, show):
    with pytest.raises(UserError, match="no scores of 'kd-9'; it has: cut, dskd-0"):
        show("kd-0", "kd-9")


def test_runs_and_curves_that_are_not_there_are_one_clear_line(results):
    with pytest.raises(UserError, match="no runs to compare"):
        runs()
    with pytest.raises(UserError, match="no curves of teacher and cut"):
        curves(["teacher", "cut"])


# ---- notebooks


def execute(name: str, root, scratch, **parameters) -> str:
    """Run a committed notebook in `root`, as the stages' are run; what its cells show, as one text."""
    assert notebook  # whose import makes papermill know the engine
    out = scratch / f"{name}.ipynb"
    papermill.execute_notebook(
        ROOT / "notebooks" / f"{name}.ipynb", out, parameters, engine_name="dskd", kernel_name="python3",
        language="python", progress_bar=False, cwd=root, scratch=str(scratch),
    )  # fmt: skip
    outputs = [o for cell in nbformat.read(out, 4).cells for o in cell.get("outputs", []) if "data" in o]
    return "\n".join(str(o.data.get("text/html", "")) + "".join(k for k in o.data if "png" in k) for o in outputs)


def test_the_notebook_on_a_word_runs_from_top_to_bottom(project, tmp_path):
    shown = execute("explore_senses", project, tmp_path, word="fast", students="dskd-0", colour="fast", vehicles="bank")
    assert "<b>fast</b>" in shown and "antonym" in shown and "image/png" in shown and "predicts" in shown
    assert "how surely" in shown and "<th>source</th>" in shown and "<iframe srcdoc=" in shown
    assert '"application/vnd.jupyter.widget' not in shown and shown.count("<b>fast</b>: ") == 1  # the box is no HTML


def test_the_notebook_on_results_needs_the_committed_reports_alone(tmp_path):
    subprocess.run(["git", "clone", "--quiet", "--depth=1", ROOT.as_uri(), tmp_path / "clone"], check=True)
    shutil.copytree(ROOT / "dskd", tmp_path / "clone/dskd", dirs_exist_ok=True)  # the code that runs, if changed since
    shown = execute("explore_results", tmp_path / "clone", tmp_path)
    assert "KL to teacher" in shown and "image/png" in shown and "only dskd-0" in shown and "The opposite of" in shown
