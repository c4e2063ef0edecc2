"""JSON, scores and benchmarks from a hostile hand: readers return, or raise a UserError of one line."""

import json
from pathlib import Path

import pytest
from hypothesis import strategies as st
from tiny.benchmarks import mirror_files, parquet, write
from tiny.run import run_params, write_run
from tools.hostile import bounded_memory, damaged, fuzz, hostile_json, hostile_jsonl, survives  # noqa: F401 (a fixture for all)

from dskd.benchmarks.catalogue import BENCHMARKS
from dskd.benchmarks.gather import Counter, canonical_rows
from dskd.infra import artifacts
from dskd.scores.store import baselines, read_columns
from dskd.scores.word_states import sentence_queries

# --- JSON ------------------------------------------------------------------------------------------------------------


@fuzz(hostile_json({"a": [1, {"b": None}], "step": 3.5}))
def test_a_json_file_may_be_anything(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with survives(path):
        assert isinstance(artifacts.read_json(path), dict)


@fuzz(hostile_jsonl([{"id": "a", "choices": ["b"]}, {"id": "c"}]))
def test_a_file_of_json_lines_may_be_anything(tmp_path, content):
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with survives(path):
        assert all(isinstance(row, dict) for row in artifacts.read_jsonl(path))


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """The scores of a run in miniature: name -> its first and last rows."""
    folder = tmp_path_factory.mktemp("scores")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_run(run_params())
        paths = (folder / artifacts.SCORES).glob("*.jsonl")
        return {path.stem: artifacts.read_jsonl(path)[:2] + artifacts.read_jsonl(path)[-2:] for path in paths}


@fuzz(st.data(), st.sampled_from(["heldout", "lexical", "pairs", "cloze", "chat", "items"]))
def test_scores_may_be_anything(tmp_path, scored, data, name):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for other, rows in scored.items():
            artifacts.write_jsonl(f"{artifacts.SCORES}/{other}.jsonl", rows)
        Path(f"{artifacts.SCORES}/{name}.jsonl").write_bytes(data.draw(hostile_jsonl(scored[name])))
        with survives(artifacts.SCORES):
            read_columns()
        with survives(artifacts.SCORES):
            baselines()


MIRROR = mirror_files()


def hostile_rows(name):
    text = MIRROR[name]
    if name.endswith(".jsonl"):
        return hostile_jsonl([json.loads(line) for line in text.splitlines()])
    return hostile_json(json.loads(text)) if name.endswith(".json") else damaged(text.encode())


@fuzz(st.data(), st.sampled_from(sorted(BENCHMARKS)))
def test_files_of_benchmarks_may_be_anything(tmp_path, data, name):
    benchmark = BENCHMARKS[name]
    root = tmp_path / name
    if not root.exists():
        write(root, MIRROR)
    split = data.draw(st.sampled_from(sorted(benchmark.mirror)))
    files = [path for pattern in benchmark.mirror[split] for path in sorted(root.glob(pattern))]
    path = data.draw(st.sampled_from(files))
    whole = path.read_bytes()
    path.write_bytes(data.draw(hostile_rows(path.relative_to(root).as_posix())))
    try:
        with survives(*files):
            rows = canonical_rows(benchmark, files, Counter())
            artifacts.write_jsonl(tmp_path / "rows.jsonl", rows)
    finally:
        path.write_bytes(whole)


@fuzz(st.data(), st.sampled_from(["squad_v2", "mmlu", "piqa"]))
def test_parquet_of_benchmarks_may_be_anything(tmp_path, data, name):
    row = {"id": "a", "title": "t", "context": "c", "question": "q", "answers": {"text": ["x"]}, "subject": "s"}
    row |= {"choices": ["a", "b"], "answer": 1, "goal": "g", "sol1": "1", "sol2": "2", "label": 0}
    path = tmp_path / "x.parquet"
    path.write_bytes(data.draw(damaged(parquet([row, row]))))
    with survives(path):
        canonical_rows(BENCHMARKS[name], [path], Counter())


WIC = {"id": "w", "sentence1": "the lazy dog", "sentence2": "a fox", "span1": [4, 8], "span2": [2, 5], "answer": 1}
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@fuzz(WORDS, WORDS, *[st.lists(st.integers(-3, 30), min_size=2, max_size=2)] * 2)
def test_sentences_of_pairs_may_be_anything_and_a_span_without_a_token_names_its_row(tokenizer, one, two, span1, span2):
    row = WIC | {"sentence1": one, "sentence2": two, "span1": span1, "span2": span2}
    for repeated in (False, True):
        with survives():
            try:
                sentence_queries([row], tokenizer, repeated)
            except ValueError as error:
                assert str(error).startswith("row w: no token of")
