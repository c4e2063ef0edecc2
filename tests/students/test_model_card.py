"""The model card: what went into a student, and under which licence."""

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.utils import validate_repo_id
from whole.test_pipeline import ROOT

from dskd.params import Lora, PromptSet, PromptsParams, load_params
from dskd.students.model_card import LICENCE_FILE, Making, licences, model_card, prompt_licences, with_licences_of

SCORES = {"ce": 4.0, "kl": 1.0, "agreement": 0.5}


def making(objective, scores=SCORES, chat=True):
    return Making(objective, 0, 30, chat, scores, 1234, {})


@pytest.fixture
def params():
    return load_params(ROOT / "params.yaml")


def with_licence(params, licence):
    wordnet = params.sources.wordnet.model_copy(update={"licence": licence})
    return params.sources.model_copy(update={"wordnet": wordnet})


def test_the_card_names_every_source_and_its_licence(params):
    text = model_card(params, making("dskd"))
    for name, source in params.sources.every().items():
        assert f"| {name} | `{source.source}` | {source.licence} |" in text
    assert "commercial" not in text  # none of the default's sources forbids it
    assert "lora" not in text
    with_lora = params.student.model_copy(update={"lora": Lora(rank=16, alpha=32.0)})
    text = model_card(params.model_copy(update={"student": with_lora}), making("kd"))
    assert '"rank": 16' in text


def test_the_card_says_of_how_many_tokens_its_means_are(params):
    """The text may have fewer than corpus.heldout_tokens."""
    assert "Means over 1234 tokens" in model_card(params, making("dskd"))


def test_the_hub_reads_the_front_matter(params):
    """What its specification of a card asks for (huggingface/hub-docs, modelcard.md); its own check needs a network."""
    text = model_card(params, making("dskd", scores={"ce": 1e-5, "kl": 1.23456, "agreement": 0.5}))
    card = ModelCard(text)
    assert str(card) == text  # read and written again by the hub's library
    assert text.startswith("---\nlicense: other\n") and "base_model" not in card.data.to_dict()  # the source is PyPI's
    assert card.data.license_name == card.data.license_name.lower() and LICENCE_FILE in ("LICENSE", "LICENSE.md")
    assert (card.data.license_link, card.data.model_name, card.data.language) == (LICENCE_FILE, "dskd-0", "en")
    found = {result.metric_type: result for result in card.data.eval_results}
    assert {key: result.metric_value for key, result in found.items()} == {"ce": 0.0, "kl": 1.2346, "agreement": 0.5}
    for result in found.values():
        assert result.task_type == card.data.pipeline_tag and result.dataset_type and result.dataset_name
        assert f"| {result.metric_name} | {result.metric_value:.4f} |" in card.text


@pytest.mark.parametrize("source", ["hf:owner/name-1.0@main", "hf:owner/name-1.0@v1!a + hf:owner/name-1.0@v1!b"])
def test_a_teacher_from_the_hub_is_the_base_model(params, source):
    teacher = params.sources.teacher.model_copy(update={"source": source})
    sources = params.sources.model_copy(update={"teacher": teacher})
    text = model_card(params.model_copy(update={"sources": sources}), making("kd"))
    data = ModelCard(text).data
    validate_repo_id(data.base_model)
    assert data.base_model == "owner/name-1.0"
    assert data["base_model_relation"] in ("finetune", "adapter", "merge", "quantized")  # those that the hub knows


def test_prompts_are_among_the_parameters_where_there_are_any(params):
    assert '"prompts": {' not in model_card(params, making("dskd"))
    prompts = PromptsParams(shots=3, sets={"piqa": PromptSet(share=0.125)})
    text = model_card(params.model_copy(update={"prompts": prompts}), making("dskd"))
    assert '"shots": 3' in text and '"piqa": {\n    "share": 0.125' in text


def test_the_example_of_the_card_fits_the_tokenizer(params):
    text = model_card(params, making("dskd", chat=False))
    assert "apply_chat_template" not in text and 'ids = tokenizer("The capital of France is"' in text


@pytest.mark.parametrize(
    "licence",
    [
        "CC BY-NC-SA 4.0",
        "CC BY NC 4.0",
        "free for non-commercial use",
        "Noncommercial",
        "Non Commercial only",
        "cc_by_nc_4.0",
        "CC BYNC",
        "for research only",
    ],
)
def test_a_noncommercial_source_is_named(params, licence):
    assert "Not for commercial use: the licence of wordnet forbids it." in licences(with_licence(params, licence))


@pytest.mark.parametrize("licence", ["Apache-2.0", "NCSA", "CC BY-SA 4.0", "for synchronous use", "Once"])
def test_other_licences_are_not_taken_for_one(params, licence):
    assert "Not for commercial use" not in licences(with_licence(params, licence))


def test_licences_that_were_corrected_are_those_of_a_card_of_now(params):
    """Those of other sources stay as they are."""
    prompts = PromptsParams(sets={"piqa": PromptSet(share=0.125, source=params.sources.wordnet)})
    old = params.model_copy(update={"prompts": prompts})
    text = licences(old.sources) + prompt_licences(prompts)
    assert with_licences_of(old, text) == text
    wordnet = with_licence(params, "CC BY-NC 4.0").wordnet
    sets = {"piqa": PromptSet(share=0.125, source=wordnet)}
    sources = params.sources.model_copy(update={"wordnet": wordnet})
    new = params.model_copy(update={"sources": sources, "prompts": PromptsParams(sets=sets)})
    assert with_licences_of(new, text) == licences(new.sources) + prompt_licences(new.prompts)
    assert with_licences_of(old, with_licences_of(new, text)) == text
    others = text.replace("pypi:", "hf:")
    assert with_licences_of(new, others) == others
