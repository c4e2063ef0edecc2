import random
import socket
import string
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from tiny.models import LOWER_LAST, TEXT, VOCABULARY, make_tokenizer
from tokenizers.processors import TemplateProcessing

from dskd.benchmarks.catalogue import BENCHMARKS, CHAT, CLOZE
from dskd.benchmarks.chat_prompts import chat_rows
from dskd.benchmarks.harness.answers import letter_results, squad_results
from dskd.benchmarks.squad import answer_text
from dskd.infra.artifacts import write_jsonl
from dskd.model.cut import student_top, teacher_top, trunk
from dskd.model.inference import Choices, Models, greedy, log_likelihoods
from dskd.model.logits import head_of
from dskd.scores import harness
from dskd.scores.harness import TASKS, SharedTrunk, load_tasks, run_tasks
from dskd.students.store import assemble_student

WORDS = sorted(set(" ".join(TEXT).replace(",", "").split()))
ITEMS = 6
CONTEXT = 500
MARK = "<|endoftext|>"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message.role + ':' + message.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
)


@pytest.fixture(scope="module", autouse=True)
def alone(tmp_path_factory):
    """No network, and a cache of its own for `datasets`."""

    def refuse(*_):
        raise AssertionError("a connection was asked for")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def make_chat_tokenizer(first_mark: bool):
    """A token for every id of the model, labels among them; a text may begin with a mark, as Llama's do."""
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([*string.ascii_uppercase, *"01:\n.'"])
    assert len(tokenizer) == VOCABULARY
    tokenizer.chat_template = TEMPLATE
    if first_mark:
        tokenizer.bos_token = MARK
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{MARK} $A", special_tokens=[(MARK, 0)])
    return tokenizer


def make_models(teacher, first_mark: bool = False) -> tuple[Models, dict]:
    """Teacher and cut above one trunk, and each as a whole. The cut's layers keep their numbers in the teacher."""
    cut, whole_cut = student_top(teacher, LOWER_LAST), student_top(teacher, LOWER_LAST)
    with torch.no_grad():
        for weight in (*cut.layers.parameters(), *whole_cut.layers.parameters()):
            weight.add_(0.05)
    tops = {"teacher": teacher_top(teacher, LOWER_LAST), "cut": cut}
    tokenizer = make_chat_tokenizer(first_mark)
    whole = {"teacher": teacher, "cut": assemble_student(teacher, whole_cut, LOWER_LAST)}
    stops = [tokenizer.eos_token_id]
    return Models(trunk(teacher, LOWER_LAST), tops, head_of(teacher), tokenizer, CONTEXT, stops=stops), whole


def phrase(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words))


def choice_rows(name: str, number: int = ITEMS) -> list[dict]:
    """Canonical rows whose questions and choices differ in length; the last one repeats the one before."""
    draw = random.Random(name)
    rows = []
    for i in range(number):
        firsts = draw.sample(WORDS, 2 if name.startswith("piqa") else 3 + i % 3)  # so that no choice comes twice
        choices = [f"{first} {phrase(draw, draw.randint(0, 3))}".strip() for first in firsts]
        question = phrase(draw, draw.randint(1, 9)) + " " * (i % 2)
        rows.append({"id": f"{name}-{i}", "question": question, "choices": choices, "answer": i % len(choices)})
    return [*rows[:-1], {**rows[-2], "id": rows[-1]["id"]}]


def wic_rows() -> list[dict]:
    draw = random.Random("wic")
    return [
        {"id": f"wic-{i}", "word": "box", "sentence1": f"box {phrase(draw, 3)}", "sentence2": f"box {phrase(draw, 4)}"}
        | {"span1": [0, 3], "span2": [0, 3], "answer": i % 2}
        for i in range(ITEMS)
    ]


@torch.no_grad()
def written(model, tokenizer, prompt: str, tokens: int) -> str:
    """Greedy, by a whole forward pass a token."""
    ids = tokenizer.encode(prompt, add_special_tokens=False)
    start = len(ids)
    while len(ids) < start + tokens:
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    return tokenizer.decode(ids[start:], skip_special_tokens=True)


def prompts(name: str, teacher, tokenizer) -> list[dict]:
    """Every second one asks for what the teacher answers; SQuAD's for that, for more, and for nothing in turn."""
    if name != "squad_v2":
        rows = chat_rows(name, choice_rows(name), choice_rows(f"{name}-pool"), tokenizer, seed=0, shots=1)
        for row in rows[::2]:
            row["answer"] = written(teacher, tokenizer, row["prompt"], 1).strip()
        return rows
    draw = random.Random("squad")
    rows = [{"id": f"squad-{i}", "context": phrase(draw, 9), "question": phrase(draw, 3)} for i in range(ITEMS)]
    rows = chat_rows(name, [{**row, "answers": []} for row in rows], [], tokenizer, seed=0, shots=0)
    for i, row in enumerate(rows):
        answer = answer_text(written(teacher, tokenizer, row["prompt"], 10))
        row["answers"] = [[answer], ["other", f"{answer} other"], []][i % 3]
    return rows


def write(name: str, kind: str, rows: list[dict]) -> None:
    """To where the task files look for it, below the working directory."""
    write_jsonl(f"artifacts/benchmarks/{name}.{kind}.jsonl", rows)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "first mark"])
def scored(request, teacher, tmp_path_factory):
    """All benchmarks by `run_tasks`, and each whole model by the harness's own class.

    ours, theirs: model -> task -> the harness's samples, in order.
    """
    models, whole = make_models(teacher, request.param)
    ours, theirs = {}, {}

    def keep(model, *arguments, **options):
        result = evaluate(model, *arguments, **options)
        ours.setdefault(model.name, {}).update(result["samples"])
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("project"))
        for name in CLOZE:
            write(name, "test", wic_rows() if name == "wic" else choice_rows(name))
        for name in CHAT:
            write(name, "chat", prompts(name, teacher, models.tokenizer))
        evaluate = harness.evaluator.evaluate
        patch.setattr(harness.evaluator, "evaluate", keep)
        found = {
            protocol: run_tasks(models, protocol, list(names), ITEMS)
            for protocol, names in (("cloze", CLOZE), ("chat", CHAT))
        }
        tasks = load_tasks([*(f"{name}_cloze" for name in CLOZE), *(f"{name}_chat" for name in CHAT)])
        for name, model in whole.items():
            plain = HFLM(pretrained=model, tokenizer=models.tokenizer, device="cpu", batch_size=1, max_length=CONTEXT)
            theirs[name] = evaluate(plain, tasks, limit=ITEMS, bootstrap_iters=0, log_samples=True)["samples"]
    return SimpleNamespace(found=found, ours=ours, theirs=theirs)


def beside(scored, protocol: str, names: tuple[str, ...]):
    """(row of `run_tasks`, our sample, the plain harness's sample) of each model and item."""
    rows = iter(scored.found[protocol][0])
    for model in ("teacher", "cut"):
        for name in names:
            for ours, theirs in zip(*(s[model][f"{name}_{protocol}"] for s in (scored.ours, scored.theirs))):
                row = next(rows)
                assert (row["model"], row["protocol"], row["benchmark"]) == (model, protocol, name)
                assert row["id"] == ours["doc"]["id"] == theirs["doc"]["id"]
                yield row, ours, theirs
    assert not list(rows)


def test_log_likelihoods_are_those_of_the_plain_harness_on_each_whole_model(scored):
    for _, ours, theirs in beside(scored, "cloze", CLOZE):
        assert ours["arguments"] == theirs["arguments"]
        for (value, greedy_), (expected, expected_greedy) in zip(
            ours["filtered_resps"], theirs["filtered_resps"], strict=True
        ):
            assert value == pytest.approx(expected, abs=1e-3)
            assert greedy_ == expected_greedy


def test_accuracies_are_those_of_the_plain_harness(scored):
    pairs = []
    for row, _, theirs in beside(scored, "cloze", CLOZE):
        assert (row["acc"], row["acc_norm"]) == (theirs["acc"], theirs["acc_norm"])
        pairs.append((row["acc"], row["acc_norm"]))
    assert set(pairs) == {(0, 0), (0, 1), (1, 0), (1, 1)}  # else the test could not tell one from the other


def test_chat_answers_are_those_that_the_plain_harness_generates(scored):
    found = list(beside(scored, "chat", CHAT))
    for row, ours, theirs in found:
        assert ours["arguments"][0][0] == theirs["arguments"][0][0]
        assert [row["written"]] == theirs["filtered_resps"]
    of = {model: [row["written"] for row, _, _ in found if row["model"] == model] for model in ("teacher", "cut")}
    assert of["teacher"] != of["cut"] and len(set(of["teacher"])) > 5


def test_chat_scores_are_those_of_the_plain_harness(scored):
    for row, _, theirs in beside(scored, "chat", CHAT):
        for metric in ("em", "f1") if row["benchmark"] == "squad_v2" else ("acc",):
            assert row[metric] == theirs[metric]
    rows = [row for row in scored.found["chat"][0] if row["model"] == "teacher"]
    for name in CHAT[:-1]:
        assert [row["acc"] for row in rows if row["benchmark"] == name][::2] == [1, 1, 1]
    assert {row["acc"] for row in rows if "acc" in row} == {0, 1}
    em, f1 = ([row[metric] for row in rows if metric in row] for metric in ("em", "f1"))
    assert em == [1, 0, 0] * 2
    assert [value == e for value, e in zip(f1, em)] == [True, False, True] * 2


def test_rows_have_what_is_kept_of_an_item(scored):
    head = ["model", "protocol", "benchmark", "id"]
    for row in scored.found["cloze"][0]:
        assert list(row) == [*head, "answer", "chosen", "acc", "acc_norm", "probability"]
        assert row["acc"] == (row["chosen"] == row["answer"])
    for row in scored.found["chat"][0]:
        assert list(row) == [*head, "written", *(["em", "f1"] if row["benchmark"] == "squad_v2" else ["acc"])]


def test_probability_is_the_answer_s_share_of_the_choices(scored):
    for row, _, theirs in beside(scored, "cloze", CLOZE):
        weights = np.exp([value for value, _ in theirs["filtered_resps"]])
        assert row["probability"] == pytest.approx(weights[row["answer"]] / weights.sum(), abs=1e-3)


def test_prompts_are_a_question_but_openbookqa_s_is_the_stem_alone_and_wic_asks_no_or_yes(scored):
    for _, sample, _ in beside(scored, "cloze", CLOZE):
        doc = sample["doc"]
        prompts, answers = zip(*sample["arguments"])
        if "word" in doc:
            assert doc["sentence1"] in prompts[0] and doc["sentence2"] in prompts[0] and "'box'" in prompts[0]
            assert answers == (" no", " yes")
            continue
        stem = doc["id"].startswith("openbookqa")
        assert set(prompts) == {doc["question"] if stem else f"Question: {doc['question']}\nAnswer:"}
        assert answers == tuple(f" {choice}" for choice in doc["choices"])


def test_counts_say_that_all_items_were_scored_and_none_was_cut(scored):
    for protocol, names in (("cloze", CLOZE), ("chat", CHAT)):
        counts = scored.found[protocol][1]
        assert list(counts) == list(names)
        assert all(count == {"items": ITEMS, "asked": ITEMS, "too_long": 0} for count in counts.values())


@pytest.fixture
def models(teacher, tmp_path, monkeypatch) -> Models:
    """In a folder of their own."""
    monkeypatch.chdir(tmp_path)
    return make_models(teacher)[0]


def test_no_more_items_are_scored_than_asked_for(models):
    write("piqa", "test", choice_rows("piqa"))
    rows, counts = run_tasks(models, "cloze", ["piqa"], 2)
    assert [(row["model"], row["id"]) for row in rows] == [
        (model, f"piqa-{i}") for model in ("teacher", "cut") for i in (0, 1)
    ]
    assert counts == {"piqa": {"items": 2, "asked": 2, "too_long": 0}}


def test_a_long_question_loses_its_beginning_and_is_counted(models, monkeypatch):
    stems = [" ".join(["the quick brown fox"] * n) for n in (4, 3, 1)]
    choices = ["a box", "jumps", "five dozen"]
    rows = [{"id": str(i), "question": stem, "choices": choices, "answer": 0} for i, stem in enumerate(stems)]
    write("arc_easy", "test", rows)
    ids = [models.tokenizer.encode(f"Question: {stem}\nAnswer:") for stem in stems]
    continuations = [models.tokenizer.encode(f" {choice}") for choice in choices]
    longest = max(map(len, continuations))
    asked: list[Choices] = []
    monkeypatch.setattr(harness, "log_likelihoods", lambda m, items: asked.extend(items) or log_likelihoods(m, items))
    models = models._replace(context=len(ids[1]) + longest)  # just enough for the second
    _, counts = run_tasks(models, "cloze", ["arc_easy"], 50)
    assert counts == {"arc_easy": {"items": 3, "asked": 50, "too_long": 1}}
    assert asked == [Choices(cut, continuations) for cut in (ids[0][-len(ids[1]) :], ids[1], ids[2])]


def test_a_tokenizer_that_ends_each_text_puts_nothing_between_prompt_and_choice(models, monkeypatch):
    tokenizer = make_chat_tokenizer(first_mark=False)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"$A {MARK}", special_tokens=[(MARK, 0)])
    plain, choices = models.tokenizer, ["a box", "jumps", "five dozen"]
    write("arc_easy", "test", [{"id": "0", "question": "the quick", "choices": choices, "answer": 0}])
    asked: list[Choices] = []
    monkeypatch.setattr(harness, "log_likelihoods", lambda m, items: asked.extend(items) or log_likelihoods(m, items))
    run_tasks(models._replace(tokenizer=tokenizer), "cloze", ["arc_easy"], 1)
    context = plain.encode("Question: the quick\nAnswer:")
    assert asked == [Choices(context, [plain.encode(f" {choice}") for choice in choices])]


def test_each_token_that_ends_an_answer_ends_it(models):
    prompts = ["the quick brown fox", "pack my box"]
    requests = [SimpleNamespace(args=(prompt, {"max_gen_toks": 6})) for prompt in prompts]
    ids = [models.tokenizer.encode(prompt) for prompt in prompts]
    free = greedy(models, ids, 6, [])["teacher"]
    stops = [free[0][3], free[1][2]]
    written = [row[: min(i for i, token in enumerate(row) if token in stops)] for row in free]
    found = SharedTrunk(models._replace(stops=stops)).generate_until(requests)
    assert found == [models.tokenizer.decode(row, skip_special_tokens=True) for row in written]


def test_a_long_chat_loses_its_beginning_and_is_counted(models, monkeypatch):
    texts = [" ".join(["pack my box"] * n) for n in (2, 3, 5)]
    write("squad_v2", "chat", [{"id": str(i), "prompt": t, "answers": ["box"]} for i, t in enumerate(texts)])
    write("piqa", "chat", [{"id": str(i), "prompt": f"{t} with", "answer": "0"} for i, t in enumerate(texts)])
    ids = [models.tokenizer.encode(text) for text in texts]
    asked = {}
    monkeypatch.setattr(
        harness, "greedy", lambda m, p, tokens, stops: asked.update({tokens: p}) or greedy(m, p, tokens, stops)
    )
    models = models._replace(context=len(ids[1]) + 10)  # just enough for the second, and for all of one token
    _, counts = run_tasks(models, "chat", ["squad_v2", "piqa"], 3)
    assert {name: count["too_long"] for name, count in counts.items()} == {"squad_v2": 1, "piqa": 0}
    assert asked[10] == [ids[0], ids[1], ids[2][-len(ids[1]) :]]


@pytest.mark.parametrize("protocol, name, kind", [("cloze", "mmlu", "test"), ("chat", "mmlu", "chat")])
def test_the_shared_layers_run_as_often_for_three_models_as_for_one(models, teacher, protocol, name, kind):
    rows = choice_rows(name)
    write(name, kind, rows if kind == "test" else chat_rows(name, rows, rows, models.tokenizer, 0, shots=1))
    tops = [*models.tops.items(), ("third", teacher_top(teacher, LOWER_LAST))]
    passes = []
    for number in (1, 2, 3):
        calls = []
        with models.lower.register_forward_hook(lambda *_, calls=calls: calls.append(None)):
            found, _ = run_tasks(models._replace(tops=dict(tops[:number])), protocol, [name], ITEMS)
        assert len(found) == number * ITEMS
        passes.append(len(calls))
    assert passes[0] > 0 and passes == passes[:1] * 3


def test_every_benchmark_has_a_task_file_that_names_its_rows():
    expected = {f"{name}_cloze": f"{name}.test" for name in CLOZE} | {f"{name}_chat": f"{name}.chat" for name in CHAT}
    assert {path.stem for path in TASKS.glob("[!_]*.yaml")} == set(expected)
    assert {*CLOZE, *CHAT} <= set(BENCHMARKS)
    for task, file in expected.items():
        lines = (TASKS / f"{task}.yaml").read_text().splitlines()
        assert f"task: {task}" in lines
        assert f"  data_files: {{test: artifacts/benchmarks/{file}.jsonl}}" in lines


@pytest.mark.parametrize("text, right", [("B", 1), (" B\n", 1), ("b", 0), ("B.", 0), ("A", 0), ("", 0)])
def test_a_letter_is_right_where_it_is_the_answer_exactly(text, right):
    assert letter_results({"answer": "B"}, [text]) == {"acc": right}


@pytest.mark.parametrize(
    "text, golds, em, f1",
    [
        ("A big dog\nQuestion: and", ["cat", "the Big dog!"], 1, 1),
        ("big fox", ["the big dog"], 0, 0.5),  # one token of two on either side
        ("fox", ["big dog"], 0, 0),
        ("No answer.", [], 1, 1),
        ("No answer", ["dog"], 0, 0),
        ("dog", [], 0, 0),
    ],
)
def test_a_span_is_scored_by_its_first_line_against_the_nearest_gold(text, golds, em, f1):
    assert squad_results({"answers": golds}, [text]) == {"em": em, "f1": f1}
