"""Looking at what was made: the tables that notebooks show to a reader."""

from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dskd import artifacts, decoder, lexicon
from dskd.artifacts import UserError, require
from dskd.controls import controlled
from dskd.corpus import load_corpus
from dskd.params import Params
from dskd.scores import read_items, read_rows
from dskd.senses import SenseDictionary, load_senses
from dskd.states import States, take_positions
from dskd.targets import SenseTargets, span_table, trimmed_lexicon


def word_token(tokenizer: PreTrainedTokenizerBase, word: str) -> int:
    """The token of a word written with a leading space; UserError if there are several."""
    ids = tokenizer.encode(" " + word, add_special_tokens=False)
    if len(ids) != 1:
        raise UserError(f"{word!r} is {len(ids)} tokens of this tokenizer; choose a word that is one")
    return ids[0]


def show_senses(word: str, contexts: int = 2, before: int = 12) -> pd.DataFrame:
    """The senses of a word, most frequent first, each with its nearest contexts up to the predicted token."""
    tokenizer = decoder.load_tokenizer(artifacts.TEACHER)
    senses, blocks = load_senses(artifacts.SENSES), load_corpus(Path(artifacts.CORPUS))[0]["train"]
    length = blocks.shape[1] - 1
    rows = senses.rows(word_token(tokenizer, word))
    table = []
    for row in sorted(rows, key=lambda row: (-int(senses.counts[row]), row)):
        texts = []
        for position in senses.contexts[row][:contexts].tolist():
            if position >= 0:
                block, offset = divmod(position, length)
                ids = blocks[block, max(0, offset + 1 - before) : offset + 1]
                texts.append("… " + " ".join(tokenizer.decode(ids).split()) + f" [{word}]")
        table.append({"states": int(senses.counts[row]), "nearest contexts": "  |  ".join(texts)})
    return pd.DataFrame(table)


def target_distances(targets: SenseTargets, states: States, sample: int = 2000) -> pd.DataFrame:
    """Mean squared distance a dimension from the teacher's state to the senses that pull and push it, and to
    the mean of those that pull, over the first `sample` positions that have both (where nothing pushes: a pull)."""
    pull, push = targets.pull.flatten(0, 1), targets.push.flatten(0, 1)
    complete, pushes = (pull >= 0).all(dim=1), (push >= 0).all(dim=1)
    positions = (complete & pushes if pushes.any() else complete).nonzero().squeeze(1)[:sample]
    hidden = take_positions(states.hidden_states, positions).float()[:, None]
    pulling = targets.vectors[pull[positions].long()].float()
    distance = {"a pulling sense": pulling, "the mean of the pulling senses": pulling.mean(dim=1, keepdim=True)}
    if pushes.any():
        distance["a pushing sense"] = targets.vectors[push[positions].long()].float()
    values = {name: (hidden - senses).square().mean(dim=2).flatten() for name, senses in distance.items()}
    return pd.DataFrame(
        [
            {"distance to": name, **{f"{q:.0%}": float(v.quantile(q)) for q in (0.1, 0.5, 0.9)}}
            for name, v in values.items()
        ]
    ).set_index("distance to")


def show_targets(
    params: Params, objective: str, targets: SenseTargets, rows: int = 8, before: int = 10
) -> pd.DataFrame:
    """Some positions with both kinds of targets: the context, what follows, whose senses pull and push."""
    tokenizer = decoder.load_tokenizer(artifacts.TEACHER)
    blocks = load_corpus(Path(artifacts.CORPUS))[0]["train"]
    owner = _owners(params, params.objectives[objective].targets, tokenizer)
    pulled, pushed = ((rows >= 0).any(dim=2) for rows in (targets.pull, targets.push))
    both = (pulled & pushed if pushed.any() else pulled).nonzero()
    table = []
    for block, offset in both[:: max(1, len(both) // rows)][:rows].tolist():

        def words(column: Tensor, block: int = block, offset: int = offset) -> str:
            names = [owner(row) for row in column[block, offset].tolist() if row >= 0]
            return ", ".join(dict.fromkeys(names))

        context = tokenizer.decode(blocks[block, max(0, offset + 1 - before) : offset + 1])
        table.append(
            {
                "context": "… " + " ".join(context.split()),
                "follows": tokenizer.decode(blocks[block, offset + 1]).strip(),
                "pull": words(targets.pull),
                "push": words(targets.push),
            }
        )
    return pd.DataFrame(table)


def _owners(params: Params, variant: str, tokenizer: PreTrainedTokenizerBase):
    """A function from a row of the targets' vectors to the word or span that it is a sense of."""
    table, senses = lexicon.load_lexicon(Path(artifacts.LEXICON)), load_senses(artifacts.SENSES)
    words = trimmed_lexicon(senses, lexicon.synonyms(table), lexicon.antonyms(table), params.targets)
    words = controlled(variant, words, params.targets.seed)
    _, rows = span_table(words.senses, words.synonyms, words.antonyms)
    of_span = {row: span for span, numbers in rows.items() if len(span) > 1 for row in numbers}

    def name(row: int) -> str:
        if row in of_span:
            return tokenizer.decode(list(of_span[row])).strip()
        return tokenizer.decode(int(senses.tokens[torch.searchsorted(senses.offsets, row, right=True) - 1])).strip()

    return name


def continuation(params: Params, student: str, prompt: str, tokens: int = 24) -> str:
    """What a student writes after `prompt`, greedily."""
    folder = require(Path(artifacts.STUDENTS) / student, f"distill@{student}")
    model, tokenizer = decoder.load_decoder(folder, params.runtime.dtype)
    ids = tokenizer(prompt, return_tensors="pt")
    out = model.generate(**ids, max_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return tokenizer.decode(out[0])


def show_items(models: list[str], per_task: int = 4) -> pd.DataFrame:
    """The first items of each task with what the models chose; a star marks a right choice."""
    items, _ = read_items()
    rows = pd.DataFrame(read_rows("lexical"))
    chosen = rows.set_index(["model", "id"])["chosen"]
    table = []
    for task in dict.fromkeys(item.task for item in items):
        for item in [i for i in items if i.task == task][:per_task]:
            row = {"item": item.context, "answer": item.choices[item.answer].strip()}
            for model in models:
                choice = int(chosen[model, item.id])
                row[model] = item.choices[choice].strip() + (" *" if choice == item.answer else "")
            table.append(row)
    return pd.DataFrame(table)


def show_prompt(benchmark: str) -> str:
    """The first chat prompt of a benchmark, as the teacher's template writes it."""
    path = Path(artifacts.BENCHMARKS) / f"{benchmark}.chat.jsonl"
    return artifacts.read_jsonl(path)[0]["prompt"] if path.exists() else f"{benchmark} is not available"


def sense_groups(params: Params, words: int = 5) -> dict[str, list[tuple[str, Tensor]]]:
    """The senses of `report.word` and of its most supported synonyms and antonyms that are one token each."""
    tokenizer, senses = decoder.load_tokenizer(artifacts.TEACHER), load_senses(artifacts.SENSES)
    table = lexicon.load_lexicon(require(artifacts.LEXICON, "lexicon"))
    token = word_token(tokenizer, params.report.word)

    def of(spans: list[tuple[int, ...]]) -> list[tuple[str, Tensor]]:
        single = [span[0] for span in spans if len(span) == 1 and len(senses.rows(span[0]))]
        return [(tokenizer.decode(t).strip(), _vectors(senses, t)) for t in single[:words]]

    groups = {
        params.report.word: of([(token,)]),
        "synonyms": of(lexicon.synonyms(table).get(token, [])),
        "antonyms": of(lexicon.antonyms(table).get(token, [])),
    }
    missing = [name for name, members in groups.items() if not members]
    if missing:
        raise UserError(
            f"report.word = {params.report.word!r} has no senses of {', '.join(missing)}: choose another word"
        )
    return groups


def _vectors(senses: SenseDictionary, token: int) -> Tensor:
    rows = senses.rows(token)
    return senses.centroids[rows.start : rows.stop]
