"""Teach a small model to answer as a larger one of its kind does, with TRL's SFTTrainer and a sense loss.

    python examples/sft.py HuggingFaceTB/SmolLM2-135M-Instruct answers.jsonl student --layers 15

answers.jsonl has {"prompt": "...", "completion": " ..."} in each line, which are joined as they stand, so that one of
them has the space between; the loss is over the completions.
Without --lexicon, WordNet is taken: nltk.download("wordnet") fetches it.
"""

import argparse
import json
from pathlib import Path

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

import dskd


class SenseSFTTrainer(dskd.DistillationTrainer, SFTTrainer):
    """SFTTrainer with the loss of DistillationTrainer: that is all it takes."""


def main(arguments: list[str] | None = None) -> list[dict[str, float]]:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("model", help="the teacher: a name on the hub, or a folder")
    options.add_argument("answers", type=Path, help="a file with a prompt and a completion in each line, as JSON")
    options.add_argument("output", help="folder for the student")
    options.add_argument("--layers", type=int, default=12, help="of the student, the teacher's first (default: 12)")
    options.add_argument("--lexicon", type=Path, help="a saved lexicon (default: WordNet)")
    options.add_argument("--steps", type=int, default=100)
    options.add_argument("--length", type=int, default=256, help="most tokens of prompt and completion (default: 256)")
    options = options.parse_args(arguments)

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    teacher = AutoModelForCausalLM.from_pretrained(options.model)
    if not (most := teacher.config.num_hidden_layers) >= options.layers >= 1:
        raise dskd.UserError(f"--layers {options.layers}: the student has the teacher's first layers, of {most}")
    student = AutoModelForCausalLM.from_pretrained(
        options.model,
        dtype=torch.float32,  # in bfloat16 small steps are lost
        num_hidden_layers=options.layers,
    )
    rows = [json.loads(line) for line in options.answers.read_text(encoding="utf-8-sig").split("\n") if line.strip()]

    # A dictionary of these few answers is small; one of more text, saved before, is better: from_pretrained.
    texts = ["".join((row["prompt"], row["completion"])) for row in rows]  # as TRL joins them; texts alone, no messages
    settings = dskd.DictionarySettings(length=min(options.length, 128))
    dictionary = dskd.SenseDictionary.from_model(teacher, tokenizer, texts, settings)
    lexicon = dskd.Lexicon.from_parquet(options.lexicon) if options.lexicon else dskd.Lexicon.from_wordnet()
    sense = dskd.Term(0.1, dskd.SenseLoss(dictionary, lexicon))

    trainer = SenseSFTTrainer(
        model=student,
        args=SFTConfig(
            output_dir=options.output,
            max_steps=options.steps,
            max_length=options.length,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            learning_rate=2e-4,
            logging_steps=1,
            bf16=torch.cuda.is_available(),
            report_to="none",
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        distillation=dskd.DistillationLoss(teacher, [sense]),
    )
    trainer.train()
    trainer.save_model()
    return trainer.state.log_history


if __name__ == "__main__":
    main()
