"""The cards of dictionary and lexicon, as the hub and `datasets` read them."""

import os
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import RepoCard

from dskd import SenseDictionary
from dskd.errors import UserError
from dskd.infra.artifacts import LEXICON, write_json
from dskd.lexicon.store import SCHEMA, load_lexicon, save_lexicon
from dskd.params import Params, load_params
from dskd.pipeline.inputs import run_senses, teacher_tokenizer
from dskd.share.bundle import pack
from dskd.share.cards import lexicon_card, run_dictionary_card


@pytest.fixture
def params(project):
    """The project's, whose sources have licences."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    for name, licence in {"teacher": "T-1", "wordnet": "W-1", "wikipedia": "K-1"}.items():
        values["sources"][name]["licence"] = licence
    values["sources"]["texts"] = {"mine": {**values["sources"]["wikipedia"], "licence": "CC BY-NC 4.0"}}
    Path("params.yaml").write_text(yaml.safe_dump(values))
    return load_params()


def licence_rows(text: str) -> dict[str, str]:
    rows = re.findall(r"^\| (\S+) +\| `file:.*?` +\| (.+?) +\|$", text, re.MULTILINE)
    return dict(rows)


def test_the_lexicons_card_names_the_file_that_datasets_loads(params, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    pack("lexicon", folder, "o/n")
    card = RepoCard.load(folder / "README.md", ignore_metadata_errors=False)
    (config,) = card.data.configs
    ((split),) = config["data_files"]
    assert (config["config_name"], split["split"]) == ("default", "train")
    assert pq.read_table(folder / split["path"]).schema.names == SCHEMA.names
    assert card.data.license_link == "LICENSE.md" and (folder / "LICENSE.md").is_file()
    assert 'load_dataset("o/n", split="train")' in card.content
    for name in SCHEMA.names:
        assert re.search(rf"^\| `{name}` +\| \S", card.content, re.MULTILINE)


def test_datasets_loads_the_lexicon_by_its_card(params, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    folder = tmp_path / "data"
    folder.mkdir()
    pack("lexicon", folder, "o/n")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    loaded = datasets.load_dataset(os.fspath(folder), split="train", cache_dir=tmp_path / "cache")
    table = load_lexicon(Path(LEXICON))
    assert loaded.column_names == SCHEMA.names and len(loaded) == len(table) > 0
    assert loaded["tail_tokens"][:] == [list(span) for span in table["tail_tokens"]]


def test_a_card_has_the_licences_of_what_was_read_and_no_others(params):
    card, licences = lexicon_card(params, Path(LEXICON), "o/n")
    assert licence_rows(card) == licence_rows(licences) == {"wordnet": "W-1"}
    assert "commercial" not in licences
    card, licences = run_dictionary_card(params, "o/n")
    assert licence_rows(licences) == {
        "teacher": "T-1",
        "wordnet": "W-1",
        "wikipedia": "K-1",
        "texts.mine": "CC BY-NC 4.0",
    }
    assert "Not for commercial use: the licence of texts.mine forbids it." in card
    training = params.model_copy(update={"senses": params.senses.model_copy(update={"text": "training"})})
    assert "texts.mine" not in run_dictionary_card(training, "o/n")[1]


def test_a_dictionary_of_the_training_text_names_the_words_that_are_written_out_there(params):
    of = params.sources.wordnet.model_copy(update={"licence": "CC BY-NC 4.0"})
    values = params.model_dump()
    values["sources"]["lists"] = {"mine": {"antonyms": of.model_dump()}}
    values["lexicon"]["weights"]["mine"] = 4.2
    values["senses"]["text"] = "training"
    for share, named in ((0.0, False), (0.2, True)):
        values["corpus"] |= {"lexicon_share": share, "gloss_share": 0.1}
        licences = run_dictionary_card(Params.model_validate(values), "o/n")[1]
        assert ("mine.antonyms" in licence_rows(licences)) == ("forbids it" in licences) == named
    lock = {"schema": "2.0", "stages": {"corpus": {"cmd": "x", "params": {"params.yaml": {"corpus": {}}}}}}
    lock["stages"]["corpus"]["params"]["params.yaml"]["corpus"] = values["corpus"] | {"lexicon_share": 0.0}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    with pytest.raises(UserError, match=r"corpus\.lexicon_share is 0\.2 in params\.yaml, and was 0\.0 when corpus"):
        run_dictionary_card(Params.model_validate(values), "o/n")


def test_a_small_share_of_held_out_words_is_not_none(params):
    changed = params.lexicon.model_copy(update={"heldout_share": 0.004})
    card, _ = lexicon_card(params.model_copy(update={"lexicon": changed}), Path(LEXICON), "o/n")
    assert "Of all words 0.4% have no relations here" in card


def test_a_list_has_its_own_licence_whatever_it_is_called(params):
    of = {name: params.sources.wordnet.model_copy(update={"licence": name}) for name in ("mine", "mine_indirect")}
    values = params.model_dump()
    values["sources"]["lists"] = {name: {"antonyms": source.model_dump()} for name, source in of.items()}
    values["lexicon"]["weights"] |= dict.fromkeys(of, 4.2)
    table = load_lexicon(Path(LEXICON)).assign(source="mine_indirect")
    save_lexicon(Path("other.parquet"), table)
    _, licences = lexicon_card(Params.model_validate(values), Path("other.parquet"), "o/n")
    assert licence_rows(licences) == {"mine_indirect.antonyms": "mine_indirect"}


def test_a_lexicon_of_a_source_whose_licence_is_not_known_is_not_shared(params):
    table = load_lexicon(Path(LEXICON))
    for change, name in [({"source": "ppdb"}, "ppdb"), ({"flipped": True}, "morphology")]:
        save_lexicon(Path("other.parquet"), table.assign(**change))
        with pytest.raises(UserError, match=f"made with the source '{name}', which params.yaml does not name"):
            lexicon_card(params, Path("other.parquet"), "o/n")


@pytest.mark.parametrize("stage", ["senses", "lexicon"])
def test_a_card_names_the_parameters_of_the_run_or_none(params, tmp_path, stage):
    """params.yaml may have been changed since."""
    ran = yaml.safe_load(Path("params.yaml").read_text())[stage]
    made = {
        "senses": lambda: run_dictionary_card(params, "o/n"),
        "lexicon": lambda: lexicon_card(params, Path(LEXICON), "o/n"),
    }
    for values in (ran, ran | {"seed": 7}):
        lock = {"schema": "2.0", "stages": {stage: {"cmd": "x", "params": {"params.yaml": {stage: values}}}}}
        Path("dvc.lock").write_text(yaml.safe_dump(lock))
        if values == ran:
            assert made[stage]()
    with pytest.raises(UserError, match=rf"{stage}\.seed is 0 in params\.yaml, and was 7"):
        made[stage]()


@pytest.mark.parametrize("made", ["senses", "lexicon"])
@pytest.mark.parametrize(("key", "value"), [("licence", "CC0"), ("source", "file:given/other"), ("sha256", "0" * 64)])
def test_a_card_names_the_sources_that_were_fetched_or_none(params, made, key, value):
    """Their licences, too."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    lock = {"schema": "2.0", "stages": {"sources": {"cmd": "x", "params": {"params.yaml": {}}}}}
    lock["stages"]["sources"]["params"]["params.yaml"]["sources"] = values["sources"]
    Path("dvc.lock").write_text(yaml.safe_dump(lock))

    def card():
        given = load_params()
        return run_dictionary_card(given, "o/n") if made == "senses" else lexicon_card(given, Path(LEXICON), "o/n")

    assert "W-1" in card()[1]
    before = values["sources"]["wordnet"][key]
    values["sources"]["wordnet"][key] = value
    Path("params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(
        UserError, match=re.escape(f"sources.wordnet.{key} is '{value}' in params.yaml, and was '{before}'")
    ):
        card()
    values["sources"]["wordnet"][key] = before
    values["sources"]["tagged"] = {"more": {**values["sources"]["wordnet"], "licence": "T-2"}}  # of no use here
    Path("params.yaml").write_text(yaml.safe_dump(values))
    assert "W-1" in card()[1]


def test_a_card_has_no_measures_of_another_dictionary(params):
    """Which may have as many senses, as of another teacher."""
    assert "## How good it is" in run_dictionary_card(params, "o/n")[0]
    for measured in ("a.dir", "b.dir"):
        stages = {
            "senses": {"cmd": "x", "outs": [{"path": "artifacts/senses", "md5": "b.dir"}]},
            "quality": {"cmd": "x", "deps": [{"path": "artifacts/senses", "md5": measured}]},
        }
        Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
        assert ("## How good it is" in run_dictionary_card(params, "o/n")[0]) == (measured == "b.dir")


def test_the_runs_dictionary_is_read_with_its_teachers_tokenizer_alone(params):
    from tiny.wordnet import train_tokenizer

    tokenizer = teacher_tokenizer()
    assert SenseDictionary.from_pretrained("artifacts/senses", tokenizer).contexts
    words = sorted(tokenizer.get_vocab())
    other = train_tokenizer([f" {word}" for word in words] * 20 + ["zebras graze on savannas"] * 9, len(tokenizer) + 60)
    assert len(other) >= len(tokenizer)
    with pytest.raises(UserError, match="another tokenizer"):
        SenseDictionary.from_pretrained("artifacts/senses", other)


def test_the_dictionarys_card_counts_and_shows_the_figures_of_this_dictionary(params):
    senses = run_senses()
    card, _ = run_dictionary_card(params, "o/n")
    assert (
        f"For each of {len(senses.tokens):,} tokens" in card
        and f"{len(senses.centroids)} vectors of {senses.centroids.shape[1]} dimensions" in card
    )
    assert RepoCard(card).data.license == "other" and "## How good it is" in card
    write_json("reports/senses.json", {"senses": len(senses.centroids) + 1})  # of another dictionary
    assert "## How good it is" not in run_dictionary_card(params, "o/n")[0]
    write_json("artifacts/teacher/more.json", {})
    Path("artifacts/teacher/SHA256SUMS").unlink()
    with pytest.raises(UserError, match="another teacher"):
        run_dictionary_card(params, "o/n")
