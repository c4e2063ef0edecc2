"""The page of senses with an invented dictionary: as many words as a test asks for, and some that attack the page."""

import json
from collections import defaultdict

import numpy as np
import pandas as pd
import torch

from dskd.explore.atlas import (
    context_columns,
    fit_code,
    landing_columns,
    sense_columns,
)
from dskd.explore.cards import by_frequency
from dskd.explore.landing import Landing, kept_table
from dskd.explore.packing import smallest
from dskd.explore.senses_page import render
from dskd.explore.synsets import Fit
from dskd.explore.words import Vocabulary
from dskd.senses.store import Senses

EVIL = "</script><script>document.title='evil'</script><img src=x onerror=\"document.title='evil'\">"
KNOWN = ["bank", "good", "hot", "cold", "light", "first", "shore", "lender", "warm", "icy", "évident"]
WITHOUT = {"seldom": 1, "nowhere": 0}  # words without senses -> how often they are met; the second is held out
SYNONYMS = {"bank": ["shore", "lender", "depository financial institution"], "hot": ["warm"], "cold": ["icy"]}
ANTONYMS = {"hot": ["cold", "icy"], "cold": ["hot", "warm"]}
OTHERS = {"depository financial institution": "dep + ository + financial + institution"}
MODELS = ["teacher", "cut", "kd-0", "dskd-0"]
_FILL = "the a of in and to with for on at by from".split()


def invented_words(number: int) -> list[str]:
    """`KNOWN`, then words of three syllables."""
    syllables = [a + b for a in "bdfglmnprstvz" for b in "aeiou"]
    made = (a + b + c for a in syllables for b in syllables for c in syllables)
    return [*KNOWN, *(next(made) for _ in range(number - len(KNOWN)))]


def invented_columns(number: int = 60, tokens: int = 12_000, contexts: int = 5, seed: int = 0) -> dict:
    """Columns of a page with `number` words that have senses; the rarer a word, the fewer."""
    draw, words = np.random.default_rng(seed), invented_words(number)

    # A text, and where each word is met.
    chosen = np.concatenate([np.arange(number).repeat(3), (number * draw.random(tokens) ** 2).astype(int)])
    stream = [
        words[i] if i >= 0 else _FILL[j % len(_FILL)]
        for j, i in enumerate(draw.permutation(np.concatenate([chosen, -np.ones(len(chosen), int)])))
    ]
    met = defaultdict(list)
    for place, word in enumerate(stream):
        met[word].append(place)

    # Senses: each has every k-th place of its word.
    numbers = [min(10, max(1, len(met[word]) // 4)) for word in words]
    offsets = np.concatenate([[0], np.cumsum(numbers)])
    rows = {word: range(offsets[i], offsets[i + 1]) for i, word in enumerate(words)}
    counts, positions = np.zeros(offsets[-1], np.int32), np.full((offsets[-1], contexts), -1)
    for word, found in rows.items():
        for i, row in enumerate(found):
            counts[row] = len(met[word][i :: len(found)])
            nearest = draw.permutation(met[word][i :: len(found)])[:contexts]
            positions[row, : len(nearest)] = nearest
    centres = draw.normal(size=(number, 48)).repeat(numbers, axis=0)
    centroids = torch.from_numpy(centres + draw.normal(size=(offsets[-1], 48)) * np.linspace(1, 0.05, 48)).float()
    occurrences = torch.tensor([len(met[word]) for word in words])
    senses = Senses(
        torch.arange(number, dtype=torch.int32), torch.from_numpy(offsets), occurrences, centroids,
        torch.from_numpy(counts), torch.from_numpy(positions),
    )  # fmt: skip

    # Their contexts as text; one attacks the page.
    sense, _ = (senses.contexts >= 0).nonzero(as_tuple=True)
    table = []
    for row, place in zip(sense.tolist(), senses.contexts[senses.contexts >= 0].tolist()):
        page = place // 500
        left, right = stream[max(page * 500, place - 12) : place], stream[place + 1 : min(page * 500 + 500, place + 13)]
        name = f"wiki:Page {page}" if page % 3 else f"gloss:word.n.{page:02}"
        table.append((f" {stream[place]}", row, " ".join(left), "".join(f" {word}" for word in right), name))
    contexts_table = pd.DataFrame(table, columns=["token", "sense", "left", "right", "document"])
    first = contexts_table.index[contexts_table["sense"] == rows["bank"][0]][0]
    contexts_table.loc[first, ["left", "right", "document"]] = [
        f"=1+1 {EVIL} \U0001f600 so,",
        f'ing "it" {EVIL}',
        f"wiki:{EVIL}",
    ]

    order = [row for word in words for row in by_frequency(senses, rows[word])]
    every = [*words, *WITHOUT]
    fits = {row: _fit(word, i, draw) for word, found in rows.items() for i, row in enumerate(found)}
    vocabulary = Vocabulary(every, np.array([*occurrences.tolist(), *WITHOUT.values()]), rows, set())
    code = fit_code(centroids, 24)
    landing = _landing(centroids, contexts_table, {word: rows[word] for word in KNOWN[:6]}, draw)
    about = {
        "dimensions": 24, "word": "good", "examples": ["bank", "hot"], "minStates": 2, "heldoutShare": 0.1,
        "most": number,
        "models": MODELS, "kept": kept_table(landing).round(4).to_dict("records"), "compared": sorted(KNOWN[:6]),
        "facts": [f"An invented dictionary. {EVIL}"], "contexts": contexts,
    }  # fmt: skip
    return {
        "words": every,
        "occurrences": smallest(vocabulary.occurrences),
        "numbers": smallest([*numbers, *[0] * len(WITHOUT)]),
        "held": smallest([word == "nowhere" for word in every]),
        "left": smallest([0] * len(every)),
        **sense_columns(senses, order, fits),
        **_relations(every),
        "vectors": code.of(centroids[order]).T.ravel(),
        **landing_columns(landing, code, order, rows),
        **context_columns(contexts_table, senses, rows, contexts),
        "about": json.dumps(about, ensure_ascii=False),
    }


def _fit(word: str, number: int, draw: np.random.Generator) -> Fit:
    pos = "nvar"[number % 4]
    definition = EVIL if (word, number) == ("bank", 0) else f"what {word} means in its use {number}"
    return Fit(f"{word}.{pos}.{number // 4 + 1:02}", float(draw.random()), number % 3, pos, definition)


def _relations(words: list[str]) -> dict:
    names = {name: i for i, name in enumerate([*words, *OTHERS])}
    columns = {"others": [f"{name}\t{pieces}" for name, pieces in OTHERS.items()]}
    for kind, known in (("synonym", SYNONYMS), ("antonym", ANTONYMS)):
        columns[f"{kind}Counts"] = smallest([len(known.get(word, ())) for word in words])
        columns[f"{kind}s"] = smallest([names[other] for word in words for other in known.get(word, ())])
    return columns


def _landing(centroids: torch.Tensor, contexts: pd.DataFrame, rows: dict[str, range], draw) -> Landing:
    """Students farther and farther from the teacher, which is near its senses."""
    of = {row: word for word, found in rows.items() for row in found}
    chosen = contexts[contexts["sense"].isin(of)]
    chosen = chosen.assign(word=chosen["sense"].map(of), rank=chosen.groupby("sense").cumcount()).reset_index(drop=True)
    base, states, nearest = centroids[chosen["sense"].tolist()], {}, {}
    for i, model in enumerate(MODELS):
        states[model] = base + torch.from_numpy(draw.normal(size=base.shape)).float() * (0.3 + 0.7 * i)
        near = [
            min(rows[word], key=lambda row, state=state: float((centroids[row] - state).square().sum()))
            for word, state in zip(chosen["word"], states[model])
        ]
        nearest[model] = np.array(near)
    return Landing(sorted(rows), chosen, states, nearest)


def invented_page(**options) -> str:
    return render(invented_columns(**options))
