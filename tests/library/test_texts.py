"""Texts and models that do not fit: one line, before anything is computed of them."""

import codecs
import re

import pytest
import torch
from tiny.families import make_decoder
from tiny.models import TEXT, make_teacher, make_tokenizer
from tiny.wordnet import train_tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoModelForCausalLM,
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    Gemma3Config,
)

from dskd import DictionarySettings, SenseDictionary, UserError, model_head, states_of
from dskd.library.texts import text_chunks

SETTINGS = DictionarySettings(length=8)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"text": TEXT}, "texts is a dict"),
        (3, "texts is a int"),
        (None, "texts is a NoneType"),
        ([*TEXT * 9, None], "holds a NoneType"),  # which would be left out
        ([*TEXT * 9, 0], "holds a int"),
        ([*TEXT * 9, "half \ud800 of it"], "half a character"),
        (iter(()), "0 tokens"),
        ([""] * 200, "0 tokens"),
        *(
            (rows * 9, r"rows of JSON.*json\.loads\(row\)")  # files of JSON lines, and tables in JSON
            for rows in (
                ['{"text": "a big fox", "title": "b"}\n'] * 9,
                ['\ufeff{"text": "a big fox"}', *[' {"text": "a big fox"}'] * 9],
                ['{"content": "a big fox"}'] * 9,
                [*['{"text": "a big fox"}'] * 9, '{"text": null}', "a big fox"],
                ["[", *['{"text": "a big fox"},'] * 9, "]"],
            )
        ),
    ],
)
def test_what_are_no_texts_is_named(teacher, tokenizer, texts, says):
    with pytest.raises(UserError, match=says):
        SenseDictionary.from_model(teacher, tokenizer, texts, SETTINGS)


def test_the_lines_of_a_file_are_its_texts_whatever_marks_them(tmp_path):
    """An opened file gives lines with their ends, and some editors begin a file with a mark."""
    plain = torch.cat([chunk.blocks for chunk in text_chunks(TEXT * 9, train_tokenizer(TEXT), 8)])
    for start, end in (("", "\n"), ("\ufeff", "\n"), ("", "\r\n"), ("", "\n\n")):
        path = tmp_path / "texts.txt"
        path.write_text(start + end.join(TEXT * 9), encoding="utf-8", newline="")
        with path.open(encoding="utf-8") as file:
            found = torch.cat([chunk.blocks for chunk in text_chunks(file, train_tokenizer(TEXT), 8)])
        assert torch.equal(found, plain)
    for newline in ("\n", "\r\n"):
        path.write_text("\n".join(TEXT * 9), encoding="utf-8", newline=newline)
        for file in (path.open(encoding="utf-8", newline=""), codecs.open(path, encoding="utf-8")):
            with file:
                assert torch.equal(
                    torch.cat([chunk.blocks for chunk in text_chunks(file, train_tokenizer(TEXT), 8)]), plain
                )


@pytest.mark.parametrize("texts", [['{"text": 3}', '{"a": "b"}'] * 40, ['{"text": "a"}'] * 31 + ["a big fox"] * 40])
def test_texts_that_are_about_json_are_texts(tokenizer, texts):
    assert list(text_chunks(texts, tokenizer, 8))


@pytest.mark.parametrize(
    ("settings", "batch", "says"),
    [
        ({"length": 0}, 8, "length = 0"),
        ({"length": -3}, 8, "length = -3"),
        ({"length": 8.5}, 8, r"length = 8\.5"),
        ({"length": 65}, 8, "reads 64 tokens at most"),
        ({"length": 8}, 0, "batch_size = 0"),
    ],
)
def test_lengths_that_no_model_reads_are_named(teacher, tokenizer, settings, batch, says):
    with pytest.raises(UserError, match=says):
        SenseDictionary.from_model(teacher, tokenizer, TEXT * 9, SETTINGS._replace(**settings), batch_size=batch)
    with pytest.raises(UserError, match=says):
        states_of(teacher, tokenizer, TEXT * 9, batch_size=batch, **settings)


def test_a_tokenizer_of_another_model_is_named(tokenizer):
    model = make_teacher(vocabulary=70)
    for read in (lambda: SenseDictionary.from_model(model, tokenizer, TEXT * 9, SETTINGS),
                 lambda: states_of(model, tokenizer, TEXT * 9, length=8)):  # fmt: skip
        with pytest.raises(UserError, match="vocabulary ends at 69"):
            read()


def test_a_model_that_reads_pictures_is_named(tokenizer):
    text = {"vocab_size": 120, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "head_dim": 8}
    text |= {"num_attention_heads": 2, "num_key_value_heads": 1}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(text_config=text, vision_config=vision | {"image_size": 28, "patch_size": 14})
    model = AutoModelForCausalLM.from_config(config)
    for read in (lambda: SenseDictionary.from_model(model, tokenizer, TEXT * 9, SETTINGS), lambda: model_head(model)):
        with pytest.raises(UserError, match="reads more than text: take the model of its text alone"):
            read()


def test_contexts_are_the_texts_also_where_something_goes_before_them():
    """A block begins with it, in the place of a token of the text."""
    plain, begun = (train_tokenizer(TEXT) for _ in range(2))
    begun._tokenizer.post_processor = TemplateProcessing("<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)])
    assert begun("a")["input_ids"][0] == 0 != plain("a")["input_ids"][0]
    model = make_teacher(vocabulary=len(plain))
    for of in (plain, begun):
        made = SenseDictionary.from_model(model, of, TEXT * 9, SETTINGS)
        contexts = [re.sub(r"[\[\]\s]|<\|endoftext\|>", "", context) for row in made.contexts for context in row]
        assert len(contexts) > 10
        assert all(any(context in text.replace(" ", "") for text in TEXT) for context in contexts)


def test_a_model_without_a_head_is_named(teacher, tokenizer):
    with pytest.raises(UserError, match="AutoModelForCausalLM"):
        SenseDictionary.from_model(teacher.base_model, tokenizer, TEXT * 9, SETTINGS)
    with pytest.raises(UserError, match="LlamaModel has no output head: load it with AutoModelForCausalLM"):
        model_head(teacher.base_model)


SIZES = {"vocab_size": 120, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}


def masked():
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    return BertForMaskedLM(BertConfig(**SIZES, **sizes, initializer_range=0.2))


def with_encoder():
    sizes = {f"{part}_{key}": value for part in ("encoder", "decoder") for key, value in
             (("layers", 2), ("ffn_dim", 64), ("attention_heads", 4))}  # fmt: skip
    return BartForConditionalGeneration(BartConfig(**SIZES, **sizes, d_model=32, decoder_start_token_id=0))


@pytest.mark.parametrize("make", [masked, with_encoder, lambda: make_decoder("llama", is_causal=False)])
def test_a_model_that_sees_what_follows_is_named(make, tokenizer):
    model = make()
    for read in (lambda: SenseDictionary.from_model(model, tokenizer, TEXT * 9, SETTINGS),
                 lambda: states_of(model, tokenizer, TEXT * 9, length=8)):  # fmt: skip
        with pytest.raises(UserError, match=f"{type(model).__name__} sees what follows a token"):
            read()
    with pytest.raises(UserError, match=type(model).__name__):
        model_head(model)


@pytest.mark.filterwarnings("ignore")  # PEFT's own
def test_a_head_that_is_more_than_a_matrix_is_named(tokenizer):
    peft = pytest.importorskip("peft")
    biased, predicted = make_teacher(), SETTINGS._replace(key="predicted", min_states=1)
    biased.lm_head = torch.nn.Linear(32, 120)
    lora = peft.get_peft_model(make_teacher(tied=False), peft.LoraConfig(target_modules=["q_proj", "lm_head"]))
    for model, says in ((biased, "a Linear with bias, weight"), (lora.get_base_model(), "lora_A.*modules_to_save")):
        with pytest.raises(UserError, match=says):
            model_head(model)
        with pytest.raises(UserError, match=says):
            SenseDictionary.from_model(model, tokenizer, TEXT * 9, predicted)
    saved = peft.LoraConfig(target_modules=["q_proj"], modules_to_save=["lm_head"])
    model = peft.get_peft_model(make_teacher(tied=False), saved).get_base_model()
    assert model_head(model).weight is model.lm_head.modules_to_save["default"].weight


def test_states_that_are_not_finite_are_no_senses_and_no_covariance(tokenizer):
    model = make_teacher()
    model.base_model.norm.weight.data[3] = torch.inf
    with pytest.raises(UserError, match="not finite"):
        SenseDictionary.from_model(model, tokenizer, TEXT * 9, SETTINGS)
    with pytest.raises(UserError, match="not finite"):
        states_of(model, tokenizer, TEXT * 9, length=8)


def test_measures_want_the_dictionarys_model(teacher, tokenizer):
    made = SenseDictionary.from_model(teacher, tokenizer, TEXT * 12, SETTINGS)
    for model, states, says in (
        (make_teacher(vocabulary=70), 64, "vocabulary ends at 69"),
        (teacher, 0, "states = 0"),
    ):
        with pytest.raises(UserError, match=says):
            made.measured(model, TEXT * 9, states)
    from dataclasses import replace

    narrow = replace(made, senses=made.senses._replace(centroids=made.senses.centroids[:, :1].clone()))
    with pytest.raises(UserError, match="32 dimensions, the senses 1"):
        narrow.measured(teacher, TEXT * 9)


@pytest.mark.parametrize("word", ["\u200b", "\ud800", "\t \n"])
def test_a_word_of_nothing_is_one_clear_line_or_has_no_sense(teacher, word):
    made = SenseDictionary.from_model(teacher, make_tokenizer(), TEXT * 12, SETTINGS)
    try:
        assert made.of(word) == []
    except UserError as error:
        assert len(str(error).splitlines()) == 1


def test_as_many_senses_as_are_asked_for(teacher, tokenizer):
    made = SenseDictionary.from_model(teacher, tokenizer, TEXT * 12, SETTINGS)
    assert made.nearest(torch.zeros(0, 32), "dog", most=2).rows.shape == (0, 2)
    assert made.nearest(torch.zeros(32).bfloat16(), "dog").distances.dtype == torch.float32
    for most in (0, -1):
        with pytest.raises(UserError, match=f"most = {most}"):
            made.nearest(torch.zeros(32), "dog", most)
    with pytest.raises(UserError, match="0 dimensions"):
        made.nearest(torch.tensor(1.0), "dog")


@pytest.mark.parametrize("place", ["/home/anna/secret/model", "../secret/model", "C:\\Users\\anna\\model", "./model"])
def test_a_folder_that_is_gone_is_no_part_of_the_card(tokenizer, place):
    model = make_teacher()
    model.config.name_or_path = place
    made = SenseDictionary.from_model(model, tokenizer, TEXT * 12, SETTINGS)
    assert made.about.teacher == "model" and "anna" not in made.card() and "secret" not in made.card()


def test_a_model_of_which_parts_are_frozen_is_left_as_it_was(tokenizer):
    """`train()` would wake the dropout of the parts."""
    model = make_teacher(layers=3).train()
    model.model.layers[0].eval()
    before = {name: module.training for name, module in model.named_modules()}
    for read in (lambda: states_of(model, tokenizer, TEXT * 9, length=8), lambda: model_head(model)):
        read()
        assert {name: module.training for name, module in model.named_modules()} == before
    hook = model.lm_head.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model_head(model)
    hook.remove()
    assert {name: module.training for name, module in model.named_modules()} == before


def test_what_is_around_a_model_is_named(tokenizer):
    for model in (torch.nn.DataParallel(make_teacher()), torch.compile(make_teacher())):
        with pytest.raises(UserError, match="give the one inside it"):
            states_of(model, tokenizer, TEXT * 9, length=8)


@pytest.mark.filterwarnings("ignore")  # PEFT's own
def test_what_an_adapter_adds_is_read_of_the_model_that_has_it(tokenizer):
    peft = pytest.importorskip("peft")
    adapted = peft.get_peft_model(
        make_teacher(), peft.LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    with pytest.raises(UserError, match=r"PeftModel.*get_base_model"):
        SenseDictionary.from_model(adapted, tokenizer, TEXT * 9, SETTINGS)
    found = states_of(adapted.get_base_model(), tokenizer, TEXT * 9, length=8)
    merged = states_of(adapted.merge_and_unload(), tokenizer, TEXT * 9, length=8)
    torch.testing.assert_close(found, merged, rtol=1e-3, atol=1e-4)  # one rounds the sum of weights, one of products
    assert not torch.allclose(found, states_of(make_teacher(), tokenizer, TEXT * 9, length=8))
