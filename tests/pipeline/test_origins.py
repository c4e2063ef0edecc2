"""Artifacts of another run in the place of this one's."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from lexicon.test_store import COLUMNS
from tiny.project import ROOT

from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.hashes import sha256_tree
from dskd.lexicon.store import save_lexicon
from dskd.lexicon.tokens import word_tokens
from dskd.model.origin import ORIGIN
from dskd.pipeline.heldout import heldout_of_all
from dskd.pipeline.inputs import run_lexicon, states_of
from dskd.pipeline.student import _targets
from dskd.students.model_card import made_from
from dskd.targets.store import SenseTargets, save_targets

BOTH = "or get both of one run"


@pytest.fixture
def run(tmp_path, monkeypatch, tokenizer):
    """A working folder with a tokenizer in the place of the teacher, and a text."""
    monkeypatch.chdir(tmp_path)
    tokenizer.save_pretrained(artifacts.TEACHER)
    Path(artifacts.CORPUS).mkdir()
    (Path(artifacts.CORPUS) / "corpus.json").write_text("{}")


def test_a_lexicon_of_another_tokenizer_is_refused(run, tokenizer):
    tokens = word_tokens(tokenizer, ["fox", "lazy dog"])
    row = ["fox", "lazy dog", 1, "wordnet", "fox.n.01", False, "fox", tokens["fox"][0], tokens["lazy dog"]]
    save_lexicon(Path(artifacts.LEXICON), pd.DataFrame([row], columns=COLUMNS))
    assert run_lexicon()["tail_tokens"].tolist() == [tokens["lazy dog"]]
    for column, other in (("head_token", row[7] + 1), ("tail_tokens", row[8][1:])):
        save_lexicon(Path(artifacts.LEXICON), pd.DataFrame([row], columns=COLUMNS).assign(**{column: [other]}))
        with pytest.raises(UserError, match=r"was made with another tokenizer, which has other tokens for '.*lexicon`"):
            run_lexicon()


def test_no_stage_reads_the_lexicon_otherwise():
    reading = [path.name for path in (ROOT / "dskd/pipeline").glob("*.py") if "load_lexicon(" in path.read_text()]
    assert reading == ["inputs.py"]


@pytest.mark.parametrize("other", ["teacher", "corpus", "student"])
def test_a_student_of_another_run_is_not_scored_in_this_one(run, tokenizer, other):
    """The scores on held-out text that its folder has are its own run's, of as many blocks."""
    folder = Path(artifacts.STUDENTS) / "dskd-0"
    folder.mkdir(parents=True)
    tokenizer.save_pretrained(ORIGIN)
    digests = {**states_of(), "student": sha256_tree(ORIGIN)}
    write_card(folder, digests | {other: digests[other][::-1]})
    params = SimpleNamespace(
        distill=SimpleNamespace(objectives=["dskd"], seeds=[0]), student=SimpleNamespace(source="another model")
    )
    what = {"teacher": "teacher or tokenizer", "corpus": "text", "student": "student.source"}[other]
    with pytest.raises(UserError) as refused:
        heldout_of_all(params, None)
    assert str(refused.value) == f"{folder} was made with another {what}: run `dvc repro distill@dskd-0`, {BOTH}"
    write_card(folder, digests)
    with pytest.raises(AttributeError):  # there are no models here, but it came to them
        heldout_of_all(params, None)
    params.student.source = None  # of the teacher itself
    with pytest.raises(UserError, match=r"another student\.source"):
        heldout_of_all(params, None)
    write_card(folder, states_of())
    with pytest.raises(AttributeError):
        heldout_of_all(params, None)


def write_card(folder, digests):
    (folder / "README.md").write_text(f"# dskd-0\n\n## Made from\n\nHashes:\n\n```json\n{json.dumps(digests)}\n```\n")


def test_a_card_without_hashes_is_damaged(tmp_path):
    (tmp_path / "README.md").write_text("# dskd-0\n")
    with pytest.raises(UserError, match=r'README\.md is damaged \(ValueError: no hashes below "Made from"\)'):
        made_from(tmp_path / "README.md")


@pytest.mark.parametrize("other", ["teacher", "corpus"])
def test_targets_of_another_run_are_refused(run, other):
    """Of as many blocks, so that nothing else tells them from the right ones."""
    folder, rows = Path(artifacts.TARGETS) / "dskd", torch.zeros(3, 4, 1, dtype=torch.int32)
    save_targets(folder, SenseTargets(torch.zeros(1, 2), rows, rows.clone()), states_of())
    given = SimpleNamespace(hashes=states_of() | {"states": "of no matter"})
    assert _targets("dskd", given).pull.shape == (3, 4, 1)
    given.hashes[other] = "another"
    what = {"teacher": "teacher or tokenizer", "corpus": "text"}[other]
    with pytest.raises(UserError, match=f"another {what}: run `dvc repro targets`, {BOTH}"):
        _targets("dskd", given)


def test_targets_that_do_not_say_of_what_they_are_are_refused(run):
    folder, rows = Path(artifacts.TARGETS) / "dskd", torch.zeros(3, 4, 1, dtype=torch.int32)
    save_targets(folder, SenseTargets(torch.zeros(1, 2), rows, rows.clone()))
    with pytest.raises(UserError, match=r"origin\.json is missing: make it with `dvc repro targets`"):
        _targets("dskd", SimpleNamespace(hashes=states_of()))
