"""A whole project in miniature, in a folder of its own: its sources are files, and its stages run in a second each."""

import contextlib
import io
import os
import shutil
from pathlib import Path

import yaml
from accelerate.state import AcceleratorState
from corpus.test_build import article, page, write_dump
from huggingface_hub import constants
from tiny.models import make_teacher
from tiny.wordnet import SYNSETS, train_tokenizer, write_wordnet

from dskd.__main__ import main
from dskd.infra.hashes import sha256_file, sha256_tree
from dskd.scores import heldout
from dskd.students import output_loss

ROOT = Path(__file__).resolve().parents[2]
STAGES = {
    "sources": [],
    "lexicon": [],
    "prompts": [],
    "corpus": [],
    "harvest": [],
    "senses": [],
    "codes": [],
    "targets": ["--objective", "dskd"],
    "distill": ["--objective", "dskd", "--seed", "0"],
    "benchmarks": [],
    "quality": [],
    "evaluate": [],
}
CHANGES = {
    "runtime": {"threads": 1, "dtype": "float32"},
    "lexicon": {"heldout_share": 0.0, "heldout_pairs": 0.0, "negations": []},
    "corpus": {
        "block_length": 16,
        "train_tokens": 640,
        "heldout_tokens": 160,
        "heldout_share": 0.3,
        "heldout_piece": 32,
    },
    "student": {"layers": 4, "trained": 2},
    "harvest": {"batch_size": 4, "shard_blocks": 8},
    "senses": {
        "tokens": 640,
        "gloss_share": 0.15,
        "key": "observed",
        "k": 2,
        "min_states": 2,
        "reservoir": 20,
        "contexts": 2,
    },
    "distill": {"objectives": ["dskd"], "checkpoint_steps": 2, "log_steps": 2},
}


def make_project(root: Path) -> Path:
    """Everything that a run starts from, and nothing that it makes."""
    given = root / "given"
    words = [lemma for _, _, lemmas, _, gloss in SYNSETS for lemma in [*lemmas, *gloss.split()]]
    tokenizer = train_tokenizer([f" {word}" for word in words] * 20 + [article(i) for i in range(5)])
    make_teacher(vocabulary=len(tokenizer)).save_pretrained(given / "teacher")
    tokenizer.save_pretrained(given / "teacher")
    write_wordnet(given / "wordnet")
    write_dump(
        given / "wikipedia", [page(f"Article {i}", f"{article(i)} A fast bank, a slow bank.") for i in range(40)]
    )
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["sources"]["morphology"] = None
    for name in ("teacher", "wordnet", "wikipedia"):
        made = {"source": f"file:given/{name}", "sha256": sha256_tree(given / name), "licence": "none"}
        values["sources"][name] = made
    for group, changes in CHANGES.items():
        values[group] |= changes
    (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    shutil.copy(ROOT / "dvc.yaml", root)
    return root


def prepare(patch) -> None:
    """Leave out what costs seconds and is tested elsewhere: compiling the loss, and the benchmarks.

    The cache of sources is another than the user's, where the pipeline that runs beside the tests puts benchmarks.
    """
    for module in (output_loss, heldout):
        patch.setattr(module, "fused", lambda function: function)
    patch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}.items():
        patch.setenv(name, value)
    patch.setenv("DSKD_CACHE", str(Path.cwd().parent / "cache"))
    patch.delenv("DSKD_MIRROR", raising=False)


def run(stage: str) -> tuple[int, str]:
    """Exit code of `python -m dskd STAGE ...` in the working folder, and what it says on stderr besides its bars."""
    AcceleratorState._reset_state(reset_partial_state=True)  # accelerate keeps a process's first number format
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        code = main([stage, *STAGES[stage]])
    return code, said(errors.getvalue())


def said(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line and "%|" not in line and "%)" not in line)


def files(root: Path) -> dict[str, str]:
    """SHA-256 of every file below `root`, hidden ones too; of what a stage may go on from the marks are left out."""
    found = [p for p in sorted(root.rglob("*")) if p.is_file() and p.suffix != ".fingerprint"]
    return {p.relative_to(root).as_posix(): sha256_file(p) for p in found}
