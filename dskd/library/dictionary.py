"""A sense dictionary with the words that it is of: made of any model and text, saved, shared and looked up."""

import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dskd.errors import UserError
from dskd.infra import processes
from dskd.lexicon.tokens import word_tokens
from dskd.library import files
from dskd.library.card import About, dictionary_card
from dskd.library.fit import check_distances, check_width, fit_figures
from dskd.library.hub import fetched
from dskd.library.losses import model_head
from dskd.library.models import no_autocast, vocabulary
from dskd.library.settings import DictionarySettings
from dskd.library.texts import TextChunk, check_model, is_unicode, last_states, text_chunks
from dskd.model.blocks import joined_stream
from dskd.model.logits import head_of
from dskd.senses.cluster import build_senses
from dskd.senses.contexts import contexts_of
from dskd.senses.store import Senses, compose_span
from dskd.states.harvest import predict
from dskd.states.reservoir import Sampler, open_reservoir


class WordSense(NamedTuple):
    """A sense of a word."""

    vector: Tensor  # (d,) float32
    # In its cluster, so how often it was met, of the token's places that were sampled (`settings.reservoir` at most);
    # None for a word of several tokens.
    states: int | None
    contexts: list[str]  # where it was met, nearest first: "we sat on the [bank] of the river"


class NearestSenses(NamedTuple):
    rows: Tensor  # (..., most) int64 of `senses.centroids`, nearest first; -1 where a token has fewer
    distances: Tensor  # (..., most) float32 mean squares a dimension; infinite where a token has fewer


class _Stream(NamedTuple):
    """What the teacher read, as `contexts_of` takes it."""

    tokens: Tensor  # (n,) int32
    starts: Tensor  # (m,) int64
    documents: list[str]
    joined: bool = True

    def stream(self) -> Tensor:
        return self.tokens


@dataclass(frozen=True, eq=False)
class SenseDictionary:
    """The senses of a model's tokens: clusters of its last hidden states (arXiv 2602.22351; docs/method.md, section 3).

    Attributes:
        senses: the tensors: `tokens` (T,), `offsets` (T + 1,), `centroids` (S, d), `counts` (S,), …
        tokenizer: the teacher's.
        about: teacher, text and licence, for the card.
        settings: what it was made with.
        contexts: places where each sense was met, one list for each row of `centroids`; empty if none were kept.
        figures: measures of `measured`, for the card.
    """

    senses: Senses
    tokenizer: PreTrainedTokenizerBase
    about: About = field(default_factory=About)
    settings: Mapping[str, Any] = field(default_factory=dict)
    contexts: Sequence[list[str]] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.contexts) not in (0, len(self.senses.centroids)):
            number, senses = len(self.contexts), len(self.senses.centroids)
            raise UserError(f"there are contexts of {number} senses, and {senses} senses: give one list for each")

    @classmethod
    @no_autocast()
    def from_model(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        texts: Iterable[str],
        settings: DictionarySettings | None = None,
        about: About | None = None,
        batch_size: int = 8,
    ) -> "SenseDictionary":
        """Let the model read the texts once, and cluster its states token by token.

        A bounded sample of each token's states is kept in a temporary folder, however long the texts are; their tokens
        are held in memory, 4 bytes each. The same texts give the same bytes on one machine, also under autocast, and
        the same senses as the pipeline finds for the same blocks of text.

        Args:
            model: a causal language model of transformers, on any device. It is left as it was.
            texts: any iterable of strings: a list, a generator, a column of a data set.
            batch_size: blocks of `settings.length` tokens that the model reads at one time.

        Raises:
            UserError: the texts fill no block, no token is frequent enough for a sense, a setting is wrong, the
                tokenizer is of another model, the model sees what follows, its states are not finite, or several
                processes run this together.
        """
        settings = settings or DictionarySettings()
        params, about = settings.params(), about or About()
        if processes.state().num_processes > 1:
            raise UserError("make a dictionary in one process, and load it in each: save_pretrained, from_pretrained")
        check_model(model, tokenizer, settings.length, batch_size)
        _check_key(settings.key, model)
        numbers: list[int] = []  # of the chunks, which the sampler gets to know as they come
        read: list[Tensor] = []
        starts: list[int] = []
        place = 0
        with tempfile.TemporaryDirectory(prefix="dskd-") as name:
            sampler = Sampler(Path(name), numbers, params.seed, params.reservoir, vocabulary(model))
            chunks = tqdm(text_chunks(texts, tokenizer, settings.length), desc="reading", unit="chunk", mininterval=1)
            for number, chunk in enumerate(chunks):
                states = last_states(model, chunk.blocks, batch_size)
                keys = _keys(settings.key, model, states, chunk)
                numbers.append(number)
                sampler.add(number, keys.flatten(), states.flatten(0, 1), place)
                place += keys.numel()
                read.append(chunk.blocks)
                starts += chunk.starts
            sampler.finish()
            senses = build_senses(open_reservoir(Path(name)), params)
        stream = _Stream(joined_stream(torch.cat(read)), torch.tensor(starts), [""] * len(starts))
        about = about if about.teacher else about._replace(teacher=_name(model))
        return cls(senses, tokenizer, about, settings._asdict(), _contexts(senses, stream, tokenizer))

    @classmethod
    def from_pretrained(cls, place: str | Path, tokenizer: PreTrainedTokenizerBase | None = None) -> "SenseDictionary":
        """The dictionary that `save_pretrained` wrote.

        Args:
            place: a folder, or a repository of the Hugging Face hub: "hf:owner/name", "hf:owner/name@revision".
            tokenizer: the teacher's; left out, the one that lies in the folder. No code of the folder is run.

        Raises:
            UserError: there is no dictionary, it is damaged, its files are of two dictionaries, or the tokenizer is
                another one.
        """
        folder = fetched(str(place), files.READ) if str(place).startswith("hf:") else Path(place)
        saved = files.read_dictionary(folder, str(place), tokenizer)
        return cls(saved.senses, saved.tokenizer, saved.about, saved.settings, saved.contexts, saved.figures)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the dictionary into a folder, to be loaded by `from_pretrained` or shared: `senses.safetensors`,
        `dictionary.json`, `contexts.json`, the tokenizer, and README.md, the card. Equal dictionaries give equal
        bytes (the tokenizer's files are transformers'). Other files of the folder stay. A save that was interrupted
        leaves a folder that is refused, or the dictionary that was there before.

        Raises:
            UserError: the folder is an artifact with checksums, or has a README.md of something else, or settings and
                figures are no texts and numbers.
        """
        saved = files.Saved(self.senses, self.tokenizer, self.about, self.settings, self.contexts, self.figures)
        files.write_dictionary(Path(folder), saved, self.card())

    def card(self) -> str:
        """The text of README.md in its folder, in the form that the hub reads."""
        return dictionary_card(self.senses, self.about, self.settings, self.figures)

    @no_autocast()
    def of(self, word: str) -> list[WordSense]:
        """The senses of a word as it is written inside a text, the most frequent first; none if it was hardly met.

        A word of several tokens has senses that are composed of those of its tokens (docs/method.md, section 3.4).
        """
        tokens = self.tokens_of(word)
        if len(tokens) > 1:
            return [WordSense(vector, None, []) for vector in compose_span(self.senses, tokens)]
        rows = sorted(self.senses.rows(tokens[0]), key=lambda row: (-int(self.senses.counts[row]), row))
        return [
            WordSense(
                self.senses.centroids[row].float(),
                int(self.senses.counts[row]),
                self.contexts[row] if self.contexts else [],
            )
            for row in rows
        ]

    @no_autocast()
    def nearest(self, states: Tensor, token: str | int, most: int = 1) -> NearestSenses:
        """The senses of one token that are nearest to hidden states of the teacher.

        Args:
            states: (..., d), of the position before the token.
            token: an id, or a word that is one token.

        Raises:
            UserError: the word has several tokens, the id is below 0, the states have another width or are not
                finite, or `most` is below 1.
        """
        if most < 1:
            raise UserError(f"most = {most}: ask for one sense or more")
        if isinstance(token, str):
            tokens = self.tokens_of(token)
            if len(tokens) > 1:
                raise UserError(f"{token!r} is {len(tokens)} tokens of this tokenizer: give a word that is one")
            token = tokens[0]
        if token < 0:
            raise UserError(f"token = {token} is no token: give an id of the tokenizer, or a word that is one")
        check_width(states, self.senses)
        width = self.senses.centroids.shape[1]
        flat = states.detach().reshape(-1, width).float().cpu()
        check_distances(flat)
        own = torch.tensor(list(self.senses.rows(token)), dtype=torch.int64)
        # Of the differences themselves: where all states lie far off in one direction, products would lose them.
        found = [(flat - vector).square().mean(dim=1) for vector in self.senses.centroids[own].float()]
        near = torch.stack(found, dim=1) if found else flat.new_empty(len(flat), 0)
        check_distances(near)
        near, order = (part[:, :most] for part in near.sort(dim=1, stable=True))
        rows, distances = (torch.full((len(flat), most), fill) for fill in (-1, torch.inf))
        rows[:, : near.shape[1]], distances[:, : near.shape[1]] = own[order], near
        shape = (*states.shape[:-1], most)
        return NearestSenses(rows.view(shape), distances.view(shape))

    def tokens_of(self, word: str) -> tuple[int, ...]:
        """The tokens of a word as it is written inside a text, after a space; UserError if it is empty, or of
        characters that the tokenizer leaves out. Accents may be written apart from their letters or not."""
        if not (word := unicodedata.normalize("NFC", " ".join(word.split()))):
            raise UserError("there is no word to look up: give one")
        if not is_unicode(word) or not (tokens := word_tokens(self.tokenizer, [word])[word]):
            raise UserError(f"{word!a} is no word that the tokenizer knows: give another one")
        return tokens

    @no_autocast()
    def measured(
        self, model: PreTrainedModel, texts: Iterable[str], states: int = 16_384, batch_size: int = 8
    ) -> "SenseDictionary":
        """The same dictionary with figures of how well it fits text that it was not made of, for its card.

        `variance` is the share of the variance of the model's states that the nearest sense of their token explains,
        `variance_one_sense` the same with the mean of the token's senses (docs/senses.md). A token without senses
        explains nothing. Which token a state belongs to is said by `settings.key`, as when the dictionary was made.

        Args:
            texts: other texts than those it was made of; of these no more than `states` tokens are read.

        Raises:
            UserError: the texts fill no block, or model, tokenizer and senses do not fit one another.
        """
        if states < 1:
            raise UserError(f"states = {states}: measure with one state or more")
        length = self.settings.get("length", DictionarySettings().length)
        check_model(model, self.tokenizer, length, batch_size)
        key = self.settings.get("key", DictionarySettings().key)
        _check_key(key, model)

        def read() -> Iterator[tuple[Tensor, Tensor]]:
            for chunk in text_chunks(texts, self.tokenizer, length):
                found = last_states(model, chunk.blocks, batch_size)
                yield found.flatten(0, 1), _keys(key, model, found, chunk).flatten()

        return replace(self, figures=fit_figures(self.senses, read(), states))


def _check_key(key: str, model: PreTrainedModel) -> None:
    """Raise UserError where tokens are to be predicted, and the model's logits do not follow from its states."""
    if key == "predicted":
        model_head(model)


def _keys(key: str, model: PreTrainedModel, states: Tensor, chunk: TextChunk) -> Tensor:
    """The token that each state (b, L, d) belongs to: (b, L) int32. UserError where the model's head is more than a
    matrix, and it is the predicted one."""
    if key == "observed":
        return chunk.labels
    head = head_of(model).weight
    return predict(states.to(head), head).cpu()


def _name(model: PreTrainedModel) -> str:
    """owner/name, where the model came from the hub; of one from a folder the folder's name, also if it is gone."""
    name = str(model.config.name_or_path or type(model).__name__)
    if Path(name).exists() or not re.fullmatch(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]*", name):
        return PureWindowsPath(Path(name).resolve()).name  # which knows both kinds of slash
    return name


def _contexts(senses: Senses, stream: _Stream, tokenizer: PreTrainedTokenizerBase) -> list[list[str]]:
    """Of each sense its places as text, nearest first."""
    found: list[list[str]] = [[] for _ in range(len(senses.centroids))]
    for part in contexts_of(senses, stream, tokenizer):
        for sense, token, left, right in zip(part["sense"], part["token"], part["left"], part["right"]):
            text = files.bracketed(left, token, right)
            if text not in found[sense]:  # a text may say the same twice
                found[sense].append(text)
    return found
