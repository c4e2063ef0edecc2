"""Distil a model into its own first layers with a sense loss, by transformers' Trainer.

    python examples/trainer.py HuggingFaceTB/SmolLM2-135M texts.txt student --layers 15

texts.txt has a text in each line. Without --lexicon, WordNet is taken: nltk.download("wordnet") fetches it.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling, TrainingArguments

import dskd


def main(arguments: list[str] | None = None) -> list[dict[str, float]]:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("model", help="the teacher: a name on the hub, or a folder")
    options.add_argument("texts", type=Path, help="a file with a text in each line")
    options.add_argument("output", help="folder for the student")
    options.add_argument("--layers", type=int, default=12, help="of the student, the teacher's first (default: 12)")
    options.add_argument("--lexicon", type=Path, help="a saved lexicon (default: WordNet)")
    options.add_argument("--steps", type=int, default=100)
    options.add_argument("--length", type=int, default=128, help="most tokens of a text (default: 128)")
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
    texts = [text for text in options.texts.read_text(encoding="utf-8-sig").split("\n") if text.strip()]

    # The study's best form: regression on the whitened state, its deviation from the mean counted again; and senses.
    settings = dskd.DictionarySettings(length=options.length)
    dictionary = dskd.SenseDictionary.from_model(teacher, tokenizer, texts, settings)
    lexicon = dskd.Lexicon.from_parquet(options.lexicon) if options.lexicon else dskd.Lexicon.from_wordnet()
    states = dskd.states_of(teacher, tokenizer, texts, length=options.length)
    terms = [
        dskd.Term(1.0, dskd.StateLoss.whitened(states, deviation=1.0)),
        dskd.Term(0.1, dskd.SenseLoss(dictionary, lexicon)),
    ]

    trainer = dskd.DistillationTrainer(
        model=student,
        args=TrainingArguments(
            output_dir=options.output,
            max_steps=options.steps,
            per_device_train_batch_size=2,
            gradient_accumulation_steps=2,
            learning_rate=2e-4,
            logging_steps=1,
            report_to="none",
        ),
        train_dataset=[tokenizer(text, truncation=True, max_length=options.length) for text in texts],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
        distillation=dskd.DistillationLoss(teacher, terms),
    )
    trainer.train()
    trainer.save_model()
    tokenizer.save_pretrained(options.output)
    return trainer.state.log_history


if __name__ == "__main__":
    main()
