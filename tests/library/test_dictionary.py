import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny.models import TEXT, dictionary, generator, make_teacher

from dskd import About, DictionarySettings, Lexicon, SenseDictionary, SenseLoss, UserError, states_of
from dskd.library.card import size_figures
from dskd.library.texts import text_chunks
from dskd.model.parts import run_part
from dskd.params import HarvestParams
from dskd.senses.cluster import build_senses
from dskd.senses.store import compose_span
from dskd.states.reservoir import open_reservoir, sample_states

LENGTH = 8
SETTINGS = DictionarySettings(length=LENGTH, k=3, min_states=2, reservoir=9, contexts=2)
TEXTS = [" ".join(TEXT[i % 3].split()[j:]) for i in range(30) for j in range(4)]


@pytest.fixture(scope="module")
def made(teacher, tokenizer):
    about = About(teacher="owner/tiny", text="pangrams", licence="cc0-1.0")
    return SenseDictionary.from_model(teacher, tokenizer, iter(TEXTS), SETTINGS, about)


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("key", ["observed", "predicted"])
def test_the_senses_are_those_of_the_pipeline_for_the_same_blocks(teacher, tokenizer, tmp_path, key):
    settings = SETTINGS._replace(key=key)
    blocks = torch.cat([chunk.blocks for chunk in text_chunks(TEXTS, tokenizer, LENGTH)])
    harvest = HarvestParams(batch_size=5, shard_blocks=7)
    sample_states(teacher, blocks, settings.params(), harvest, tmp_path, torch.float32)
    wanted = build_senses(open_reservoir(tmp_path), settings.params())
    found = SenseDictionary.from_model(teacher, tokenizer, TEXTS, settings)
    assert len(found.senses.centroids) > 30 and torch.equal(found.senses.tokens, wanted.tokens)
    assert torch.allclose(found.senses.centroids, wanted.centroids, atol=1e-5)  # batches of another size
    assert same(found.senses[:3], wanted[:3]) and same(found.senses[4:], wanted[4:])


def test_blocks_cover_the_stream_of_all_texts_each_closed_by_the_separator(tokenizer):
    chunks = list(text_chunks(iter(TEXTS), tokenizer, LENGTH))
    stream = [token for text in TEXTS for token in (*tokenizer(text)["input_ids"], 0)]
    blocks = torch.cat([chunk.blocks for chunk in chunks])
    assert len(chunks) > 2 and len(blocks) == (len(stream) - 1) // LENGTH
    for number, block in enumerate(blocks.tolist()):
        assert block == stream[number * LENGTH : (number + 1) * LENGTH + 1]
    starts = [start for chunk in chunks for start in chunk.starts]
    ends = [place + 1 for place, token in enumerate(stream) if token == 0]
    assert starts == [0, *ends][: len(starts)]


def test_a_block_begins_with_what_the_tokenizer_puts_before_a_text(tokenizer, monkeypatch):
    monkeypatch.setattr("dskd.library.texts.before_text", lambda _: [7])
    (chunk,) = text_chunks(TEXTS[:6], tokenizer, LENGTH)
    assert chunk.blocks[:, 0].tolist() == [7] * len(chunk.blocks)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ("one text", "each of its letters"),
        ([{"text": "a"}], r"row\[\"text\"\]"),
        ([], "0 tokens"),
        (["dog"], "needs 9"),
    ],
)
def test_texts_that_cannot_be_read_are_one_clear_line(teacher, tokenizer, texts, says):
    with pytest.raises(UserError, match=says):
        SenseDictionary.from_model(teacher, tokenizer, texts, SETTINGS)


def test_a_wrong_setting_is_one_clear_line(teacher, tokenizer):
    with pytest.raises(UserError, match=r"k = 0: .*; key = 'seen'|key = 'seen': .*; k = 0"):
        SenseDictionary.from_model(teacher, tokenizer, TEXTS, SETTINGS._replace(k=0, key="seen"))
    with pytest.raises(UserError, match="min_states = 500"):
        SenseDictionary.from_model(teacher, tokenizer, TEXTS, SETTINGS._replace(min_states=500))


def test_a_model_that_trains_is_left_as_it_was(tokenizer):
    model = make_teacher().train().requires_grad_(True)
    SenseDictionary.from_model(model, tokenizer, TEXTS[:9], SETTINGS)
    assert model.training and all(weight.requires_grad and weight.grad is None for weight in model.parameters())


def test_saved_and_loaded_it_is_the_same_in_the_same_bytes(made, tmp_path):
    made.save_pretrained(tmp_path / "one")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "notes.txt").write_text("mine")
    loaded = SenseDictionary.from_pretrained(tmp_path / "one")
    loaded.save_pretrained(tmp_path / "two")
    assert same(loaded.senses, made.senses) and loaded.about == made.about
    assert list(loaded.contexts) == list(made.contexts) and dict(loaded.settings) == dict(made.settings)
    files = {path.name for path in (tmp_path / "one").iterdir()}
    assert {"senses.safetensors", "dictionary.json", "contexts.json", "README.md", "tokenizer.json"} <= files
    assert {path.name for path in (tmp_path / "two").iterdir()} == {*files, "notes.txt"}
    for name in files - {"tokenizer_config.json"}:  # transformers writes more into it the second time
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_the_card_says_what_it_is_of(made, tmp_path, teacher):
    made.measured(teacher, TEXTS[:20], states=64).save_pretrained(tmp_path)
    card = (tmp_path / "README.md").read_text()
    for wanted in ("license: cc0-1.0", "base_model: owner/tiny", "pangrams", "| `k` | 3 |", "variance"):
        assert wanted in card, wanted
    assert f"| senses | {len(made.senses.centroids)} |" in card
    assert f"{size_figures(made.senses)['read']:,} tokens" in card
    assert json.loads((tmp_path / "dictionary.json").read_text())["figures"]["heldout_states"] == 64


def test_damage_and_absence_are_one_clear_line(made, tmp_path):
    with pytest.raises(UserError, match=r"has no senses\.safetensors"):
        SenseDictionary.from_pretrained(tmp_path)
    made.save_pretrained(tmp_path)
    file = tmp_path / "senses.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-3])
    with pytest.raises(UserError, match="damaged or replaced"):
        SenseDictionary.from_pretrained(tmp_path)
    (tmp_path / "dictionary.json").unlink()
    with pytest.raises(UserError, match="no sense dictionary"):
        SenseDictionary.from_pretrained(tmp_path)
    tensors = made.senses._asdict()
    for wrong in (
        {"offsets": tensors["offsets"] + 1},
        {"counts": tensors["counts"][1:].clone()},
        {"tokens": tensors["tokens"].flip(0).contiguous()},
        {"centroids": tensors["centroids"].flatten()},
    ):
        save_file(tensors | wrong, file)
        with pytest.raises(UserError, match="no sense dictionary"):
            SenseDictionary.from_pretrained(tmp_path)
    for place in ("hf:", "hf:no-owner", "hf:../x"):
        with pytest.raises(UserError, match="names no repository"):
            SenseDictionary.from_pretrained(place)


def test_a_repository_of_the_hub_is_fetched_by_name_and_revision(made, tmp_path, monkeypatch):
    made.save_pretrained(tmp_path / "there")
    asked = []

    def snapshot(name, revision, allow_patterns):
        asked.append((name, revision))
        return shutil.copytree(tmp_path / "there", tmp_path / f"cache-{len(asked)}")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    assert same(SenseDictionary.from_pretrained("hf:owner/senses@v1").senses, made.senses)
    SenseDictionary.from_pretrained("hf:owner/senses")
    assert asked == [("owner/senses", "v1"), ("owner/senses", None)]


def test_the_senses_of_a_word_come_with_their_places(made, tokenizer):
    (token,) = made.tokens_of("dog")
    found = made.of("dog")
    rows = made.senses.rows(token)
    assert len(found) == len(rows) > 1
    assert [sense.states for sense in found] == sorted(made.senses.counts[rows.start : rows.stop].tolist())[::-1]
    for sense in found:
        assert any(torch.equal(sense.vector, made.senses.centroids[row].float()) for row in rows)
        assert sense.contexts and all("[dog]" in text for text in sense.contexts)
    assert any(text.endswith("over the lazy [dog]") for sense in found for text in sense.contexts)
    assert made.of("zzz") == []
    with pytest.raises(UserError, match="no word"):
        made.of(" ")


def test_a_word_of_several_tokens_is_composed(made):
    tokens = made.tokens_of("dogbox")
    assert len(tokens) > 1
    wanted = compose_span(made.senses, tokens)
    found = made.of("dogbox")
    assert len(found) == len(wanted) and all(torch.equal(f.vector, w) for f, w in zip(found, wanted))
    assert all(sense.states is None for sense in found)
    with pytest.raises(UserError, match="tokens of this tokenizer"):
        made.nearest(torch.zeros(32), "dogbox")


def test_the_nearest_senses_are_those_of_a_plain_loop(made):
    (token,) = made.tokens_of("fox")
    rows, states = list(made.senses.rows(token)), torch.randn(2, 3, 32)
    found = made.nearest(states, "fox", most=len(rows) + 1)
    assert found.rows.shape == found.distances.shape == (2, 3, len(rows) + 1)
    for state, near, distances in zip(states.view(6, 32), found.rows.view(6, -1), found.distances.view(6, -1)):
        wanted = {row: float((state - made.senses.centroids[row]).square().mean()) for row in rows}
        assert near[:-1].tolist() == sorted(rows, key=wanted.get) and near[-1] == -1 and distances[-1] == torch.inf
        assert distances[:-1].tolist() == pytest.approx(sorted(wanted.values()), abs=1e-4)
    assert (made.nearest(states, 119).rows == -1).all()
    with pytest.raises(UserError, match="-100 is no token"):
        made.nearest(states, -100)
    with pytest.raises(UserError, match="31 dimensions, the senses 32"):
        made.nearest(torch.zeros(31), "fox")


@pytest.mark.parametrize("away", [100.0, 1000.0, 3000.0])
def test_the_nearest_senses_are_so_where_all_states_lie_far_off(tokenizer, away):
    """As where one dimension is large in every state: a difference of squares has few digits left."""
    draw = generator(0)
    vectors, states = torch.randn(10, 64, generator=draw) * 0.3, torch.randn(200, 64, generator=draw) * 0.3
    vectors[:, 0] += away
    states[:, 0] += away
    found = SenseDictionary(dictionary({5: vectors.tolist()}), tokenizer).nearest(states, 5, most=3)
    wanted = (states.double()[:, None] - vectors.double()).square().mean(dim=2).topk(3, dim=1, largest=False)
    assert torch.equal(found.rows, wanted.indices)
    assert torch.allclose(found.distances.double(), wanted.values, rtol=1e-3)


def test_the_variance_that_is_explained_is_that_of_a_plain_loop(made, teacher, tokenizer):
    texts = [*TEXTS[50:60], "a lazy liquor"]
    states = states_of(teacher, tokenizer, texts, states=40, length=LENGTH)
    chunks = [chunk.blocks for chunk in text_chunks(texts, tokenizer, LENGTH)]
    assert torch.allclose(states, run_part(teacher.base_model, ids=torch.cat(chunks)[:, :-1]).flatten(0, 1)[:40])
    labels = torch.cat(chunks)[:, 1:].flatten()[:40].tolist()
    senses = made.senses
    mean = (senses.centroids * senses.counts[:, None]).sum(dim=0) / senses.counts.sum()
    whole, rest = 0.0, 0.0
    for state, token in zip(states, labels):
        whole += float((state - mean).square().sum())
        vectors = senses.centroids[list(senses.rows(token))]
        rest += float(
            min((state - v).square().sum() for v in vectors) if len(vectors) else (state - mean).square().sum()
        )
    figures = made.measured(teacher, texts, states=40).figures
    assert figures["variance"] == pytest.approx(1 - rest / whole, abs=1e-3)
    assert figures["variance"] > max(0, figures["variance_one_sense"])


def test_nothing_is_left_in_the_temporary_folder(teacher, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    SenseDictionary.from_model(teacher, tokenizer, TEXTS[:9], SETTINGS)
    assert os.listdir(tmp_path) == []


def test_the_name_of_a_folder_is_no_part_of_the_card(tokenizer, tmp_path):
    model = make_teacher()
    model.config.name_or_path = str(tmp_path)
    made = SenseDictionary.from_model(model, tokenizer, TEXTS[:9], SETTINGS)
    assert made.about.teacher == Path(tmp_path).name and str(tmp_path) not in made.card()


def test_a_dictionary_of_predicted_tokens_is_measured_by_them(teacher, tokenizer):
    """By the tokens that follow it would explain less than nothing of its own states."""
    dictionary = SenseDictionary.from_model(
        teacher, tokenizer, TEXTS, SETTINGS._replace(key="predicted", min_states=1, reservoir=999)
    )
    figures = dictionary.measured(teacher, TEXTS).figures
    assert 1 > figures["variance"] > figures["variance_one_sense"] > 0.3


def test_accents_may_be_written_apart(tokenizer):
    from tiny.wordnet import train_tokenizer

    accented = train_tokenizer(["un \u00e9t\u00e9 \u00e0 la mer"] * 20)
    dictionary = SenseDictionary.from_model(
        make_teacher(vocabulary=len(accented)), accented, ["un \u00e9t\u00e9 \u00e0 la mer"] * 9, SETTINGS
    )
    for word in ("\u00e9t\u00e9", "e\u0301te\u0301"):
        assert dictionary.tokens_of(word) == dictionary.tokens_of("\u00e9t\u00e9") and len(dictionary.of(word)) > 0


def test_under_autocast_senses_and_distances_are_the_same(made, teacher, tokenizer):
    """A distance of bfloat16 products says little of which sense is nearest."""
    states = states_of(teacher, tokenizer, TEXTS, length=LENGTH)
    wanted = made.nearest(states, "dog", 2), made.of("dogbox"), made.measured(teacher, TEXTS, states=64).figures
    with torch.autocast("cpu", torch.bfloat16):
        found = SenseDictionary.from_model(teacher, tokenizer, TEXTS, SETTINGS)
        assert torch.equal(states_of(teacher, tokenizer, TEXTS, length=LENGTH), states)
        near, composed, figures = (
            made.nearest(states, "dog", 2),
            made.of("dogbox"),
            made.measured(teacher, TEXTS, states=64),
        )
        loss = SenseLoss(made, Lexicon.from_pairs([("dog", "dogbox")]))
    assert same(found.senses, made.senses) and same(near, wanted[0]) and figures.figures == wanted[2]
    assert all(torch.equal(a.vector, b.vector) for a, b in zip(composed, wanted[1], strict=True))
    plain = SenseLoss(made, Lexicon.from_pairs([("dog", "dogbox")]))
    assert torch.equal(loss.vectors, plain.vectors) and len(plain.vectors) > len(made.senses.centroids)
