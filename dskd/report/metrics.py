"""From scores to metrics: means with intervals, and every difference between two objectives with its test."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nltk.corpus.reader.wordnet import WordNetCorpusReader
from scipy import special
from scipy.stats import rankdata

from dskd.benchmarks.catalogue import GOLD_LISTS, read_benchmark
from dskd.errors import UserError
from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.infra.randomness import FEWEST_DOCUMENTS, FEWEST_UNITS, tells_of_others, uniform
from dskd.params import Params
from dskd.report.statistics import compare, estimate, finite, holm, of_units, outcome
from dskd.scores.lexical_choice import read_vocabulary
from dskd.scores.store import Columns, baselines, heldout_tables, read_columns, read_items, read_rows, read_units

BASELINE = "kd"  # what an objective must beat; where it was not trained, the first objective
SENSES = ("dskd", "span")  # the paper's sense loss and this project's; their controls are named after them
POOLED = ("cloze", "cloze_norm", "cloze_probability")  # tables with a column for all benchmarks' items together

GROUPS = {"n": "nouns", "v": "verbs", "a": "adjectives", "r": "adverbs", "rare": "rare words", "common": "common words"}

# Differences that are too small to matter, of secondary tests: nats a token, nats of log-odds, and shares.
_NATS, _LOG_ODDS, _SHARE = 0.01, 0.05, 0.02
RANKED = 2000  # resamples of a rank correlation, which are slow, and of groups, which are many
_FEWEST = 10  # items of a group whose mean is shown


class Asked(NamedTuple):
    """The word, or the two words, that an item of a lexical measure asks about."""

    pos: str  # n, v, a or r; empty where it is not known, or where the two words have two of them
    frequency: int  # in WordNet's texts; of two words that of the rarer one


def asked_words(reader: WordNetCorpusReader) -> dict[str, dict[str, Asked]]:
    """Measure -> item -> what it asks about, of all lexical measures and of SimLex-999.

    A word has its main part of speech, the one that WordNet's tagged text has most often; AntSynNET gives its own.
    """
    vocabulary = read_vocabulary(reader)

    def words(*found: str, pos: str = "") -> Asked:
        parts = {vocabulary.pos.get(word.lower(), "") for word in found}
        return Asked(
            pos or (parts.pop() if len(parts) == 1 else ""),
            min(vocabulary.frequency.get(word.lower(), 0) for word in found),
        )

    asked: dict[str, dict[str, Asked]] = {}
    for item in read_items()[0]:
        if item.rung == "word":  # the others are on the ladder
            asked.setdefault(item.task, {})[item.id] = words(item.word, pos=item.pos)
    folder = require(artifacts.BENCHMARKS, "benchmarks")
    there = artifacts.read_json(folder / "summary.json")
    of_rows = {
        "wic": (("wic_states",), lambda row: words(row["word"])),
        "simlex": (("simlex",), lambda row: words(row["word1"], row["word2"])),
        "antsynnet": (
            ("antonym_cosine", "antonym_probe"),
            lambda row: words(row["word1"], row["word2"], pos={"noun": "n", "verb": "v", "adjective": "a"}[row["pos"]]),
        ),
    }
    for name, (measures, read) in of_rows.items():
        if there[name]["available"]:
            rows = {row["id"]: read(row) for row in read_benchmark(folder, name, "test")}
            asked |= dict.fromkeys(measures, rows)
    return asked


def summarise(params: Params, students: list[str], asked: Mapping[str, Mapping[str, Asked]] | None = None) -> dict:
    """All metrics of a run; with `asked`, which `asked_words` gives, also by part of speech and frequency.

    For teacher, cut and every objective (its seeds averaged item by item) means with 95 % intervals over items;
    for every pair of objectives the paired difference with its interval over items and seeds, its p value, the
    same after Holm's correction within its table, whether the two are equivalent, and the smallest effect that the
    design could have seen. Items of one document are drawn together. "primary" has the tests that the parameters
    declare; all others are secondary.

    Raises:
        UserError: the scores are missing, or are of other students; a primary test names a measure that is not there.
    """
    columns = read_columns()
    human = columns.pop("human", {}).get("similarity", {})
    found = [name for name in columns if name not in ("teacher", "cut")]
    if found != students:
        raise UserError(f"{artifacts.SCORES} holds {found}, the parameters want {students}: run `dvc repro evaluate`")
    seeds, objectives = params.distill.seeds, params.distill.objectives
    pool(columns)
    groups = {"teacher": ["teacher"], "cut": ["cut"]}
    groups |= {objective: [f"{objective}-{seed}" for seed in seeds] for objective in objectives}
    units = read_units()
    stacked = {name: by_document(stack([columns[m] for m in models]), units) for name, models in groups.items()}
    summary = artifacts.read_json(require(Path(artifacts.CORPUS) / "corpus.json", "corpus"))
    gathered = artifacts.read_json(require(artifacts.BENCHMARKS, "benchmarks") / "summary.json")
    benchmarks = {name: value for name, value in gathered.items() if name not in GOLD_LISTS}
    for protocol in ("cloze", "chat"):
        for name, counts in artifacts.read_json(f"{artifacts.SCORES}/{protocol}.json").items():
            benchmarks[name][protocol] = counts
    sources = _sources_of_this_text(summary, params)
    texts = {table: summary["by_split_and_source"][f"heldout.{source}"] for source, table in sources.items()}
    models = {}
    for name, tables in stacked.items():
        models[name] = means(tables, human, params)
        for table, text in texts.items():
            # Separators have no bytes but cost nats: they count, as the end of a text does in a code.
            per_byte = text["tokens"] / text["bytes"] / np.log(2)
            ce = models[name][table]["ce"]
            models[name][table]["bits_per_byte"] = {
                part: None if value is None else value * per_byte for part, value in ce.items()
            }
        models[name]["command"] = _command(name, seeds)
    trained = sum(row["tokens"] for name, row in summary["by_split_and_source"].items() if "train" in name)
    return {
        "models": models,
        "seeds": {model: _plain_means(columns[model], human) for model in students},
        "primary": primary_tests(stacked, params),
        "differences": differences({name: stacked[name] for name in objectives}, human, params),
        "groups": by_group(stacked, human, asked or {}, params),
        "benchmarks": benchmarks,
        # None where no word was held out and no pairs of words are there to judge.
        "lexical_items": {name: int(v.shape[1]) for name, v in stacked["teacher"].get("lexical", {}).items()},
        "train_tokens": trained_tokens(trained, params),
        "heldout_tokens": sum(text["tokens"] for text in texts.values()),
        "heldout_documents": {table: len(set(units[table]["ce"])) for table in texts},
        "in_context_documents": {name: len(set(of)) for name, of in units.get("in_context", {}).items()},
        "resamples": params.evaluate.bootstrap,
        "baselines": baselines(),
        "facts": artifacts.read_json(f"{artifacts.SCORES}/pairs.json"),
    }


def trained_tokens(tokens: int, params: Params) -> int:
    """How many of the training text a student sees: of part of an epoch those of its steps (`students.batches`)."""
    of_step = params.distill.batch_size * params.corpus.block_length
    steps = max(1, round(min(params.distill.epochs, 1) * math.ceil(tokens / of_step)))
    return min(tokens, steps * of_step)


def _sources_of_this_text(summary: dict, params: Params) -> dict[str, str]:
    """`heldout_tables` of the scores; UserError where they are of another held-out text than the corpus, of which
    `summary` tells."""
    rows = [row for row in read_rows("heldout") if row["model"] == "teacher"]
    sources = heldout_tables({row["source"] for row in rows})
    blocks = Counter(row["source"] for row in rows)
    tokens = {source: blocks[source] * params.corpus.block_length for source in sources}
    held = {name.partition(".")[2]: of for name, of in summary["by_split_and_source"].items() if "heldout" in name}
    same = tokens == {source: of["tokens"] for source, of in held.items() if of["tokens"]}
    if not same or {row["document"] for row in rows} != set(summary["heldout_documents"]):
        raise UserError(f"{artifacts.SCORES} is of another text than {artifacts.CORPUS}: run `dvc repro evaluate`")
    return sources


def pool(columns: dict[str, Columns]) -> None:
    """Add to the tables of `POOLED` the column "all": the items of all benchmarks, one after another by name."""
    for tables in columns.values():
        for name in POOLED:
            if name in tables:
                tables[name]["all"] = np.concatenate([tables[name][benchmark] for benchmark in sorted(tables[name])])


def stack(runs: list[Columns]) -> Columns:
    """The scores of an objective's seeds as arrays (seeds, items)."""
    return {
        table: {measure: np.stack([run[table][measure] for run in runs]) for measure in measures}
        for table, measures in runs[0].items()
    }


def by_document(tables: Columns, units: Mapping[str, Mapping[str, Sequence[str]]]) -> Columns:
    """The scores with one column for each document (`statistics.of_units`) of measures whose items are of documents.

    Where there are fewer documents than `FEWEST_DOCUMENTS` the items stay: so few cannot stand for others.

    Args:
        units: table -> measure -> the document of each item.
    """
    found = {table: dict(measures) for table, measures in tables.items()}
    for table, measures in units.items():
        for measure, names in measures.items():
            if len(set(names)) >= FEWEST_DOCUMENTS:
                found[table][measure] = of_units(tables[table][measure], np.array(names))
    return found


def primary_tests(stacked: dict[str, Columns], params: Params) -> list[dict]:
    """What `compare` says of each test of `study.primary`, with both p values after Holm's correction for these tests
    ("p_holm", "p_equivalent_holm") and the outcome by them.

    Raises:
        UserError: the run has no such measure, or too few items of it.
    """
    found = []
    for test in params.study.primary:
        table, _, measure = test.measure.partition(".")
        known = [f"{name}.{key}" for name, of in stacked[test.student].items() if name != "similarity" for key in of]
        if test.measure not in known:
            raise UserError(f"study.primary names {test.measure!r}; this run has {', '.join(known)}")
        a, b = (stacked[name][table][measure] for name in (test.control, test.student))
        if not tells_of_others(a.shape[1]):
            raise UserError(
                f"study.primary names {test.measure!r}, of which this run has {a.shape[1]} items: it takes "
                f"{FEWEST_UNITS} to tell of others; take more text, or name another measure"
            )
        value = compare(a, b, params.evaluate.bootstrap, params.evaluate.seed, test.margin)
        found.append(test.model_dump() | value)
    for key in ("p", "p_equivalent"):
        for value, p in zip(found, holm([value[key] for value in found])):
            value[f"{key}_holm"] = float(p)
    for value in found:
        value["outcome"] = outcome(value["p_holm"], value["p_equivalent_holm"], value["margin"])
    return found


def margin(table: str, measure: str) -> float:
    """The difference that is too small to matter in a secondary test."""
    return _NATS if measure in ("ce", "kl") else _LOG_ODDS if table == "in_context" else _SHARE


def means(tables: Columns, human: dict[str, np.ndarray], params: Params) -> dict:
    """table -> measure -> mean, low, high. In the table "similarity" that is Spearman's rho with human judgements."""
    settings, found = params.evaluate, {}
    for table, measures in tables.items():
        for measure, values in measures.items():
            if table == "similarity":
                nothing = np.zeros(values.shape[1])  # whose correlation is 0
                resamples = min(settings.bootstrap, RANKED)
                value = spearman_difference(nothing, values, human[measure], resamples, settings.seed)
                del value["p"]  # a test of no interest
                if not tells_of_others(len(nothing)):
                    value |= {"low": None, "high": None}
            else:
                share = table not in ("heldout", "glosses") and margin(table, measure) == _SHARE
                value = estimate(values.mean(axis=0), settings.bootstrap, settings.seed, share=share)
            found.setdefault(table, {})[measure] = value
    return found


def by_group(
    stacked: dict[str, Columns], human: dict[str, np.ndarray], asked: Mapping[str, Mapping[str, Asked]], params: Params
) -> dict:
    """measure -> group -> "items", and by model mean, low and high, for each part of speech and for rare and common
    words: those up to the median frequency of the measure's items, and those above. Small groups are left out.

    Raises:
        UserError: the scores are not of these items.
    """
    resamples = min(params.evaluate.bootstrap, RANKED)
    few = params.model_copy(update={"evaluate": params.evaluate.model_copy(update={"bootstrap": resamples})})
    found: dict[str, dict] = {}
    for measure, items in asked.items():
        table = "similarity" if measure == "simlex" else "lexical"
        if measure not in stacked["teacher"].get(table, {}):
            continue
        of = [items[key] for key in sorted(items)]  # the order of `read_columns`
        if len(of) != stacked["teacher"][table][measure].shape[1]:
            raise UserError(f"{artifacts.SCORES} and {artifacts.BENCHMARKS} have other items: run `dvc repro evaluate`")
        pos, frequency = np.array([item.pos for item in of]), np.array([item.frequency for item in of])
        masks = {group: pos == group for group in "nvar"}
        masks |= {"rare": frequency <= np.median(frequency), "common": frequency > np.median(frequency)}
        for group, mask in masks.items():
            if mask.sum() >= _FEWEST:
                row = found.setdefault(measure, {})[group] = {"items": int(mask.sum())}
                for name, columns in stacked.items():
                    chosen = {table: {measure: columns[table][measure][:, mask]}}
                    judged = {measure: human[measure][mask]} if measure in human else {}
                    row[name] = means(chosen, judged, few)[table][measure]
    return found


def differences(objectives: dict[str, Columns], human: dict[str, np.ndarray], params: Params) -> dict:
    """ "second - first" -> table -> measure -> what `stats.compare` says, and `p_holm`: corrected for all p values
    of that table, over pairs and measures."""
    settings, found = (params.evaluate.bootstrap, params.evaluate.seed), {}
    for first, second in pairs(list(objectives)):
        of_pair = found[f"{second} - {first}"] = {}
        for table, measures in objectives[first].items():
            for measure, a in measures.items():
                b = objectives[second][table][measure]
                if not tells_of_others(a.shape[1]):
                    continue
                if table == "similarity":
                    value = rank_difference(a, b, human[measure], min(settings[0], RANKED), settings[1])
                else:
                    value = compare(a, b, *settings, margin(table, measure))
                of_pair.setdefault(table, {})[measure] = value
    for table in {table for of_pair in found.values() for table in of_pair}:
        cells = [cell for of_pair in found.values() for cell in of_pair[table].values()]
        for cell, p in zip(cells, holm([cell["p"] for cell in cells])):
            cell["p_holm"] = float(p)
    return found


def rank_difference(a: np.ndarray, b: np.ndarray, human: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """Mean difference of two objectives' correlations with `human`, rho(b) - rho(a), with interval and p value.

    Args:
        a, b: (seeds, items). `pairs.spearman_difference` knows of other items only; with several seeds the half
            width of Student's t over their differences is added to it in quadrature, and p is that of the normal
            distribution with such an interval.
    """
    value = spearman_difference(a, b, human, resamples, seed)
    if len(a) == 1:
        return value
    of_seeds = [spearman(y, human) - spearman(x, human) for x, y in zip(a, b)]
    half_seeds = special.stdtrit(len(a) - 1, 0.975) * np.std(of_seeds, ddof=1) / np.sqrt(len(a))
    half = float(np.hypot((value["high"] - value["low"]) / 2, half_seeds))
    p = 2 * special.ndtr(-abs(value["mean"]) / half * special.ndtri(0.975)) if half else value["p"]
    return {"mean": value["mean"], "low": value["mean"] - half, "high": value["mean"] + half, "p": float(p)}


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rank correlation: equal values share their mean rank, and 0 where all are equal.

    Raises:
        ValueError: a value that is not finite.
    """
    x, y = (_centred_ranks(np.asarray(values)[None]) for values in (x, y))
    return float(_cosine(x, y)[0])


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    lengths = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return np.divide((a * b).sum(axis=1), lengths, out=np.zeros(len(a)), where=lengths > 0)


def spearman_difference(a: np.ndarray, b: np.ndarray, human: Sequence[float], resamples: int, seed: int) -> dict:
    """Difference of two models' correlations with human values, rho(b) - rho(a), under resampling of the items.

    Args:
        a, b: (n,) similarities, or (seeds, n), whose correlations are averaged: seeds are not resampled.
        human: (n,).

    Returns:
        mean (of the items as they are), low, high (95 % percentile interval) and
        p = 2 min(#{d <= 0} + 1, #{d >= 0} + 1) / (resamples + 1), at most 1, for the resampled differences d.
    """
    a, b, human = np.atleast_2d(a), np.atleast_2d(b), np.asarray(human)

    def differences(drawn: np.ndarray) -> np.ndarray:
        target = _centred_ranks(human[drawn])
        of_a, of_b = (np.mean([_cosine(_centred_ranks(x[drawn]), target) for x in rows], axis=0) for rows in (a, b))
        return of_b - of_a

    items = np.arange(len(human))
    chunks = np.array_split(np.arange(resamples), -(-resamples // 500))  # some hundred at a time: memory stays small
    drawn = ((uniform(seed, rows[:, None], items) * len(items)).astype(np.int64) for rows in chunks)
    draws = np.concatenate([differences(rows) for rows in drawn])
    low, high = np.quantile(draws, [0.025, 0.975])
    p = min(1, 2 * (min((draws <= 0).sum(), (draws >= 0).sum()) + 1) / (resamples + 1))
    return {"mean": float(differences(items[None])[0]), "low": float(low), "high": float(high), "p": float(p)}


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    return rankdata(finite(values), axis=1) - (values.shape[1] + 1) / 2


def pairs(objectives: list[str]) -> list[tuple[str, str]]:
    """Which objectives are compared: each with the baseline; and `SENSES` with each that has no senses, with each of
    its own controls, and with one another."""
    base = BASELINE if BASELINE in objectives else objectives[0]
    found = [(base, name) for name in objectives if name != base]
    senses = [name for name in SENSES if name in objectives and name != base]
    for i, own in enumerate(senses):
        controls_of_others = tuple(f"{name}_" for name in SENSES if name != own)
        compared = [name for name in objectives if name not in (base, *senses[i:])]
        found += [(name, own) for name in compared if not name.startswith(controls_of_others)]
    return found


def _plain_means(tables: Columns, human: dict[str, np.ndarray]) -> dict:
    """table -> measure -> mean of one student: what the spread over seeds is seen from."""
    return {
        table: {
            measure: spearman(values, human[measure]) if table == "similarity" else float(values.mean())
            for measure, values in measures.items()
        }
        for table, measures in tables.items()
    }


def _command(name: str, seeds: list[int]) -> str:
    if name in ("teacher", "cut"):
        return {"teacher": "dvc repro sources", "cut": "dvc repro evaluate"}[name]
    numbers = str(seeds[0]) if len(seeds) == 1 else "{" + ",".join(map(str, seeds)) + "}"
    return f"dvc repro distill@{name}-{numbers}"
