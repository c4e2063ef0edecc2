"""The parameters of what is read: lexicon, prompts and corpus."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from dskd.params.sources import Source
from dskd.params.values import Count, CountOrNone, Group, Seed, Share, Tokens, Weight, at_most


class LexiconParams(Group):
    seed: Seed = Field(description="random seed that chooses the held-out words")
    heldout_share: Share = Field(
        description="share of words that lose their relations and are kept for the lexical tasks"
    )
    heldout_pairs: Share = Field(
        description="share of the pairs of other words that are left out and kept for the lexical tasks"
    )
    max_span: Count = Field(
        description="longest tail (the second word of a pair), in tokens (m_max); a larger number keeps more pairs"
    )
    min_letters: Count = Field(
        description="shortest head (the first word of a pair), in letters; a larger number keeps fewer pairs"
    )
    inflections: bool = Field(description="whether inflected forms (banks) get the relations of their word (bank)")
    negations: list[Annotated[str, Field(pattern=r"^([a-z]+-|-[a-z]+)$")]] = Field(
        description="affixes that make a word the negation of its base (un-, -less); needs sources.morphology"
    )
    indirect_antonyms: bool = Field(
        description="whether an adjective is also opposed to adjectives that are similar to its antonyms (WordNet)"
    )
    skipped_tags: list[str] = Field(description="Wiktionary's tags: senses and links with one of them are left out")
    weights: dict[str, Weight] = Field(
        description="weight of each source's vote where sources disagree, in log-odds of being right (docs/lexicon.md)"
    )
    negation_weight: Share = Field(
        description="factor on the vote of a pair that comes from an undone negation; 1 counts it like a stated pair"
    )


# The sets that the chat protocol can ask: questions with choices, and SQuAD.
PromptSetName = Literal["arc_challenge", "arc_easy", "commonsense_qa", "piqa", "mmlu", "openbookqa", "squad_v2"]


class PromptSet(Group):
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        description="share of the set's training rows that the teacher answers"
    )
    source: Source | None = Field(
        None, description="one file of training rows as published; left out: what the stage `benchmarks` would fetch"
    )


class PromptsParams(Group):
    seed: Seed = Field(0, description="random seed that draws the answered examples of each prompt")
    shots: CountOrNone = Field(5, description="answered examples in a prompt; SQuAD has one, or none if this is 0")
    sets: dict[PromptSetName, PromptSet] = Field(
        {}, description="benchmarks whose training rows become training text, by name; null leaves one out"
    )

    @field_validator("sets", mode="before")
    @classmethod
    def _without_null(cls, sets):  # so that a profile can replace one set by another
        return {name: chosen for name, chosen in sets.items() if chosen is not None} if isinstance(sets, dict) else sets

    @model_validator(mode="after")
    def _squad_has_rows(self):
        if "squad_v2" in self.sets and self.sets["squad_v2"].source is None:
            raise ValueError("squad_v2 needs a source: no training rows of it are known here (see profiles/paper.yaml)")
        return self


class CorpusParams(Group):
    seed: Seed = Field(description="random seed that splits and orders the documents")
    block_length: Annotated[int, Field(ge=8), at_most(2**31 - 1)] = Field(
        description="tokens that are predicted in one block (L); longer blocks give more context"
    )
    train_tokens: Tokens = Field(
        description="tokens of plain text to train on; corpus.json says so if the text has fewer"
    )
    heldout_tokens: Tokens = Field(description="tokens of held-out text to evaluate on; more give narrower intervals")
    heldout_share: Annotated[float, Field(gt=0, lt=1)] = Field(description="share of the documents that are held out")
    heldout_piece: Tokens | None = Field(
        description="tokens of a held-out document that are taken at most, from a place that is drawn, so that there "
        "are more documents; null takes whole documents, one after the other"
    )
    gloss_share: Share = Field(
        description="share of the tokens from WordNet's glosses; the rest is from sources.wikipedia"
    )
    lexicon_share: Share = Field(
        description="share of the training tokens from the lexicon written out as sentences, a control: what do its "
        "relations teach as plain text?"
    )

    @model_validator(mode="after")
    def _fits(self):
        if self.heldout_piece is not None and self.heldout_piece < self.block_length:
            raise ValueError(f"heldout_piece ({self.heldout_piece}) must hold a block ({self.block_length} tokens)")
        if self.gloss_share + self.lexicon_share > 1:
            raise ValueError("gloss_share and lexicon_share are together more than 1")
        return self
