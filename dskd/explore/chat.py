"""Talk with a student, or with the teacher, in the terminal."""

import sys
from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, TextStreamer

from dskd.errors import UserError, one_line
from dskd.infra import artifacts
from dskd.infra.artifacts import require
from dskd.model.load import load_decoder
from dskd.model.tokenizer import begun, stop_tokens
from dskd.params import Params

BYE = "ended"


def load(name: str, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model called `name`: a student of the run, "teacher", or a folder.

    Raises:
        UserError: there is no such model, or it has no chat template.
    """
    places = [Path(artifacts.TEACHER)] if name == "teacher" else [Path(artifacts.STUDENTS) / name, Path(name)]
    folder = next((place for place in places if (place / "config.json").is_file()), None)
    if folder is None:
        known = sorted(path.parent.name for path in Path(artifacts.STUDENTS).glob("*/config.json"))
        there = f"there are: {', '.join(known)}" if known else "there is none yet"
        raise UserError(f"no student {name!r}; {there}. Get them with `dvc pull` or make them with `dvc repro distill`")
    if folder in places[:1]:  # of this run, and perhaps from a remote
        require(folder, "sources" if name == "teacher" else f"distill@{name}")
    model, tokenizer = load_decoder(folder, dtype)
    if not tokenizer.chat_template:
        raise UserError(f"{folder} has no chat template, so it cannot be chatted with: docs/use.md has a continuation")
    return model, tokenizer


def chat(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: int = 200, temperature: float = 0) -> None:
    """Read a line, write the answer as it comes, until the input ends (Ctrl-D) or is interrupted (Ctrl-C).

    Nothing is kept on the disk. The oldest turns are forgotten when the model's context is full.

    Args:
        tokens: most tokens of an answer.
        temperature: 0 takes the likeliest token each time; above that, tokens are drawn, from another seed each time.
    """
    turns: list[dict[str, str]] = []
    chosen = _ends(model, tokenizer)
    chosen |= {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
    try:
        while True:
            said = _read()
            if not said.strip():
                continue
            turns.append({"role": "user", "content": said})
            turns, ids = _fitting(model, tokenizer, turns, tokens)
            streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
            with torch.inference_mode():
                out = model.generate(**ids, max_new_tokens=tokens, streamer=streamer, **chosen)
            answer = tokenizer.decode(out[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
            turns.append({"role": "assistant", "content": answer})
    except (EOFError, KeyboardInterrupt):
        print(f"\n{BYE}" if sys.stdin.isatty() else BYE)


def _ends(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict:
    """What tells `generate` where an answer ends: by itself it knows the model's tokens alone, not the tokenizer's.

    What else generation_config.json asks for is left out of the model, as a penalty for repetition: the likeliest token
    would not be taken."""
    stops = stop_tokens(model, tokenizer)
    model.generation_config = GenerationConfig(eos_token_id=getattr(model.generation_config, "eos_token_id", None))
    pad = tokenizer.pad_token_id
    return {"eos_token_id": stops or None, "pad_token_id": pad if pad is not None else next(iter(stops), None)}


def _read() -> str:
    """One line, also of a file whose lines end with CRLF; a prompt only where somebody types."""
    return input("> " if sys.stdin.isatty() else "").rstrip("\r")


def _fitting(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], tokens: int
) -> tuple[list[dict[str, str]], dict]:
    """The last turns that leave room for an answer, by pairs of question and answer, and their ids."""
    room = model.config.max_position_embeddings - tokens
    while True:
        try:
            ids = tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
            )
        except Exception as error:  # whatever a template raises; it is a program of the model's
            raise UserError(f"the model's chat template fails ({one_line(error)[:300]}): mend it") from None
        if ids["input_ids"].shape[1] <= room:
            return turns, ids
        if len(turns) == 1:
            raise UserError(f"that is {ids['input_ids'].shape[1]:,} tokens; with {tokens} for an answer {room:,} fit")
        turns = turns[2:]


def continuation(params: Params, student: str, prompt: str, tokens: int = 24) -> str:
    """What a student writes after `prompt`, greedily."""
    folder = require(Path(artifacts.STUDENTS) / student, f"distill@{student}")
    model, tokenizer = load_decoder(folder, params.runtime.dtype)
    ids = torch.tensor([begun(tokenizer, prompt)])
    ends = _ends(model, tokenizer)
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, **ends)
    return tokenizer.decode(out[0])
