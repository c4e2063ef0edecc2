"""A dictionary from the hub, by the real client from a hub on this machine."""

import pytest
from huggingface_hub import constants
from tiny.hub import TOKEN, Repository, hub
from tiny.models import TEXT

from dskd import DictionarySettings, SenseDictionary, UserError

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def server(monkeypatch, tmp_path, teacher, tokenizer):
    """A hub with a dictionary."""
    settings = DictionarySettings(length=8)
    SenseDictionary.from_model(teacher, tokenizer, TEXT * 9, settings).save_pretrained(tmp_path / "made")
    with hub() as found:
        repository = found.repositories["models/o/n"] = Repository(private=True)
        repository.files |= {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()}
        template = f"{found.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", found.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield found


def test_what_was_saved_is_read(server):
    assert SenseDictionary.from_pretrained("hf:o/n").of("dog")


@pytest.mark.parametrize(("place", "refused"), [("hf:o/n", "/api/models/o/n"), ("hf:o/other", "")])
def test_a_refusal_is_one_line_without_the_token(server, place, refused):
    server.refuses = refused
    with pytest.raises(UserError, match=f"{place} could not be read at {server.address}") as error:
        SenseDictionary.from_pretrained(place)
    assert TOKEN not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["../../../up.json", "/up.json", "more/../../../../up.json"])
def test_a_file_whose_name_leads_out_is_not_written_there(server, tmp_path, name):
    server.repositories["models/o/n"].files[name] = b"{}"
    with pytest.raises(UserError, match="hf:o/n"):
        SenseDictionary.from_pretrained("hf:o/n")
    assert not list(tmp_path.parent.rglob("up.json"))
