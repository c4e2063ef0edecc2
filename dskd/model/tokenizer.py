"""Tokenizers from folders, without the seconds that importing models takes."""

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from dskd.errors import UserError, one_line


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """Raises UserError if the folder has no tokenizer."""
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} has no tokenizer that transformers can read: {one_line(error)}") from None


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write a tokenizer's files, whose bytes do not tell whether it was loaded with HF_HUB_OFFLINE set."""
    tokenizer.init_kwargs["local_files_only"] = False
    tokenizer.save_pretrained(folder)
