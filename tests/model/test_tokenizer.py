import pytest
from tiny.models import VOCABULARY, make_teacher, make_tokenizer
from tokenizers import AddedToken
from tokenizers.processors import TemplateProcessing
from transformers import GenerationConfig

from dskd.errors import UserError
from dskd.model.tokenizer import after_text, before_text, begun, check_ids, special_ids, stop_tokens

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
