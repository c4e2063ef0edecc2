"""What `import dskd` gives, and what it costs."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import dskd

ROOT = Path(__file__).resolve().parents[2]

# What no part of the library may need but reading WordNet and Parquet: the packages of the other groups.
ABSENT = (
    "nltk pyarrow pandas dvc dvclive papermill nbformat nbclient nbconvert jupyter_client ipykernel lm_eval datasets "
    "scipy sklearn peft gguf matplotlib mwparserfromhell nh3 tabulate trl"
).split()


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_surface_is_listed_documented_and_nothing_else_is():
    assert set(dskd.__all__) == set(dskd._PLACES) <= set(dir(dskd))
    for name in dskd.__all__:
        thing = getattr(dskd, name)
        assert name in dskd.__doc__ and f"`{name}`" in (ROOT / "docs/library.md").read_text(), name
        assert isinstance(thing, int) or (thing.__doc__ and not thing.__doc__.startswith(f"{name}(")), name
    with pytest.raises(AttributeError, match="no attribute 'Sense'"):
        dskd.Sense  # noqa: B018


def test_help_shows_the_surface():
    text = python("import dskd; help(dskd)")
    assert all(name in text for name in dskd.__all__)


def test_the_import_alone_loads_nothing():
    loaded = python("import sys, dskd; print(*sys.modules)").split()
    assert not {name.partition(".")[0] for name in loaded} & {"torch", "numpy", "transformers", "pydantic", *ABSENT}


def test_it_works_without_the_packages_of_the_pipeline():
    """A dictionary, a lexicon and both losses, where none of them can be imported."""
    out = python(
        f"""
import sys
sys.modules |= dict.fromkeys({ABSENT!r})
import torch
import dskd
from tiny.models import TEXT, make_teacher, make_tokenizer
teacher, tokenizer = make_teacher(), make_tokenizer()
dictionary = dskd.SenseDictionary.from_model(teacher, tokenizer, TEXT * 9, dskd.DictionarySettings(length=8))
lexicon = dskd.Lexicon.from_pairs([("quick", "lazy")])
terms = [dskd.Term(1.0, dskd.SenseLoss(dictionary, lexicon)), dskd.Term(1.0, dskd.StateLoss())]
loss = dskd.DistillationLoss(teacher, terms)
ids = tokenizer(TEXT[:1], return_tensors="pt")["input_ids"]
print(float(loss(make_teacher(seed=1), dict(input_ids=ids, labels=ids)).loss) > 0)
for read in (lambda: dskd.Lexicon.from_wordnet("x"), lambda: dskd.Lexicon.from_parquet("x")):
    try:
        read()
    except dskd.UserError as error:
        print("dskd[lexicon]" in str(error))
"""
    )
    assert out.split() == ["True"] * 3


def test_the_core_declares_what_it_imports_and_no_more():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {Requirement(line).name.replace("_", "-") for line in project["dependencies"]}
    assert len(core) <= 10 and not core & {name.replace("_", "-") for name in ABSENT}


def test_the_command_says_what_is_missing():
    out = python(
        f"""
import sys
sys.modules |= dict.fromkeys({ABSENT!r})
sys.stderr = sys.stdout
from dskd.__main__ import main
print(main(["plan"]))
"""
    )
    assert "pip install 'dskd[pipeline,evaluate]'" in out and out.strip().endswith("1")
