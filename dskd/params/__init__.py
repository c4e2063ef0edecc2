"""The typed parameters of a run. `params.yaml` holds the values; this package says what each of them may be.

A few parts may be left out of the file, and are then off: prompts, LoRA, a student that is cut from another model,
another form or metric of an objective, and more than one process. Everything else must be there, so that the file says
all that a run used. docs/parameters.md is generated from their descriptions.
"""

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML

from dskd.errors import UserError
from dskd.params.measures import BenchmarksParams, EvaluateParams, Primary, ReportParams, StudyParams
from dskd.params.sources import PairLists, Source, SourcesParams, is_archive, noncommercial
from dskd.params.texts import CorpusParams, LexiconParams, PromptSet, PromptSetName, PromptsParams
from dskd.params.training import (
    CODEC,
    EXACT,
    DistillParams,
    HarvestParams,
    Lora,
    Objective,
    SensesParams,
    StudentParams,
    TargetsParams,
)
from dskd.params.values import LARGEST_SEED, UNREADABLE, Count, Group, Workers, fault_of, read_yaml, short

__all__ = [
    "CODEC",
    "EXACT",
    "LARGEST_SEED",
    "UNREADABLE",
    "BenchmarksParams",
    "CorpusParams",
    "Count",
    "DistillParams",
    "EvaluateParams",
    "HarvestParams",
    "LaunchParams",
    "LexiconParams",
    "Lora",
    "Objective",
    "PairLists",
    "Params",
    "Primary",
    "PromptSet",
    "PromptSetName",
    "PromptsParams",
    "ReportParams",
    "RuntimeParams",
    "SensesParams",
    "Source",
    "SourcesParams",
    "StudentParams",
    "StudyParams",
    "TargetsParams",
    "chosen_objective",
    "is_archive",
    "load_params",
    "noncommercial",
    "read_yaml",
    "student_names",
    "validated",
]

OBJECTIVE_NAME = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_-]{0,79}")  # it names files, and stands in dvc.yaml's commands
_TAKEN = ("teacher", "cut", "human", "items", "s")  # names that metrics.json and summary.json have beside objectives


class RuntimeParams(Group):
    threads: Workers = Field(
        description="CPU threads of a process; results are the same bytes only for the same number"
    )
    dtype: Literal["bfloat16", "float32"] = Field(
        description="number format of frozen weights, cached states and saved students; arithmetic is in float32 if "
        "the processor has no fast bfloat16"
    )


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
                raise ValueError(f"objectives: {short.repr(name)} cannot name files: write letters, digits, _ and -")
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
        faults = [fault_of(fault) for fault in error.errors()]
        raise UserError(f"{path}: " + "; ".join(faults)) from None


def chosen_objective(params: Params, objective: str) -> Objective:
    """The weights of an objective; UserError if params.yaml has no objective of that name."""
    if objective not in params.objectives:
        raise UserError(f"no objective {objective!r}; params.yaml has: {', '.join(params.objectives)}")
    return params.objectives[objective]


def student_names(params: Params) -> list[str]:
    """Names of the run's students, in the order of the parameters: "kd-0", …"""
    return [f"{objective}-{seed}" for objective in params.distill.objectives for seed in params.distill.seeds]
