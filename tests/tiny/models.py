"""A decoder, a tokenizer and states small enough for a test: Llama with 6 layers of width 32 and 120 tokens."""

import tempfile
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from dskd.model.cut import student_top, teacher_top, trunk
from dskd.model.parts import run_part
from dskd.params import DistillParams, SensesParams, StudentParams
from dskd.senses.store import Senses
from dskd.states.harvest import predict
from dskd.states.reservoir import Reservoir, Sampler, open_reservoir
from dskd.states.store import States

VOCABULARY, LAYERS, WIDTH = 120, 6, 32
LOWER_LAST = StudentParams(cut="lower_last", layers=4, trained=2)
FIRST = StudentParams(cut="first", layers=4, trained=2)
TEXT = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs", "a big, a small"]


def make_teacher(
    dtype: torch.dtype = torch.float32,
    tied: bool = True,
    seed: int = 0,
    vocabulary: int = VOCABULARY,
    layers: int = LAYERS,
) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        initializer_range=0.2,  # large, so that layers differ and predictions are no ties
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.data.uniform_(0.5, 1.5)  # a norm left out or applied twice must show
    rotation = model.base_model.rotary_emb
    model.to(dtype)
    model.base_model.rotary_emb = type(rotation)(config)  # stays float32, as in a model that is loaded
    return model.eval().requires_grad_(False)


def make_tokenizer(size: int = VOCABULARY) -> PreTrainedTokenizerFast:
    """Byte-level BPE with as many ids as asked for, if the text gives them; knows the letters of `TEXT` only."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")


def make_ids(blocks: int, length: int, seed: int = 0) -> Tensor:
    """(blocks, length + 1) int32 random tokens."""
    return torch.randint(0, VOCABULARY, (blocks, length + 1), generator=generator(seed), dtype=torch.int32)


@torch.no_grad()
def make_states(teacher: LlamaForCausalLM, ids: Tensor, student: StudentParams, shard: int = 1000) -> States:
    """The states of the first positions of `ids`, in memory, cut into shards of so many blocks."""
    split_states = run_part(trunk(teacher, student), ids=ids[:, :-1])
    hidden_states = run_part(teacher_top(teacher, student), states=split_states)
    predicted = predict(hidden_states, teacher.get_output_embeddings().weight)
    return States(*(list(t.split(shard)) for t in (hidden_states, split_states, predicted)))


def trained(teacher: PreTrainedModel, student: StudentParams) -> PreTrainedModel:
    """The student's top as training might leave it: other weights than the teacher's."""
    top = student_top(teacher, student)
    with torch.no_grad():
        for weight in top.layers.parameters():
            weight.mul_(1.1).add_(0.01)
    return top


def random_states(blocks: int, length: int, width: int, tokens: int, seed: int = 0, shard: int = 1000) -> States:
    """States without a model: random vectors, and predictions that favour low token ids."""
    g = generator(seed)
    hidden_states = torch.randn(blocks, length, width, generator=g)
    predicted = (torch.rand(blocks, length, generator=g).square() * tokens).to(torch.int32)
    return States(*(list(t.split(shard)) for t in (hidden_states, hidden_states.clone(), predicted)))


def sampled(states: States, labels: Tensor, settings: SensesParams) -> Reservoir:
    """The sample that a run would keep of these states, which it reads in chunks as long as their shards.

    Args:
        labels: (n, L) token ids that follow each position; the key where `settings.key` is "observed".
    """
    shards = states.predicted
    if settings.key == "observed":
        shards = labels.split([len(shard) for shard in shards])
    vocabulary = 1 + max(int(shard.max()) for shard in shards)
    with tempfile.TemporaryDirectory() as folder:  # the files stay mapped
        sampler = Sampler(Path(folder), range(len(shards)), settings.seed, settings.reservoir, vocabulary)
        start = 0
        for number, (keys, hidden_states) in enumerate(zip(shards, states.hidden_states, strict=True)):
            sampler.add(number, keys.flatten(), hidden_states.flatten(0, 1), start)
            start += keys.numel()
        sampler.finish()
        return open_reservoir(Path(folder))


def sense_settings(**changes) -> SensesParams:
    values = {
        "seed": 0,
        "text": "own",
        "tokens": 1000,
        "gloss_share": 0.0,
        "key": "predicted",
        "k": 4,
        "min_states": 1,
        "reservoir": 12,
        "iterations": 30,
        "contexts": 3,
    }
    return SensesParams(**(values | changes))


def distill_settings(**changes) -> DistillParams:
    values = {
        "objectives": ["kd"],
        "seeds": [0],
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 3e-3,
        "weight_decay": 1e-3,
        "warmup_share": 0.1,
        "clip_norm": 1.0,
        "temperature": 2.0,
        "beta": 0.0,
        "checkpoint_steps": 4,
        "log_steps": 2,
    }
    return DistillParams(**(values | changes))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def dictionary(senses: dict[int, list]) -> Senses:
    """The senses of token -> centroids; each stands for five states."""
    tokens = sorted(senses)
    centroids = torch.cat([torch.tensor(senses[token], dtype=torch.float32) for token in tokens])
    numbers = torch.tensor([len(senses[token]) for token in tokens])
    return Senses(
        tokens=torch.tensor(tokens, dtype=torch.int32),
        offsets=torch.cat([torch.zeros(1, dtype=torch.int64), numbers.cumsum(0)]),
        occurrences=100 * numbers,
        centroids=centroids,
        counts=torch.full((len(centroids),), 5, dtype=torch.int32),
        contexts=torch.arange(len(centroids))[:, None],
    )
