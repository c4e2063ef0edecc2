"""Hostile input: whatever bytes a reader gets, it returns or raises UserError with one line that names the thing.

DSKD_FUZZ_CASES sets the cases a reader; the same cases come at every run.
"""

import bz2
import io
import json
import os
import resource
import shutil
import signal
import struct
import tarfile
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from tiny import LOWER_LAST, make_tokenizer
from tiny_benchmarks import mirror_files, parquet, write
from tiny_run import run_params, write_run
from tiny_wordnet import write_wordnet

from dskd import artifacts, scores, sources
from dskd.artifacts import UserError
from dskd.corpus import load_corpus, save_corpus
from dskd.decoder import import_gguf, load_student_top
from dskd.distill import load_checkpoint, save_checkpoint
from dskd.lexicon import table as lexicon_table
from dskd.lexicon.wordnet import FILES, glosses, open_wordnet, prepare, relations
from dskd.params import Lexicon, Source, apply_profile, load_params
from dskd.senses import SenseDictionary, load_senses
from dskd.states import States, open_states, save_shard
from dskd.targets import SenseTargets, load_targets
from dskd.tasks import benchmarks, hub
from dskd.tasks.lexical import build_items, read_vocabulary
from dskd.tasks.pairs import sentence_queries
from dskd.wikitext import articles, strip_markup

# NLTK leaves files open where it fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ROOT = Path(__file__).parents[1]
CASES = int(os.environ.get("DSKD_FUZZ_CASES", 200))
SECONDS = 20  # a case; ordinary ones take milliseconds
MEMORY = 3 << 30  # bytes of address space that a test may add to what the process has


def fuzz(*strategies, share=1, **named):
    """Give the test `CASES // share` cases, always the same ones."""
    options = settings(
        max_examples=max(1, CASES // share),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    return lambda test: options(given(*strategies, **named)(test))


@contextmanager
def survives(*names):
    """The block ends within `SECONDS`, well or with a UserError of one line that holds one of `names`."""

    def late(*_):
        pytest.fail(f"no answer after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    except UserError as error:
        line = str(error)
        assert len(line.splitlines()) == 1 and len(line) < 5000
        assert any(str(name) in line for name in names), line
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True, scope="module")
def bounded_memory():
    """More memory than `MEMORY` on top is a MemoryError, which no reader catches."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


# --- what bytes, texts and values are like ---------------------------------------------------------------------------

HOSTILE = [
    b"\0",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\n",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # half a surrogate pair
    b'"\\ud800"',
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1",
    b"9" * 5000,
    b"[" * 20_000,
    b'{"a":' * 20_000,
    b"x" * 200_000,
    b" " * 20_000,
    b"null",
    b"true",
    b'"',
    b"{}",
    b"\t",
    b"|",
    b"&a [*a]",
    b"../",
    b"/etc/passwd",
    b"\xff" * 8,
    b"\x7f" + b"\xff" * 7,
]


@st.composite
def damaged(draw, whole: bytes, most: int = 3) -> bytes:
    """`whole` after some bytes were changed, deleted, doubled or put in, or its end cut off; or garbage."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.binary(max_size=200) | st.sampled_from(HOSTILE))
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, most))):
        at, size = draw(st.integers(0, len(data))), draw(st.integers(1, 40))
        kind = draw(st.integers(0, 5))
        if kind == 0:
            data[at : at + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == 1:
            del data[at : at + size]
        elif kind == 2:
            data[at:at] = data[at : at + size]
        elif kind == 3:
            del data[at:]
        else:
            data[at : at + (size if kind == 4 else 0)] = draw(st.sampled_from(HOSTILE))
    return bytes(data)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [10**30, -(10**400), 1e308, float("nan"), float("inf"), "\ud800", "\0", "a\nb", "\ufeff", "", "x"]
    )
    | st.floats()
    | st.text(max_size=5)
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner))


def places(value, path=()):
    """The way to every value within `value`."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


@st.composite
def altered(draw, whole):
    """`whole`, a value of JSON, with one or two of the values in it replaced, left out or put under another key."""
    whole = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 2))):
        *path, last = draw(st.sampled_from(list(places(whole))[1:] or [(None,)]))
        if last is None:
            return draw(values)
        at = whole
        for key in path:
            at = at[key]
        kind = draw(st.integers(0, 3))
        if kind == 0:
            del at[last]
        elif kind == 1 and isinstance(at, dict):
            at[draw(st.text(max_size=3))] = at.pop(last)
        else:
            at[last] = draw(values)
    return whole


def hostile_json(whole):
    """Bytes of a JSON file like `whole`."""
    text = altered(whole).map(lambda value: json.dumps(value).encode())
    return text | damaged(json.dumps(whole).encode())


def hostile_jsonl(rows):
    lines = altered(rows).filter(lambda v: isinstance(v, list)).map(lambda v: "\n".join(map(json.dumps, v)).encode())
    return lines | damaged("\n".join(map(json.dumps, rows)).encode())


def hostile_tensors(tensors):
    """Bytes of a safetensors file like one of `tensors`: damaged, with another header, or lacking a tensor."""
    whole = save(tensors)
    size = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8 : 8 + size]), whole[8 + size :]

    def joined(head) -> bytes:
        text = json.dumps(head).encode()
        return struct.pack("<Q", len(text)) + text + data

    return damaged(whole[: 8 + size]).map(lambda head: head + data) | damaged(whole) | altered(header).map(joined)


def in_folder(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# --- text ------------------------------------------------------------------------------------------------------------

PAGE = "<page><title>A &amp; B</title><ns>0</ns><revision><text>'''Bold''' [[b|c]] &lt;ref&gt;</text></revision></page>"
DUMP = f'<?xml version="1.0" encoding="utf-8"?><mediawiki xmlns="http://www.mediawiki.org/">{PAGE * 3}</mediawiki>'
XML = [
    b"<page>" * 5000,
    b"<!DOCTYPE a [<!ENTITY b 'b'>]>",
    b"&b;",
    b"]]>",
    b"<redirect/>",
    b"utf-7",
    b"utf-32",
    b"none",
]


@st.composite
def dumps(draw):
    if draw(st.booleans()):
        return draw(damaged(bz2.compress(DUMP.encode())))
    text = draw(damaged(DUMP.encode()))
    if draw(st.booleans()):
        text = text.replace(b"utf-8", draw(st.sampled_from(XML)), 1)
    at = draw(st.integers(0, len(text)))
    return bz2.compress(text[:at] + draw(st.sampled_from([b"", *XML])) + text[at:])


@fuzz(dumps())
def test_a_wikipedia_dump_may_be_anything(tmp_path, content):
    path = tmp_path / "dump"
    path.write_bytes(content)
    with survives(path):
        for title, markup in articles(path):
            assert isinstance(title + strip_markup(markup), str)


@pytest.mark.parametrize("inside", ["<page><title>", "<x>"])
def test_a_dump_of_a_few_bytes_that_stand_for_gigabytes_is_an_error(tmp_path, inside):
    squeezed = bz2.compress(b"x" * (1 << 26))
    path = tmp_path / "dump"
    path.write_bytes(bz2.compress(f"<mediawiki>{inside}".encode()) + squeezed * 40)
    with pytest.raises(UserError, match="no page ends within 16 MiB"):
        list(articles(path))


def test_entities_of_entities_are_an_error(tmp_path):
    laughs = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "lol"}">' for i in range(12))
    path = tmp_path / "dump"
    path.write_bytes(bz2.compress(f"<!DOCTYPE m [{laughs}]><mediawiki>&l11;</mediawiki>".encode()))
    with pytest.raises(UserError, match="not a whole bz2 MediaWiki dump"):
        list(articles(path))


MARKS = "[[ ]] [ ] {{ }} {| |} | || ! |- '' ''' <ref> </ref> <b> </b> <!-- --> == === * # : ; http:// [https:// &nbsp;"
MARKS = [
    *MARKS.split(),
    "{{convert|",
    "{{lang|a|",
    "[[File:",
    "\n",
    " ",
    ",",
    "\u00ad",
    "\0",
    "\ud800",
    "a",
    "<nowiki>",
    "<br/>",
]


@fuzz(st.lists(st.tuples(st.sampled_from(MARKS) | st.text(max_size=4), st.integers(1, 12)), max_size=25))
def test_mark_up_may_be_anything(pieces):
    with survives():
        strip_markup("".join(text * times for text, times in pieces))


@pytest.mark.parametrize(
    "text", [*MARKS, " ,", " \u00ad", "[http://x ", "((", "<a", "_", "'", "px", "[http://]a", ", ,"]
)
def test_mark_up_that_repeats_itself_takes_no_time(text):
    times = 20 if text[:2] == "{{" else 2_000  # mwparserfromhell itself takes minutes for thousands of open templates
    with survives():
        strip_markup(text * times)
        strip_markup(f"[http://{text * times}")


# --- the lexicon -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wordnet")
    prepare(write_wordnet(folder / "raw", counts={"bank%1:14:00::": 5, "fast%5:00:00:quick:00": 3}), folder / "nltk")
    return folder


ENTRY = [*(f"{kind}.{part}" for kind in ("data", "index") for part in ("noun", "adj")), "cntlist.rev"]


@fuzz(st.data(), st.sampled_from([*ENTRY, *ENTRY, *FILES]))
def test_files_of_wordnet_may_be_anything(wordnet, data, name):
    path = wordnet / "nltk/corpora/wordnet" / name
    whole = path.read_bytes()
    start = max(0, whole.rfind(b"tiny one") + 11) if data.draw(st.booleans()) else 0  # past the licence
    path.write_bytes(whole[:start] + data.draw(damaged(whole[start:])))
    try:
        with survives("WordNet", "data.", path.parent):
            reader = open_wordnet(wordnet / "nltk")
            list(relations(reader))
            list(glosses(reader))
            words = Lexicon(seed=0, heldout_share=1.0, max_span=3, min_letters=3)
            build_items(words, 0, 10, read_vocabulary(reader))
    finally:
        path.write_bytes(whole)


@fuzz(st.sampled_from(FILES), st.sampled_from(["missing", "folder"]), share=10)
def test_a_wordnet_that_lacks_a_file_leaves_nothing_behind(wordnet, tmp_path, name, kind):
    folder = tmp_path / "raw"
    shutil.rmtree(tmp_path, ignore_errors=True)
    shutil.copytree(wordnet / "raw", folder)
    (folder / name).unlink()
    if kind == "folder":
        (folder / name).mkdir()
    with survives(folder):
        prepare(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def lexicon(tmp_path_factory):
    path = tmp_path_factory.mktemp("lexicon") / "lexicon.parquet"
    row = ("good", "bad", -1, "wordnet", "good.a.01;x", False, 7, (8, 9))
    frame = lexicon_table.pd.DataFrame([row, (*row[:1], "fine", *row[2:])] * 3, columns=lexicon_table.SCHEMA.names)
    lexicon_table.save_lexicon(path, frame)
    return path.read_bytes()


@fuzz(st.data())
def test_a_lexicon_may_be_anything(tmp_path, lexicon, data):
    path = tmp_path / "lexicon.parquet"
    path.write_bytes(data.draw(damaged(lexicon)))
    with survives(path):
        table = lexicon_table.load_lexicon(path)
        lexicon_table.synonyms(table), lexicon_table.antonyms(table)


@fuzz(st.lists(st.fixed_dictionaries({name: scalars for name in lexicon_table.SCHEMA.names}), min_size=1, max_size=3))
def test_a_lexicon_may_have_columns_of_any_type(tmp_path, rows):
    path = tmp_path / "lexicon.parquet"
    try:
        path.write_bytes(parquet(rows))
    except (lexicon_table.pa.ArrowException, OverflowError, UnicodeEncodeError, TypeError):
        return
    with survives(path):
        lexicon_table.load_lexicon(path)


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
            scores.read_columns()
        with survives(artifacts.SCORES):
            scores.baselines()


MIRROR = mirror_files()


def hostile_rows(name):
    text = MIRROR[name]
    if name.endswith(".jsonl"):
        return hostile_jsonl([json.loads(line) for line in text.splitlines()])
    return hostile_json(json.loads(text)) if name.endswith(".json") else damaged(text.encode())


@fuzz(st.data(), st.sampled_from(sorted(benchmarks.BENCHMARKS)))
def test_files_of_benchmarks_may_be_anything(tmp_path, data, name):
    benchmark = benchmarks.BENCHMARKS[name]
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
            rows = benchmarks.canonical_rows(benchmark, files, benchmarks.Counter())
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
        benchmarks.canonical_rows(benchmarks.BENCHMARKS[name], [path], benchmarks.Counter())


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


# --- tensors ---------------------------------------------------------------------------------------------------------

OF_SENSES = {
    "tokens": torch.arange(2, dtype=torch.int32),
    "offsets": torch.tensor([0, 1, 2]),
    "occurrences": torch.ones(2, dtype=torch.int64),
    "centroids": torch.zeros(2, 4, dtype=torch.bfloat16),
    "counts": torch.ones(2, dtype=torch.int32),
    "contexts": torch.zeros(2, 1, dtype=torch.int64),
}
OF_TARGETS = {"vectors": torch.zeros(2, 4), **{k: torch.zeros(2, 3, 1, dtype=torch.int32) for k in ("pull", "push")}}
OF_STATES = {"hidden_states": torch.zeros(2, 3, 4), "split_states": torch.zeros(2, 3, 4)}
OF_STATES["predicted"] = torch.zeros(2, 3, dtype=torch.int32)
OF_CORPUS = {"train": torch.zeros(2, 4, dtype=torch.int32), "heldout": torch.zeros(1, 4, dtype=torch.int32)}
OF_CORPUS |= {"train_source": torch.zeros(2, dtype=torch.int8), "heldout_source": torch.zeros(1, dtype=torch.int8)}


@fuzz(hostile_tensors(OF_SENSES))
def test_senses_may_be_anything(tmp_path, content):
    path = tmp_path / "senses.safetensors"
    path.write_bytes(content)
    with survives(path):
        assert isinstance(load_senses(tmp_path), SenseDictionary)


@fuzz(hostile_tensors(OF_TARGETS))
def test_targets_may_be_anything(tmp_path, content):
    path = tmp_path / "kd.safetensors"
    path.write_bytes(content)
    with survives(path):
        assert isinstance(load_targets(path), SenseTargets)


@fuzz(hostile_tensors(OF_STATES), st.sampled_from(["train-00001.safetensors", "train-00000.safetensors"]))
def test_states_may_be_anything(tmp_path, content, name):
    for index in range(2):
        save_shard(tmp_path / f"train-{index:05d}.safetensors", **OF_STATES)
    (tmp_path / name).write_bytes(content)
    with survives(tmp_path / name):
        assert isinstance(open_states(tmp_path, "train"), States)


@fuzz(hostile_tensors(OF_CORPUS), hostile_json({"block_length": 3, "separator": {"id": 0}}), st.booleans())
def test_a_corpus_may_be_anything(tmp_path, tensors, summary, first):
    save_corpus(tmp_path / "corpus", OF_CORPUS, {})
    name, content = ("blocks.safetensors", tensors) if first else ("corpus.json", summary)
    (tmp_path / "corpus" / name).write_bytes(content)
    with survives(tmp_path / "corpus" / name):
        assert load_corpus(tmp_path / "corpus")[0].keys() == OF_CORPUS.keys()


HISTORY = {"step": 3, "history": [{"step": 2, "ce": 1.5}], "sums": {"ce": 0.5}}


@fuzz(st.data(), st.booleans())
def test_a_checkpoint_may_be_anything(tmp_path, data, first):
    weights = {"a": torch.nn.Parameter(torch.ones(2, 3)), "b": torch.nn.Parameter(torch.ones(2))}
    optimizer = torch.optim.AdamW(weights.values())
    for weight in weights.values():
        optimizer.state[weight] = {
            "step": torch.tensor(3.0),
            "exp_avg": weight.detach() * 2,
            "exp_avg_sq": weight.detach() * 3,
        }
    save_checkpoint(tmp_path, 3, weights, optimizer, HISTORY["history"], HISTORY["sums"])
    assert load_checkpoint(tmp_path, weights, optimizer) == tuple(HISTORY.values())
    tensors = artifacts.load_tensors(tmp_path / "checkpoint/tensors.safetensors", "distill")
    content = data.draw(hostile_tensors(tensors) if first else hostile_json(HISTORY))
    (tmp_path / "checkpoint" / ("tensors.safetensors" if first else "history.json")).write_bytes(content)
    with survives(tmp_path / "checkpoint"):
        step, history, sums = load_checkpoint(tmp_path, weights, optimizer)
        assert isinstance(step, int) and isinstance(history, list) and isinstance(sums, dict)
        assert all(value.shape == w.shape for w in weights.values() for value in list(optimizer.state[w].values())[1:])
        optimizer.step()


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory):
    """A Llama of one layer in the form of llama.cpp: (header, tensors)."""
    path = tmp_path_factory.mktemp("gguf") / "x.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    for add, value in (
        (writer.add_block_count, 1),
        (writer.add_context_length, 64),
        (writer.add_embedding_length, 32),
        (writer.add_feed_forward_length, 64),
        (writer.add_head_count, 4),
        (writer.add_head_count_kv, 2),
        (writer.add_vocab_size, 120),
        (writer.add_rope_freq_base, 1e4),
        (writer.add_layer_norm_rms_eps, 1e-5),
    ):
        add(value)
    vocabulary = make_tokenizer().get_vocab()
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(sorted(vocabulary, key=vocabulary.get))
    writer.add_token_types([1] * len(vocabulary))
    writer.add_token_merges(["t h", "q u"])
    writer.add_eos_token_id(0)
    shapes = {"token_embd": (120, 32), "output_norm": (32,), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,)}
    shapes |= {"blk.0.attn_q": (32, 32), "blk.0.attn_k": (16, 32), "blk.0.attn_v": (16, 32)}
    shapes |= {"blk.0.attn_output": (32, 32), "blk.0.ffn_up": (64, 32), "blk.0.ffn_gate": (64, 32)}
    shapes |= {"blk.0.ffn_down": (32, 64)}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", np.ones(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    whole = path.read_bytes()
    size = gguf.GGUFReader(path).data_offset
    return whole[:size], whole[size:]


def test_the_tiny_gguf_is_whole(tmp_path, tiny_gguf):
    (tmp_path / "x.gguf").write_bytes(b"".join(tiny_gguf))
    import_gguf(tmp_path / "x.gguf", tmp_path / "out")
    assert (tmp_path / "out/model.safetensors").exists()


@st.composite
def gguf_headers(draw, header):
    """A damaged header; often a number of it, which stands in four or eight bytes, is another."""
    if draw(st.booleans()):
        return draw(damaged(header))
    at = draw(st.integers(4, len(header) - 8))
    number = draw(st.sampled_from([0, 1, 2, 2**16, 2**31 - 1, 2**31, 2**32 - 1]) | st.integers(0, 300))
    return header[:at] + struct.pack("<I", number) + header[at + 4 :]


@fuzz(st.data(), share=4)
def test_a_gguf_file_may_be_anything(tmp_path, tiny_gguf, data):
    header, tensors = tiny_gguf
    (tmp_path / "x.gguf").write_bytes(data.draw(gguf_headers(header)) + tensors)
    with warnings.catch_warnings(), survives("x.gguf"):
        warnings.simplefilter("ignore")
        import_gguf(tmp_path / "x.gguf", tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} <= {"x.gguf", "out"}


@fuzz(hostile_json({"num_hidden_layers": 5, "architectures": ["LlamaForCausalLM"]}))
def test_a_student_s_config_may_be_anything(tmp_path, teacher, content):
    (tmp_path / "config.json").write_bytes(content)
    with survives(tmp_path):
        load_student_top(tmp_path, teacher, LOWER_LAST)


# --- sources ---------------------------------------------------------------------------------------------------------

NAMES = [
    "d/x",
    "d/e/y",
    "d/../../z",
    "d//etc/z",
    "/d/z",
    "d/./z",
    "d/..",
    "d/e",
    "d/" + "n" * 300,
    "d/a\\b",
    "d",
    "d/é\n",
]


def zipped(members, compression) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", compression) as archive:
        warnings.simplefilter("ignore")  # names that come twice
        for name, content, mode in members:
            item = zipfile.ZipInfo(name)
            item.external_attr, item.compress_type = mode << 16, compression
            archive.writestr(item, content)
    return out.getvalue()


def tarred(members, mode) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, content, kind in members:
            item = tarfile.TarInfo(f"top/{name}")
            item.type, item.linkname, item.size = kind, "../../z", len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(item, io.BytesIO(content))
    return out.getvalue()


def members(kinds):
    return st.lists(st.tuples(st.sampled_from(NAMES), st.binary(max_size=30), st.sampled_from(kinds)), max_size=5)


LINK, FILE = 0o120777, 0o100644
zips = st.builds(zipped, members([FILE, FILE, LINK]), st.sampled_from([0, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]))
TYPES = [tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
tars = st.builds(tarred, members(TYPES), st.sampled_from(["w:gz", "w:bz2", "w:xz", "w"]))


@fuzz(st.data(), zips | tars, st.sampled_from(["wheel", "sdist"]), st.sampled_from(["d/", "d/x", "top/d/"]))
def test_an_archive_may_be_anything_and_writes_only_where_it_belongs(tmp_path, data, archive, kind, path):
    shutil.rmtree(tmp_path, ignore_errors=True)
    (tmp_path / "in").mkdir(parents=True)
    (tmp_path / "in/archive").write_bytes(data.draw(damaged(archive)) if data.draw(st.booleans()) else archive)
    spec = Source(source=f"pypi:tiny==1!{path}", archive=kind, sha256="0" * 64)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, of names that come twice
        patch.setattr(sources, "_pip_download", lambda *_: tmp_path / "in/archive")
        patch.setenv("DSKD_CACHE", str(tmp_path / "cache"))
        with survives(spec.source):
            sources.fetch(spec, tmp_path / "out/there")
            pytest.fail("an archive with another hash was taken")
    left = [name for name in in_folder(tmp_path) if not name.endswith(".lock")]
    assert left in (["cache", "in", "in/archive", "out"], ["cache", "in", "in/archive"])


@fuzz(st.data(), zips | tars, st.sampled_from(["wheel", "sdist"]))
def test_members_of_an_archive_stay_below_their_folder(tmp_path, data, archive, kind):
    shutil.rmtree(tmp_path, ignore_errors=True)
    tmp_path.mkdir()
    (tmp_path / "archive").write_bytes(archive)
    spec = Source(source="pypi:tiny==1!d/", archive=kind, sha256="0" * 64)
    with warnings.catch_warnings(), survives("tiny", "archive"):
        warnings.simplefilter("ignore")
        try:
            sources._extract(spec, tmp_path / "archive", "d/", tmp_path / "a/b/target")
        except OSError as error:
            assert error.filename is None or str(error.filename).startswith(str(tmp_path / "a/b/target"))
    assert all(name in ("archive", "a", "a/b") or name.startswith("a/b/target") for name in in_folder(tmp_path))
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert not Path("/etc/z").exists()


@fuzz(zips.flatmap(damaged))
def test_the_archive_of_a_benchmark_may_be_anything(tmp_path, content):
    (tmp_path / "archives").mkdir(exist_ok=True)
    (tmp_path / "archives/_x.zip").write_bytes(content)
    with warnings.catch_warnings(), survives():
        warnings.simplefilter("ignore")
        try:
            hub.fetch("zip:https://nowhere.example/x.zip!d/x", tmp_path, set())
        except hub.Unavailable as error:
            assert len(str(error).splitlines()) == 1


FORMS = [
    "pypi:",
    "hf:",
    "nltk:",
    "file:/nowhere/",
    "file:~nobody-",
    "ftp:",
    "",
    "file:/nowhere/" + "n" * 300,
    "file:/dev/zero",
]
REST = ["a==1!b", "a/b@c!d", "../", "!", "@", "==", "\0", "\n", "\ud800", "\u2028", "x", "n" * 300, "~"]


@fuzz(st.sampled_from(FORMS), st.lists(st.sampled_from(REST) | st.text(max_size=5), max_size=4).map("".join))
def test_a_source_may_be_any_text(tmp_path, form, rest):
    try:
        spec = Source(source=form + rest, sha256="0" * 64)
    except ValueError:  # pydantic: half a surrogate pair
        return

    def reached(spec, *_):
        raise UserError(f"{spec.source} was read")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DSKD_CACHE", str(tmp_path / "cache"))
        for name in ("_read_pypi", "_read_hub", "_read_nltk"):
            patch.setattr(sources, name, reached)
        patch.setattr(sources, "_copy", lambda path, _: pytest.fail(f"{path} was copied"))
        with survives(spec.source, ascii(spec.source), repr(spec.source)):
            sources.fetch(spec, tmp_path / "out/x")
    assert not [name for name in in_folder(tmp_path) if not name.startswith("cache") and name != "out"]


# --- parameters ------------------------------------------------------------------------------------------------------

PARAMS = (ROOT / "params.yaml").read_bytes()
YAML = [
    b"&a [*a]",
    b"!!binary x",
    b"2001-99-99",
    b"0x" + b"f" * 5000,
    b"? [a]\n: b",
    b"*b",
    b"!!timestamp x",
    b"- &b [x]",
]
YAML += [
    b"{" * 3000,
    b"!!set {a}",
    b"<<: [1]",
    b"!!omap [a]",
    b".nan",
    b"1_0",
    b"---\n...\n---",
    b"%YAML 9.9\n---\n",
    b"'",
]


@st.composite
def hostile_yaml(draw, whole: bytes):
    text = draw(damaged(whole, most=2))
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.sampled_from([b"", *YAML])) + text[at:]


@fuzz(hostile_yaml(PARAMS))
def test_a_file_of_parameters_may_be_anything(tmp_path, content):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with warnings.catch_warnings(), survives(path):
        warnings.simplefilter("ignore")  # ruamel's, of anchors
        load_params(path)


def test_aliases_of_aliases_in_parameters_make_no_endless_message(tmp_path):
    laughs = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10) if i else 'x'}]\n" for i in range(30))
    (tmp_path / "params.yaml").write_text(laughs + "senses: *a29\n")
    with pytest.raises(UserError, match="senses = ") as caught:
        load_params(tmp_path / "params.yaml")
    assert len(str(caught.value)) < 5000


@fuzz(st.data(), st.booleans(), share=8)
def test_a_profile_may_be_anything_and_never_half_changes_the_parameters(tmp_path, data, first):
    (tmp_path / "profiles").mkdir(exist_ok=True)
    profile, target = tmp_path / "profiles/x.yaml", tmp_path / "params.yaml"
    small = b"runtime:\n  threads: 2\ncorpus:\n  train_tokens: 32\n"
    profile.write_bytes(data.draw(hostile_yaml(small)) if first else small)
    target.write_bytes(PARAMS if first else data.draw(hostile_yaml(PARAMS)))
    before = target.read_bytes()
    with warnings.catch_warnings(), survives(tmp_path):
        warnings.simplefilter("ignore")
        apply_profile("x", tmp_path)
        load_params(target)
        before = target.read_bytes()
    assert target.read_bytes() == before and in_folder(tmp_path) == ["params.yaml", "profiles", "profiles/x.yaml"]


@fuzz(st.text() | st.sampled_from(["../x", "/etc/passwd", "n" * 300, "\0", "..", ".", ""]))
def test_the_name_of_a_profile_may_be_any_text(tmp_path, name):
    (tmp_path / "profiles").mkdir(exist_ok=True)
    (tmp_path / "x.yaml").write_text("{}")
    with survives("no profile"):
        apply_profile(name, tmp_path)
        pytest.fail("there is none")
