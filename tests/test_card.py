"""The model card: what went into a student, and under which licence."""

import pytest
from test_pipeline import ROOT

from dskd.card import licences, model_card
from dskd.params import Lora, load_params

SCORES = {"ce": 4.0, "kl": 1.0, "agreement": 0.5}


@pytest.fixture
def params():
    return load_params(ROOT / "params.yaml")


def with_licence(params, licence):
    wordnet = params.sources.wordnet.model_copy(update={"licence": licence})
    return params.sources.model_copy(update={"wordnet": wordnet})


def test_the_card_names_every_source_and_its_licence(params):
    text = model_card("dskd-0", "dskd", 0, 30, params, SCORES, {})
    for name, source in params.sources.every().items():
        assert f"| {name} | `{source.source}` | {source.licence} |" in text
    assert "commercial" not in text  # none of the default's sources forbids it
    assert "lora" not in text
    with_lora = params.student.model_copy(update={"lora": Lora(rank=16, alpha=32.0)})
    text = model_card("kd-0", "kd", 0, 30, params.model_copy(update={"student": with_lora}), SCORES, {})
    assert '"rank": 16' in text


def test_the_example_of_the_card_fits_the_tokenizer(params):
    text = model_card("dskd-0", "dskd", 0, 30, params, SCORES, {}, chat=False)
    assert "apply_chat_template" not in text and 'ids = tokenizer("The capital of France is"' in text


@pytest.mark.parametrize("licence", ["CC BY-NC-SA 4.0", "CC BY NC 4.0", "free for non-commercial use", "Noncommercial"])
def test_a_noncommercial_source_is_named(params, licence):
    assert "Not for commercial use: the licence of wordnet forbids it." in licences(with_licence(params, licence))


@pytest.mark.parametrize("licence", ["Apache-2.0", "NCSA", "CC BY-SA 4.0"])
def test_other_licences_are_not_taken_for_one(params, licence):
    assert "Not for commercial use" not in licences(with_licence(params, licence))
