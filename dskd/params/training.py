"""The parameters of states, senses, targets and students."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dskd.params.sources import Source
from dskd.params.values import Count, CountOrNone, Group, Seed, Share, Tokens, Weight

# senses: token and sense; residual: a quantiser without words; context: a guess from the layer below (docs/codes.md)
EXACT = "exact"
_WORDS = r"(context\+)?token_mean|(senses|context|context\+senses)(\+[1-9][0-9]?)?"
CODEC = rf"^(exact|random_sense|{_WORDS}|residual\+[1-9][0-9]?)$"


class HarvestParams(Group):
    batch_size: Count = Field(description="blocks in one forward pass of the teacher; more need more memory")
    shard_blocks: Count = Field(
        description="blocks in one file of states; more need more memory, and a stopped harvest loses at most one file"
    )
    top_tokens: CountOrNone = Field(
        0,
        description="most probable tokens of the teacher to keep at each position; distill.sampled_vocabulary needs 16",
    )
    codec: str = Field(
        EXACT,
        pattern=CODEC,
        description="what students train on: the teacher's states (exact), or a code of them of a few bytes a token "
        "(docs/codes.md)",
    )

    def of_states(self) -> "HarvestParams":
        """The settings that states depend on: all but the code that is made of them."""
        return self.model_copy(update={"codec": EXACT})


class Lora(Group):
    rank: Count = Field(
        description="inner width of the two thin matrices beside each weight matrix; a larger one trains more weights"
    )
    alpha: Annotated[float, Field(gt=0)] = Field(description="the product of the two is multiplied by alpha / rank")


class StudentParams(Group):
    cut: Literal["first", "lower_last"] = Field(
        description="first: the teacher's first layers, as in the paper; lower_last: its first layers with its last "
        "ones on top"
    )
    layers: Count = Field(description="layers of the student (N); more make it larger and slower")
    trained: Count = Field(description="how many of its last layers train (m); the others are frozen")
    lora: Lora | None = Field(
        None, description="LoRA: train thin matrices beside the weights of the trained layers, not these weights"
    )
    source: Source | None = Field(
        None, description="another model to cut the student from; it needs the teacher's vocabulary (docs/own.md)"
    )

    def which_layers(self) -> dict[str, str | int]:
        """The values that say which layers a student starts from."""
        return self.model_dump(include={"cut", "layers", "trained"})

    @model_validator(mode="after")
    def _fits(self):
        if self.trained > self.layers:
            raise ValueError(f"trained ({self.trained}) must not exceed layers ({self.layers})")
        return self


class SensesParams(Group):
    seed: Seed = Field(description="random seed of the sample of states and of k-means++")
    text: Literal["own", "training"] = Field(
        description="which text the teacher reads for the dictionary: one of its own (sources.wikipedia and "
        "sources.texts without held-out documents, and WordNet's glosses), or the students' training text"
    )
    tokens: Tokens = Field(description="tokens of that own text; more give more words more senses")
    gloss_share: Share = Field(description="share of these tokens from WordNet's glosses")
    key: Literal["predicted", "observed"] = Field(
        description="token that a state belongs to: predicted by the teacher there, or observed next in the text"
    )
    k: Count = Field(description="largest number of senses of a token; more lie closer to its states")
    min_states: Count = Field(
        description="smallest number of states that a sense stands for; with 1 a token of at most k states keeps them "
        "as they are, as in the paper"
    )
    reservoir: Count = Field(
        description="largest number of states of a token that are kept and clustered, a random sample (G)"
    )
    iterations: Count = Field(description="largest number of iterations of k-means (Lloyd's algorithm)")
    contexts: Count = Field(description="places in the text that are kept for each sense, the nearest to it first")


class TargetsParams(Group):
    seed: Seed = Field(description="random seed that samples the supervised positions")
    neighbours: Count = Field(
        description="how many of the nearest senses pull a position, and how many push it (kappa)"
    )
    max_synonyms: Count = Field(
        description="largest number of synonyms of a token; those that most senses support come first"
    )
    max_antonyms: Count = Field(
        description="largest number of antonyms of a token; those that most senses support come first"
    )
    related_share: Share = Field(
        description="share of a block's positions with a relation that are supervised, with as many others beside them"
    )
    related_min: CountOrNone = Field(
        description="smallest number of supervised positions with a relation in a block, if it has as many"
    )

    @model_validator(mode="after")
    def _supervise(self) -> "TargetsParams":
        if not (self.related_share or self.related_min):
            raise ValueError("related_share and related_min are both 0, so that no position would be supervised")
        return self


class Objective(Group):
    ce: Weight = Field(description="weight of the cross-entropy with the text")
    kl: Weight = Field(
        description="weight of KL(teacher || student) at `temperature`, times temperature squared (alpha)"
    )
    hidden: Weight = Field(description="weight of the mean squared distance to the teacher's own hidden state")
    sense: Weight = Field(description="weight of the sense loss (lambda)")
    margin: Weight = Field(
        description="margin of the push, in mean squares a dimension (gamma); a sense farther away does not push"
    )
    targets: Literal[
        "none",
        "lexicon",
        "related",
        "no_antonyms",
        "no_synonyms",
        "shuffled",
        "random",
        "mean",
        "token_mean",
        "published",
    ] = Field(description="which senses pull and push: by the lexicon, or a control of it (docs/method.md, section 4)")
    form: Literal["regression", "span"] = Field(
        "regression",
        description="form of the sense loss: regression is the paper's; span is another (docs/method.md, section 4)",
    )
    metric: Literal["plain", "whitened"] = Field(
        "plain", description="how hidden and sense terms measure distance; whitened counts each direction by its spread"
    )

    @model_validator(mode="after")
    def _has_targets(self):
        if self.sense and self.targets == "none":
            raise ValueError("a sense term needs targets: write `targets: lexicon`")
        if not (self.ce or self.kl or self.hidden or self.sense):
            raise ValueError("all weights are 0, so that nothing is learnt: give one that is above 0")
        return self


class DistillParams(Group):
    objectives: Annotated[list[str], Field(min_length=1)] = Field(
        description="objectives to train, by their names under `objectives`"
    )
    seeds: Annotated[list[Seed], Field(min_length=1)] = Field(
        description="random seeds; each objective gets one student for each seed, which orders its training blocks"
    )
    epochs: Annotated[float, Field(gt=0)] = Field(
        description="passes over the training blocks; 0.5 trains on a random half of them"
    )
    batch_size: Count = Field(description="blocks in one training step")
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="highest learning rate of AdamW")
    weight_decay: Weight = Field(description="weight decay of AdamW, on every trained weight")
    warmup_share: Share = Field(
        description="share of the steps in which the learning rate rises; then it falls as half a cosine"
    )
    clip_norm: Annotated[float, Field(gt=0)] = Field(
        description="largest norm of the gradient; a larger gradient is scaled down to it"
    )
    temperature: Annotated[float, Field(ge=0.01, le=100)] = Field(
        description="temperature of the KL term (T); more makes both distributions flatter"
    )
    beta: Share = Field(
        description="divergence of the KL term: 0 is KL(teacher || student), 1 the reverse; any other number is a "
        "generalised Jensen-Shannon divergence between the two"
    )
    sampled_vocabulary: Count | None = Field(
        None,
        description="tokens of the vocabulary that a step draws beside its labels and the teacher's most probable "
        "tokens, a sampled softmax; null: every step computes with all (docs/method.md)",
    )
    checkpoint_steps: Count = Field(description="steps between two checkpoints; a stopped run loses at most so many")
    log_steps: Count = Field(description="steps that one point of the curves averages over")
