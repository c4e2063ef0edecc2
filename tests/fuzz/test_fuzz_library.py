"""A dictionary that somebody shares, from a hostile hand: refused in one line, or one that can be used and saved."""

import pytest
from fuzz.test_fuzz_tensors import OF_SENSES
from safetensors.torch import save_file
from tiny.models import make_tokenizer
from tools.hostile import bounded_memory, fuzz, hostile_json, hostile_tensors, survives  # noqa: F401 (a fixture for all)

from dskd import SenseDictionary, UserError
from dskd.senses.store import Senses

ABOUT = {"about": {"teacher": "a/b", "text": "t", "licence": "mit"}, "settings": {"k": 3}, "figures": {"variance": 0.5}}


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@fuzz(hostile_tensors(OF_SENSES), hostile_json(ABOUT), hostile_json({"contexts": [["a [b] c"], []]}))
def test_a_shared_dictionary_may_be_anything(tmp_path, tokenizer, tensors, about, contexts):
    (tmp_path / "senses.safetensors").write_bytes(tensors)
    check(tmp_path, tokenizer, about, contexts)


@fuzz(hostile_json(ABOUT), hostile_json({"contexts": [["a [b] c"], []]}))
def test_what_is_said_of_a_dictionary_may_be_anything(tmp_path, tokenizer, about, contexts):
    save_file(Senses(**OF_SENSES)._asdict(), tmp_path / "senses.safetensors")
    check(tmp_path, tokenizer, about, contexts)


def check(folder, tokenizer, about, contexts) -> None:
    (folder / "dictionary.json").write_bytes(about)
    (folder / "contexts.json").write_bytes(contexts)
    with survives(folder):
        found = SenseDictionary.from_pretrained(folder, tokenizer)
        assert isinstance(found.card(), str) and isinstance(found.of("dog"), list)
        try:
            found.save_pretrained(folder / "again")
        except UserError as error:
            assert "finite numbers" in str(error)
