"""How a sense dictionary grows: its figures against the size of its text, the key, k, min_states and the reservoir.

    python tests/tools/dictionaries.py                                the run's own sample, under other settings
    python tests/tools/dictionaries.py TOKENS [...] [--gloss-share S]  texts of these sizes, under both keys

It needs the artifacts of a run. In the second form the teacher reads the largest text once, for both keys; with
DSKD_MIRROR the text has the mirror's Wikipedia and textbooks too. What is kept lies in build/dictionaries, and a run
that was stopped goes on. Rows go to docs/trials/dictionaries.csv, and rows that are there are not made again;
dictionaries.svg beside it shows how the figures change with the text. The dictionary of the largest text, with the
default's settings and without contexts, is kept in build/dictionaries/senses: `artifacts/senses` for trials.
"""

import argparse
import json
import os
import re
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from dskd.corpus.dictionary import dictionary_text, load_dictionary_text, save_dictionary_text
from dskd.infra import artifacts
from dskd.infra.hashes import remove
from dskd.infra.made_of import save_made_of
from dskd.infra.randomness import hash_integers, text_key
from dskd.pipeline import stages
from dskd.pipeline.dictionary_measures import (
    dictionary_facts,
    heldout_table,
    probes_table,
    read_probes,
    run_documents,
    with_random,
)
from dskd.pipeline.inputs import (
    kept_dtype,
    load_teacher,
    senses_of,
    teacher_tokenizer,
    text_files,
    wordnet_reader,
)
from dskd.report.figures import COLOURS, MARKERS, STYLE
from dskd.scores.dictionary import plain
from dskd.senses.cluster import build_senses
from dskd.senses.store import save_senses
from dskd.states.reservoir import Reservoir, Sampler, open_reservoir, read_chunks, smallest

ROWS = Path("docs/trials/dictionaries.csv")
BUILD = Path("build/dictionaries")
KEYS, MOST = ("predicted", "observed"), 2000
PANELS = {
    "heads_with_two_senses": "heads with two senses or more",
    "heads_with_50_states": "heads with 50 states or more",
    "wic_auc": "same sense or not (WiC), AUC",
    "heldout_variance": "variance of held-out states",
}
BASE = {"k": 10, "min_states": 2, "reservoir": 160}
# Each differs from the base in one thing. They are tried on the largest text and the default's key alone.
SETTINGS = [*({"min_states": n} for n in (1, 3, 5, 10)), {"reservoir": MOST}, {"k": 4}, {"k": 20}]


def mirror_texts(folder: Path) -> list[Path]:
    """The mirror's articles of Wikipedia as JSON lines, and its textbooks."""
    mirror = os.environ.get("DSKD_MIRROR")
    if not mirror:
        return []
    rows = folder / "wikipedia.jsonl"
    if not rows.exists():
        with rows.open("w", encoding="utf-8") as file:
            for path in sorted(Path(mirror, "text/wikipedia_en").glob("*/*wiki_*")):
                for title, text in re.findall(r'<doc [^>]*title="([^"]*)"[^>]*>\n(.*?)</doc>', path.read_text(), re.S):
                    file.write(json.dumps({"title": title, "text": text.strip()}) + "\n")
    return [rows, Path(mirror, "text/openstax")]


def make_text(params, tokens: int):
    """The text in a seeded order of its blocks, so that a smaller text is its beginning, and a folder for it."""
    made_from = f"{tokens} {params.senses} {params.corpus} {params.lexicon} {params.harvest} {params.sources.texts}"
    folder = BUILD / f"{text_key(f'{made_from} {mirror_texts(BUILD)}'):016x}"
    if not (folder / "documents.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        senses = params.senses.model_copy(update={"tokens": tokens})
        texts = [*text_files(params), *mirror_texts(BUILD)]
        text = dictionary_text(senses, params.corpus, params.lexicon, texts, wordnet_reader(), teacher_tokenizer())
        order = np.argsort(hash_integers(0, np.arange(len(text.blocks))), kind="stable")
        save_dictionary_text(folder, text._replace(blocks=text.blocks[torch.from_numpy(order)]))
    return load_dictionary_text(folder), folder


def sampled(params, sizes: list[int]):
    """Let the teacher read on; yields (tokens, key, folder of the sample, seconds) where a size is reached."""
    (text, build), (teacher, _) = make_text(params, max(sizes)), load_teacher(params)
    blocks = text.blocks
    length, per_chunk = blocks.shape[1] - 1, params.harvest.shard_blocks
    numbers = list(range(-(-len(blocks) // per_chunk)))
    samplers = {}
    for key in KEYS:
        (build / key).mkdir(exist_ok=True)
        samplers[key] = Sampler(build / key, numbers, params.senses.seed, MOST, teacher.config.vocab_size)
    waiting = sorted(set(samplers[KEYS[0]].waiting()) | set(samplers[KEYS[1]].waiting()))
    times = build / "seconds.json"
    took = json.loads(times.read_text()) if times.exists() else {}
    ends = {size // (length * per_chunk): size for size in sorted(sizes)}
    ends[len(numbers)] = max(sizes)
    reading = read_chunks(teacher, blocks, params.harvest, waiting, kept_dtype(params), "predicted")
    for number in numbers:
        if number in waiting:
            start = time.monotonic()
            _, states, predicted = next(reading)
            labels = blocks[number * per_chunk : (number + 1) * per_chunk, 1:]
            for key, keys in zip(KEYS, (predicted, labels)):
                if number in samplers[key].waiting():
                    samplers[key].add(number, keys.flatten(), states.flatten(0, 1), number * per_chunk * length)
            took[str(number)] = time.monotonic() - start
            times.write_text(json.dumps(took))
        if size := ends.get(number + 1):
            if not set(numbers[number + 1 :]) <= set(waiting):
                continue  # later chunks were read before and have thinned the files: this sample is no longer there
            for key in KEYS:
                seconds = sum(took[str(n)] for n in range(number + 1))
                yield size, key, snapshot(build / key, number + 1, params, teacher.config.vocab_size), seconds


def snapshot(whole: Path, chunks: int, params, vocabulary: int) -> Path:
    """The sample of the first chunks alone, of the same files as far as they stay as they are."""
    folder = whole.with_name(f"{whole.name}-{chunks}")
    remove(folder)
    folder.mkdir()
    for path in sorted(whole.glob("chunk-*"))[:chunks]:
        os.link(path, folder / path.name)
    Sampler(folder, range(chunks), params.senses.seed, MOST, vocabulary).finish()
    return folder


def narrowed(sample: Reservoir, seed: int, capacity: int) -> Reservoir:
    """The sample that a smaller reservoir would have kept."""
    tokens, hashes = (
        sample.tokens.repeat_interleave(sample.sizes).numpy(),
        hash_integers(seed, sample.positions.numpy()),
    )
    kept = torch.from_numpy(smallest(tokens, hashes, capacity, int(tokens.max()) + 1)[0])
    sizes = sample.sizes.clamp_max(capacity)
    return sample._replace(sizes=sizes, positions=sample.positions[kept], rows=sample.rows[kept])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=int, nargs="*", help="sizes of the text (default: the run's sample)")
    parser.add_argument("--gloss-share", type=float, help="of the text (default: senses.gloss_share)")
    arguments = parser.parse_args()
    params, sizes = stages.begin(), arguments.tokens
    BUILD.mkdir(parents=True, exist_ok=True)
    if arguments.gloss_share is not None:
        params = changed(params, gloss_share=arguments.gloss_share)
    documents = make_text(params, max(sizes))[0].documents if sizes else run_documents()
    probes = read_probes(params, documents)
    if not sizes:
        sample = open_reservoir(Path(artifacts.RESERVOIR))
        some = [settings for settings in SETTINGS if (BASE | settings)["reservoir"] <= params.senses.reservoir]
        measure(params, probes, sample, [{}, *some], {"read": params.senses.tokens, "key": params.senses.key})
    for size, key, folder, seconds in sampled(params, sizes) if sizes else ():
        settings = [{}, *(SETTINGS if (size, key) == (max(sizes), params.senses.key) else [])]
        measure(params, probes, open_reservoir(folder), settings, {"read": size, "key": key, "read_seconds": seconds})
        remove(folder)
    with plt.rc_context({**STYLE, "svg.hashsalt": "dskd"}):
        draw(pd.read_csv(ROWS)).savefig(ROWS.with_suffix(".svg"), metadata={"Date": None})


def draw(rows: pd.DataFrame) -> plt.Figure:
    """How the base's figures change with the size of the text, a line a key; dashed what random states give."""
    base = rows[(rows[list(BASE)] == pd.Series(BASE)).all(axis=1)].drop_duplicates(["read", "key"], keep="last")
    figure, axes = plt.subplots(1, len(PANELS), figsize=(12, 3.2), layout="constrained")
    for axis, (measure, title) in zip(axes, PANELS.items()):
        for i, key in enumerate(KEYS):
            line = base[base["key"] == key].sort_values("read")
            style = {"color": COLOURS[i], "marker": MARKERS[i], "markersize": 5}
            axis.plot(line["read"], line[measure], label=f"{key} key", **style)
            if f"{measure}_random" in line:
                axis.fill_between(
                    line["read"], line[f"{measure}_low"], line[f"{measure}_high"], color=COLOURS[i], alpha=0.15
                )
                axis.plot(line["read"], line[f"{measure}_random"], label=f"{key} key, random states", ls="--", **style)
        sizes = sorted(base["read"].unique())
        axis.set(
            xscale="log", xlabel="million tokens of text", xticks=sizes, xticklabels=[f"{n / 1e6:g}" for n in sizes]
        )
        axis.minorticks_off()
        axis.set_title(title, fontsize=9)
    axes[-1].legend(fontsize=7, handlelength=4)
    plt.close(figure)
    return figure


def changed(params, **values):
    return params.model_copy(update={"senses": params.senses.model_copy(update=values)})


def measure(params, probes, sample: Reservoir, settings: list[dict], of: dict) -> None:
    """A row for each of the settings, on this sample."""
    done = pd.read_csv(ROWS) if ROWS.exists() else pd.DataFrame()
    for changes in tqdm(settings, desc=f"{of['read']} {of['key']}"):
        values = BASE | changes
        made = of | {"gloss_share": params.senses.gloss_share, **values}
        known = {name: value for name, value in made.items() if name != "read_seconds"}
        if len(done) and (done[list(known)] == pd.Series(known)).all(axis=1).any():
            continue
        chosen = changed(params, key=of["key"], **values)
        small = narrowed(sample, params.senses.seed, values["reservoir"])
        start = time.monotonic()
        senses = build_senses(small, chosen.senses)
        if values == BASE and of["key"] == params.senses.key:
            save_senses(BUILD / "senses", senses, lambda folder, _: save_made_of(folder, senses_of()))
        made["cluster_seconds"] = round(time.monotonic() - start, 1)
        made["sample_megabytes"] = round(len(small.positions) * small.states[0].shape[1] * 2e-6)
        dictionaries = with_random(senses, small, params.evaluate.seed)
        table = [probes_table(chosen, dictionaries, probes), heldout_table(chosen, dictionaries)]
        found = plain(dictionary_facts(dictionaries), pd.concat(table, ignore_index=True))
        done = pd.concat([done, pd.DataFrame([made | found])], ignore_index=True)
        ROWS.parent.mkdir(parents=True, exist_ok=True)
        done.to_csv(ROWS, index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
