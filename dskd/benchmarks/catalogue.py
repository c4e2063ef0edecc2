"""The benchmarks: where each is published, under which licence, and how its rows are read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dskd.benchmarks import published_rows as published
from dskd.infra.artifacts import read_jsonl, require

SPLITS = ("test", "train")  # scored; and where examples and thresholds come from

# The two protocols, and what each asks.
CLOZE = ("arc_easy", "arc_challenge", "commonsense_qa", "piqa", "mmlu", "openbookqa", "wic")
CHAT = ("arc_challenge", "commonsense_qa", "piqa", "mmlu", "squad_v2")
GOLD_LISTS = ("ppdb", "roget")  # what a lexicon is measured on; no model is scored on these


class Benchmark(NamedTuple):
    name: str
    title: str
    licence: str
    home: str
    row: Callable[[dict], dict | list[dict]]  # raw row -> canonical row or rows, see `published_rows`
    mirror: dict[str, tuple[str, ...]]  # split -> names below the mirror folder, or patterns of names
    hub: dict[str, tuple[str, ...]]  # split -> sources (dskd/sources/grammar.py)
    sha256: dict[str, str]  # split -> of the canonical file


def read_benchmark(folder: Path, name: str, split: str) -> list[dict]:
    """The canonical rows of one split that `gather` wrote to `folder`."""
    return read_jsonl(require(Path(folder) / f"{name}.{split}.jsonl", "benchmarks"))


_SHA256 = {
    "arc_easy.test": "ae27bff294c60104b0542805a42982bcd241b2eaad7d47cec01139cc00a3ec0d",
    "arc_easy.train": "64673acddcd4143c41f278f327b04fff98e2d81ab9b01838afa359be03d312e0",
    "arc_challenge.test": "e89b243966f093684d975c082a13cd8181f2369d3f2c929b00ef511638c57d6c",
    "arc_challenge.train": "0acbb78dbd24d0a30664b047eeb967a769bce6375f1c74ae94d5d7e65e9dedb8",
    "commonsense_qa.test": "c9dabb658736f1c4b986699b871fd613a6d2e251ab15d7d39a44bdc08da2cdc6",
    "commonsense_qa.train": "57d103b48d7bb31e6714e944a840ba2381926c068a7c1053149efeca62f7c788",
    "piqa.test": "01abd0609f12352bc06e44ae081d81ad6dccf0fb4d72442afdac664f24e9968b",
    "piqa.train": "8758c57ff7154cc7d327e151a43b3bfe36799019c49f41212b60ef80d1f0ea64",
    "mmlu.test": "41d5b55951f0c48590107ae933377e45ec1553d7b3269ef596b599518d1a43c0",
    "mmlu.train": "4253226781e5d69e08d4ad777b23d0e8083e89996208bba33fb7cca68dd1cd86",
    "openbookqa.test": "f1cce992aa9dc04c2ba972ef90f17c9a4c0cc131fc2000e1b18a16804ae010ad",
    "openbookqa.train": "737340d9e2a00172e094d160dfc5adf57e14b62b4673ac96444d14868feec84c",
    "wic.test": "6cec0497a43cadf50942299390e72424a92b042b3c9cac7f6f19c8a3e935b554",
    "wic.train": "ecc3b24546e24dbe84a92116816f672b6155faf6cd150372bfa2c53d12559bc8",
    "squad_v2.test": "816387350b5cd3172aaa8a48c5b6942d19fc4732d89f80be1f22ee154083fc92",
    "simlex.test": "c7de702f461d28e960ef43933962da971cb5db7dca85cbbe791e559e5b6fff69",
    "antsynnet.test": "36a299675700c4671aa402e9ad7c5685d3e3c330a0610aa67de6f76663a0a4db",
    "antsynnet.train": "4f360c06f2926c35427e61f47f518107293e84d2142d3dae7ad3c169041efca2",
    "ppdb.test": "bd4ccdbbdc44032c6c6301b8306dc2e0c9481a0833adc10246a89db9d4d43911",
    "roget.test": "c56666004031c0e05c6a2979059de9fd4bccddfca8b2be82adc9c4b065e72ece",
}


def _table() -> Iterator[Benchmark]:
    """The benchmarks; names of files, and sources, are separated by spaces."""

    def benchmark(about: tuple[str, str, str, str], row: Callable, mirror: dict, hub: dict) -> Benchmark:
        mirror, hub = ({split: tuple(names.split()) for split, names in place.items()} for place in (mirror, hub))
        return Benchmark(*about, row, mirror, hub, {split: _SHA256[f"{about[0]}.{split}"] for split in mirror})

    one = "-00000-of-00001.parquet"
    for name in ("ARC-Easy", "ARC-Challenge"):
        arc = f"hf:datasets/allenai/ai2_arc@210d026faf9955653af8916fad021475a3f00453!{name}"
        yield benchmark(
            (name.lower().replace("-", "_"), name, "CC BY-SA 4.0", "https://allenai.org/data/arc"),
            published.exam,
            {"test": f"arc/{name}-Test.jsonl", "train": f"arc/{name}-Train.jsonl"},
            {"test": f"{arc}/test{one}", "train": f"{arc}/train{one}"},
        )
    csqa = "hf:datasets/tau/commonsense_qa@94630fe30dad47192a8546eb75f094926d47e155!data"
    yield benchmark(
        ("commonsense_qa", "CommonsenseQA", "MIT", "https://www.tau-nlp.org/commonsenseqa"),
        published.exam,
        {"test": "commonsenseqa/dev_rand_split.jsonl", "train": "commonsenseqa/train_rand_split.jsonl"},
        {"test": f"{csqa}/validation{one}", "train": f"{csqa}/train{one}"},
    )
    # Its own ybisk/piqa holds a loading script; lm-evaluation-harness loads this copy.
    piqa = "hf:datasets/baber/piqa@142f6d7367fd9877f0fb3b5734ea6a545f54cdd1!piqa"
    yield benchmark(
        ("piqa", "PIQA", "AFL 3.0", "https://yonatanbisk.com/piqa"),
        published.piqa,
        {"test": "piqa/valid.jsonl piqa/valid-labels.lst", "train": "piqa/train.jsonl piqa/train-labels.lst"},
        {"test": f"{piqa}_validation.parquet", "train": f"{piqa}_train.parquet"},
    )
    mmlu = "hf:datasets/cais/mmlu@c30699e8356da336a370243923dbaf21066bb9fe!all"
    yield benchmark(
        ("mmlu", "MMLU", "MIT", "https://github.com/hendrycks/test"),
        published.mmlu,
        {"test": "mmlu/test/*_test.csv", "train": "mmlu/dev/*_dev.csv"},
        {"test": f"{mmlu}/test{one}", "train": f"{mmlu}/dev{one}"},
    )
    obqa = "hf:datasets/allenai/openbookqa@388097ea7776314e93a529163e0fea805b8a6454!main"
    yield benchmark(
        ("openbookqa", "OpenBookQA", "Apache-2.0", "https://github.com/allenai/OpenBookQA"),
        published.exam,
        {"test": "openbookqa/test.jsonl", "train": "openbookqa/train.jsonl"},
        {"test": f"{obqa}/test{one}", "train": f"{obqa}/train{one}"},
    )
    # Of WiC the hub has SuperGLUE's edition only, whose sentences were put together again by hand: other dashes,
    # quotes and capitals. So the published archive stands here, which holds the same tokens as a mirror.
    wic = "https://pilehvar.github.io/wic/package/WiC_dataset.zip!"
    yield benchmark(
        ("wic", "WiC", "CC BY-NC 4.0", "https://pilehvar.github.io/wic"),
        published.wic,
        {"test": "wic/dev.data.txt wic/dev.gold.txt", "train": "wic/train.data.txt wic/train.gold.txt"},
        {s: f"{wic}{d}/{d}.data.txt {wic}{d}/{d}.gold.txt" for s, d in (("test", "dev"), ("train", "train"))},
    )
    squad = "hf:datasets/rajpurkar/squad_v2@3ffb306f725f7d2ce8394bc1873b24868140c412!squad_v2"
    yield benchmark(
        ("squad_v2", "SQuAD 2.0", "CC BY-SA 4.0", "https://rajpurkar.github.io/SQuAD-explorer"),
        published.squad,
        {"test": "squad_v2/dev-v2.0*.json"},
        {"test": f"{squad}/validation{one}"},
    )
    yield benchmark(
        ("simlex", "SimLex-999", "none stated; free for research", "https://fh295.github.io/simlex.html"),
        published.simlex,
        {"test": "similarity/SimLex-999.txt"},
        {"test": "pypi:gensim==4.4.0!gensim/test/test_data/simlex999.txt"},
    )
    splits = (("test", "val"), ("train", "train"))
    places = ("antsyn/AntSynNET", "https://github.com/nguyenkh/AntSynNET/raw/5aa75747fd50/dataset")
    names = [
        {s: " ".join(f"{place}/{pos}-pairs.{end}" for pos in ("adjective", "noun", "verb")) for s, end in splits}
        for place in places
    ]
    yield benchmark(
        ("antsynnet", "AntSynNET pairs", "none stated", "https://github.com/nguyenkh/AntSynNET/tree/5aa75747fd50"),
        published.antsynnet,
        *names,
    )
    github = "https://raw.githubusercontent.com"
    ppdb = f"{github}/nmrksic/counter-fitting/8cf3cf4db1074f2f80ecf728e6af68347c3b3d02/linguistic_constraints/ppdb"
    yield benchmark(
        ("ppdb", "PPDB constraints", "CC BY 3.0 (PPDB)", "https://github.com/nmrksic/counter-fitting"),
        published.ppdb,
        {"test": "constraints/counter-fitting/ppdb_antonyms.txt constraints/counter-fitting/ppdb_synonyms.txt"},
        {"test": f"{ppdb}_antonyms.txt {ppdb}_synonyms.txt"},
    )
    yield benchmark(
        ("roget", "Roget antonyms", "public domain (Roget 1911)", "https://github.com/antonyms/AntonymPipeline"),
        published.roget,
        {"test": "constraints/roget/antonym.txt"},
        {"test": f"{github}/antonyms/AntonymPipeline/050f963b9dbefeb5772be665d2d69e500764d4cd/data/Rogets/antonym.txt"},
    )


BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _table()}
