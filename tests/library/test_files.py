"""A dictionary's folder that somebody else made, or that a save left half done: refused in one line, never believed."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny.models import TEXT, make_teacher, make_tokenizer
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from dskd import About, DictionarySettings, SenseDictionary, UserError
from dskd.infra.hashes import checksum_lines
from dskd.infra.made_of import save_made_of
from dskd.library.files import check_senses
from dskd.senses.store import save_contexts

FILES = ("senses.safetensors", "contexts.json", "dictionary.json")


def make(seed: int = 0) -> SenseDictionary:
    settings = DictionarySettings(length=8, k=3, contexts=2)
    return SenseDictionary.from_model(make_teacher(seed=seed), make_tokenizer(), TEXT * 12, settings, About("a/b"))


@pytest.fixture(scope="module")
def made():
    return make()


@pytest.fixture
def folder(made, tmp_path):
    made.save_pretrained(tmp_path / "one")
    return tmp_path / "one"


def refused(folder, says, tokenizer=None):
    with pytest.raises(UserError, match=says) as error:
        SenseDictionary.from_pretrained(folder, tokenizer)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_files_of_two_dictionaries_are_not_read_as_one(folder, tmp_path, name):
    make(seed=1).save_pretrained(tmp_path / "two")
    shutil.copy(tmp_path / "two" / name, folder / name)
    refused(folder, "is not what the folder's other files belong to")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("before", [False, True])
def test_a_save_that_is_stopped_leaves_nothing_that_is_believed(made, tmp_path, monkeypatch, name, before):
    """Just before each of the files gets its name, in a new folder and over another dictionary."""
    other = make(seed=1)
    if before:
        other.save_pretrained(tmp_path)
    monkeypatch.setattr("dskd.infra.output._replace", stopped_at(name))
    with pytest.raises(KeyboardInterrupt):
        made.save_pretrained(tmp_path)
    monkeypatch.undo()
    try:
        found = SenseDictionary.from_pretrained(tmp_path)
    except UserError:
        return
    wanted = other if before else made
    assert torch.equal(found.senses.centroids, wanted.senses.centroids) and list(found.contexts) == list(
        wanted.contexts
    )


def stopped_at(name: str):
    from dskd.infra.output import _replace

    def replace(new: Path, path: Path) -> None:
        if path.name == name:
            raise KeyboardInterrupt
        _replace(new, path)

    return replace


def test_figures_that_are_no_numbers_are_refused_before_anything_is_replaced(made, folder):
    from dataclasses import replace

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match="finite numbers"):
        replace(made, figures={"variance": float("nan")}).save_pretrained(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"centroids": lambda t: t.clone().fill_(torch.nan)},
        {"centroids": lambda t: torch.cat([t[:-1], t[-1:] * torch.inf])},
        {"counts": lambda t: t * 0},
        {"counts": lambda t: t.float()},
        {"counts": lambda t: t[:, None].contiguous()},
        {"tokens": lambda t: t - 1000},
        {"tokens": lambda t: t.float()},
        {"offsets": lambda t: t.flip(0).contiguous()},
        {"offsets": lambda t: t.where(torch.arange(len(t)) != 2, t[1])},  # a token without a sense
        {"occurrences": lambda t: t[:-1].clone()},
        {"contexts": lambda t: t.flatten()},
    ],
)
def test_tensors_that_do_not_fit_are_refused(made, tmp_path, wrong):
    made.save_pretrained(tmp_path)
    for name in ("dictionary.json", "contexts.json"):
        (tmp_path / name).unlink()
    (name, change), *_ = wrong.items()
    save_file(made.senses._asdict() | {name: change(getattr(made.senses, name))}, tmp_path / "senses.safetensors")
    refused(tmp_path, "is no sense dictionary")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dictionary.json", "[]"),
        ("dictionary.json", '{"about"'),
        ("dictionary.json", '{"about": {"teacher": 3}}'),
        ("dictionary.json", '{"about": {"owner": "x"}}'),
        ("dictionary.json", '{"about": "x"}'),
        ("dictionary.json", '{"figures": {"variance": NaN}}'),
        ("dictionary.json", '{"figures": {"variance": "much"}}'),
        ("dictionary.json", '{"settings": 3}'),
        ("dictionary.json", '{"vocabulary": 3}'),
        ("contexts.json", "{}"),
        ("contexts.json", '{"contexts": [["one"]]}'),
        ("contexts.json", '{"contexts": "texts"}'),
        ("contexts.json", "\x00"),
        ("SHA256SUMS", "nonsense"),
    ],
)
def test_json_of_another_form_is_refused(made, folder, name, content):
    if name != "dictionary.json":
        (folder / "dictionary.json").unlink()
    (folder / name).write_text(content)
    refused(folder, r"damaged|does not fit|another tokenizer")


def test_contexts_that_are_no_texts_are_refused(made, folder):
    (folder / "dictionary.json").unlink()
    (folder / "contexts.json").write_text(json.dumps({"contexts": [[3]] * len(made.senses.centroids)}))
    refused(folder, "something else than texts")


def test_another_tokenizer_is_refused_and_added_tokens_are_not(made, folder):
    refused(folder, "another tokenizer", make_tokenizer(size=60))
    other = make_tokenizer()
    other.add_tokens(["<pad>"])
    assert SenseDictionary.from_pretrained(folder, other).of("dog")
    from tiny.wordnet import train_tokenizer

    refused(folder, "another tokenizer", train_tokenizer(["zebras graze on savannas " * 9], 300))


@pytest.mark.parametrize("key", ["observed", "predicted"])
def test_a_token_beyond_the_number_of_tokens_is_no_other_tokenizer(key, tmp_path):
    """Numbers of tokens may have gaps, and a model may have more tokens than its tokenizer, which it may predict."""
    content = json.loads(make_tokenizer().backend_tokenizer.to_str())
    content["added_tokens"][0]["id"] = content["model"]["vocab"]["<|endoftext|>"] = 200
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)), eos_token="<|endoftext|>"
    )
    settings = DictionarySettings(length=8, key=key)
    made = SenseDictionary.from_model(make_teacher(vocabulary=300), tokenizer, TEXT * 20, settings)
    assert int(made.senses.tokens[-1]) >= 200 > len(tokenizer)
    made.save_pretrained(tmp_path / "one")
    found = SenseDictionary.from_pretrained(tmp_path / "one")
    assert torch.equal(found.senses.tokens, made.senses.tokens)
    refused(tmp_path / "one", "another tokenizer", make_tokenizer(size=60))


def test_contexts_that_are_given_fit_the_senses(made):
    with pytest.raises(UserError, match="one list for each"):
        SenseDictionary(made.senses, made.tokenizer, contexts=[["one"]])


def test_without_a_card_it_is_read_and_into_an_artifact_nothing_is_saved(made, folder):
    (folder / "README.md").unlink()
    assert SenseDictionary.from_pretrained(folder).about.teacher == "a/b"
    (folder / "SHA256SUMS").write_text(checksum_lines(folder))
    assert SenseDictionary.from_pretrained(folder).of("dog")
    with pytest.raises(UserError, match="save into another folder"):
        made.save_pretrained(folder)
    with (folder / "senses.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    refused(folder, "is not what the folder's other files belong to")


def test_a_readme_of_something_else_is_not_replaced(made, folder, tmp_path):
    """As in the folder of somebody's project, or of a student."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "README.md").write_text("# My project\n")
    with pytest.raises(UserError, match=r"README\.md is of something else.*name another folder"):
        made.save_pretrained(tmp_path / "own")
    assert [file.name for file in (tmp_path / "own").iterdir()] == ["README.md"]
    with (folder / "README.md").open("a") as card:
        card.write("A remark of mine.\n")
    made.save_pretrained(folder)  # its own


def test_a_folder_that_is_a_file_is_one_clear_line(made, tmp_path):
    (tmp_path / "file").write_text("x")
    for place in ("file", "file/below"):
        with pytest.raises(UserError, match="name a folder"):
            made.save_pretrained(tmp_path / place)
        refused(tmp_path / place, r"has no senses\.safetensors")


def test_a_dictionary_of_the_pipeline_has_its_contexts(made, tmp_path):
    import pandas as pd

    made.save_pretrained(tmp_path)
    for name in ("dictionary.json", "contexts.json"):
        (tmp_path / name).unlink()
    tokens = made.tokenizer.batch_decode(made.senses.tokens.repeat_interleave(made.senses.offsets.diff())[:, None])
    rows = [(tokens[0], 0, "the lazy", " and", "wiki:A"), (tokens[2], 2, "a", "", "")]
    table = pd.DataFrame(rows, columns=["token", "sense", "left", "right", "document"])
    save_contexts(tmp_path, table)
    save_made_of(tmp_path, {"teacher": "hash"})
    wanted = [[f"the lazy [{tokens[0].strip()}] and"], [], [f"a [{tokens[2].strip()}]"]]
    assert SenseDictionary.from_pretrained(tmp_path).contexts[:3] == wanted
    save_made_of(tmp_path, {"teacher": "hash", "settings": {"key": "predicted", "length": 12}})
    assert SenseDictionary.from_pretrained(tmp_path).settings == {"key": "predicted", "length": 12}
    # No other file of the pipeline's says what the tokens are.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pyarrow", None)
        refused(tmp_path, "pyarrow is missing")
    save_contexts(tmp_path, table.assign(token=[tokens[0], "zebra"]))
    refused(tmp_path, "another tokenizer")
    save_contexts(tmp_path, table.assign(sense=len(made.senses.centroids)))
    refused(tmp_path, "does not fit")


@pytest.mark.parametrize("name", FILES)
def test_a_dictionary_that_is_saved_anew_while_it_is_read_is_refused(folder, tmp_path, monkeypatch, name):
    """Its vectors would be of the one, and its contexts or facts of the other."""
    make(seed=1).save_pretrained(tmp_path / "two")

    def after_the_hashes(senses):
        check_senses(senses)
        shutil.copy(tmp_path / "two" / name, folder / "new")
        (folder / "new").replace(folder / name)

    monkeypatch.setattr("dskd.library.files.check_senses", after_the_hashes)
    refused(folder, "saved anew while it was read|is not what|does not fit|damaged")
