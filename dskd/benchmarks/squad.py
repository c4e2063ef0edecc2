"""Scores of SQuAD 2.0: exact match and F1 on tokens, after Rajpurkar, Jia and Liang, ACL 2018 (arXiv 1806.03822)."""

import re
import string
from collections import Counter

NO_ANSWER = "No answer"  # what a model is asked to write where the passage does not tell

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)  # ASCII only: a dash or a curly quote stays
_ARTICLE = re.compile(r"\b(?:a|an|the)\b")


def normalise(text: str) -> str:
    """Lower case, without ASCII punctuation, then without a, an, the; words with one space between them.

    What punctuation parted is joined: "well-known" is "wellknown".
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split())


def answer_text(prediction: str) -> str:
    """The answer in what a model wrote: the first line that is not blank; "" for "No answer" and for nothing."""
    line = prediction.strip().partition("\n")[0].strip()
    return "" if line.lower().removesuffix(".") == NO_ANSWER.lower() else line


def exact_match(prediction: str, golds: list[str]) -> int:
    """1 where prediction and a gold are equal when normalised. No golds: unanswerable, and "" is right."""
    return int(normalise(prediction) in _normal_golds(golds))


def f1(prediction: str, golds: list[str]) -> float:
    """Harmonic mean of precision and recall of the prediction's tokens, for the gold where it is highest, 0 to 1.

    A token counts as often as it stands on both sides. Where a side has no tokens: 1 if neither has, else 0.
    """
    tokens = normalise(prediction).split()
    return max(_overlap(tokens, gold.split()) for gold in _normal_golds(golds))


def _normal_golds(golds: list[str]) -> list[str]:
    return [normal for gold in golds if (normal := normalise(gold))] or [""]


def _overlap(tokens: list[str], gold: list[str]) -> float:
    if not tokens or not gold:
        return float(tokens == gold)
    # precision c/p and recall c/g, so 2 (c/p)(c/g) / (c/p + c/g) = 2c / (p + g)
    return 2 * (Counter(tokens) & Counter(gold)).total() / (len(tokens) + len(gold))
