"""What the harness makes of a generated answer; the task files name these functions."""

from dskd.benchmarks.chat_prompts import letter
from dskd.benchmarks.squad import answer_text, exact_match, f1


def letter_results(doc: dict, results: list[str]) -> dict[str, float]:
    return {"acc": float(letter(results[0]) == doc["answer"])}


def squad_results(doc: dict, results: list[str]) -> dict[str, float]:
    answer = answer_text(results[0])
    return {"em": float(exact_match(answer, doc["answers"])), "f1": f1(answer, doc["answers"])}
