"""A sense dictionary as a folder: how it is written whole, and what is looked at before it is believed."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dskd.errors import UserError, one_line
from dskd.infra.hashes import SUMS, identity, read_checksums, sha256_file
from dskd.infra.made_of import ORIGIN_FILE as ORIGIN
from dskd.infra.output import output
from dskd.library.card import CARD_TAG, About
from dskd.model.tokenizer import load_tokenizer, save_tokenizer
from dskd.senses.store import CONTEXTS_FILE as TABLE
from dskd.senses.store import SENSES_FILE as SENSES
from dskd.senses.store import Senses, load_contexts, write_senses

if TYPE_CHECKING:
    import pandas as pd

ABOUT, CONTEXTS, CARD = "dictionary.json", "contexts.json", "README.md"  # the pipeline's has TABLE for CONTEXTS
_WHOLE = (torch.int8, torch.int16, torch.int32, torch.int64)
READ = ("*.json", "*.safetensors", "*.txt", TABLE, SUMS)  # of a folder that is shared


class Saved(NamedTuple):
    """What a folder holds."""

    senses: Senses
    tokenizer: PreTrainedTokenizerBase
    about: About
    settings: Mapping[str, Any]
    contexts: Sequence[list[str]]  # of each sense, or empty
    figures: Mapping[str, float]


def write_dictionary(folder: Path, saved: Saved, card: str) -> None:
    """Write all files of a dictionary; other files of the folder stay. `dictionary.json` has the hashes of what it
    belongs to, and the vectors come last: after a save that was interrupted the folder is refused, not mixed.

    Raises:
        UserError: the folder is an artifact with checksums of its own, has a README.md of something else, or cannot be
            one.
    """
    if (folder / SUMS).exists():
        raise UserError(f"{folder} has checksums ({SUMS}), which would no longer hold: save into another folder")
    if (folder / CARD).is_file() and CARD_TAG.encode() not in (folder / CARD).read_bytes():
        raise UserError(
            f"{folder / CARD} is of something else, and a dictionary's would replace it: name another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(f"{folder} is a file, or lies in one: name a folder") from None
    with (  # all are there before the first of them gets its name; that of the vectors is the last
        output(folder / SENSES) as vectors,
        output(folder / CONTEXTS) as contexts,
        output(folder / ABOUT) as about,
        output(folder / CARD) as page,
    ):
        write_senses(saved.senses, vectors)
        contexts.write_text(_text({"contexts": list(saved.contexts)}), encoding="utf-8")
        known = {
            "about": saved.about._asdict(),
            "settings": dict(saved.settings),
            "figures": dict(saved.figures),
            "sha256": {SENSES: sha256_file(vectors), CONTEXTS: sha256_file(contexts)},
            "vocabulary": _vocabulary(saved.tokenizer, saved.senses.tokens),
        }
        about.write_text(_text(known), encoding="utf-8")
        page.write_text(card, encoding="utf-8")
        save_tokenizer(saved.tokenizer, folder)


def read_dictionary(folder: Path, name: str, tokenizer: PreTrainedTokenizerBase | None = None) -> Saved:
    """The dictionary in a folder, of the library or of the pipeline.

    Args:
        name: what errors call the folder.
        tokenizer: the teacher's; left out, the one of the folder.

    Raises:
        UserError: there is none, it is damaged, its files do not belong together, the tokenizer is another one, or
            another process saves there meanwhile.
    """
    if not (folder / SENSES).is_file():
        raise UserError(f"{name} has no {SENSES}: give a folder that SenseDictionary.save_pretrained wrote")
    before = _identities(folder)
    known = _object(folder / ABOUT, name) or {"settings": _object(folder / ORIGIN, name).get("settings", {})}
    _check_hashes(folder, name, known.get("sha256", {}))
    try:
        senses = Senses(**load_file(folder / SENSES))
        check_senses(senses)
    except (SafetensorError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{name}/{SENSES} is no sense dictionary ({one_line(error)}): get it anew") from None
    try:
        about = About(**known.get("about", {}))
        settings, figures = dict(known.get("settings", {})), dict(known.get("figures", {}))
        if not all(isinstance(part, str) for part in about):
            raise TypeError("teacher, text and licence are texts")
        if not all(isinstance(figure, int | float) and math.isfinite(figure) for figure in figures.values()):
            raise TypeError("figures are finite numbers")
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{name}/{ABOUT} is damaged ({one_line(error)}): get it anew") from None
    table = _table(folder, name)
    contexts = _contexts(folder, name, senses, table)
    tokenizer = tokenizer or load_tokenizer(folder, name)
    beyond = int(senses.tokens[-1]) > max(tokenizer.get_vocab().values(), default=-1)  # which may have gaps
    fits = known["vocabulary"] == _vocabulary(tokenizer, senses.tokens) if "vocabulary" in known else not beyond
    if not (fits and _has_tokens(tokenizer, senses, table)):
        raise UserError(f"{name} is of another tokenizer than this one: give the teacher's")
    if _identities(folder) != before:
        raise UserError(f"{name} was saved anew while it was read: read it again")
    return Saved(senses, tokenizer, about, settings, contexts, figures)


def _identities(folder: Path) -> list[tuple[int, ...] | None]:
    return [identity(folder / name) for name in (SENSES, CONTEXTS, ABOUT, TABLE, ORIGIN, SUMS)]


def check_senses(senses: Senses) -> None:
    """Raise ValueError where the tensors do not fit together, or hold what is no number."""
    number, rows = len(senses.tokens), len(senses.centroids)
    if not senses.centroids.is_floating_point() or senses.centroids.dim() != 2:
        raise ValueError("centroids are no rows of numbers")
    for field in ("tokens", "offsets", "occurrences", "counts", "contexts"):
        values = getattr(senses, field)
        if values.dtype not in _WHOLE or values.dim() != 1 + (field == "contexts"):
            raise ValueError(f"{field} are no whole numbers, or have another shape")
    if len(senses.offsets) != number + 1 or len(senses.occurrences) != number:
        raise ValueError("offsets and occurrences do not fit the tokens")
    if len(senses.counts) != rows or len(senses.contexts) != rows:
        raise ValueError("counts and contexts do not fit the centroids")
    ascending = bool((senses.offsets.diff() >= 0).all()) and bool((senses.tokens.diff() > 0).all())
    if not ascending or int(senses.offsets[0]) != 0 or int(senses.offsets[-1]) != rows:
        raise ValueError("tokens and offsets do not ascend to the last centroid")
    if not rows:
        raise ValueError("there is no sense in it")
    if not bool((senses.offsets.diff() > 0).all()):
        raise ValueError(f"the token {int(senses.tokens[senses.offsets.diff() == 0][0])} has no sense")
    if int(senses.tokens[0]) < 0 or int(senses.counts.min()) < 1:
        raise ValueError("a token or a count is below 0, or a sense stands for no state")
    if not bool(senses.centroids.isfinite().all()):
        raise ValueError("a centroid is not finite")


def bracketed(left: str, token: str, right: str) -> str:
    """A place in the text in one line, its token in brackets: "we sat on the [bank] of the river"."""
    return f"{left} [{token.strip()}]{right}".strip()


def _table(folder: Path, name: str) -> "pd.DataFrame | None":
    """The pipeline's contexts, which tell whether a tokenizer is the teacher's; None where there are others or none."""
    if (folder / CONTEXTS).is_file() or not (folder / TABLE).is_file():
        return None
    try:
        return load_contexts(folder)
    except ImportError:
        raise UserError(f"pyarrow is missing, which reads {name}/{TABLE}: pip install 'dskd[lexicon]'") from None


def _has_tokens(tokenizer: PreTrainedTokenizerBase, senses: Senses, table: "pd.DataFrame | None") -> bool:
    """Whether the tokens of the pipeline's contexts are, as text, what this tokenizer says of their ids."""
    if table is None:
        return True
    of_rows = senses.tokens.repeat_interleave(senses.offsets.diff()).numpy()
    known = dict(zip(of_rows[table["sense"].to_numpy()].tolist(), table["token"].tolist()))
    return tokenizer.batch_decode([[token] for token in known]) == list(known.values())


def _contexts(folder: Path, name: str, senses: Senses, table: "pd.DataFrame | None") -> list[list[str]]:
    """Of each sense its places as text; empty where there are none."""
    if (folder / CONTEXTS).is_file():
        found = _object(folder / CONTEXTS, name).get("contexts")
        if not (isinstance(found, list) and all(isinstance(texts, list) for texts in found)) or (
            len(found) not in (0, len(senses.centroids))
        ):
            raise UserError(f"{name}/{CONTEXTS} does not fit {SENSES}: get both anew, of one dictionary")
        if not all(isinstance(text, str) for texts in found for text in texts):
            raise UserError(f"{name}/{CONTEXTS} holds something else than texts: get it anew")
        return found
    if table is None:
        return []
    lists: list[list[str]] = [[] for _ in range(len(senses.centroids))]
    for sense, left, token, right in zip(*(table[name].tolist() for name in ("sense", "left", "token", "right"))):
        if not 0 <= sense < len(lists):
            raise UserError(f"{name}/{TABLE} does not fit {SENSES}: get both anew, of one dictionary")
        if (text := bracketed(left, token, right)) not in lists[sense]:
            lists[sense].append(text)
    return lists


def _check_hashes(folder: Path, name: str, known: object) -> None:
    """Raise UserError where a file is another one than that which dictionary.json or SHA256SUMS belong to."""
    known = dict(known) if isinstance(known, dict) else {}
    if (folder / SUMS).is_file():
        try:
            known |= {file: digest for file, digest in read_checksums(folder).items() if file in (SENSES, ABOUT, TABLE)}
        except (ValueError, AttributeError):
            raise UserError(f"{name}/{SUMS} is damaged: get the folder anew") from None
    for file in (SENSES, CONTEXTS, ABOUT, TABLE):
        if file in known and not ((folder / file).is_file() and sha256_file(folder / file) == known[file]):
            raise UserError(
                f"{name}/{file} is not what the folder's other files belong to: a save was interrupted, or it is "
                "damaged or replaced; save or get the dictionary anew"
            )


def _text(value: object) -> str:
    try:
        return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise UserError(f"settings and figures are to be texts and finite numbers: {one_line(error)}") from None


def _object(path: Path, name: str) -> dict[str, Any]:
    """The JSON object in a file; empty where there is no file."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(found, ensure_ascii=False).encode()  # half a character, written as \ud800, is no text
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{name}/{path.name} is damaged ({one_line(error)[:200]}): get it anew") from None
    if not isinstance(found, dict):
        raise UserError(f"{name}/{path.name} is damaged (it holds no JSON object): get it anew")
    return found


def _vocabulary(tokenizer: PreTrainedTokenizerBase, tokens: Tensor) -> str:
    """A hash of what these tokens are to a tokenizer. Tokens that were added since do not count."""
    texts = tokenizer.convert_ids_to_tokens(tokens.tolist())
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()
