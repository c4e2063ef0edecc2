"""Tokenizers from folders, without the seconds that importing models takes, and their tokens that are no text."""

import sys
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

if TYPE_CHECKING:  # `dskd senses` reads no model, and what models import takes seconds
    from transformers import PreTrainedModel

from dskd.errors import UserError, one_line
from dskd.infra.hashes import sha256_file
from dskd.model.folder import TOKENIZER_CONFIG, check_settings, code_of_its_own

TOKENIZER = "tokenizer.json"
_WORD = "the"  # what every tokenizer knows
# What ways to split a text differ in.
_PROBE = "the Bank of 12345, I'M don't\n\n1984  x =  3\tCaf\u00e9 cafe\u0301 \ufb01ne {return}"
# Texts that close a document in pre-training. A chat model's eos token is the end of a turn instead
# (SmolLM2-Instruct: eos is <|im_end|>, while documents end with <|endoftext|>), so these come first. Only a special
# token counts: in Gemma's vocabulary </s> is a piece of HTML.
_DOCUMENT_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>")


def load_tokenizer(folder: str | Path, name: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder, which errors call `name`. No code of the folder is run.

    Raises:
        UserError: the folder has no tokenizer, or one that is empty or written in Python alone.
    """
    name = name or str(folder)
    try:
        check_settings(folder, name)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        check_tokenizer(tokenizer, name)
        tokenizer = _as_written(tokenizer, Path(folder), name)
    except (MemoryError, UserError):
        raise
    except Exception as error:  # transformers and tokenizers raise whatever damaged files lead to
        if TOKENIZER_CONFIG in code_of_its_own(folder):
            raise UserError(
                f"{name}: the tokenizer is code of the model's own (auto_map in {TOKENIZER_CONFIG}), which is never "
                "run: take a model whose tokenizer transformers has itself"
            ) from None
        why = one_line(error)[:300]
        raise UserError(f"{name} has no tokenizer that transformers can read: {why}") from None
    tokenizer.init_kwargs.pop("auto_map", None)  # who gets a student must not be asked to run code
    return tokenizer


def _as_written(tokenizer: PreTrainedTokenizerBase, folder: Path, name: str) -> PreTrainedTokenizerBase:
    """The tokenizer that splits texts as tokenizer.json says. For some types of model transformers takes the vocabulary
    from that file, and a way to split from its own code."""
    if not (folder / TOKENIZER).is_file():
        return tokenizer
    written = Tokenizer.from_file(str(folder / TOKENIZER))
    written.no_truncation()
    written.no_padding()
    wanted = written.encode(_PROBE, add_special_tokens=False).ids
    if tokenizer(_PROBE, add_special_tokens=False)["input_ids"] == wanted:
        return tokenizer
    plain = PreTrainedTokenizerFast.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if plain(_PROBE, add_special_tokens=False)["input_ids"] != wanted:
        raise UserError(f"{name}: transformers splits texts otherwise than {TOKENIZER} says: take another model")
    print(
        f"{name}: {type(tokenizer).__name__} splits texts otherwise than {TOKENIZER} says, which counts here; "
        "elsewhere load it with PreTrainedTokenizerFast",
        file=sys.stderr,
    )
    return plain


def check_tokenizer(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raise UserError where the tokenizer gives nothing for a word, or has no fast form."""
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        kind = type(tokenizer).__name__
        raise UserError(f"{name}: {kind} has no fast form (tokenizer.json), which dskd needs: take another model")
    ids = tokenizer(_WORD, add_special_tokens=False)["input_ids"]
    if _WORD not in tokenizer.decode(ids).lower():
        raise UserError(f'{name}: the tokenizer gives nothing for "{_WORD}": is its tokenizer.json missing or empty?')


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer's files, whose bytes do not tell whether it was loaded with HF_HUB_OFFLINE set."""
    tokenizer.init_kwargs["local_files_only"] = False
    tokenizer.save_pretrained(folder)


def tokenizer_hash(folder: str | Path) -> str:
    """What the tokenizer in the teacher's folder is known by."""
    return sha256_file(Path(folder) / TOKENIZER)


def before_text(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The special tokens that the tokenizer puts before a text: none, or most often one (Gemma's <bos>)."""
    ids, added = _with_special_tokens(tokenizer)
    return [token for token, _ in takewhile(lambda pair: pair[1], zip(ids, added))]


def after_text(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Those that it puts after a text. A text that something follows must not have them."""
    ids, added = _with_special_tokens(tokenizer)
    return [token for token, _ in takewhile(lambda pair: pair[1], zip(reversed(ids), reversed(added)))][::-1]


def begun(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of a text that something follows: with the special tokens before it, and without those after it."""
    return [*before_text(tokenizer), *tokenizer(text, add_special_tokens=False)["input_ids"]]


def special_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """The tokens that the tokenizer itself marks as special. The spelling of a token tells nothing: Gemma has an
    ordinary token `</s>`."""
    marked = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    return marked | set(tokenizer.all_special_ids)


def separator_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that closes a document: the one of pre-training where it is known, else eos.

    Raises:
        UserError: the tokenizer has neither.
    """
    vocabulary, special = tokenizer.get_vocab(), special_ids(tokenizer)
    for token in (*_DOCUMENT_ENDS, tokenizer.eos_token):
        if vocabulary.get(token) in special:
            return vocabulary[token]
    raise UserError(f"the tokenizer has no eos token nor any of {', '.join(_DOCUMENT_ENDS)}: set its eos_token")


def stop_tokens(model: "PreTrainedModel", tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end an answer: those of the model's generation_config.json, one or a list, and the tokenizer's
    eos token. UserError where one of them is no token."""
    ends = getattr(model.generation_config, "eos_token_id", None)
    found = {*(ends if isinstance(ends, (list, tuple)) else [ends]), tokenizer.eos_token_id} - {None}
    if odd := [token for token in found if type(token) is not int]:
        raise UserError(f"eos_token_id in generation_config.json is {odd[0]!r}: write the number of a token, or a list")
    return sorted(found)


def check_ids(tokenizer: PreTrainedTokenizerBase, size: int, name: str) -> None:
    """Raise UserError if a text can give a token that a model of so many tokens does not have.

    A special token that neither the tokenizer itself nor its chat template writes is no fault: the tokenizer of
    Gemma 3's text models has <image_soft_token>, which stands for an image.
    """
    vocabulary = tokenizer.get_vocab()
    beyond = {token: number for token, number in vocabulary.items() if number >= size}
    ends = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token, tokenizer.sep_token, tokenizer.cls_token)
    written = {*before_text(tokenizer), *after_text(tokenizer), *(vocabulary.get(token) for token in ends)}
    template, special = str(tokenizer.chat_template or ""), special_ids(tokenizer)
    given = [t for t, number in beyond.items() if number not in special or number in written or t in template]
    if given:
        raise UserError(
            f"{name}: the tokenizer has ids up to {max(beyond.values())}, the model's vocabulary ends at {size - 1}, "
            f"and a text can give {min(given, key=vocabulary.get)!r} ({min(map(vocabulary.get, given))}); use the "
            "tokenizer that the model was trained with"
        )


def _with_special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The ids of a word with all that the tokenizer adds, and 1 for each that it added."""
    encoded = tokenizer(_WORD, return_special_tokens_mask=True)
    return encoded["input_ids"], encoded["special_tokens_mask"]
