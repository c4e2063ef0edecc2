"""Distil a model into its own first layers with a sense loss, in a plain loop.

    python examples/plain_loop.py HuggingFaceTB/SmolLM2-135M texts.txt --layers 15

texts.txt has a text in each line. Without --lexicon, WordNet is taken: nltk.download("wordnet") fetches it.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import dskd


def parser() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("model", help="the teacher: a name on the hub, or a folder")
    options.add_argument("texts", type=Path, help="a file with a text in each line")
    options.add_argument("--layers", type=int, default=12, help="of the student, the teacher's first (default: 12)")
    options.add_argument("--dictionary", help="a saved sense dictionary (default: made of the texts)")
    options.add_argument("--lexicon", type=Path, help="a saved lexicon (default: WordNet)")
    options.add_argument("--sense", type=float, default=0.1, help="weight of the sense loss (default: 0.1)")
    options.add_argument("--steps", type=int, default=100)
    options.add_argument("--batch", type=int, default=4, help="rows of a step, in two parts (default: 4)")
    options.add_argument("--length", type=int, default=128, help="tokens of a row (default: 128)")
    return options


def main(arguments: list[str] | None = None) -> list[dict[str, float]]:
    options = parser().parse_args(arguments)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    teacher = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32).to(device)
    if not (most := teacher.config.num_hidden_layers) >= options.layers >= 1:
        raise dskd.UserError(f"--layers {options.layers}: the student has the teacher's first layers, of {most}")
    student = AutoModelForCausalLM.from_pretrained(
        options.model, dtype=torch.float32, num_hidden_layers=options.layers
    ).to(device)
    texts = [text for text in options.texts.read_text(encoding="utf-8-sig").split("\n") if text.strip()]

    # What the student is held against, beside the text and the teacher's probabilities.
    if options.dictionary:
        dictionary = dskd.SenseDictionary.from_pretrained(options.dictionary, tokenizer)
    else:
        dictionary = dskd.SenseDictionary.from_model(
            teacher, tokenizer, texts, dskd.DictionarySettings(length=options.length)
        )
    lexicon = dskd.Lexicon.from_parquet(options.lexicon) if options.lexicon else dskd.Lexicon.from_wordnet()
    sense = dskd.Term(options.sense, dskd.SenseLoss(dictionary, lexicon))
    distillation = dskd.DistillationLoss(teacher, [sense]).to(device)

    # All texts as one stream, cut into rows; the loop goes round and round.
    ids = torch.tensor([token for row in tokenizer(texts)["input_ids"] for token in row])
    rows = ids[: len(ids) // options.length * options.length].view(-1, options.length)
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-4)
    student.train()
    curve = []
    for step in range(options.steps):
        chosen = rows[(torch.arange(options.batch) + step * options.batch) % len(rows)].to(device)
        parts = [{"input_ids": part, "labels": part} for part in chosen.chunk(2)]
        counts = distillation.counts(parts)  # so that two parts give the loss of one batch
        terms: dict[str, float] = {}
        for part in parts:
            found = distillation(student, part, counts)
            found.loss.backward()
            terms = {name: terms.get(name, 0.0) + value for name, value in found.terms.items()}
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        curve.append({"step": step + 1, **terms})
        print("  ".join(f"{name} {value:.4g}" for name, value in curve[-1].items()), flush=True)
    return curve


if __name__ == "__main__":
    main()
