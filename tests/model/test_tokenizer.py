import json

import pytest
from tiny.models import VOCABULARY, make_teacher, make_tokenizer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig

from dskd.errors import UserError
from dskd.model.tokenizer import after_text, before_text, begun, check_ids, load_tokenizer, special_ids, stop_tokens

MARK = "<|endoftext|>"


def with_marks(form: str):
    """A tokenizer that puts its mark where the form says, as "<|endoftext|> $A"."""
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=form, special_tokens=[(MARK, 0)])
    return tokenizer


@pytest.mark.parametrize("before, after", [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 2)])
def test_what_a_tokenizer_puts_around_a_text(before, after):
    tokenizer = with_marks(" ".join([MARK] * before + ["$A"] + [MARK] * after))
    text = "the lazy dog"
    plain = make_tokenizer()(text).input_ids
    assert (before_text(tokenizer), after_text(tokenizer)) == ([0] * before, [0] * after)
    assert tokenizer(text).input_ids == [0] * before + plain + [0] * after
    assert begun(tokenizer, text) == [0] * before + plain


def test_a_token_is_special_where_the_tokenizer_marks_it():
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["</s>", AddedToken("<|turn|>", special=True)])
    special, ordinary = tokenizer.convert_tokens_to_ids(["<|turn|>", "</s>"])
    assert special in special_ids(tokenizer) and ordinary not in special_ids(tokenizer)
    assert 0 in special_ids(tokenizer)


@pytest.mark.parametrize(
    "written, eos, stops",
    [(None, MARK, [0]), (0, MARK, [0]), ([5, 7], MARK, [0, 5, 7]), ([5], None, [5]), (None, None, [])],
)
def test_an_answer_ends_by_one_token_or_by_several(written, eos, stops):
    tokenizer, model = make_tokenizer(), make_teacher()
    tokenizer.eos_token = eos
    model.generation_config = GenerationConfig(eos_token_id=written)
    assert stop_tokens(model, tokenizer) == stops


def test_an_end_that_is_no_token_is_an_error():
    model = make_teacher()
    model.generation_config.eos_token_id = ["end"]
    with pytest.raises(UserError, match=r"eos_token_id in generation_config\.json is 'end'"):
        stop_tokens(model, make_tokenizer())


def beyond(token):
    """A tokenizer with one token past a model's vocabulary, and the size of that vocabulary."""
    tokenizer = make_tokenizer()
    size = len(tokenizer)
    tokenizer.add_tokens([token])
    return tokenizer, size


def test_a_token_past_the_vocabulary_that_no_text_gives_is_no_fault():
    tokenizer, size = beyond(AddedToken("<image_soft_token>", special=True))
    check_ids(tokenizer, size, "it")
    tokenizer.pad_token = "<image_soft_token>"
    check_ids(tokenizer, size, "it")


@pytest.mark.parametrize("how", ["ordinary", "template", "eos", "before a text"])
def test_a_token_past_the_vocabulary_that_a_text_can_give_is_an_error(how):
    tokenizer, size = beyond("<more>" if how == "ordinary" else AddedToken("<more>", special=True))
    if how == "template":
        tokenizer.chat_template = "{% for m in messages %}<more>{{ m.content }}{% endfor %}"
    if how == "eos":
        tokenizer.eos_token = "<more>"
    if how == "before a text":
        form = TemplateProcessing(single="<more> $A", special_tokens=[("<more>", size)])
        tokenizer.backend_tokenizer.post_processor = form
    with pytest.raises(UserError, match=rf"it: .*vocabulary ends at {size - 1}, and a text can give '<more>'"):
        check_ids(tokenizer, size, "it")
    check_ids(tokenizer, size + 1, "it")
    assert size < VOCABULARY


SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+"


@pytest.mark.parametrize(("kind", "name"), [("qwen2", "PreTrainedTokenizerFast"), ("llama", "GPT2Tokenizer")])
def test_texts_are_split_as_tokenizer_json_says(tmp_path, capsys, kind, name):
    """transformers has a way to split of its own for these, which cuts numbers into digits, or "I'M" otherwise."""
    written = Tokenizer(models.BPE())
    written.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    written.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    text = ["the year 1984 'MA ''M 123 456 don't I'M"] * 20
    settings = {"special_tokens": [MARK], "initial_alphabet": alphabet, "show_progress": False}
    written.train_from_iterator(text, trainers.BpeTrainer(vocab_size=400, **settings))
    written.save(str(tmp_path / "tokenizer.json"))
    about = {"tokenizer_class": name, "eos_token": MARK}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(about))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind, "vocab_size": 400, "hidden_size": 32}))
    found = load_tokenizer(tmp_path, "mine")
    for asked in ("in 123456 I'M\n\n1984", "don't"):
        assert found(asked, add_special_tokens=False)["input_ids"] == written.encode(asked).ids
    assert "mine: " in (said := capsys.readouterr().err) and "otherwise than tokenizer.json says" in said
    assert found.eos_token == MARK
    make_tokenizer().save_pretrained(tmp_path / "plain")
    load_tokenizer(tmp_path / "plain")
    assert not capsys.readouterr().err
