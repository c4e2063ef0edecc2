"""Trials of objectives before a study: many students in one process, chosen by on one half of words and text.

    trials.py docs/trials/round4.yaml     train what is missing, score all, write docs/trials/round4.csv
    trials.py --half test …               the other half: once, for what was chosen

A file names its objectives by what differs from `kd`, the seeds, what differs in `distill`, and pairs of objectives
that are compared, too. An objective's `params` differ in the groups `senses`, `targets`, `distill` and `student`, so
that the states stay what they are. It runs in a folder with the artifacts of the stages up to `senses`, and
`benchmarks`; students are trained as the stage does and kept in build/trials, where a run that was stopped goes on;
their names stand for parameters, not for code, so empty it when the training has changed. A row of the table is a mean
over seeds and its difference from the first objective's, or another's, with the 95 % interval of
`report.statistics.compare`.
"""

import argparse
import json
import sys
from pathlib import Path
from textwrap import fill
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.ticker import MaxNLocator
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.hashes import fingerprint, remove
from dskd.infra.output import output
from dskd.infra.randomness import hash_integers, text_key
from dskd.model.cut import split_depth, student_top, trunk
from dskd.model.inference import Models
from dskd.model.logits import head_of
from dskd.params import Objective, Params
from dskd.pipeline import stages
from dskd.pipeline.inputs import cached_text, kept_dtype, load_teacher, wordnet_reader
from dskd.report.figures import COLOURS, STYLE
from dskd.report.statistics import compare
from dskd.report.study_tables import TRIAL_MEASURES
from dskd.scores.heldout import heldout_scores
from dskd.scores.lexical_choice import build_items, read_vocabulary
from dskd.scores.measure import lexical_rows, pair_rows
from dskd.senses.cluster import build_senses
from dskd.states.reservoir import open_reservoir
from dskd.states.store import States, Text, take_blocks
from dskd.students.store import Student, new_student
from dskd.students.train import Recipe, train
from dskd.targets.store import SenseTargets

FOLDER = Path("build/trials")
ITEMS = 1000  # of each lexical task
RUN = 8  # held-out blocks that go to one half together, since neighbours share a document


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("round", type=Path)
    parser.add_argument("--half", choices=("dev", "test"), default="dev")
    parser.add_argument("--threads", type=int, help="of the processor (default: those of params.yaml)")
    args = parser.parse_args()
    given = YAML(typ="safe").load(args.round)
    table = args.round.resolve().with_suffix(".csv" if args.half == "dev" else ".test.csv")
    params = stages.begin()
    torch.set_num_threads(args.threads or params.runtime.threads)
    params = changed(params, {"distill": given["distill"]})
    trials = {name: trial(params, changes) for name, changes in given["objectives"].items()}
    made = {}  # targets, which many trials have the same
    for seed in given["seeds"]:
        for name, of in trials.items():
            if not student(name, seed, of).exists():
                make_student(name, seed, of, params, made)
    students = {(name, seed): student(name, seed, of) for name, of in trials.items() for seed in given["seeds"]}
    pairs = [(name, next(iter(trials))) for name in trials] + given.get("pairs", [])
    found = differences(score(students, trials, args.half, params), pairs, given["seeds"], params)
    found.to_csv(table, index=False)
    draw(found, list(trials), table.with_suffix(".svg"))
    print(found.to_string(index=False))
    return 0


class Trial(NamedTuple):
    objective: Objective
    params: Params


def changed(params: Params, changes: dict[str, dict]) -> Params:
    """The parameters with other values in some of their groups."""
    values = params.model_dump()
    for group, new in changes.items():
        values[group] |= new
    return Params.model_validate(values)


def trial(params: Params, changes: dict) -> Trial:
    base, groups = params.objectives["kd"].model_dump(), changes.get("params", {})
    own = changed(params, groups)
    if not groups.keys() <= {"senses", "targets", "distill", "student"}:
        raise UserError(f"params of a trial may change senses, targets, distill and student, not {', '.join(groups)}")
    clustering = {"k": 1, "min_states": 1, "iterations": 1, "contexts": 1}
    if own.senses.model_copy(update=clustering) != params.senses.model_copy(update=clustering):
        raise UserError(
            "a trial clusters the run's sample: of senses it may change k, min_states, iterations, contexts"
        )
    if split_depth(own.student) != split_depth(params.student):
        raise UserError("a trial's student needs the split of the states: student.layers - student.trained must stay")
    return Trial(Objective(**base | {key: value for key, value in changes.items() if key != "params"}), own)


def student(name: str, seed: int, of: Trial) -> Path:
    """Where the student of these values is kept, and the scores beside it."""
    objective, params = of
    settings = {"objective": objective.model_dump(), "distill": params.distill.model_dump(), "seed": seed}
    settings |= {"student": params.student.model_dump(), "corpus": params.corpus.model_dump()}
    settings |= {group: getattr(params, group).model_dump() for group in ("senses", "targets", "lexicon")}
    settings["distill"] = {k: v for k, v in settings["distill"].items() if k not in ("objectives", "seeds")}
    if objective.targets == "none":
        for group in ("senses", "targets", "lexicon"):
            del settings[group]
    return FOLDER / f"{text_key(json.dumps(settings, sort_keys=True)):016x}-{name}-{seed}"


def make_student(name: str, seed: int, of: Trial, base: Params, made: dict[str, SenseTargets]) -> None:
    folder, (objective, params) = student(name, seed, of), of
    kind = f"{objective.targets} {params.senses} {params.targets}"
    if objective.sense and kind not in made:
        changed_senses = params.senses != base.senses
        senses = build_senses(open_reservoir(Path(artifacts.RESERVOIR)), params.senses) if changed_senses else None
        made[kind] = stages.sense_targets(params, objective, senses)
    targets = made[kind] if objective.sense else None
    teacher, _ = load_teacher(params)
    made_student = new_student(teacher, teacher, params.student)
    with output(folder, fingerprint(name)) as partial:
        work = partial / "work"
        recipe = Recipe(objective, params.distill, seed)
        train(made_student, head_of(teacher), cached_text("train"), targets, recipe, work)
        weights = made_student.top.layers.to(kept_dtype(params)).state_dict()
        save_file({key: value.contiguous() for key, value in weights.items()}, partial / "top.safetensors")
        remove(work)


def score(students: dict[tuple[str, int], Path], trials: dict[str, Trial], half: str, params: Params) -> pd.DataFrame:
    """Rows {name, seed, measure, id, value}: every student on one half; what was scored is kept beside it."""
    kept = f"scores-{half}.csv"
    missing = {f"{n}-{s}": (n, path) for (n, s), path in students.items() if not (path / kept).exists()}
    if missing:
        teacher, tokenizer = load_teacher(params)
        head, tops = head_of(teacher), {}
        for name, (of, path) in missing.items():
            tops[name] = student_top(teacher, trials[of].params.student)
            tops[name].layers.load_state_dict(load_file(path / "top.safetensors"))
            tops[name].layers.to(teacher.dtype)
        found = {name: [] for name in missing}
        text = cached_text("heldout")
        chosen = torch.tensor([block for block in range(text.states.blocks) if half_of(str(block)) == half])
        states = States(*([take_blocks(shards, chosen)] for shards in text.states))
        text = Text(states, text.labels[chosen], text.ids[chosen])
        for name, top in tqdm(tops.items(), desc="held-out text", unit="student"):
            blocks = heldout_scores(Student(top, head), head, text, params.harvest.batch_size)
            found[name] += [
                (measure, str(block), value)
                for measure in ("kl", "ce")
                for block, value in zip(chosen.tolist(), blocks[measure].tolist())
            ]
        lower = trunk(teacher, params.student)
        models = Models(lower, tops, head, tokenizer, teacher.config.max_position_embeddings)
        vocabulary = read_vocabulary(wordnet_reader())
        items = build_items(params.lexicon, params.evaluate.seed, ITEMS, vocabulary)
        items = [item for item in items if half_of(item.id) == half]
        for row in lexical_rows(models, items):
            found[row["model"]] += answered(row)
        summary = artifacts.read_json(Path(artifacts.BENCHMARKS) / "summary.json")
        available = [name for name in ("wic", "antsynnet") if summary[name]["available"]]
        for row in pair_rows(models, Path(artifacts.BENCHMARKS), available, params.evaluate)[0]:
            if half_of(row["id"]) == half:
                found[row["model"]].append((row["task"], row["id"], row["value"]))
        for name, (_, path) in missing.items():
            with output(path / kept) as partial:
                pd.DataFrame(found[name], columns=["measure", "id", "value"]).to_csv(partial, index=False)
    tables = [pd.read_csv(path / kept, dtype={"id": str}).assign(name=n, seed=s) for (n, s), path in students.items()]
    return pd.concat(tables, ignore_index=True)


def answered(row: dict) -> list[tuple[str, str, float]]:
    """(measure, id, value) of a lexical item: whether the answer is right, and the right one's share in the choices'
    probabilities."""
    share = torch.tensor(row["log_likelihoods"]).softmax(0)[row["answer"]]
    return [(row["task"], row["id"], row["correct"]), (f"{row['task']} p", row["id"], float(share))]


def differences(rows: pd.DataFrame, pairs: list, seeds: list[int], params: Params) -> pd.DataFrame:
    """Measure and pair (objective, against) -> the objective's mean, its difference with interval and p value."""
    table = []
    for measure, part in rows.groupby("measure", sort=False):
        scores = part.pivot_table(index=["name", "seed"], columns="id", values="value").sort_index(axis=1)
        for name, against in pairs:
            of, base = (np.stack([scores.loc[(n, seed)].to_numpy() for seed in seeds]) for n in (name, against))
            row = {"measure": measure, "objective": name, "mean": of.mean(), "items": scores.shape[1]}
            if name != against:
                row["against"] = against
                found = compare(base, of, params.evaluate.bootstrap, params.evaluate.seed)
                row |= {"difference": found["mean"], "low": found["low"], "high": found["high"], "p": found["p"]}
            table.append(row | {"seeds": len(seeds)})
    return pd.DataFrame(table).round(4)


def draw(table: pd.DataFrame, names: list[str], path: Path) -> None:
    """Differences from the first objective with their intervals, a panel a measure."""
    with plt.rc_context({**STYLE, "svg.hashsalt": "dskd"}):
        shown = {measure: title for measure, title in TRIAL_MEASURES.items() if measure in set(table["measure"])}
        size = 2.1 * len(shown), 0.9 + 0.24 * len(names)
        figure, axes = plt.subplots(1, len(shown), figsize=size, sharey=True, layout="constrained")
        for axis, (measure, title) in zip(axes, shown.items()):
            rows = table[(table["measure"] == measure) & (table["against"] == names[0])].set_index("objective")
            for y, name in enumerate(names[1:]):
                mean, low, high = rows.loc[name, ["difference", "low", "high"]]
                colour = COLOURS[0] if low <= 0 <= high else COLOURS[1]
                axis.plot([low, high], [y, y], color=colour, linewidth=1.6)
                axis.plot([mean], [y], marker="o" if low <= 0 <= high else "D", color=colour, markersize=4)
            axis.axvline(0, color="black", linewidth=0.8)
            axis.xaxis.set_major_locator(MaxNLocator(3))
            axis.set_title(fill(title, 18), fontsize=9)
            axis.tick_params(labelsize=8)
        axes[0].set_yticks(range(len(names) - 1), names[1:])
        axes[0].invert_yaxis()
        figure.supxlabel(f"difference from {names[0]}, 95 % interval; orange diamonds exclude 0", fontsize=9)
        figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def half_of(item: str) -> str:
    """The half of an item: by its word, or by its run of held-out blocks; of a benchmark's pair by its id."""
    kind, _, rest = str(item).partition(":")
    key = rest.partition(":")[0] if rest else kind
    number = int(key) // RUN if key.isdigit() else text_key(key)
    return ("dev", "test")[int(hash_integers(number & (2**62 - 1), [0])[0]) & 1]


if __name__ == "__main__":
    sys.exit(main())
