"""A WordNet of a few synsets in the real file format (wndb(5WN)), CRLF line ends as in some distributions."""

from collections import defaultdict
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from dskd.params import LexiconParams

SUFFIX = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
SYNSETS = [  # (name here, pos, lemmas, [(pointer, target, source lemma, target lemma)], gloss)
    ("quick", "a", ["fast"], [("!", "slow", 1, 1), ("&", "rapid", 0, 0)], 'moving at speed; "a fast car"'),
    ("rapid", "s", ["rapid", "speedy"], [("&", "quick", 0, 0)], 'done in little time; "a rapid rise"; "speedy work"'),
    ("slow", "a", ["slow", "unhurried(p)"], [("!", "quick", 1, 1)], "not moving at speed"),
    (
        "bank",
        "n",
        ["bank", "depository", "banking_company"],
        [("@", "institution", 0, 0)],
        'holds money; "a bank closed"',
    ),
    ("shore", "n", ["bank", "Bank"], [], 'sloping land; "they pulled the canoe up on the bank"; - Twain'),
    ("institution", "n", ["institution"], [("~", "bank", 0, 0)], 'an organisation (as in the "third sector")'),
    ("go", "v", ["go", "travel"], [("!", "stay", 1, 1)], "change place"),
    ("stay", "v", ["stay"], [("!", "go", 1, 1)], "keep one's place"),
    ("fastly", "r", ["quickly", "rapidly"], [], 'with speed; "he works quickly"'),
]


def lexicon(**changes) -> LexiconParams:
    """Settings of a lexicon from which no word is held out, with changes."""
    settings = {
        "seed": 0,
        "heldout_share": 0.0,
        "heldout_pairs": 0.0,
        "max_span": 20,
        "min_letters": 3,
        "inflections": False,
    }
    settings |= {"negations": [], "indirect_antonyms": False, "skipped_tags": [], "negation_weight": 0.5}
    settings["weights"] = {"wordnet": 3.0, "x": 2.0, "y": 1.0}
    return LexiconParams(**(settings | changes))


def write_wordnet(folder: Path, synsets: list = SYNSETS, counts: dict[str, int] | None = None) -> Path:
    """Write all database files into `folder`; `counts` are lines of cntlist.rev, sense key -> count."""
    folder.mkdir(parents=True)
    licence = "  1 WordNet 3.0 Copyright of a tiny one  \n"
    where, lines = {}, {}

    def line(pos: str, lemmas: list, links: list, gloss: str, offset: int) -> str:
        words = " ".join(f"{lemma} 0" for lemma in lemmas)
        ends = [
            f"{s} {where.get(t, (0, 'n'))[0]:08d} {where.get(t, (0, 'n'))[1]} {a:02x}{b:02x}" for s, t, a, b in links
        ]
        frames = " 00" if pos == "v" else ""
        fields = f"{offset:08d} 00 {pos} {len(lemmas):02x} {words} {len(links):03d}{''.join(' ' + e for e in ends)}"
        return f"{fields}{frames} | {gloss}  \n"

    size = defaultdict(lambda: len(licence))
    for name, pos, lemmas, links, gloss in synsets:  # an offset is 8 digits whatever it is, so that lengths are known
        where[name] = (size[SUFFIX[pos]], pos.replace("s", "a"))
        size[SUFFIX[pos]] += len(line(pos, lemmas, links, gloss, 0).encode())
    index = defaultdict(list)
    for name, pos, lemmas, links, gloss in synsets:
        offset = where[name][0]
        lines.setdefault(SUFFIX[pos], []).append(line(pos, lemmas, links, gloss, offset))
        for lemma in dict.fromkeys(lemma.split("(")[0].lower() for lemma in lemmas):
            index[lemma, pos.replace("s", "a")].append(offset)
    files = {f"{suffix}.exc": "" for suffix in SUFFIX.values()}
    files |= {"lexnames": "00\tadj.all\t3\n", "index.sense": "", "LICENSE": "free\n"}
    files["cntlist.rev"] = "".join(f"{key} 1 {count}\n" for key, count in sorted((counts or {}).items()))
    for pos in "nvar":
        files[f"data.{SUFFIX[pos]}"] = licence + "".join(lines.get(SUFFIX[pos], []))
        files[f"index.{SUFFIX[pos]}"] = licence + "".join(
            f"{lemma} {p} {len(offsets)} 0 {len(offsets)} 0 {' '.join(f'{o:08d}' for o in offsets)}  \n"
            for (lemma, p), offsets in sorted(index.items())
            if p == pos
        )
    for name, text in files.items():
        (folder / name).write_bytes(text.replace("\n", "\r\n").encode())
    return folder


def train_metaspace_tokenizer(texts: list[str], size: int = 200):
    """A BPE tokenizer of the SentencePiece kind with byte fallback: it puts a space of its own before every text."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence([decoders.Metaspace(prepend_scheme="always"), decoders.ByteFallback()])
    special = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=size + len(special), special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


def train_tokenizer(texts: list[str], size: int = 400):
    """A byte-level BPE tokenizer with a document separator and a chat turn's end as eos, like SmolLM2's."""

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
