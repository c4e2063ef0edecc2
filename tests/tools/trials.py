"""Trials of objectives before a study: many students in one process, chosen by on one half of words and text.

    trials.py docs/trials/round4.yaml     train what is missing, score all, write docs/trials/round4.csv
    trials.py --half test …               the other half: once, for what was chosen
    trials.py --only kd dskd -- …         of a file with a `grid` these objectives alone; the table keeps its other rows

A file with a `grid` gives each objective as many trials: every value of one weight at the first rate, and the best of
these at each other rate. They are scored by held-out text alone on the first half. `--half test` then takes the best of
each objective by that table (`choose`), trains it with the seeds of `confirm`, and compares these alone, with the tests
that `pairs` names and their margins.

Another file names its objectives by what differs from `kd`, the seeds, what differs in `distill`, and pairs of
objectives that are compared, too. An objective's `params` differ in the groups `senses`, `targets`, `distill` and
`student`, so that the states stay what they are; its `codec` names the code of them that its students train on
(`harvest.codec`). With `measures: text` it scores held-out text alone. It runs in a folder with the artifacts of the
stages up to `senses`, and `benchmarks`; students are trained as the stage does and kept in build/trials, where a run
that was stopped goes on; their names stand for parameters, not for code, so empty it when the training has changed. A
row of the table is a mean over seeds and its difference from the first objective's, or another's, with the 95 %
interval of `report.statistics.compare`.
"""

import argparse
import functools
import json
import shutil
import sys
from collections.abc import Iterator
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

from dskd.corpus.store import SOURCES, heldout_documents, load_corpus
from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.hashes import fingerprint, remove, sha256_tree
from dskd.infra.output import output
from dskd.infra.randomness import FEWEST_DOCUMENTS, hash_integers, tells_of_others, text_key
from dskd.model.cut import split_depth, student_top, trunk
from dskd.model.inference import Models
from dskd.model.logits import Head, head_of
from dskd.params import EXACT, Objective, Params
from dskd.pipeline import stages
from dskd.pipeline.codes import write_codes
from dskd.pipeline.given import read_codes
from dskd.pipeline.inputs import cached_states, cached_text, kept_dtype, load_teacher, run_lexicon
from dskd.report.figures import COLOURS, STYLE
from dskd.report.metrics import margin
from dskd.report.statistics import compare, of_units
from dskd.report.study_tables import TRIAL_MEASURES
from dskd.scores.heldout import heldout_scores
from dskd.scores.in_context import find_places, in_context_rows
from dskd.scores.lexical_choice import build_items, read_vocabulary
from dskd.scores.measure import lexical_rows, pair_rows
from dskd.scores.store import answer_share, heldout_tables
from dskd.senses.cluster import build_senses
from dskd.states.reservoir import open_reservoir
from dskd.states.store import States, Text, take_blocks
from dskd.students.store import Student, new_student
from dskd.students.train import Recipe, train
from dskd.targets.store import SenseTargets

FOLDER = Path("build/trials")
ALL, TEXT = "all", "text"  # what is measured: also items, or held-out text alone
ITEMS = 1000  # of each lexical task
OF_TABLE = {"heldout": "", "glosses": " of glosses"}  # what a measure of held-out text is called after its table
LOG_ODDS = margin("in_context", "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("round", type=Path)
    parser.add_argument("--half", choices=("dev", "test"), default="dev")
    parser.add_argument("--only", nargs="+", default=[], help="objectives of a grid (default: all)")
    parser.add_argument("--scores", type=Path, help="a folder that the scores of each item are copied to")
    parser.add_argument("--threads", type=int, help="of the processor (default: those of params.yaml)")
    args = parser.parse_args()
    given = YAML(typ="safe").load(args.round)
    dev, test = (args.round.resolve().with_suffix(ending) for ending in (".csv", ".test.csv"))
    table = dev if args.half == "dev" else test
    params = stages.begin()
    torch.set_num_threads(args.threads or params.runtime.threads)
    params = changed(params, {"distill": given["distill"]})
    families = only(grid(given["grid"]) if "grid" in given else {}, args.only)
    if args.only and args.half == "test":
        raise UserError("--only is for the half for choosing: the other compares all that were chosen")
    if args.scores and (args.half == "dev" or not families):
        raise UserError("--scores goes with --half test of a file with a grid")
    rates = len(given["grid"]["rates"]) if families else 1
    if not families:
        pairs, measures = given.get("pairs", []), given.get("measures", ALL)
        found = run(given["objectives"], given["seeds"], pairs, args.half, measures, params)
    elif args.half == "dev":
        found = search(families, rates, given["seeds"], params)
        if args.only and table.exists():
            before = pd.read_csv(table)
            found = pd.concat([before[~before["objective"].isin(found["objective"])], found], ignore_index=True)
    else:
        chosen = choose(read_table(dev), families, rates)
        objectives = {name: families[family][name] for family, name in chosen.items()}
        pairs = [(chosen[name], chosen[against]) for name, against in given["pairs"]]
        found = run(objectives, given["confirm"], pairs, args.half, ALL, params)
        if args.scores:
            keep_scores(objectives, given["confirm"], args.half, params, args.scores)
        found = found.replace(
            {key: {name: family for family, name in chosen.items()} for key in ("objective", "against")}
        )
    found.to_csv(table, index=False)
    if not args.only:
        draw(found, list(dict.fromkeys(found["objective"])), table.with_suffix(".svg"))
    print(found.to_string(index=False))
    return 0


def run(
    objectives: dict[str, dict], seeds: list[int], pairs: list, half: str, measures: str, params: Params
) -> pd.DataFrame:
    """The table of these objectives, trained and scored on this half, seed by seed. What is there is not made again."""
    if measures not in (ALL, TEXT):
        raise UserError(f"measures are {ALL} or {TEXT}, not {measures!r}")
    trials = {name: trial(params, changes) for name, changes in objectives.items()}
    pairs = list(dict.fromkeys([(name, next(iter(trials))) for name in trials] + [tuple(pair) for pair in pairs]))
    made, scores = {}, []  # of targets, which many trials have the same
    for seed in seeds:
        students = {(name, seed): student(name, seed, of) for name, of in trials.items()}
        for (name, _), folder in students.items():
            if not folder.exists():
                make_student(name, seed, trials[name], params, made)
        scores.append(score(students, trials, half, measures, params))
    return differences(pd.concat(scores, ignore_index=True), pairs, seeds, params)


def search(families: dict[str, dict], rates: int, seeds: list[int], params: Params) -> pd.DataFrame:
    """The table of the half for choosing: every weight at the first rate, then the best of them at the other rates."""
    first = {name: of for trials in families.values() for name, of in list(trials.items())[: len(trials) // rates]}
    found = run(first, seeds, [], "dev", TEXT, params)
    best = {name: trials[name] for trials in families.values() for name in at_all_rates(found, trials, rates)}
    return run(first | best, seeds, [], "dev", TEXT, params)


def grid(given: dict) -> dict[str, dict[str, dict]]:
    """Objective -> name of a trial -> what differs from `kd` in it: every rate with every value of the weight, rate by
    rate.

    Args:
        given: `rates`, and `objectives`: of each the name of its `weight`, its `values`, and what else differs.

    Raises:
        UserError: objectives have grids of several sizes.
    """
    sizes = {name: len(of["values"]) for name, of in given["objectives"].items()}
    if len(set(sizes.values())) > 1:
        raise UserError(f"the grids of these objectives have several sizes, so none is fair: {sizes}")
    found = {}
    for name, of in given["objectives"].items():
        others = {key: value for key, value in of.items() if key not in ("weight", "values")}
        found[name] = {
            f"{name}_{of['weight']}{value:g}_rate{rate:g}": {
                **others,
                of["weight"]: float(value),
                "params": {"distill": {"learning_rate": float(rate)}},
            }
            for rate in given["rates"]
            for value in of["values"]
        }
    return found


def only(families: dict[str, dict], names: list[str]) -> dict[str, dict]:
    """These of the grid's objectives; all where none is named. UserError where one is not in it."""
    if unknown := set(names) - set(families):
        raise UserError(f"--only names {', '.join(sorted(unknown))}; the grid has {', '.join(families) or 'nothing'}")
    return {name: of for name, of in families.items() if not names or name in names}


def choose(found: pd.DataFrame, families: dict[str, dict], rates: int) -> dict[str, str]:
    """Objective -> the best trial of it: of those with its best weight at the first rate, at every rate."""
    return {family: smallest(found, at_all_rates(found, trials, rates)) for family, trials in families.items()}


def at_all_rates(found: pd.DataFrame, trials: dict[str, dict], rates: int) -> list[str]:
    """The weight of an objective that is best at the first rate, at every rate. `trials` are ordered as by `grid`."""
    names, weights = list(trials), len(trials) // rates
    return names[names.index(smallest(found, names[:weights])) :: weights]


def smallest(found: pd.DataFrame, names: list[str]) -> str:
    """The trial with the smallest mean KL; of equal ones the first.

    Args:
        found: the table of the half for choosing.

    Raises:
        UserError: it lacks a trial.
    """
    means = found[found["measure"] == "kl"].drop_duplicates("objective").set_index("objective")["mean"]
    if missing := [name for name in names if name not in means.index]:
        raise UserError(f"the table of the half for choosing has no kl of {', '.join(missing)}: run that half")
    return min(names, key=lambda name: means[name])


def read_table(path: Path) -> pd.DataFrame:
    """The table that the half for choosing gave; UserError where it was not run."""
    if not path.exists():
        raise UserError(f"{path} is missing: run the half for choosing first")
    return pd.read_csv(path)


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
    own = changed(params, groups | {"harvest": {"codec": changes.get("codec", EXACT)}})
    if not groups.keys() <= {"senses", "targets", "distill", "student"}:
        raise UserError(f"params of a trial may change senses, targets, distill and student, not {', '.join(groups)}")
    clustering = {"k": 1, "min_states": 1, "iterations": 1, "contexts": 1}
    if own.senses.model_copy(update=clustering) != params.senses.model_copy(update=clustering):
        raise UserError(
            "a trial clusters the run's sample: of senses it may change k, min_states, iterations, contexts"
        )
    if split_depth(own.student) != split_depth(params.student):
        raise UserError("a trial's student needs the split of the states: student.layers - student.trained must stay")
    weights = {key: value for key, value in changes.items() if key not in ("params", "codec")}
    return Trial(Objective(**base | weights), own)


def student(name: str, seed: int, of: Trial) -> Path:
    """Where the student of these values is kept, and the scores beside it."""
    objective, params = of
    settings = {"objective": objective.model_dump(), "distill": params.distill.model_dump(), "seed": seed}
    settings |= {"student": params.student.model_dump(), "corpus": params.corpus.model_dump()}
    settings |= {group: getattr(params, group).model_dump() for group in ("senses", "targets", "lexicon")}
    settings["made_of"] = made_of()
    settings["distill"] = {k: v for k, v in settings["distill"].items() if k not in ("objectives", "seeds")}
    if objective.targets == "none":
        for group in ("senses", "targets", "lexicon"):
            del settings[group]
    if params.harvest.codec != EXACT:
        settings["code"] = code_of(params)
    return FOLDER / f"{text_key(json.dumps(settings, sort_keys=True)):016x}-{name}-{seed}"


@functools.cache
def made_of() -> list[str]:
    """Hashes of what a round's students are trained on, so that one of another text or teacher is not taken back."""
    paths = artifacts.TEACHER, artifacts.CORPUS, artifacts.SENSES, artifacts.LEXICON
    return [sha256_tree(path) for path in paths if Path(path).exists()]


def code_of(params: Params) -> dict:
    """What the codes of a text and its states depend on."""
    groups = {"senses": params.senses.model_dump(), "corpus": params.corpus.model_dump()}
    return {"codec": params.harvest.codec, "made_of": made_of(), "student": params.student.which_layers(), **groups}


def training_text(params: Params, head: Head) -> Text:
    """The text that a trial's students are trained on; its codes are made once and lie in build/trials/codes."""
    if params.harvest.codec == EXACT:
        return cached_text("train", split_depth(params.student))
    key = text_key(json.dumps(code_of(params), sort_keys=True))
    path = FOLDER / "codes" / f"{key:016x}-{params.harvest.codec}.safetensors"
    if not path.exists():
        print(f"{params.harvest.codec}: {write_codes(params, head, path)} bytes", flush=True)
    return read_codes(params, path, cached_states("train", split_depth(params.student)).split_states)


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
        train(made_student, head_of(teacher), training_text(params, head_of(teacher)), targets, recipe, work)
        weights = made_student.top.layers.to(kept_dtype(params)).state_dict()
        save_file({key: value.contiguous() for key, value in weights.items()}, partial / "top.safetensors")
        remove(work)


def score(
    students: dict[tuple[str, int], Path], trials: dict[str, Trial], half: str, measures: str, params: Params
) -> pd.DataFrame:
    """Rows {name, seed, measure, id, document, value}: every student on one half; what was scored is kept beside it.
    What is not of a document has its own id there."""
    files = {key: kept_scores(path, half, measures) for key, path in students.items()}
    missing = {f"{n}-{s}": (n, path) for (n, s), path in files.items() if not path.exists()}
    if missing:
        teacher, tokenizer = load_teacher(params)
        head, tops = head_of(teacher), {}
        for name, (of, path) in missing.items():
            tops[name] = student_top(teacher, trials[of].params.student)
            tops[name].layers.load_state_dict(load_file(path.with_name("top.safetensors")))
            tops[name].layers.to(teacher.dtype)
        found = {name: [] for name in missing}
        for name, row in text_scores(tops, head, half, params):
            found[name].append(row)
        if measures == ALL:
            lower = trunk(teacher, params.student)
            models = Models(lower, tops, head, tokenizer, teacher.config.max_position_embeddings)
            for name, row in item_scores(models, half, params):
                found[name].append(row)
        for name, (_, path) in missing.items():
            with output(path) as partial:
                table = pd.DataFrame(found[name], columns=["measure", "id", "document", "value"])
                table.to_csv(partial, index=False, compression={"method": "gzip", "mtime": 0})
    tables = [pd.read_csv(path, dtype={"id": str}).assign(name=n, seed=s) for (n, s), path in files.items()]
    return pd.concat(tables, ignore_index=True)


def kept_scores(student: Path, half: str, measures: str) -> Path:
    """Where the scores of a student lie, beside its weights."""
    return student / f"scores-{half}-{'documents' if measures == ALL else measures}.csv.gz"


def keep_scores(objectives: dict[str, dict], seeds: list[int], half: str, params: Params, folder: Path) -> None:
    """Copy all scores of these objectives' students into a folder, a file a student."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, changes in objectives.items():
        for seed in seeds:
            of = kept_scores(student(name, seed, trial(params, changes)), half, ALL)
            shutil.copy(of, folder / f"{name}-{seed}.csv.gz")


def text_scores(tops: dict, head: Head, half: str, params: Params) -> Iterator[tuple[str, tuple]]:
    """(student, (measure, block, document, value)) of KL and CE on the half's documents."""
    text, (blocks_, account) = cached_text("heldout", split_depth(params.student)), load_corpus(Path(artifacts.CORPUS))
    documents = heldout_documents(blocks_, account)
    sources = [SOURCES[code] for code in blocks_["heldout_source"].tolist()]
    tables = heldout_tables(set(sources))
    chosen = torch.tensor([block for block, name in enumerate(documents) if half_of(name) == half])
    states = States(*([take_blocks(shards, chosen)] for shards in text.states[:3]))
    text = Text(states, text.labels[chosen], text.ids[chosen])
    for name, top in tqdm(tops.items(), desc="held-out text", unit="student"):
        blocks = heldout_scores(Student(top, head), head, text, params.harvest.batch_size)
        for measure in ("kl", "ce"):
            for block, value in zip(chosen.tolist(), blocks[measure].tolist()):
                measured = f"{measure}{OF_TABLE[tables[sources[block]]]}"
                yield name, (measured, str(block), documents[block], value)


def item_scores(models: Models, half: str, params: Params) -> Iterator[tuple[str, tuple]]:
    """(student, (measure, id, document, value)) of lexical items, words in context and pairs of benchmarks."""
    words, drawn = stages.words_to_ask(run_lexicon()), (params.evaluate.seed, ITEMS)
    vocabulary = read_vocabulary(words.reader)
    items = build_items(params.lexicon, *drawn, vocabulary, words.trained)
    for row in lexical_rows(models, [item for item in items if half_of(item.id) == half]):
        for answer in answered(row):
            yield row["model"], answer
    places = find_places(words.text, params.lexicon, vocabulary, words.trained, models.tokenizer, drawn)
    places = [place for place in places if half_of(place.document) == half]
    for row in in_context_rows(models, words.text, places):
        yield row["model"], in_context(row)
    summary = artifacts.read_json(Path(artifacts.BENCHMARKS) / "summary.json")
    available = [name for name in ("wic", "antsynnet") if summary[name]["available"]]
    for row in pair_rows(models, Path(artifacts.BENCHMARKS), available, params.evaluate)[0]:
        if half_of(row["id"]) == half:
            yield row["model"], (row["task"], row["id"], row["id"], row["value"])


def answered(row: dict) -> list[tuple[str, str, str, float]]:
    """(measure, id, id, value) of a lexical item: whether the answer is right, and the right one's share in the
    choices' probabilities. Items of another rung than held-out words are measures of their own."""
    task = row["task"] if row["rung"] == "word" else f"{row['task']} {row['rung']}"
    values = {task: row["correct"], f"{task} p": answer_share(row)}
    return [(measure, row["id"], row["id"], float(value)) for measure, value in values.items()]


def in_context(row: dict) -> tuple[str, str, str, float]:
    """(measure, id, document, value) of a place in held-out text."""
    return f"{row['kind']} in context {row['rung']}", row["id"], row["document"], row["value"]


def differences(rows: pd.DataFrame, pairs: list, seeds: list[int], params: Params) -> pd.DataFrame:
    """Measure and pair (objective, against) -> the objective's mean, its difference with interval, p values of
    difference and equivalence, and the outcome. Items of one document are drawn together where there are enough."""
    table = []
    for measure, part in rows.groupby("measure", sort=False):
        scores = part.pivot_table(index=["name", "seed"], columns="id", values="value").sort_index(axis=1)
        documents = part.drop_duplicates("id").set_index("id")["document"].loc[scores.columns].to_numpy()
        margin_ = LOG_ODDS if " in context " in measure else margin("", measure.removesuffix(" of glosses"))
        for name, against in pairs:
            of, base = (np.stack([scores.loc[(n, seed)].to_numpy() for seed in seeds]) for n in (name, against))
            if FEWEST_DOCUMENTS <= len(set(documents)) < len(documents):
                of, base = of_units(of, documents), of_units(base, documents)
            row = {"measure": measure, "objective": name, "mean": of.mean(), "items": scores.shape[1]}
            if name != against and tells_of_others(of.shape[1]):
                row["against"] = against
                found = compare(base, of, params.evaluate.bootstrap, params.evaluate.seed, margin_)
                row |= {"difference": found["mean"], "low": found["low"], "high": found["high"], "p": found["p"]}
                row |= {key: found[key] for key in ("margin", "p_equivalent", "outcome")}
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
    """The half of an item: by its word, or by its document; of a benchmark's pair by its id."""
    kind, _, rest = str(item).partition(":")
    key = rest.partition(":")[0] if rest else kind
    return ("dev", "test")[int(hash_integers(text_key(key) & (2**62 - 1), [0])[0]) & 1]


if __name__ == "__main__":
    sys.exit(main())
