"""Prompts with the teacher's answers as training text, from invented rows in the published schemas."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from benchmarks.test_chat_prompts import TEMPLATE, byte_tokenizer
from tiny.benchmarks import CONTEXT, SQUAD, exam_rows, jsonl, mirror_files, pin, write
from tiny.models import make_teacher
from tiny.project import CHANGES, ROOT, make_project, prepare, run

from dskd.corpus import teacher_answers
from dskd.corpus.prompts import join_prompts, load_prompts, pack_prompts, save_prompts, too_long
from dskd.corpus.store import SOURCES, load_corpus
from dskd.corpus.teacher_answers import answer, items, teacher_alone, teacher_score, training_prompts
from dskd.errors import UserError
from dskd.infra.artifacts import read_json
from dskd.infra.hashes import sha256_file, sha256_tree
from dskd.infra.profiles import apply_profile
from dskd.model.load import load_decoder
from dskd.model.tokenizer import load_tokenizer
from dskd.params import PromptsParams
from dskd.students.model_card import prompt_licences

NEW = "A new passage: the tide came at nine in Kent, in 1066. "


def invented(sizes: list[int]):
    """Prompts of so many tokens, answer and end counted; no token of one is in another."""
    return join_prompts([([100 * i] * (n - 2), [100 * i + 1, 100 * i + 2]) for i, n in enumerate(sizes, 1)])


def pieces(prompts) -> list[list[int]]:
    return [piece.tolist() for piece in np.split(prompts.tokens, prompts.ends[:-1])]


def holds(block: np.ndarray, piece: list[int]) -> bool:
    return any(block[i : i + len(piece)].tolist() == piece for i in range(len(block) - len(piece) + 1))


# --- blocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("length", [7, 20, 64, 500])
def test_every_answer_follows_its_whole_prompt_in_a_block_or_what_fits_of_it(seed, length):
    sizes = np.random.default_rng(seed).integers(3, 60, size=23).tolist()
    prompts = invented(sizes)
    blocks = pack_prompts(prompts, length, seed)
    assert blocks.shape[1] == length + 1 and blocks.dtype == np.int32
    for piece in pieces(prompts):
        assert any(holds(block, piece[-(length + 1) :]) for block in blocks), piece
    assert too_long(prompts, length) == sum(size > length + 1 for size in sizes)
    starts = {piece[0] for piece in pieces(prompts)}
    assert all(block[0] in starts for block in blocks)
    # No more blocks than if each had room for one prompt less than it has.
    assert len(blocks) <= len(sizes) and len(blocks) <= 1 + sum(sizes) / max(1, length - max(sizes))


def test_the_order_of_prompts_is_that_of_the_seed():
    prompts = invented([5] * 12)
    first, again, other = (pack_prompts(prompts, 29, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert sorted(set(first[:, :5].flatten())) != sorted(set(other[:, :5].flatten()))
    assert set(first.flatten()) == set(other.flatten()) == set(prompts.tokens)


def test_no_prompts_give_no_blocks(tmp_path):
    (tmp_path / "prompts").mkdir()
    found = load_prompts(tmp_path / "prompts")
    assert pack_prompts(found, 9, 0).shape == (0, 10) and too_long(found, 9) == 0
    with pytest.raises(UserError, match="dvc repro prompts"):
        load_prompts(tmp_path / "none")


def test_files_are_read_as_one(tmp_path):
    one, two = invented([4, 7]), invented([5])
    save_prompts(tmp_path / "piqa-00000.safetensors", one)
    save_prompts(tmp_path / "piqa-00001.safetensors", two)
    found = load_prompts(tmp_path)
    assert pieces(found) == pieces(one) + pieces(two)
    assert found.tokens[found.answers].tolist() == [101, 201, 101] and found.ends.tolist() == [4, 11, 16]
    assert pieces(load_prompts(tmp_path, "mmlu")) == [[]]


# --- rows ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path, monkeypatch) -> Path:
    """A mirror whose training rows are two others than its test rows, and one of these."""
    files = mirror_files()
    for name in ("arc/ARC-Challenge-Train.jsonl", "commonsenseqa/train_rand_split.jsonl"):
        rows = list(exam_rows(True))
        for row in rows[:2]:
            row["question"]["stem"] = f"Once more: {row['question']['stem']}"
        files[name] = jsonl(rows)
    files["piqa/train.jsonl"] = files["piqa/train.jsonl"].replace("twist the lid", "turn the lid")
    for subject in ("anatomy", "virology"):
        files[f"mmlu/dev/{subject}_dev.csv"] += "Fresh?,1,2,3,4,A\n"
    qas = [
        {"id": f"t{i}", "question": question, "answers": [{"text": gold, "answer_start": 0} for gold in golds]}
        for i, (_, question, golds) in enumerate(SQUAD)
    ]
    passages = {"Tides": NEW, "A_town": CONTEXT}  # the second is of an article of the test rows
    articles = [{"title": title, "paragraphs": [{"context": text, "qas": qas}]} for title, text in passages.items()]
    files["squad_v2/train-v2.0.json"] = json.dumps({"data": articles})
    root = write(tmp_path / "mirror", files)
    pin(root, monkeypatch)
    return root


def settings(mirror: Path, **changes) -> PromptsParams:
    path = mirror / "squad_v2/train-v2.0.json"
    source = {"source": f"file:{path}", "sha256": sha256_file(path), "licence": "CC BY-SA 4.0"}
    sets = {name: {"share": 1.0} for name in ("arc_challenge", "commonsense_qa", "piqa", "mmlu")}
    return PromptsParams(**({"sets": sets | {"squad_v2": {"share": 1.0, "source": source}}} | changes))


def test_no_item_of_an_evaluation_is_asked_or_shown(mirror):
    prompts, summary = training_prompts(settings(mirror), mirror, byte_tokenizer())
    counts = {name: tuple(entry.values()) for name, entry in summary.items()}
    assert counts == {
        "arc_challenge": (3, 1, 2),
        "commonsense_qa": (3, 1, 2),
        "piqa": (2, 1, 1),
        "mmlu": (5, 3, 2),
        "squad_v2": (6, 3, 3),
    }
    text = "\n".join(row["prompt"] for rows in prompts.values() for row in rows)
    assert text.count("Once more: What falls?") == 4 and "turn the lid" in text and "the tide came at nine" in text
    for evaluated in ("Three of them?", "twist the lid", "a  b", "Same question", "It was in 1066"):
        assert evaluated not in text


def test_a_share_is_of_the_first_rows_and_never_none(mirror):
    every, _ = training_prompts(settings(mirror), mirror, byte_tokenizer())
    some = settings(mirror, sets={"arc_challenge": {"share": 0.5}, "piqa": {"share": 0.01}})
    found, _ = training_prompts(some, mirror, byte_tokenizer())
    assert found == {"arc_challenge": every["arc_challenge"][:1], "piqa": every["piqa"]}


def test_a_question_with_its_choices_in_another_order_is_one_item():
    row = {"question": "Is it q?", "choices": ["a", "b"], "answer": 0}
    assert items(row) == items({"question": "is it Ｑ ?\n", "choices": ["b.", "A"], "answer": 1})
    assert items(row).isdisjoint(items({"question": "Is it q?", "choices": ["a", "c"], "answer": 0}))
    signs = {"question": "Which sign?", "choices": ["+", "-"], "answer": 0}
    assert items(signs).isdisjoint(items(signs | {"choices": ["<", ">"]}))


def test_a_passage_of_an_evaluation_is_left_out_under_another_title_and_a_title_with_another_passage():
    row = {"title": "A_town", "context": "It was in 1066, in Kent.", "question": "When?", "answers": ["1066"]}
    for changes in (
        {"title": "Elsewhere"},
        {"context": "Another passage."},
        {"title": "a town", "context": "Another."},
    ):
        assert not items(row).isdisjoint(items(row | changes | {"question": "Where?"}))
    assert items(row).isdisjoint(items(row | {"title": "Elsewhere", "context": "Another passage."}))


def exam(key, labels=("A", "B"), texts=("x", "y")):
    return {"id": "1", "question": "Why?", "choices": {"label": labels, "text": texts}, "answerKey": key}


def piqa(label, second="b"):
    return {"goal": "x", "sol1": "a", "sol2": second, "label": label}


def mmlu(answer, choices=("a", "b", "c", "d")):
    return {"subject": "s", "question": "x", "choices": choices, "answer": answer}


def squad(answers):
    return {"id": "7", "title": "T", "context": "The sky is Blue.", "question": "Which?", "answers": answers}


@pytest.mark.parametrize(
    ("name", "rows", "says"),
    [
        ("mmlu", [mmlu(n) for n in (1, 2, 3, 4)], "1 of 4 rows have a label that is none of their choices'"),
        ("mmlu", [mmlu(1 + n % 3) for n in range(20)], "none of 20 rows has the first choice as its answer"),
        ("mmlu", [mmlu(0, "abcd")], "the choices are no list of strings"),
        ("mmlu", [mmlu(1.0)], "the label 1.0 is no whole number"),
        ("piqa", [piqa(n) for n in (1, 2)], "1 of 2 rows have a label that is none"),
        ("piqa", [piqa(1)] * 20, "none of 20 rows has the first choice as its answer"),
        ("piqa", [piqa(0.9)], "the label 0.9 is no whole number"),
        ("piqa", [piqa(True)], "the label True is no whole number"),
        ("arc_challenge", [exam("b"), exam("A")], "1 of 2 rows have a label that is none"),
        ("arc_challenge", [exam("A", "AB")], "the labels are no list of strings"),
        ("arc_challenge", [exam("A", ["A", "A"])], "1 different labels for 2 choices"),
        ("squad_v2", [squad({"text": "blue"})], "the answers are no list of strings"),
        ("squad_v2", [squad({"text": ["blue", "the sea"]})], "the answer 'the sea' of the question '7' is not in its"),
    ],
)
def test_rows_with_other_labels_are_refused_in_one_line(mirror, tmp_path, name, rows, says):
    with pytest.raises(UserError) as error:
        training_prompts(own_set(tmp_path, name, rows), mirror, byte_tokenizer())
    assert says in str(error.value) and "\n" not in str(error.value) and "own.jsonl" in str(error.value)


def own_set(folder, name, rows):
    path = folder / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"source": f"file:{path}", "sha256": sha256_file(path), "licence": "x"}
    return PromptsParams(sets={name: {"share": 1.0, "source": source}})


def test_a_row_with_two_right_choices_is_left_out_and_said(mirror, tmp_path, capsys):
    rows = [piqa(0, "a"), piqa(0)]
    _, summary = training_prompts(own_set(tmp_path, "piqa", rows), mirror, byte_tokenizer())
    assert summary["piqa"] == {"rows": 1, "left_out": 0, "prompts": 1}
    assert "prompts.sets.piqa: 1 rows with an empty choice or two right ones left out" in capsys.readouterr().err


def test_what_cannot_be_had_is_one_line(mirror):
    (mirror / "arc/ARC-Challenge-Train.jsonl").unlink()
    with pytest.raises(UserError, match=r"prompts\.sets\.arc_challenge: .*ARC-Challenge-Train\.jsonl"):
        training_prompts(settings(mirror, sets={"arc_challenge": {"share": 1.0}}), mirror, byte_tokenizer())
    folder = {"source": f"file:{mirror / 'piqa'}", "sha256": sha256_tree(mirror / "piqa"), "licence": "x"}
    with pytest.raises(UserError, match=r"prompts\.sets\.piqa: .* is a folder"):
        sets = {"piqa": {"share": 1.0, "source": folder}}
        training_prompts(settings(mirror, sets=sets), mirror, byte_tokenizer())
    (mirror / "piqa/one.jsonl").write_text(json.dumps({"goal": "x", "sol1": "a", "sol2": "b", "label": 7}))
    file = {"source": f"file:{mirror}/piqa/one.jsonl", "sha256": sha256_file(mirror / "piqa/one.jsonl"), "licence": "x"}
    with pytest.raises(UserError, match=r"prompts\.sets\.piqa: .*1 of 1 rows have a label"):
        sets = {"piqa": {"share": 1.0, "source": file}}
        training_prompts(settings(mirror, sets=sets), mirror, byte_tokenizer())


@pytest.mark.skipif(not os.environ.get("DSKD_MIRROR"), reason="DSKD_MIRROR names no mirror")
def test_of_the_real_training_rows_those_that_are_evaluated_too_are_left_out():
    place = Path(os.environ["DSKD_MIRROR"])
    path = place / "squad_v1.1/dev-v1.1.rebuilt.json"  # 13 of its 48 articles are not in the dev set of SQuAD 2.0
    source = {"source": f"file:{path}", "sha256": sha256_file(path), "licence": "CC BY-SA 4.0"}
    names = ("arc_challenge", "commonsense_qa", "piqa", "mmlu")
    sets = {name: {"share": 0.002} for name in names} | {"squad_v2": {"share": 0.002, "source": source}}
    prompts, summary = training_prompts(PromptsParams(sets=sets), place, byte_tokenizer())
    left_out = {name: entry["left_out"] for name, entry in summary.items()}
    assert left_out == {"arc_challenge": 0, "commonsense_qa": 0, "piqa": 3, "mmlu": 5, "squad_v2": 6013}
    assert {name: len(rows) for name, rows in prompts.items()} == {
        "arc_challenge": 2,
        "commonsense_qa": 19,
        "piqa": 32,
        "mmlu": 1,
        "squad_v2": 9,
    }


# --- answers ---------------------------------------------------------------------------------------------------------


def test_answers_are_what_the_whole_teacher_finds_most_probable(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr(teacher_answers, "_SHARD", 2)
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = "<|im_end|>"
    teacher = make_teacher(vocabulary=len(tokenizer))
    teacher.config.max_position_embeddings = 150
    models = teacher_alone(teacher, tokenizer)
    prompts, _ = training_prompts(settings(mirror), mirror, tokenizer)
    cut = 0
    for name, rows in prompts.items():
        answer(models, name, rows, tmp_path)
        found, most = load_prompts(tmp_path, name), {"squad_v2": 10}.get(name, 1)
        assert len(found.ends) == len(rows)
        starts = [0, *found.ends[:-1]]
        for row, start, middle, end in zip(rows, starts, found.answers, found.ends):
            asked = tokenizer(row["prompt"], add_special_tokens=False)["input_ids"]
            cut += len(asked) > 150 - most
            assert found.tokens[start:middle].tolist() == asked[-(150 - most) :]
            ids, written = found.tokens[start:end], found.tokens[middle : end - 1]
            with torch.no_grad():
                best = teacher(torch.tensor(ids)[None].long()).logits[0].argmax(dim=1).numpy()
            assert written.tolist() == best[middle - start - 1 : end - start - 2].tolist()
            stopped = best[end - start - 2] == tokenizer.eos_token_id
            assert ids[-1] == tokenizer.eos_token_id and (len(written) == most or stopped)
        assert 0 <= teacher_score(name, rows, tmp_path, tokenizer) <= 1
    assert cut and sorted(path.name for path in tmp_path.glob("squad_v2-*")) == [
        "squad_v2-00000.safetensors",
        "squad_v2-00001.safetensors",
    ]
    # A run that was stopped goes on with the files that are missing.
    before = {path: path.read_bytes() for path in sorted(tmp_path.glob("*.safetensors"))}
    lost, kept = sorted(tmp_path.glob("squad_v2-*"))
    lost.unlink()
    kept.write_bytes(b"as it was")
    answer(models, "squad_v2", prompts["squad_v2"], tmp_path)
    assert lost.read_bytes() == before[lost] and kept.read_bytes() == b"as it was"


def test_an_answer_ends_by_any_stop_token_and_is_closed_as_the_template_closes_it(mirror, tmp_path):
    tokenizer, name = byte_tokenizer(), "squad_v2"
    tokenizer.eos_token = "<|im_start|>"  # not what ends a turn
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    teacher, rows = (
        make_teacher(vocabulary=len(tokenizer)),
        training_prompts(settings(mirror), mirror, tokenizer)[0][name],
    )
    teacher.config.max_position_embeddings = 150
    teacher.generation_config.eos_token_id = [end]
    models = teacher_alone(teacher, tokenizer)
    assert models.stops == sorted([start, end])
    answer(models, name, rows, tmp_path / "free")
    free = load_prompts(tmp_path / "free", name)
    assert set(free.tokens[free.ends - 1].tolist()) == {end}
    third = int(free.tokens[free.answers[0] + 2])
    answer(models._replace(stops=[end, third]), name, rows[:1], tmp_path / "cut")
    cut = load_prompts(tmp_path / "cut", name)
    whole = free.tokens[free.answers[0] : free.ends[0] - 1].tolist()
    assert cut.tokens[cut.answers[0] :].tolist() == [*whole[: whole.index(third)], end]


def test_a_card_names_the_sets_and_their_licences(mirror):
    text = prompt_licences(settings(mirror))
    assert "| ARC-Challenge | 1 | `https://allenai.org/data/arc` | CC BY-SA 4.0 |" in text
    assert "train-v2.0.json` | CC BY-SA 4.0 |" in text
    assert prompt_licences(PromptsParams()) == ""


# --- the paper's profile ---------------------------------------------------------------------------------------------


def paper_project(root: Path, mirror: Path) -> None:
    """The paper's profile on a project in miniature, whose teacher speaks the chat protocol."""
    make_project(root)
    tokenizer = load_tokenizer(root / "given/teacher")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(root / "given/teacher")
    config = json.loads((root / "given/teacher/config.json").read_text()) | {"max_position_embeddings": 4096}
    (root / "given/teacher/config.json").write_text(json.dumps(config))
    shutil.copytree(ROOT / "profiles", root / "profiles")
    own = yaml.safe_load((root / "params.yaml").read_text())["sources"]
    apply_profile("paper", root)
    values = yaml.safe_load((root / "params.yaml").read_text())
    values["sources"]["teacher"] = own["teacher"] | {"sha256": sha256_tree(root / "given/teacher")}
    values["sources"]["wikipedia"] = own["wikipedia"]
    values["prompts"]["sets"]["squad_v2"] = settings(mirror).sets["squad_v2"].model_dump()
    for group in ("runtime", "lexicon", "corpus", "student", "senses"):
        values[group] |= CHANGES[group]
    values["corpus"]["block_length"] = 768
    values["corpus"] |= {
        "train_tokens": 7680,
        "heldout_tokens": 1536,
        "heldout_piece": None,
        "gloss_share": 0.0,
    }  # its glosses fill no block
    values["senses"] |= {"tokens": 3072, "gloss_share": 0.0}
    values["distill"] |= {"objectives": ["dskd"], "learning_rate": 1e-3}
    (root / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def test_the_papers_profile_runs_from_its_prompts_to_a_student(mirror, tmp_path, monkeypatch):
    root = tmp_path / "project"
    paper_project(root, mirror)
    monkeypatch.chdir(root)
    prepare(monkeypatch)
    monkeypatch.setenv("DSKD_MIRROR", str(mirror))
    for stage in ("sources", "lexicon", "prompts", "corpus", "harvest", "senses", "targets", "distill"):
        code, text = run(stage)
        assert code == 0, text
    summary = read_json("artifacts/prompts/summary.json")
    assert set(summary) == {"squad_v2", "arc_challenge", "commonsense_qa", "piqa", "mmlu"}
    assert {name: entry["prompts"] for name, entry in summary.items()} == {**dict.fromkeys(summary, 1), "squad_v2": 3}
    tensors, account = load_corpus("artifacts/corpus")
    blocks = tensors["train"][tensors["train_source"] == SOURCES.index("prompt")]
    assert len(blocks) == account["by_split_and_source"]["train.prompt"]["blocks"] >= 2
    text = load_decoder("artifacts/teacher", "float32")[1].decode(blocks.flatten())
    assert "the tide came at nine" in text and "Once more: " in text
    assert not (tensors["heldout_source"] == SOURCES.index("prompt")).any()
    heldout, plain = tensors["heldout"].clone(), tensors["train"][tensors["train_source"] < 2].clone()
    card = Path("artifacts/students/dskd-0/README.md").read_text()
    assert "## Training prompts" in card and "(first cut)" in card
    assert "\n## Training prompts\n" in Path("artifacts/students/dskd-0/LICENSE.md").read_text()

    values = yaml.safe_load(Path("params.yaml").read_text())
    values["prompts"]["sets"] = {}
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    for stage in ("prompts", "corpus"):
        assert run(stage)[0] == 0
    assert {path.name for path in Path("artifacts/prompts").iterdir()} == {"SHA256SUMS", "origin.json", "summary.json"}
    without, _ = load_corpus("artifacts/corpus")
    assert torch.equal(without["heldout"], heldout) and torch.equal(without["train"].sort(0)[0], plain.sort(0)[0])
