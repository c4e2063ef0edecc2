"""Do the tests see a small fault? `make mutants` puts one at a time into the core and runs the tests that should fail.

    mutants.py                 what is not in docs/mutants.csv yet: about an hour on one core
    mutants.py --only targets  the modules whose path has this in it
    mutants.py --each 20       so many mutants of a module, drawn by a seed (default: 12)

A mutant is one change of one expression: an operator or a comparison turned, a constant moved, a condition negated, an
argument or a term left out. The tests of the module's own file run on it, in a process of their own that is forked from
one that has imported torch already. A mutant is killed if a test fails, or if they take three times as long as without
it. The rest live: the tests have a gap, or the mutant is equal to the original; EQUAL names those that were looked at.
"""

import argparse
import ast
import csv
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs/mutants.csv"
COLUMNS = ("module", "line", "before", "after", "outcome")

TWO_PROCESSES = "infra/test_processes.py::test_more_processes_train_as_one_does[2-4]"

# Module -> its tests, where they are more or others than tests/ROOM/test_MODULE.py.
CORE = {
    "infra/hashes.py": ["infra/test_artifacts.py"],
    "infra/output.py": ["infra/test_artifacts.py"],
    "infra/randomness.py": [],
    "lexicon/build.py": [],
    "lexicon/negation.py": [],
    "lexicon/relations.py": ["lexicon/test_relations.py", "lexicon/test_build.py"],
    "lexicon/rungs.py": [],
    "lexicon/table.py": ["lexicon/test_build.py"],
    "lexicon/tokens.py": ["lexicon/test_build.py"],
    "lexicon/vote.py": [],
    "lexicon/readers/wordnet.py": ["lexicon/test_build.py"],
    "lexicon/readers/wordnet_indirect.py": ["lexicon/test_build.py", "scores/test_gold_lists.py"],
    "corpus/build.py": [],
    "corpus/packing.py": ["corpus/test_build.py", "corpus/test_dictionary.py"],
    "corpus/prompts.py": [],
    "model/cut.py": [],
    "model/inference.py": [],
    "model/logits.py": [
        "model/test_inference.py",
        "model/test_architecture.py",
        "model/test_parts.py",
        "students/test_losses.py",
    ],
    "states/harvest.py": [],
    "states/store.py": ["states/test_harvest.py"],
    "senses/cluster.py": [],
    "senses/kmeans.py": [],
    "senses/store.py": ["senses/test_cluster.py"],
    "targets/choose.py": [],
    "targets/controls.py": [],
    "students/batches.py": ["students/test_train.py", "infra/test_processes.py"],
    "students/checkpoint.py": ["students/test_train.py"],
    "students/hidden_loss.py": ["students/test_losses.py", "students/test_sense_forms.py"],
    "students/output_loss.py": ["students/test_losses.py"],
    "students/projection.py": ["students/test_own_student.py"],
    "students/sense_loss.py": ["students/test_losses.py", "students/test_sense_forms.py"],
    "students/train.py": ["students/test_train.py", "students/test_published_step.py", TWO_PROCESSES],
    "scores/heldout.py": [],
    "scores/in_context.py": [],
    "scores/lexical_choice.py": [],
    "scores/store.py": [],
    "scores/word_states.py": [],
    "report/metrics.py": ["report/test_metrics.py", "scores/test_word_states.py"],
    "report/statistics.py": [],
}

# What takes long to import is imported once, before the fork; nothing of dskd.
SLOW = ("accelerate", "dvclive", "nltk", "pandas", "pyarrow.parquet", "pytest", "scipy.stats", "sklearn.cluster")
SLOW += ("sklearn.linear_model", "tokenizers", "torch._dynamo", "transformers.models.llama.modeling_llama")

# (module, before, after) of mutants that compute the same, with the reason.
EQUAL: dict[tuple[str, str, str], str] = {
    ("lexicon/tokens.py", "False", "True"): "an attention mask that nobody reads; the other False is killed",
    ("lexicon/vote.py", "synonym > antonym", "(synonym >= antonym)"): "equal votes are dropped in the next line",
    (
        "scores/word_states.py",
        "np.array([index[tokens] for tokens in found], dtype=np.int64)",
        "np.array([index[tokens] for tokens in found])",
    ): "whole numbers are int64 as they are",
    ("infra/output.py", "1e6", "1000001.0"): "megabytes in a message, without decimals",
    ("lexicon/build.py", "pair[0] < pair[1]", "(pair[0] <= pair[1])"): "two words that are one read alike backwards",
    (
        "lexicon/readers/wordnet_indirect.py",
        "other < offset",
        "(other <= offset)",
    ): "no synset of WordNet is opposed to itself",
    ("corpus/build.py", "0", "1"): "plain text and glosses always have a stream, and their blocks are equally long",
    (
        "corpus/packing.py",
        'np.argsort(hash_integers(_ORDER, seed, keys), kind="stable")',
        "np.argsort(hash_integers(_ORDER, seed, keys))",
    ): "no two of the hashes are alike",
    ("corpus/packing.py", "wanted * length", "(wanted)"): "the end of a progress bar; the other one is killed",
    (
        "corpus/packing.py",
        "min(len(tokens), need) - bar.n",
        "(min(len(tokens), need) + bar.n)",
    ): "how far a progress bar is",
    (
        "states/harvest.py",
        "0",
        "1",
    ): "the most probable of one that nobody reads is found besides; the others are killed",
    ("senses/cluster.py", "1", "2"): "what marks padding is not read: no padding is in a cluster",
    ("senses/cluster.py", "_ROWS // width", "(_ROWS * width)"): "larger batches take memory, and change no bit",
    ("senses/kmeans.py", "not changed.all()", "(changed.all())"): "what is at rest is computed to the same bits again",
    (
        "targets/choose.py",
        "torch.tensor(senses.rows(token), dtype=torch.int64)",
        "torch.tensor(senses.rows(token))",
    ): "a token of the dictionary has senses, and numbers give int64 as they are",
    (
        "students/batches.py",
        'hash_integers(seed, epoch, torch.arange(n).numpy()).argsort(kind="stable")',
        "hash_integers(seed, epoch, torch.arange(n).numpy()).argsort()",
    ): "no two of the hashes are alike",
    (
        "students/batches.py",
        "ThreadPoolExecutor(max_workers=1)",
        "ThreadPoolExecutor()",
    ): "one batch at a time is read ahead, whatever the number of threads",
    ("targets/choose.py", "True", "False"): "sorts of draws that differ, and of positions whose order says nothing",
    (
        "targets/choose.py",
        "len(states) and len(rows)",
        "((len(states)) or (len(rows)))",
    ): "spares the work where the one is empty: the nearest are then none in any case",
}

_OPERATORS = {
    ast.Add: "-",
    ast.Sub: "+",
    ast.Mult: "/",
    ast.Div: "*",
    ast.FloorDiv: "*",
    ast.BitAnd: "|",
    ast.BitOr: "&",
}
_COMPARISONS = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "=="}
_COMPARISONS |= {ast.In: "not in", ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is"}
_NAMES = {"any": "all", "all": "any", "min": "max", "max": "min", "argmin": "argmax", "argmax": "argmin"}


def mutants(source: str) -> Iterator[tuple[int, str, str, str]]:
    """Every mutant of a module: line, the text before and after, and the whole source with the change."""
    tree = ast.parse(source)
    lines = source.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:i])) for i in range(len(lines))]
    passive = {id(part) for node in ast.walk(tree) for part in _without_effect(node)}
    for node in ast.walk(tree):
        if id(node) in passive or not hasattr(node, "lineno"):
            continue
        first, last = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        before = source.encode()[first:last].decode()
        for after in _changes(node):
            whole = source.encode()[:first] + after.encode() + source.encode()[last:]
            yield node.lineno, before, after, whole.decode()


def _without_effect(node: ast.AST) -> Iterator[ast.AST]:
    """Annotations, docstrings, messages and imports: what they say changes nothing that is computed."""
    skipped = [getattr(node, "annotation", None), getattr(node, "returns", None)]
    if isinstance(node, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom):
        skipped.append(node)
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("tqdm", "print"):
        skipped.append(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        skipped.append(node)
    for part in filter(None, skipped):
        yield from ast.walk(part)


def _changes(node: ast.AST) -> Iterator[str]:
    text = ast.unparse
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield f"({text(node.left)} {_OPERATORS[type(node.op)]} {text(node.right)})"
        if isinstance(node.op, ast.Add | ast.Mult):
            yield f"({text(node.left)})"
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
        yield f"({text(node.left)} {_COMPARISONS[type(node.ops[0])]} {text(node.comparators[0])})"
    elif isinstance(node, ast.BoolOp):
        other = " or " if isinstance(node.op, ast.And) else " and "
        yield "(" + other.join(f"({text(value)})" for value in node.values) + ")"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.Invert):
        yield f"({text(node.operand)})"
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield repr(node.value + 1)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield repr(not node.value)
    elif isinstance(node, ast.IfExp):
        yield f"({text(node.orelse)} if {text(node.test)} else {text(node.body)})"
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        yield f"{text(node.value)}.{_NAMES[node.attr]}"
    elif isinstance(node, ast.Name) and node.id in _NAMES:
        yield _NAMES[node.id]
    elif isinstance(node, ast.Call) and node.keywords and any(k.arg for k in node.keywords):
        kept = [text(part) for part in node.args] + [f"{k.arg}={text(k.value)}" for k in node.keywords[:-1] if k.arg]
        yield f"{text(node.func)}({', '.join(kept)})"


def drawn(module: str, source: str, each: int) -> list[tuple[int, str, str, str]]:
    """A fair sample of a module's mutants that does not change as long as the module does not."""
    every = list(mutants(source))
    ranks = [sha256(f"{module}:{line}:{before}:{after}".encode()).digest() for line, before, after, _ in every]
    return [every[i] for i in sorted(sorted(range(len(every)), key=ranks.__getitem__)[:each])]


def outcome(folder: Path, tests: list[str], seconds: float) -> str:
    """Run the tests on the package in `folder`, in a forked process: "killed" or "lived"."""
    child = os.fork()
    if child == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        os.chdir(folder)
        sys.path.insert(0, str(folder))
        import pytest

        options = ["-x", "-q", "-p", "no:cacheprovider", "-W", "ignore"]  # of modules that are imported already
        os._exit(int(pytest.main([*options, *(f"tests/{test}" for test in tests)])))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return "lived" if os.waitstatus_to_exitcode(status) == 0 else "killed"
        time.sleep(0.05)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "killed"


def tests_of(module: str) -> list[str]:
    room, _, name = module.rpartition("/")
    return CORE[module] or [f"{room}/test_{name}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="")
    parser.add_argument("--each", type=int, default=12)
    options = parser.parse_args()
    import torch

    for name in SLOW:
        importlib.import_module(name)
    torch.set_num_threads(1)
    rows = list(csv.reader(TABLE.open()))[1:] if TABLE.exists() else []
    known = {tuple(row[:4]) for row in rows}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in ("dskd", "tests", "notebooks", "docs", "profiles"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "params.yaml", "dvc.yaml"):
            shutil.copy(ROOT / name, folder)
        for module in (name for name in CORE if options.only in name):
            tests, path = tests_of(module), folder / "dskd" / module
            source, start = path.read_text(), time.monotonic()
            if outcome(folder, tests, 600) != "lived":
                raise SystemExit(f"{' '.join(tests)} fail without a mutant")
            patience = 3 * (time.monotonic() - start) + 10
            for line, before, after, whole in drawn(module, source, options.each):
                row = (module, str(line), " ".join(before.split()), " ".join(after.split()))
                if row in known:
                    continue
                path.write_text(whole)
                rows.append([*row, outcome(folder, tests, patience)])
                path.write_text(source)
                with TABLE.open("w", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
                print(*rows[-1], sep=" | ", flush=True)
    lived = [row for row in rows if row[4] == "lived" and (row[0], row[2], row[3]) not in EQUAL]
    print(f"{len(rows)} mutants, {len(lived)} lived that are not known to be equal to the original")


if __name__ == "__main__":
    main()
