"""Synonyms and antonyms as words, from WordNet, from pairs or from a table; a tokenizer makes them spans of tokens."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

from transformers import PreTrainedTokenizerBase

from dskd.errors import UserError
from dskd.infra.output import output
from dskd.lexicon.relations import ANTONYM, SYNONYM, Pair, Relation, Span, merge, normalised, ranked_spans
from dskd.lexicon.tokens import head_forms, is_tail, word_tokens
from dskd.lexicon.vote import settle
from dskd.sources.archives import unpacking

_LARGEST = 1 << 30  # bytes of an unpacked WordNet
_COLUMNS = {  # of `save`; the pipeline's lexicon.parquet has these, and the tokens of its teacher
    "head": "string",
    "tail": "string",
    "relation": "int8",  # +1 synonym, -1 antonym
    "source": "string",
    "sense": "string",  # names joined by ";": as many as say so
    "flipped": "bool",  # the sign comes from undoing a negation
    "form": "string",  # of the head, as it is written: "bank", with inflections "banks"
}


class RelatedSpans(NamedTuple):
    """Which words are related, as tokens: head token -> spans, those that most senses support first."""

    synonyms: dict[int, list[Span]]
    antonyms: dict[int, list[Span]]


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Pairs of synonyms and antonyms (docs/lexicon.md). It holds words, so it serves every tokenizer.

    Attributes:
        pairs: in both directions, without those that the sources contradict.
        forms: word -> its inflected forms, which have the relations of their word.
    """

    pairs: Sequence[Pair]
    forms: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def from_pairs(
        cls, synonyms: Iterable[tuple[str, str]] = (), antonyms: Iterable[tuple[str, str]] = ()
    ) -> "Lexicon":
        """A lexicon of your own pairs, in any order and direction. A pair that is in both lists is in neither.

        Raises:
            UserError: something there is no pair of two different words, or there is none, or all are in both lists.
        """
        stated = [*_stated(synonyms, SYNONYM), *_stated(antonyms, ANTONYM)]
        if not stated:
            raise UserError("there is no pair: give synonyms=[(word, word), ...] or antonyms=[...]")
        if not (pairs := _settled(stated)):
            raise UserError("every pair is in both lists, as synonyms and as antonyms, so that none is left")
        return cls(pairs)

    @classmethod
    def from_wordnet(
        cls, folder: str | Path | None = None, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> "Lexicon":
        """WordNet's synonyms (words of one synset) and antonyms; needs `pip install 'dskd[lexicon]'`.

        Args:
            folder: WordNet's database files, or wordnet.zip; left out, what `nltk.download("wordnet")` has fetched.
            tokenizer: with one, inflected forms that are tokens of it ("banks") get the relations of their word.

        Raises:
            UserError: NLTK or WordNet is missing or not whole, or the folder holds several.
        """
        try:
            from dskd.lexicon.readers import wordnet
        except ModuleNotFoundError as error:
            raise UserError(f"{error.name} is missing, which reads WordNet: pip install 'dskd[lexicon]'") from None
        import nltk

        before = list(nltk.data.path)
        with tempfile.TemporaryDirectory(prefix="dskd-") as name:
            wordnet.prepare(_database(Path(folder) if folder else _downloaded(before), Path(name)), Path(name))
            try:
                reader = wordnet.open_wordnet(Path(name))
                pairs = _settled(list(wordnet.relations(reader)))
                forms: Mapping[str, Sequence[str]] = {}
                if tokenizer is not None:
                    from dskd.lexicon.tokens import inflected_forms

                    forms = inflected_forms(tokenizer, reader, {pair.head for pair in pairs})
            finally:
                nltk.data.path[:] = before
        return cls(pairs, forms)

    @classmethod
    def from_parquet(cls, path: str | Path) -> "Lexicon":
        """The table that `save` wrote, or the pipeline's artifacts/lexicon.parquet; needs pyarrow (`dskd[lexicon]`).

        Raises:
            UserError: pyarrow is missing, the file is no such table, or a row of it is no pair of words.
        """
        pa, pq = _parquet()
        try:
            if Path(path).is_dir():  # which Arrow would read as one table, whatever lies in it
                raise ValueError
            data = pq.read_table(path, columns=list(_COLUMNS))
            data.validate(full=True)
            if data.schema.types != pa.schema(_COLUMNS.items()).types or any(c.null_count for c in data.columns):
                raise ValueError
        except (pa.ArrowException, OSError, ValueError, LookupError):
            raise UserError(f"{path} is no table of a lexicon: write one with Lexicon.save") from None
        pairs: dict[Pair, bool] = {}
        forms: dict[str, dict[str, bool]] = {}
        signs: dict[tuple[str, str], int] = {}
        for head, tail, relation, source, sense, flipped, form in zip(*(c.to_pylist() for c in data.columns)):
            words = min(head, tail), max(head, tail)  # one relation, whichever is the head
            if (fault := _fault(head, tail, relation, form)) or signs.setdefault(words, relation) != relation:
                fault = fault or "is both synonym and antonym"
                raise UserError(f"{path}: the row {head!a}, {tail!a} {fault}: write the table with Lexicon.save")
            pairs[Pair(head, tail, relation, source, tuple(sense.split(";")), flipped)] = True
            lower = form[:1].lower() + form[1:]
            if lower != head:
                forms.setdefault(head, {})[lower] = True
        return cls(tuple(pairs), {head: tuple(found) for head, found in forms.items()})

    def save(self, path: str | Path) -> None:
        """Write the lexicon as one Parquet table, a row for each pair and form of its head; equal lexicons give equal
        bytes. `datasets.load_dataset("parquet", data_files=path)` opens it, too."""
        pa, pq = _parquet()
        rows = sorted(
            (*pair[:4], ";".join(pair.senses), pair.flipped, form)
            for pair in self.pairs
            for form in (pair.head, *self.forms.get(pair.head, ()))
        )
        schema = pa.schema(_COLUMNS.items())
        columns = zip(*rows) if rows else [[] for _ in _COLUMNS]
        arrays = [pa.array(column, type=kind) for column, kind in zip(columns, schema.types)]
        with output(path) as partial:
            pq.write_table(pa.Table.from_arrays(arrays, schema=schema), partial, compression="zstd")

    def synonyms(self, word: str) -> list[str]:
        """The synonyms of a word or of one of its inflected forms, those that most senses support first."""
        return self._related(word, SYNONYM)

    def antonyms(self, word: str) -> list[str]:
        """The antonyms of a word, in the same order."""
        return self._related(word, ANTONYM)

    def spans(self, tokenizer: PreTrainedTokenizerBase, max_span: int = 3, min_letters: int = 3) -> RelatedSpans:
        """The same as tokens, for `SenseLoss`: heads are words of one token, as in the pipeline (docs/method.md, 2).

        Args:
            max_span: longest related word, in tokens; min_letters: shortest head, in letters.
        """
        forms = head_forms(tokenizer, {pair.head for pair in self.pairs}, min_letters, self.forms)
        tails = word_tokens(tokenizer, (pair.tail for pair in self.pairs if pair.head in forms))

        def of(relation: int) -> dict[int, list[Span]]:
            return ranked_spans(
                (token, pair.tail, tails[pair.tail], len(pair.senses))
                for pair in self.pairs
                if pair.relation == relation and pair.head in forms and is_tail(tails[pair.tail], max_span)
                for _, token in forms[pair.head]
            )

        return RelatedSpans(of(SYNONYM), of(ANTONYM))

    def _related(self, word: str, relation: int) -> list[str]:
        support: dict[str, int] = {}
        for head in self._heads.get(normalised(word), ()):
            for pair in self._by_head[head]:
                if pair.relation == relation:
                    support[pair.tail] = support.get(pair.tail, 0) + len(pair.senses)
        return sorted(support, key=lambda tail: (-support[tail], tail))

    @cached_property
    def _by_head(self) -> dict[str, list[Pair]]:
        found: dict[str, list[Pair]] = {}
        for pair in self.pairs:
            found.setdefault(pair.head, []).append(pair)
        return found

    @cached_property
    def _heads(self) -> dict[str, list[str]]:
        """The heads of each word as it is written."""
        found = {head: [head] for head in self._by_head}
        for head, forms in self.forms.items():
            for form in forms:
                found.setdefault(form, []).append(head)
        return found


def _stated(pairs: Iterable[tuple[str, str]], relation: int) -> Iterator[Relation]:
    for pair in pairs:
        given = list(pair) if isinstance(pair, Iterable) and not isinstance(pair, str | Mapping) else []
        words = [normalised(word) if isinstance(word, str) else "" for word in given]
        if len(words) != 2 or not all(words) or len(set(words)) != 2:
            raise UserError(f"{pair!r} is no pair of two different words: give (word, word)")
        yield Relation(words[0], words[1], relation, "pairs", "pairs")


def _fault(head: str, tail: str, relation: int, form: str) -> str:
    """What is wrong with a row of a table; nothing where it is a pair of words, as `from_pairs` would have it."""
    if relation not in (SYNONYM, ANTONYM):
        return f"has the relation {relation}, which is neither {SYNONYM} nor {ANTONYM}"
    words = {head, tail}
    if len(words) != 2 or not all(word.strip() and word.isprintable() and word == word.lower() for word in words):
        return "is no pair of two different words in lower case"  # "1" is one: WordNet has it for "ace"
    if any(normalised(word) != word for word in words if any(map(str.isalpha, word))):
        return "has an underscore, an apostrophe of print or an accent apart from its letter, and would never be found"
    return "" if form.strip() and form.isprintable() else "has a form that is no word"


def _settled(relations: Sequence[Relation]) -> tuple[Pair, ...]:
    """Merged, and without pairs that are called both: sources that count alike leave them undecided."""
    pairs, _ = settle(merge(relations), {relation.source: 1.0 for relation in relations})
    return tuple(pairs)


def _downloaded(places: Sequence[str]) -> Path:
    """Where NLTK keeps WordNet."""
    for place in places:
        for found in (Path(place) / "corpora" / "wordnet", Path(place) / "corpora" / "wordnet.zip"):
            if found.exists():
                return found
    raise UserError('NLTK has no WordNet here: run nltk.download("wordnet"), or name its folder')


def _database(place: Path, folder: Path) -> Path:
    """The folder with WordNet's database files; those of an archive are unpacked into `folder` first."""
    if not place.exists():
        raise UserError(f"{place} is missing: name WordNet's folder, or wordnet.zip")
    if place.is_file():
        with unpacking(f"{place} is damaged, or no zip: get it anew"), ZipFile(place) as archive:
            if sum(item.file_size for item in archive.infolist()) > _LARGEST:
                raise UserError(f"{place} unpacks to over {_LARGEST >> 20} MiB, and WordNet to 40: get it anew")
            archive.extractall(folder / "unpacked")
        place = folder / "unpacked"
    found = [] if (place / "data.noun").is_file() else sorted(place.rglob("data.noun"))
    if len(found) > 1:  # as in nltk_data/corpora: wordnet, wordnet31, omw-1.4
        places = " and ".join(str(file.parent.relative_to(place)) for file in found[:2])
        raise UserError(f"{place} holds {len(found)} WordNets, such as {places}: name one of them")
    return found[0].parent if found else place


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise UserError("pyarrow is missing, which reads and writes the table: pip install 'dskd[lexicon]'") from None
    return pyarrow, pyarrow.parquet
