"""What a run will take, said before it: the costs of each stage, and hours at a speed.

The speed is that of the run that `dvc.lock` and `reports/provenance.json` tell of, or one that the user gives.
"""

import math
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tabulate import tabulate

from dskd.errors import UserError
from dskd.infra.artifacts import PROVENANCE, TEACHER, read_json, read_lock, reading
from dskd.infra.profiles import load_profile, overlay
from dskd.params import Params, load_params, validated
from dskd.report.decoder_shape import KNOWN, Shape, read_shape
from dskd.report.stage_costs import LIBRARIES, Stage, kept_bytes, kind, run_stages

# Stages whose blocks or items can be shared out among devices.
PARALLEL = ("prompts", "harvest", "distill", "evaluate")


class Speed(NamedTuple):
    """What a device does: floating point operations a second by kind of stage, and what starting a stage takes."""

    flops: dict[str, float]
    start: float  # seconds
    held: int  # bytes of a number in arithmetic
    source: str


def measured_speed(root: Path, params: Params) -> Speed:
    """That of the run of which `dvc.lock` has the parameters and `reports/provenance.json` the seconds.

    A kind's speed is its operations over its seconds, without those of the quickest stage, which has nothing to do.

    Raises:
        UserError: no such run, or nothing of it is measured.
    """
    lock, record = root / "dvc.lock", root / PROVENANCE
    if not (lock.is_file() and record.is_file()):
        raise UserError(f"no {lock.name} or no {PROVENANCE}, so nothing is measured: run `dvc repro`, or say --flops")
    values, changes = params.model_dump(exclude={"prompts"}), {}  # a run from before there were any has none
    values["study"] = {"primary": []}  # of other objectives, which the run need not have
    with reading(lock):
        for stage in read_lock(lock)["stages"].values():
            for key, value in stage.get("params", {}).get("params.yaml", {}).items():
                *above, last = key.split(".")
                node = changes
                for part in above:
                    node = node.setdefault(part, {})
                node[last] = value
        overlay(values, {group: value for group, value in changes.items() if group not in ("sources", "lexicon")})
    with reading(record):
        measured = read_json(record)
        machine, costs = measured["machine"], measured["stages"].items()
        seconds = {name: cost["seconds"] for name, cost in costs if not cost.get("went_on")}  # a part's are no whole's
        held = 2 if values["runtime"]["dtype"] == "bfloat16" and machine.get("fast_bfloat16", True) else 4
        start, done, took = min(seconds.values(), default=0.0), Counter(), Counter()
        for stage in run_stages(validated(values, lock), default_shape(root), held):
            if stage.flops and stage.name in seconds:
                done[kind(stage)] += stage.flops
                took[kind(stage)] += seconds[stage.name] - start
        source = f"{PROVENANCE} ({machine['processor']}, {machine['cores']} cores), scaled by operations"
    speeds = {name: done[name] / took[name] for name in done if took[name] > 0}
    if not speeds:
        raise UserError(
            f"{PROVENANCE} has no stage of the run in dvc.lock that ran in one go: run `dvc repro`, or say --flops"
        )
    return Speed(speeds, start, held, source)


def given_speed(flops: float, params: Params) -> Speed:
    """The same for every kind of stage, bfloat16 computed as such."""
    if not 0 < flops < math.inf:
        raise UserError(f"--flops {flops:g}: it takes a number above 0")
    kinds = ("prompts", "harvest", "senses", "targets", "distill", "evaluate")
    return Speed(dict.fromkeys(kinds, flops), 0, kept_bytes(params), f"{flops:g} operations a second and device")


def stage_seconds(stage: Stage, speed: Speed, devices: int) -> float | None:
    """None where the measured run has no stage of this kind. Blocks and items are shared out among devices."""
    if not stage.flops:
        return speed.start
    if kind(stage) not in speed.flops:
        return None
    return speed.start + stage.flops / speed.flops[kind(stage)] / (devices if kind(stage) in PARALLEL else 1)


def default_shape(root: Path) -> Shape:
    """That of the teacher that the run has fetched; before that, of SmolLM2-135M."""
    folder = root / TEACHER
    return read_shape(str(folder)) if (folder / "config.json").is_file() else KNOWN["SmolLM2-135M"]


def _whose_shape(root: Path, params: Params, model: str | None) -> str:
    """Which teacher was reckoned with, and whether the parameters name another."""
    if model:
        return f"The teacher has the shape of {model}."
    wanted, default = _first(params), "SmolLM2-135M"
    if not (root / TEACHER / "config.json").is_file():
        said, other = f"{default}, since none is fetched", default not in wanted
    else:
        fetched = _first(load_params(root / "params.yaml"))
        said, other = f"{TEACHER}, {fetched}", wanted != fetched
    line = f"The teacher has the shape of {said}."
    return f"{line}\nThe profile has another teacher, {wanted}: say --model." if other else line


def _first(params: Params) -> str:
    """Where the teacher is from; of one in several parts the first."""
    return params.sources.teacher.parts()[0]


def plan(root: Path, profile: str | None, model: str | None, devices: int, flops: float | None) -> str:
    """The table to print, and what it rests on.

    Args:
        profile: a name under profiles/; None takes params.yaml as it is.
        model: a name in `shapes.KNOWN` or a folder with a config.json; None is the teacher of the run.
        flops: floating point operations a second that one device sustains; None takes the measured run's speeds.

    Raises:
        UserError: an unknown profile or model, no such number of devices, nothing measured.
    """
    if devices < 1:
        raise UserError(f"--devices {devices}: it takes 1 or more")
    params = load_profile(profile, root) if profile else load_params(root / "params.yaml")
    shape = read_shape(model) if model else default_shape(root)
    speed = measured_speed(root, params) if flops is None else given_speed(flops, params)
    stages = run_stages(params, shape, speed.held)
    rows = [_row(stage, stage_seconds(stage, speed, devices)) for stage in stages]
    rows.append(["total", *_totals(rows)])
    headers = ["stage", "tokens", "operations", "memory (GB)", "mapped (GB)", "disk (GB)", "hours"]
    formats = ["", ",.0f", ".2e", ".2f", ".2f", ".2f", ".3f"]
    table = tabulate(rows, headers, floatfmt=formats, missingval="-", colalign=("left", *["right"] * 6))
    return f"""\
{table}

{_whose_shape(root, params, model)}
Memory is that of a stage's process, {LIBRARIES / 1e9:.2f} GB of it interpreter and libraries; mapped files are
beside it as far as memory is free. Senses and targets are estimates for English text. What shows "-" cannot be told.
Hours: {speed.source}; {devices} device(s) of that speed share blocks and items,
where this program uses one. Sources, lexicon, corpus, benchmarks and report are not counted.
"""


def _row(stage: Stage, seconds: float | None) -> list:
    memory = None if stage.memory is None else stage.memory + LIBRARIES
    sizes = [None if value is None else value / 1e9 for value in (memory, stage.mapped, stage.disk)]
    return [stage.name, float(stage.tokens), float(stage.flops), *sizes, None if seconds is None else seconds / 3600]


def _totals(rows: list[list]) -> list[float]:
    """Sums, but of memory and what is mapped the largest: stages run one after another."""
    columns = [[value for value in column if value is not None] for column in list(zip(*rows))[1:]]
    return [join(column) for join, column in zip((sum, sum, max, max, sum, sum), columns)]
