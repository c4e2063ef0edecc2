import time
from itertools import permutations

import numpy as np
import pytest
import torch
from tiny.models import WIDTH, generator, make_ids, random_states, sampled, sense_settings
from tools.parallel import run_in_processes

from dskd.errors import UserError
from dskd.infra import processes
from dskd.infra.hashes import identity, sha256_tree
from dskd.infra.randomness import hash_integers
from dskd.params import HarvestParams
from dskd.states.reservoir import SPARE, Reservoir, Sampler, load_chunk, open_reservoir, sample_states
from dskd.states.store import States

SEED, CAPACITY, TOKENS = 5, 12, 40
SETTINGS, LENGTH = HarvestParams(batch_size=2, shard_blocks=3), 6
IDS = make_ids(11, LENGTH) % 30  # some tokens often; chunks of 3, 3, 3 and 2 blocks


def make_keys(n: int, tokens: int = TOKENS, seed: int = 3) -> torch.Tensor:
    """(n,) tokens, the low ones often and the high ones seldom."""
    return (torch.rand(n, generator=generator(seed)).square() * tokens).int()


def vectors_of(positions: torch.Tensor) -> torch.Tensor:
    """A state that tells its position."""
    return torch.stack([positions.double(), positions.double().square()], dim=1).float()


def lengths_of(chunks: int) -> list[int]:
    """Chunks of unlike length; one is empty."""
    return [70 + 13 * (number % 5) for number in range(chunks - 1)] + [0]


class Text:
    """Keys in chunks, as the teacher would read them."""

    def __init__(self, lengths: list[int], tokens: int = TOKENS):
        self.lengths, self.keys = lengths, make_keys(sum(lengths), tokens)
        self.chunks, self.starts = self.keys.split(lengths), np.cumsum([0, *lengths])[:-1].tolist()

    def sampler(self, folder, numbers=None, seed=SEED, capacity=CAPACITY) -> Sampler:
        folder.mkdir(exist_ok=True)
        return Sampler(folder, range(len(self.lengths)) if numbers is None else numbers, seed, capacity, TOKENS)

    def add(self, sampler: Sampler, number: int) -> None:
        keys, start = self.chunks[number], self.starts[number]
        sampler.add(number, keys, vectors_of(torch.arange(start, start + len(keys))), start)

    def sample(self, folder, **changes) -> Reservoir:
        """What one process keeps that reads all chunks in order."""
        sampler = self.sampler(folder, **changes)
        for number in range(len(self.lengths)):
            self.add(sampler, number)
        sampler.finish()
        return open_reservoir(folder)


@pytest.fixture(scope="module")
def text():
    return Text(lengths_of(14))


@pytest.fixture(scope="module")
def whole(text, tmp_path_factory):
    """The folder that one process leaves."""
    folder = tmp_path_factory.mktemp("reservoir") / "one"
    text.sample(folder)
    return folder


def by_definition(keys: torch.Tensor, seed: int, capacity: int) -> dict[int, list[int]]:
    """Token -> its positions with the smallest hashes of (seed, position), ascending."""
    hashes = hash_integers(seed, np.arange(len(keys))).tolist()
    own = {token: [p for p, key in enumerate(keys.tolist()) if key == token] for token in sorted(set(keys.tolist()))}
    return {token: sorted(sorted(found, key=hashes.__getitem__)[:capacity]) for token, found in own.items()}


def positions_of(sample: Reservoir) -> dict[int, list[int]]:
    pieces = sample.positions.split(sample.sizes.tolist())
    return {token: piece.tolist() for token, piece in zip(sample.tokens.tolist(), pieces, strict=True)}


@pytest.mark.parametrize("capacity", [1, CAPACITY, 10_000])
def test_the_sample_is_the_states_with_the_smallest_hashes_of_their_token(text, tmp_path, capacity):
    sample = text.sample(tmp_path, capacity=capacity)
    expected = by_definition(text.keys, SEED, capacity)
    assert positions_of(sample) == expected and list(expected) == sample.tokens.tolist()
    assert sample.occurrences.tolist() == [int((text.keys == token).sum()) for token in expected]
    assert torch.equal(sample.sizes, sample.occurrences.clamp_max(capacity))
    assert sample.sizes.min() < CAPACITY < sample.occurrences.max()  # some are whole, some are not
    assert torch.equal(sample.take(torch.arange(len(sample.rows))), vectors_of(sample.positions))
    assert sample.tokens.dtype == torch.int32 and sample.positions.dtype == torch.int64


@pytest.mark.parametrize("lengths", [[1000], [1] * 100 + [900], [3, 0, 997], [100] * 10])
def test_the_sample_is_the_same_however_the_text_is_cut(tmp_path, lengths):
    text = Text(lengths)
    assert positions_of(text.sample(tmp_path)) == by_definition(text.keys, SEED, CAPACITY)


def test_the_sample_is_uniform_over_seeds_and_tokens():
    keys, seeds = torch.arange(40 * 40).view(1, -1) % 40, 25  # 40 tokens of 40 states each
    states, taken = States([torch.zeros(1, 40 * 40, 1)], [], [keys]), torch.zeros(40)
    for seed in range(seeds):
        taken += (sampled(states, keys, sense_settings(seed=seed, reservoir=10)).positions // 40).bincount(minlength=40)
    assert taken.sum() == 40 * seeds * 10
    # Binomial(1000, 1/4) a place: standard deviation 13.7; all 40 within 4 of them (chi-square likewise).
    assert (taken - 250).abs().max() < 55
    assert ((taken - 250).square() / 250).sum() < 62  # 39 degrees of freedom times 3/4, far tail


def test_a_token_s_sample_does_not_depend_on_the_tokens_elsewhere():
    states, settings = random_states(10, 40, 4, 5), sense_settings(reservoir=20)
    (keys,) = states.predicted
    others = states._replace(predicted=[torch.where(keys == 2, keys, keys + 7)])  # every other one holds another token
    one, two = (positions_of(sampled(s, keys, settings)) for s in (states, others))
    assert len(one[2]) == 20 and one[2] == two[2]


def test_another_seed_gives_another_sample(text, whole, tmp_path):
    one, other = open_reservoir(whole), text.sample(tmp_path, seed=SEED + 1)
    for name in ("tokens", "occurrences", "sizes"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    assert not torch.equal(one.positions, other.positions)


# ---- the files: the same bytes however they came about


@pytest.mark.parametrize("order", ["backwards", "shuffled"])
def test_the_order_of_the_chunks_changes_no_byte(text, whole, tmp_path, order):
    numbers = list(range(len(text.lengths)))[::-1]
    if order == "shuffled":
        numbers = torch.randperm(len(numbers), generator=generator(1)).tolist()
    sampler = text.sampler(tmp_path)
    for number in numbers:
        text.add(sampler, number)
    sampler.finish()
    assert sha256_tree(tmp_path) == sha256_tree(whole)


@pytest.mark.parametrize("processes", [2, 3])
def test_the_number_of_processes_changes_no_byte(text, whole, tmp_path, processes):
    for finishing in permutations(range(processes)):
        folder = tmp_path / "".join(map(str, finishing))
        samplers = [text.sampler(folder, range(len(text.lengths))[rank::processes]) for rank in range(processes)]
        for number in range(len(text.lengths)):
            text.add(samplers[number % processes], number)
        for rank in finishing:
            samplers[rank].finish()
        assert sha256_tree(folder) == sha256_tree(whole)


def test_a_process_rewrites_its_own_chunks_alone(text, tmp_path):
    """Others may be writing theirs."""
    samplers = [text.sampler(tmp_path, range(len(text.lengths))[rank::2]) for rank in range(2)]
    for number in range(len(text.lengths)):
        text.add(samplers[number % 2], number)
    before = {path: path.stat().st_mtime_ns for path in sorted(tmp_path.iterdir())}
    samplers[1].finish()
    rewritten = [path.stem for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert rewritten and all(int(name[-1]) % 2 for name in rewritten)


@pytest.mark.parametrize("stops", [[0], [1], [6], [2, 3, 9], [14]])
def test_a_run_that_was_stopped_goes_on_with_the_chunks_that_are_left(text, whole, tmp_path, stops):
    sampler = text.sampler(tmp_path)
    for number in range(len(text.lengths)):
        if number in stops:
            sampler = text.sampler(tmp_path)
            assert sampler.waiting() == list(range(number, len(text.lengths)))
            assert sampler.stored == sum(len(load_chunk(path).keys) for path in tmp_path.iterdir())
        text.add(sampler, number)
    if len(text.lengths) in stops:
        sampler = text.sampler(tmp_path)
    assert sampler.waiting() == []
    sampler.finish()
    assert sha256_tree(tmp_path) == sha256_tree(whole)


def test_another_number_of_processes_goes_on_where_one_was_stopped(text, whole, tmp_path):
    sampler = text.sampler(tmp_path)
    for number in (0, 1, 2, 3, 4):
        text.add(sampler, number)
    samplers = [text.sampler(tmp_path, range(len(text.lengths))[rank::2]) for rank in range(2)]
    for each in samplers:
        for number in each.waiting():
            text.add(each, number)
    for each in samplers:
        each.finish()
    assert sha256_tree(tmp_path) == sha256_tree(whole)


def test_a_finished_sample_that_is_read_again_keeps_its_bytes(text, whole):
    before = {path: path.stat().st_mtime_ns for path in whole.iterdir()}
    text.sampler(whole).finish()
    assert {path: path.stat().st_mtime_ns for path in whole.iterdir()} == before


def test_the_disk_holds_little_more_than_the_sample_however_long_the_text_is(tmp_path):
    text = Text([100] * 40, tokens=20)
    sampler, written, thinned = text.sampler(tmp_path), 0, 0
    for number in range(len(text.lengths)):
        before = sampler.kept
        text.add(sampler, number)
        written += len(text.chunks[number])
        stored = sum(len(load_chunk(path).keys) for path in tmp_path.iterdir())
        sample = sum(map(len, by_definition(text.keys[:written], SEED, CAPACITY).values()))
        assert sample <= stored <= SPARE * (sample + len(text.chunks[number]))
        assert stored == sampler.stored
        thinned += sampler.kept != before
    assert 1 < thinned < len(text.lengths) / 2  # now and then
    assert written > 10 * sample
    sampler.finish()
    assert sum(len(load_chunk(path).keys) for path in tmp_path.iterdir()) == sample


# ---- the states: those of the teacher


def run(teacher, folder, key: str = "predicted", dtype: torch.dtype = torch.float32) -> Reservoir:
    folder.mkdir(exist_ok=True)
    sample_states(teacher, IDS, sense_settings(key=key, reservoir=3, seed=SEED), SETTINGS, folder, dtype)
    return open_reservoir(folder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("key", ["predicted", "observed"])
@torch.no_grad()
def test_the_states_are_the_teacher_s_under_the_token_that_it_predicts_or_that_follows(teacher, tmp_path, key, dtype):
    true = teacher(input_ids=IDS[:, :-1].long(), output_hidden_states=True)
    states = true.hidden_states[-1].to(dtype).flatten(0, 1)
    predicted = teacher.get_output_embeddings()(states.float()).argmax(dim=1)
    if dtype == torch.float32:
        assert torch.equal(predicted, true.logits.argmax(dim=2).flatten())
    keys = predicted if key == "predicted" else IDS[:, 1:].flatten()
    sample = run(teacher, tmp_path / "reservoir", key, dtype)
    assert positions_of(sample) == by_definition(keys, SEED, 3)
    assert sample.sizes.sum() < len(keys) == sample.occurrences.sum()
    found = sample.take(torch.arange(len(sample.rows)))
    assert found.dtype == dtype and found.shape[1] == WIDTH
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 1e-2}[dtype]
    torch.testing.assert_close(found, states[sample.positions], rtol=tolerance, atol=tolerance)


def test_a_stopped_run_reads_no_chunk_twice(teacher, tmp_path, monkeypatch):
    run(teacher, tmp_path / "one")
    add, added = Sampler.add, []

    def stop_at_two(self, number, *given):
        if number == 2 and len(added) == 2:
            raise KeyboardInterrupt
        added.append(number)
        add(self, number, *given)

    monkeypatch.setattr(Sampler, "add", stop_at_two)
    with pytest.raises(KeyboardInterrupt):
        run(teacher, tmp_path / "two")
    added.append("stopped")
    sample_states(teacher, IDS, sense_settings(reservoir=3, seed=SEED), SETTINGS, tmp_path / "two", torch.float32)
    assert added == [0, 1, "stopped", 2, 3]
    assert sha256_tree(tmp_path / "two") == sha256_tree(tmp_path / "one")


def test_no_process_thins_its_files_while_another_reads_them(text, whole, tmp_path, monkeypatch):
    """The second reads slowly: each file has to be the one that was there before both finished."""

    def work(rank: int) -> None:
        sampler = text.sampler(tmp_path / "two", range(rank, 14, 2))
        for number in sampler.waiting():
            text.add(sampler, number)
        processes.state().wait_for_everyone()
        before = {path: identity(path) for path in (tmp_path / "two").glob("chunk-*.safetensors")}
        processes.state().wait_for_everyone()

        def slowly(path):
            time.sleep(0.05 * rank)
            assert identity(path) == before[path]
            return load_chunk(path)

        monkeypatch.setattr("dskd.states.reservoir.load_chunk", slowly)
        sampler.finish()

    assert run_in_processes(2, work) == [0, 0]
    assert sha256_tree(tmp_path / "two") == sha256_tree(whole)


# ---- the reader


def test_states_are_taken_across_chunks_in_the_order_asked_for(whole):
    sample = open_reservoir(whole)
    assert len(sample.states) == 14 and sum(len(piece) > 0 for piece in sample.states) > 10
    number = len(sample.positions)
    assert number == sample.sizes.sum() == len(sample.rows)
    everywhere = torch.randperm(number, generator=generator(2))
    for places in (everywhere, torch.tensor([number - 1, 0, 0, 7, number - 1]), everywhere[:1], everywhere[:0]):
        found = sample.take(places)
        assert found.shape == (len(places), 2) and torch.equal(found, vectors_of(sample.positions[places]))


@pytest.fixture
def copy(whole, tmp_path):
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("missing", ["chunk-000000*", "chunk-000005*", "*"])
def test_a_missing_chunk_is_an_error_that_names_the_way_out(copy, missing):
    for path in copy.glob(missing):
        path.unlink()
    with pytest.raises(UserError, match=r"lacks chunks of the sample.*dvc repro harvest"):
        open_reservoir(copy)


@pytest.mark.parametrize("left", [0, 5, 100, -1])
def test_a_truncated_chunk_is_an_error_that_names_it(copy, left):
    path = copy / "chunk-000002.safetensors"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=r"chunk-000002\.safetensors is damaged.*dvc repro harvest"):
        open_reservoir(copy)
