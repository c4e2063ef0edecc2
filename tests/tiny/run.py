"""A run in miniature: invented scores of teacher, cut and students, written where the stage `report` finds them."""

from pathlib import Path

import numpy as np
import torch

from dskd.benchmarks.catalogue import BENCHMARKS
from dskd.infra import artifacts
from dskd.infra.made_of import save_made_of, values_of
from dskd.params import Params, load_params
from dskd.pipeline.inputs import scores_of
from dskd.scores.lexical_choice import Item
from dskd.scores.store import TASKS, choice_rows, heldout_rows, item_rows

BLOCKS, ITEMS, WORDS, QUESTIONS = 40, 24, 30, 20
EFFECT = -0.5  # of the objective dskd on cross-entropy and divergence; everything else is chance
FAR = {"available": False, "how": "DSKD_MIRROR is not set; set DSKD_MIRROR to a folder that holds it"}


def run_params(objectives=("kd", "dskd"), seeds=(0, 1), epochs: float = 0.5, bootstrap: int = 200) -> Params:
    """The committed parameters, with these changed; fewer resamples than a run may have keep the tests fast."""
    values = load_params(Path(__file__).parents[2] / "params.yaml").model_dump()
    values["distill"] |= {"objectives": list(objectives), "seeds": list(seeds), "epochs": epochs}
    params = Params.model_validate(values)
    return params.model_copy(
        update={"evaluate": params.evaluate.model_copy(update={"bootstrap": bootstrap, "seed": 3})}
    )


def students(params: Params) -> list[str]:
    return [f"{objective}-{seed}" for objective in params.distill.objectives for seed in params.distill.seeds]


def write_run(params: Params, benchmarks: bool = True) -> None:
    """All that a report is made of, below the working folder; without benchmarks SimLex alone could be had."""
    draw, models = np.random.default_rng(0), ["teacher", "cut", *students(params)]
    write_heldout(models, draw)
    write_lexical(models, draw)
    write_in_context(models, draw)
    write_pairs(models, draw, ["wic_states", "antonym_cosine", "antonym_probe"] if benchmarks else [])
    rows = {"cloze": [], "chat": []}
    for model in models if benchmarks else ():
        rows["cloze"] += [cloze_row(model, name, i, draw) for name in ("piqa", "wic") for i in range(QUESTIONS)]
        for i in range(QUESTIONS):
            asked = {"model": model, "protocol": "chat", "id": f"{i:02}", "written": "A"}
            right, f1 = float(draw.random() < 0.5), round(float(draw.random()), 3)
            rows["chat"] += [{**asked, "benchmark": "piqa", "acc": right}]
            rows["chat"] += [{**asked, "benchmark": "squad_v2", "f1": f1, "em": float(f1 > 0.8)}]
    counts = {"items": QUESTIONS, "asked": QUESTIONS, "too_long": 0}
    for protocol, names in {"cloze": ("piqa", "wic"), "chat": ("piqa", "squad_v2")}.items():
        artifacts.write_jsonl(f"{artifacts.SCORES}/{protocol}.jsonl", rows[protocol])
        artifacts.write_json(
            f"{artifacts.SCORES}/{protocol}.json", {name: counts for name in names} if benchmarks else {}
        )
    near = {"available": True, "rows": {"test": QUESTIONS, "train": 5}, "faults": {"label_outside": 0}}
    had = {"piqa", "wic", "squad_v2", "simlex", "antsynnet"} if benchmarks else {"simlex"}
    summary = {name: near if name in had else FAR for name in BENCHMARKS}
    artifacts.write_json(f"{artifacts.BENCHMARKS}/summary.json", summary)
    tokens = {"train.wiki": 6000, "train.gloss": 4000}
    of_source = BLOCKS // 2 * params.corpus.block_length
    rows = {name: {"tokens": n} for name, n in tokens.items()}
    for source, bytes_ in (("wiki", 4), ("gloss", 5)):  # of a token
        rows[f"heldout.{source}"] = {"tokens": of_source, "bytes": bytes_ * of_source}
    summary = {"by_split_and_source": rows, "heldout_documents": sorted(set(block_documents()))}
    artifacts.write_json(f"{artifacts.CORPUS}/corpus.json", summary)
    notes = {"corpus": artifacts.CORPUS, "benchmarks": artifacts.BENCHMARKS, "evaluate": artifacts.SCORES}
    for key, folder in notes.items():
        save_made_of(Path(folder), scores_of() if key == "evaluate" else {}, values_of(params, key))


def write_heldout(models: list[str], draw: np.random.Generator) -> None:
    hard, found = draw.normal(3, 0.3, size=BLOCKS), {}
    for model in models:
        noise = draw.normal(0, 0.01, size=(3, BLOCKS))
        effect = EFFECT if model.startswith("dskd-") else 0.0
        kl = np.zeros(BLOCKS) if model == "teacher" else 1 + effect + noise[1]
        found[model] = {"ce": (hard + effect + noise[0]).tolist(), "kl": kl.tolist()}
        found[model]["agreement"] = (0.5 + noise[2]).tolist()
    sources = torch.arange(BLOCKS) % 2
    artifacts.write_jsonl(f"{artifacts.SCORES}/heldout.jsonl", heldout_rows(found, sources, block_documents()))


def block_documents() -> list[str]:
    return [f"{('wiki', 'gloss')[block % 2]}:{block // 3}" for block in range(BLOCKS)]


def make_items() -> list[Item]:
    """As many of each task; every fourth answer is the most frequent choice."""
    choices = (" one", " two", " three", " eleven")
    return [
        Item(task, f"{task}:{i:02}", "word", f"{task} {i} is", choices, i % 4, "n", "word.n.01")
        for task in TASKS
        for i in range(ITEMS)
    ]


def write_lexical(models: list[str], draw: np.random.Generator) -> None:
    items = make_items()
    frequency = {"one": 9, "two": 7, "three": 5, "eleven": 3}
    artifacts.write_jsonl(f"{artifacts.SCORES}/items.jsonl", item_rows(items, frequency))
    likelihoods = {model: draw.normal(-5, 1, size=(len(items), 4)).tolist() for model in models}
    artifacts.write_jsonl(f"{artifacts.SCORES}/lexical.jsonl", choice_rows(likelihoods, items))


def write_in_context(models: list[str], draw: np.random.Generator) -> None:
    rows = [
        {"model": model, "kind": "synonym", "rung": "trained", "id": f"synonym:{i:02}", "document": f"wiki:{i // 2}"}
        | {"value": float(draw.normal(1, 0.5))}
        for model in models
        for i in range(ITEMS)
    ]
    artifacts.write_jsonl(f"{artifacts.SCORES}/in_context.jsonl", rows)


def write_pairs(models: list[str], draw: np.random.Generator, tasks: list[str]) -> None:
    judged = draw.random(WORDS) * 10
    values = {("human", "simlex"): judged}
    for model in models:
        values[model, "simlex"] = judged / 10 + draw.normal(0, 0.2, size=WORDS)
        values |= {(model, task): draw.integers(0, 2, size=WORDS) for task in tasks}
    rows = [
        {"model": model, "task": task, "id": f"{i:02}", "value": float(value)}
        for (model, task), found in values.items()
        for i, value in enumerate(found)
    ]
    artifacts.write_jsonl(f"{artifacts.SCORES}/pairs.jsonl", rows)
    artifacts.write_json(f"{artifacts.SCORES}/pairs.json", {"wic": {"teacher": {"auc": 0.7}}} if tasks else {})


def cloze_row(model: str, benchmark: str, number: int, draw: np.random.Generator) -> dict:
    answer, (chosen, normed) = number % 2, draw.integers(0, 2, size=2).tolist()
    asked = {"model": model, "protocol": "cloze", "benchmark": benchmark, "id": f"{number:02}"}
    right = {"acc": float(chosen == answer), "acc_norm": float(normed == answer)}
    return {**asked, "answer": answer, "chosen": chosen, **right, "probability": round(float(draw.random()), 5)}
