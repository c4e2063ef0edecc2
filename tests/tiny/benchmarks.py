"""Benchmarks in miniature: invented rows in the schemas of the published files, of a mirror and of the hub."""

import csv
import io
import json
import re
import zipfile
from collections import Counter
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from dskd.benchmarks import gather
from dskd.benchmarks.catalogue import BENCHMARKS
from dskd.benchmarks.gather import canonical_rows
from dskd.infra.artifacts import write_jsonl
from dskd.infra.hashes import sha256_file
from dskd.sources.grammar import parse

EXAMS = [  # id, question, labels, choices, key
    ("Q_1", "What falls?", "ABCD", ["rain ", "light", "“sound”", "time"], "A"),
    ("Q_2", "Which is é?", "1234", ["a", "b", "c", "d"], "4"),
    ("Q_3", "Three of them?", "ABC", ["x", "y", "z"], "B"),
]
PIQA = [("Open a jar ", "twist the lid", "twist the jar's base ", 0), ("dresser", "a  b", "c", 1)]
MMLU = [
    ("anatomy", 'He said "no", twice.\nWhy?', ["1,000", "0.50", "None", ' "x"'], 1),
    ("virology", "Same question", ["a", "b", "c", "d"], 3),
    ("virology", "Same question", ["a", "b", "c", "d"], 3),
]
WIC = [
    ("char", "N", "5-3", "They gave you fresh fried char .", "Burn it to char !", "F"),
    ("carry", "V", "2-0", "You must carry it , ca n't you ?", "Carry on .", "T"),
]
SQUAD = [  # id, question, golds
    ("56a", " When was  it? ", ["in 1066", "1066", "in 1066"]),
    ("56b", "Why not?", []),
    ("56c", "Where?", ["Kent"]),
]
CONTEXT = "It was in 1066,\nin  Kent. "
PAIRS = {"adjective": [("good", "bad", 1), ("big", "large", 0)], "noun": [("day", "night", 1)], "verb": []}
PPDB = {"antonyms": [("females", "males"), ("big", "small")], "synonyms": [("colour", "color"), ("colour", "color")]}
ROGET = [("scold", "flatter", "praise"), ("new", "old")]
SIMLEX = [("old", "new", "1.58"), ("nice", "generous", "5"), ("smart", "intelligent", "9.20")]
HEAD = "word1\tword2\tPOS\tSimLex999\tconc(w1)\tconc(w2)\tconcQ\tAssoc(USF)\tSimAssoc333\tSD(SimLex)"


def exam_rows(nested, stem="question", extra=None):
    for name, question, labels, choices, key in EXAMS:
        if nested:
            items = [{"text": text, "label": label} for text, label in zip(choices, labels)]
            yield {"id": name, "question": {"stem": question, "choices": items, **(extra or {})}, "answerKey": key}
        else:
            columns = {"text": choices, "label": list(labels)}
            yield {"id": name, stem: question, "choices": columns, "answerKey": key, **(extra or {})}


def mmlu_csv(subject):
    out = io.StringIO()
    own = [(question, *choices, "ABCD"[answer]) for name, question, choices, answer in MMLU if name == subject]
    csv.writer(out, lineterminator="\n").writerows(own)
    return out.getvalue()


def lines(values):
    return "".join(f"{value}\n" for value in values)


def jsonl(values):
    return lines(json.dumps(value, ensure_ascii=False) for value in values)


def mirror_files():
    """{path below a mirror: text}, every benchmark, the same rows in both splits."""
    files = {f"arc/ARC-{k}-{s}.jsonl": jsonl(exam_rows(True)) for k in ("Easy", "Challenge") for s in ("Train", "Test")}
    concept = jsonl(exam_rows(True, extra={"question_concept": "c"}))
    files |= {f"commonsenseqa/{split}_rand_split.jsonl": concept for split in ("dev", "train")}
    files |= {f"openbookqa/{split}.jsonl": jsonl(exam_rows(True)) for split in ("test", "train")}
    for split in ("valid", "train"):
        files[f"piqa/{split}.jsonl"] = jsonl(dict(zip(("goal", "sol1", "sol2"), row)) for row in PIQA)
        files[f"piqa/{split}-labels.lst"] = lines(row[3] for row in PIQA)
    files |= {f"mmlu/{s}/{n}_{s}.csv": mmlu_csv(n) for s in ("test", "dev") for n in ("anatomy", "virology")}
    for split in ("dev", "train"):
        files[f"wic/{split}.data.txt"] = lines("\t".join(row[:5]) for row in WIC)
        files[f"wic/{split}.gold.txt"] = lines(row[5] for row in WIC)
    qas = [
        {"id": i, "question": q, "answers": [{"text": g, "answer_start": 0} for g in golds]} for i, q, golds in SQUAD
    ]
    article = {"title": "A_town", "paragraphs": [{"context": CONTEXT, "qas": qas}]}
    files["squad_v2/dev-v2.0.json"] = json.dumps({"version": "v2.0", "data": [article]}, indent=1)
    table = [f"{a}\t{b}\tA\t{score}\t1\t1\t1\t1\t1\t1" for a, b, score in SIMLEX]
    files["similarity/SimLex-999.txt"] = "\r\n".join([HEAD, *table, ""])
    for pos, pairs in PAIRS.items():
        text = lines("\t".join(map(str, pair)) for pair in pairs)
        files |= {f"antsyn/AntSynNET/{pos}-pairs.{split}": text for split in ("train", "val")}
    for relation, pairs in PPDB.items():
        files[f"constraints/counter-fitting/ppdb_{relation}.txt"] = lines(f"{a} {b} " for a, b in pairs)
    files["constraints/roget/antonym.txt"] = lines("\t".join(words) for words in ROGET)
    return files


def parquet(values):
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(values)), out)
    return out.getvalue()


def hub_answers():
    """{path: answer} as the hub, and the other hosts of benchmarks, serve the rows of `mirror_files`."""
    squad = [
        {
            "id": i,
            "title": "A_town",
            "context": CONTEXT,
            "question": q,
            "answers": {"text": g, "answer_start": [0] * len(g)},
        }
        for i, q, g in SQUAD
    ]
    tables = {
        "allenai/ai2_arc": parquet(exam_rows(False)),
        "tau/commonsense_qa": parquet(exam_rows(False, extra={"question_concept": "c"})),
        "allenai/openbookqa": parquet(exam_rows(False, stem="question_stem")),
        "baber/piqa": parquet(dict(zip(("goal", "sol1", "sol2", "label"), row)) for row in PIQA),
        "cais/mmlu": parquet(dict(zip(("subject", "question", "choices", "answer"), row)) for row in MMLU),
        "rajpurkar/squad_v2": parquet(squad),
    }
    answers, files = {}, {PurePosixPath(path).name: text.encode() for path, text in mirror_files().items()}
    for benchmark in BENCHMARKS.values():
        for source in sum(benchmark.hub.values(), ()):
            place = parse(source)
            if place.form == "hf":
                repository, _, revision = place.name.removeprefix("datasets/").partition("@")
                assert len(revision) == 40
                answers[f"/datasets/{repository}/resolve/{revision}/{place.path}"] = (200, {}, tables[repository])
            if place.form == "https" and not place.path:
                path = urlsplit(place.name).path
                answers[path] = (200, {}, files[PurePosixPath(path).name])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        for split in ("dev", "train"):
            for kind in ("data", "gold"):
                zipped.writestr(f"{split}/{split}.{kind}.txt", mirror_files()[f"wic/{split}.{kind}.txt"])
    answers["/wic/package/WiC_dataset.zip"] = (200, {}, archive.getvalue())
    return answers


def move_hosts(address, monkeypatch):
    """All benchmarks that are not the hub's nor PyPI's lie at `address` in this test."""
    for name, benchmark in BENCHMARKS.items():
        hub = {
            split: tuple(re.sub("^https://[^/]+", address, source) for source in sources)
            for split, sources in benchmark.hub.items()
        }
        monkeypatch.setitem(BENCHMARKS, name, benchmark._replace(hub=hub))


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return root


def pin(root, monkeypatch):
    """The canonical files of the mirror `root` are the pinned ones in this test."""
    for name, benchmark in BENCHMARKS.items():
        sha256 = {}
        for split in benchmark.mirror:
            write_jsonl(root / "pin.jsonl", canonical(root, name, split)[0])
            sha256[split] = sha256_file(root / "pin.jsonl")
        monkeypatch.setitem(BENCHMARKS, name, benchmark._replace(sha256=sha256))


def canonical(root, name, split):
    """The canonical rows of a split from a mirror, and how many were left out by fault."""
    faults, benchmark = Counter(), BENCHMARKS[name]
    _, files = gather._files(benchmark, root, root, set())
    return canonical_rows(benchmark, files[split], faults), faults
