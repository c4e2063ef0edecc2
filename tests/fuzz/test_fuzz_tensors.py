"""Tensors and models from a hostile hand: readers return, or raise a UserError of one line."""

import json
import shutil
import struct
import warnings

import gguf
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import strategies as st
from safetensors.torch import save_file
from tiny.models import LOWER_LAST, make_teacher, make_tokenizer
from tools.hostile import bounded_memory, damaged, fuzz, hostile_json, hostile_tensors, survives, values  # noqa: F401 (a fixture for all)

from dskd.codes.reading import Book
from dskd.codes.store import load_codes
from dskd.corpus.store import load_corpus, save_corpus
from dskd.infra import artifacts
from dskd.infra.hashes import SUMS
from dskd.model.folder import INDEX
from dskd.model.load import import_gguf, load_decoder
from dskd.senses.store import Senses, load_contexts, load_senses, save_contexts
from dskd.states.reservoir import Chunk, Reservoir, load_chunk, open_reservoir
from dskd.states.store import States, open_states, save_shard
from dskd.students.checkpoint import Progress, load_checkpoint, save_checkpoint
from dskd.students.store import load_student_top
from dskd.targets.store import SenseTargets, load_targets

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
OF_CODES = {"table_00": torch.zeros(5, 4, dtype=torch.bfloat16), "column_00": torch.zeros(3, dtype=torch.uint8)}
OF_CODES |= {"back": torch.zeros(4, 4), "line": torch.zeros(5, 4)}
OF_CHUNK = {
    "keys": torch.tensor([3, 3, 9], dtype=torch.int32),
    "positions": torch.tensor([0, 2, 5]),
    "states": torch.zeros(3, 4),
    "seen": torch.tensor([3, 9], dtype=torch.int32),
    "seen_counts": torch.tensor([2, 4]),
}
OF_CORPUS = {"train": torch.zeros(2, 4, dtype=torch.int32), "heldout": torch.zeros(1, 4, dtype=torch.int32)}
OF_CORPUS |= {"train_source": torch.zeros(2, dtype=torch.int8), "heldout_source": torch.zeros(1, dtype=torch.int8)}


@fuzz(hostile_tensors(OF_SENSES))
def test_senses_may_be_anything(tmp_path, content):
    path = tmp_path / "senses.safetensors"
    path.write_bytes(content)
    with survives(path):
        assert isinstance(load_senses(tmp_path), Senses)


@fuzz(hostile_tensors(OF_TARGETS))
def test_targets_may_be_anything(tmp_path, content):
    path = tmp_path / "targets.safetensors"
    path.write_bytes(content)
    with survives(path):
        assert isinstance(load_targets(tmp_path), SenseTargets)


@fuzz(hostile_tensors(OF_STATES), st.sampled_from(["train-00001.safetensors", "train-00000.safetensors"]))
def test_states_may_be_anything(tmp_path, content, name):
    for index in range(2):
        save_shard(tmp_path / f"train-{index:05d}.safetensors", **OF_STATES)
    (tmp_path / name).write_bytes(content)
    with survives(tmp_path / name):
        assert isinstance(open_states(tmp_path, "train"), States)


@fuzz(hostile_tensors(OF_CODES))
def test_codes_may_be_anything(tmp_path, content):
    path = tmp_path / "codes.safetensors"
    path.write_bytes(content)
    with survives(path):
        book, codes = load_codes(path, 8)
        assert isinstance(book, Book) and len(codes) == 8


@fuzz(hostile_tensors(OF_CHUNK))
def test_a_chunk_of_the_sample_may_be_anything(tmp_path, content):
    path = tmp_path / "chunk-000000.safetensors"
    path.write_bytes(content)
    with survives(path):
        assert isinstance(load_chunk(path), Chunk)


@fuzz(hostile_tensors(OF_CHUNK), st.sampled_from(["chunk-000000.safetensors", "chunk-000001.safetensors"]))
def test_a_sample_may_be_anything(tmp_path, content, name):
    for index in range(2):
        save_file(OF_CHUNK, tmp_path / f"chunk-{index:06d}.safetensors")
    assert isinstance(open_reservoir(tmp_path), Reservoir)
    (tmp_path / name).write_bytes(content)
    with survives(tmp_path / name):
        assert isinstance(open_reservoir(tmp_path), Reservoir)


CONTEXTS = {"token": [" bank", " bank"], "sense": [0, 1], "left": ["the", "a"], "right": ["", " of"]}


@pytest.fixture(scope="module")
def contexts_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contexts")
    save_contexts(folder, pd.DataFrame(CONTEXTS | {"document": ["", "wiki:River"]}))
    return (folder / "contexts.parquet").read_bytes()


@fuzz(st.data())
def test_contexts_may_be_anything(tmp_path, contexts_file, data):
    path = tmp_path / "contexts.parquet"
    path.write_bytes(data.draw(damaged(contexts_file)))
    with survives(path):
        assert list(load_contexts(tmp_path).columns) == [*CONTEXTS, "document"]


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
    save_checkpoint(tmp_path, Progress(**HISTORY), weights, optimizer)
    assert load_checkpoint(tmp_path, weights, optimizer) == tuple(HISTORY.values())
    (folder,) = tmp_path.glob("checkpoint-*")
    (folder / SUMS).unlink()
    tensors = artifacts.load_tensors(folder / "tensors.safetensors", "distill")
    content = data.draw(hostile_tensors(tensors) if first else hostile_json(HISTORY))
    (folder / ("tensors.safetensors" if first else "history.json")).write_bytes(content)
    with survives(folder):
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
    writer.add_tokenizer_pre("gpt-2")
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


SETTINGS = ("config.json", "generation_config.json", "tokenizer_config.json", INDEX)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    """A model in two files of weights, as `save_pretrained` writes it."""
    folder = tmp_path_factory.mktemp("model")
    make_teacher().save_pretrained(folder, max_shard_size="100KB")
    make_tokenizer().save_pretrained(folder)
    assert (folder / INDEX).exists()
    return folder


@fuzz(st.data(), st.sampled_from(SETTINGS), share=4)
def test_the_settings_of_a_model_may_be_anything(tmp_path, tiny_folder, data, name):
    folder = tmp_path / "model"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tiny_folder, folder)
    (folder / name).write_bytes(data.draw(hostile_json(json.loads((folder / name).read_text()))))
    with warnings.catch_warnings(), survives("model"):
        warnings.simplefilter("ignore")
        load_decoder(folder, "float32")
