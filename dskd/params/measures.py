"""The parameters of what is measured and shown."""

from typing import Annotated

from pydantic import Field

from dskd.params.values import Count, CountOrNone, Group, Seed, at_most


class BenchmarksParams(Group):
    seed: Seed = Field(description="random seed that draws the answered examples of each chat prompt")
    shots: CountOrNone = Field(description="answered examples in a chat prompt; SQuAD has one, or none if this is 0")
    chat_items: Count = Field(description="items of each benchmark that are scored by the paper's chat protocol")


class EvaluateParams(Group):
    seed: Seed = Field(description="random seed of the lexical items and of the bootstrap")
    items: Count = Field(description="items of each lexical task; the report says if WordNet gives fewer")
    cloze_items: Count = Field(description="items of each benchmark that are scored by cloze; all if it has fewer")
    wic_train: Count = Field(description="training pairs that WiC's threshold is tuned on")
    antonym_train: Count = Field(description="AntSynNET's training pairs that threshold and probe are fitted on")
    bootstrap: Annotated[int, Field(ge=1000), at_most(2**31 - 1)] = Field(
        description="resamples for the intervals and p values; more make them steadier"
    )


class Primary(Group):
    measure: str = Field(
        pattern=r"^[a-z_]+\.[a-z0-9_]+$", description="table and measure of metrics.json, as in `heldout.kl`"
    )
    student: str = Field(description="the objective that the claim is about")
    control: str = Field(description="the objective that it is compared with")
    margin: Annotated[float, Field(gt=0)] = Field(
        description="the difference that is too small to matter, in units of the measure"
    )


class StudyParams(Group):
    primary: list[Primary] = Field(
        description="the primary test of each claim, written down before the run; all other tests are secondary"
    )


class ReportParams(Group):
    word: str = Field(description="word whose senses the report maps; it must be one token with synonyms and antonyms")
