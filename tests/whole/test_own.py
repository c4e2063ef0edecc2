"""docs/own.md, carried out as it stands: its fragments and commands, on a project in miniature."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
import transformers
import yaml
from tiny.benchmarks import mirror_files, write
from tiny.families import make_decoder
from tiny.models import LOWER_LAST, make_teacher
from tiny.project import STAGES, run
from whole.test_pipeline import ENV, ROOT

from dskd.__main__ import main
from dskd.corpus.store import load_corpus
from dskd.infra.hashes import sha256_tree
from dskd.infra.profiles import apply_profile
from dskd.model.cut import teacher_top, trunk
from dskd.model.parts import run_part
from dskd.model.tokenizer import load_tokenizer
from dskd.params import load_params

PAGE = (ROOT / "docs/own.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0]: part for part in re.split(r"^## ", PAGE, flags=re.M)}


def blocks(section: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", SECTIONS[section], flags=re.M | re.S)


def write_files(section: str) -> None:
    """The blocks whose first line is a comment with a path; "..." becomes the hash of the file that stands by it."""
    for text in [*blocks(section, "text"), *blocks(section, "yaml")]:
        name = re.match(r"# (\S+)\n", text)[1]
        text = re.sub(r"(file:([\w./-]+).*?sha256: )\.\.\.", lambda m: m[1] + sha256_tree(m[2]), text, flags=re.S)
        write(Path(), {name: text})


def commands(section: str) -> list[str]:
    return [line for block in blocks(section, "sh") for line in block.replace("\\\n", " ").splitlines()]


def carry_out(command: str) -> tuple[int, str]:
    """Exit code and output. `dvc repro STAGE` is what it does here: the stages up to that one, in this process."""
    words = shlex.split(command, comments=True)
    if words[:2] == ["dvc", "repro"]:
        names = list(STAGES)
        found = [run(stage) for stage in names[: names.index(words[2].partition("@")[0]) + 1]]
        return max(code for code, _ in found), "\n".join(text for _, text in found)
    if words[1:4] == ["python", "-m", "dskd"]:  # after a variable
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(*words[0].split("="))
            return run(words[4])
    done = subprocess.run(words, env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def follow(section: str) -> None:
    """Write the section's files, take its profile over, and run its commands."""
    write_files(section)
    assert main(["profile", "own"]) == 0
    for command in commands(section):
        code, text = carry_out(command)
        assert code == 0, f"{command}\n{text}"


@pytest.fixture
def own(project):
    """The working folder: a project that has run, and empty folders for what is one's own."""
    for name in ("own", "profiles"):
        (project / name).mkdir()
    return project


def test_the_page_has_its_five_sections():
    assert list(SECTIONS) == ["# Bring your own", "A teacher", "A student", "A text", "Word lists", "A benchmark"]
    assert all(map(commands, SECTIONS))


@pytest.mark.parametrize("section", ["A teacher", "A student", "A text", "Word lists"])
def test_the_fragments_fit_the_committed_parameters(section, tmp_path):
    (fragment,) = blocks(section, "yaml")
    shutil.copy(ROOT / "params.yaml", tmp_path)
    write(tmp_path, {"profiles/own.yaml": fragment.replace("...", f'"{"0" * 64}"')})
    params = load_params(apply_profile("own", tmp_path))
    every = params.sources.every() | ({"student": params.student.source} if params.student.source else {})
    new = {name: source for name, source in every.items() if source.sha256 == "0" * 64}
    assert new and all(source.source.startswith("file:own/") and not source.archive_sha256 for source in new.values())


def test_the_hash_of_a_folder_is_what_the_command_prints(own):
    write(own, {"own/teacher/b": "1", "own/teacher/a/c": "2"})
    command, profile = commands("# Bring your own")
    assert profile == "python -m dskd profile own"
    assert carry_out(command) == (0, sha256_tree("own/teacher") + "\n")


def test_another_teacher(own):
    tokenizer = load_tokenizer("artifacts/teacher")
    make_teacher(vocabulary=len(tokenizer), layers=32, seed=1).save_pretrained("own/teacher")
    tokenizer.save_pretrained("own/teacher")
    follow("A teacher")
    config = json.loads((own / "artifacts/students/dskd-0/config.json").read_text())
    assert config["num_hidden_layers"] == 16
    card = (own / "artifacts/students/dskd-0/README.md").read_text()
    assert "a teacher of\n32: `file:own/teacher`" in card and "(first cut)" in card
    assert "| teacher | `file:own/teacher` | Apache-2.0 |" in (own / "artifacts/students/dskd-0/LICENSE.md").read_text()


def test_a_student_of_another_model(own):
    tokenizer = load_tokenizer("artifacts/teacher")
    make_decoder("qwen3", hidden_size=24, num_hidden_layers=8, vocab_size=len(tokenizer)).save_pretrained("own/student")
    tokenizer.save_pretrained("own/student")
    follow("A student")
    folder = own / "artifacts/students/dskd-0"
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["num_hidden_layers"], config["hidden_size"]) == ("qwen3", 8, 24)
    assert load_tokenizer(folder).get_vocab() == tokenizer.get_vocab()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    start = transformers.AutoModelForCausalLM.from_pretrained("own/student").state_dict()
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, start[name])}
    assert {name.split(".")[2] for name in changed} == {"6", "7"}


@pytest.mark.parametrize("family", ["Llama", "Mistral", "Qwen2", "Qwen3", "Gemma3", "Phi3", "Olmo2", "SmolLM3"])
def test_a_family_of_teachers_has_the_same_states_in_two_parts_as_in_one(family):
    assert re.sub(r"[\W_]", "", family.lower()) in re.sub(r"[\W_]", "", SECTIONS["A teacher"].lower())
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    sizes |= {"vocab_size": 120, "num_hidden_layers": 6, "head_dim": 8, "sliding_window": 8}
    ends = {"pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
    config = getattr(transformers, f"{family}{'Text' * (family == 'Gemma3')}Config")(**sizes, **ends)
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    ids = torch.arange(40).reshape(2, 20)
    with torch.no_grad():
        whole = model(ids, output_hidden_states=True)
        split = run_part(trunk(model, LOWER_LAST), ids=ids)
        states = run_part(teacher_top(model, LOWER_LAST), states=split)
    torch.testing.assert_close(states, whole.hidden_states[-1])
    torch.testing.assert_close(model.get_output_embeddings()(states), whole.logits)


def test_another_text(own):
    texts = {f"own/text/{i}.txt": f"Day {i}: the tide < the moon & the sea.\n\nNothing else.\n" * 9 for i in range(40)}
    write(own, texts)
    follow("A text")
    tensors, summary = load_corpus(own / "artifacts/corpus")
    assert summary["by_split_and_source"]["train.gloss"]["blocks"] == 0
    text = load_tokenizer("artifacts/teacher").decode(tensors["train"][:, :-1].flatten().tolist())
    assert "the tide < the moon & the sea.\n\nNothing else." in text and "Article" not in text


def test_own_word_lists(own, capsys):
    follow("Word lists")
    (code,) = blocks("Word lists", "python")
    exec(compile(code, "docs/own.md", "exec"), {})
    assert "rapid" in capsys.readouterr().out
    table = pd.read_parquet("artifacts/lexicon.parquet").query("source == 'mine'")
    pairs = set(table[["head", "tail", "relation"]].itertuples(index=False, name=None))
    assert {("fast", "rapid", 1), ("rapid", "fast", 1), ("rapid", "slow", -1)} <= pairs


def test_own_benchmark(own, monkeypatch, tmp_path):
    (own / "dskd").symlink_to(ROOT / "dskd")
    write_files("A benchmark")
    write(own, {"own/mine.jsonl": blocks("A benchmark", "json")[0]})
    monkeypatch.setitem(ENV, "HF_HOME", str(tmp_path / "cache"))
    task = yaml.safe_load((own / "own/mine.yaml").read_text())["task"]
    score, refused = commands("A benchmark")
    code, text = carry_out(score)
    assert code == 0, text
    assert re.search(rf"^\|{task} +\|.*\|acc +\|", text, flags=re.M), text

    write(own / "own/mirror", mirror_files())
    code, text = carry_out(refused)
    assert code == 1 and "that place holds another version" in text
