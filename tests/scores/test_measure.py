import itertools
import random

import numpy as np
import pytest
import torch
from tiny.models import LOWER_LAST, TEXT, make_tokenizer
from tiny.run import run_params
from tiny.wordnet import train_metaspace_tokenizer
from tokenizers.processors import TemplateProcessing

from dskd.infra.artifacts import write_json, write_jsonl
from dskd.model.cut import student_top, teacher_top, trunk
from dskd.model.inference import Choices, Models
from dskd.model.logits import head_of
from dskd.params import EvaluateParams
from dskd.scores import measure
from dskd.scores.lexical_choice import Item, Vocabulary
from dskd.scores.measure import benchmark_rows, lexical_rows, pair_rows
from dskd.scores.word_states import (
    Queries,
    antonym_scores,
    sentence_queries,
    simlex_similarity,
    wic_scores,
    word_queries,
)
from dskd.students.store import assemble_student

WORDS = sorted({word for text in TEXT for word in text.replace(",", "").split() if len(word) > 2})
PAIRS = random.Random(0).sample(list(itertools.combinations(WORDS, 2)), 30)  # no two are alike
ITEMS = [
    Item("synonym", "synonym:quick:q.n.01", "quick", "quick is a", (" fox", " lazy dog", " jugs", " box"), 0, "a", "q"),
    Item("antonym", "antonym:big:b.a.01", "big", "the opposite of big is", (" a", " five", " small"), 2, "a", "b"),
    Item(
        "definition",
        "definition:jugs:j.n.01",
        "jugs",
        "box",
        (" over the brown", " liquor jugs", " dozen"),
        1,
        "n",
        "j",
    ),
    Item("definition", "definition:dog:d.n.01", "dog", "pack my lazy", (" dog", " my dog", " dozen"), 1, "n", "d"),
]


@pytest.fixture(scope="module")
def made(teacher):
    """The models with their shared trunk, and each as a whole."""
    cut, whole_cut = student_top(teacher, LOWER_LAST), student_top(teacher, LOWER_LAST)
    with torch.no_grad():
        for weight in (*cut.layers.parameters(), *whole_cut.layers.parameters()):
            weight.add_(0.05)
    whole = {"teacher": teacher, "cut": assemble_student(teacher, whole_cut, LOWER_LAST)}
    tops = {"teacher": teacher_top(teacher, LOWER_LAST), "cut": cut}
    return Models(trunk(teacher, LOWER_LAST), tops, head_of(teacher), make_tokenizer(), 64), whole


def two_words(i: int) -> dict:
    return dict(zip(("word1", "word2"), PAIRS[i]))


def wic_row(i: int) -> dict:
    word, other = two_words(i).values()
    first, second = f"the {word} jumps", f"pack {other} {word}"
    start = len(second) - len(word)
    row = {"id": f"w{i}", "word": word, "sentence1": first, "sentence2": second}
    return row | {"span1": [4, 4 + len(word)], "span2": [start, len(second)], "answer": i % 2}


TRAIN, TEST = range(12), range(20, 25)
SETTINGS = EvaluateParams(seed=0, items=1, cloze_items=1, wic_train=12, antonym_train=12, bootstrap=1000)
BENCHMARKS = {
    "wic.train": [wic_row(i) for i in TRAIN],
    "wic.test": [wic_row(i) for i in TEST],
    "simlex.test": [{"id": f"s{i}", **two_words(i), "similarity": i / 3} for i in TEST],
    "antsynnet.train": [{"id": f"a{i}", **two_words(i), "relation": ("synonym", "antonym")[i % 2]} for i in TRAIN],
    "antsynnet.test": [{"id": f"a{i}", **two_words(i), "relation": ("synonym", "antonym")[i % 2]} for i in TEST],
}


@pytest.fixture
def folder(tmp_path):
    for name, rows in BENCHMARKS.items():
        write_jsonl(tmp_path / f"{name}.jsonl", rows)
    return tmp_path


@torch.no_grad()
def log_likelihood(model, context: list[int], continuation: list[int]) -> float:
    """Token by token, each after all that stands before it."""
    total, ids = 0.0, list(context)
    for token in continuation:
        total += float(model(torch.tensor([ids])).logits[0, -1].double().log_softmax(dim=0)[token])
        ids.append(token)
    return total


@torch.no_grad()
def whole_states(model, queries: Queries) -> torch.Tensor:
    """A whole model's states, one sequence at a time."""
    return torch.stack(
        [
            model.base_model(torch.tensor([ids])).last_hidden_state[0, position]
            for ids, position in zip(queries.sequences, queries.positions)
        ]
    )


def values(rows: list[dict], model: str, task: str) -> list[float]:
    return [row["value"] for row in rows if (row["model"], row["task"]) == (model, task)]


def test_lexical_choices_are_those_of_a_plain_loop(made):
    models, whole = made
    rows, tokenizer = iter(lexical_rows(models, ITEMS)), models.tokenizer
    correct = []
    for name, model in whole.items():
        for item in ITEMS:
            row, context = next(rows), tokenizer.encode(item.context)
            expected = [log_likelihood(model, context, tokenizer.encode(choice)) for choice in item.choices]
            chosen = int(np.argmax(expected))
            assert row.pop("log_likelihoods") == pytest.approx(expected, abs=1e-3)
            head = {"model": name, "task": item.task, "id": item.id, "answer": item.answer}
            head["rung"] = item.rung
            assert row == {**head, "chosen": chosen, "correct": int(chosen == item.answer)}
            correct.append(row["correct"])
    assert next(rows, None) is None
    assert set(correct) == {0, 1}


@pytest.mark.parametrize("form", ["$A X", "X $A", "X $A X"])
def test_nothing_stands_between_a_context_and_its_choices(made, form):
    """A tokenizer that ends each text by a mark of its own must not put it before the choice."""
    models, tokenizer = made[0], make_tokenizer()
    mark = tokenizer.eos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=form.replace("X", mark), special_tokens=[(mark, tokenizer.eos_token_id)]
    )
    before = [tokenizer.eos_token_id] if form.startswith("X") else []
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "log_likelihoods", lambda models, items: asked.extend(items) or {})
        lexical_rows(models._replace(tokenizer=tokenizer), ITEMS)
    plain = make_tokenizer()
    assert asked == [
        Choices([*before, *plain.encode(item.context)], [plain.encode(choice) for choice in item.choices])
        for item in ITEMS
    ]


def test_a_choice_of_a_sentencepiece_tokenizer_has_one_space_before_it(made):
    item = ITEMS[3]
    tokenizer, asked = train_metaspace_tokenizer([item.context, *item.choices]), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "log_likelihoods", lambda models, items: asked.extend(items) or {})
        lexical_rows(made[0]._replace(tokenizer=tokenizer), [item])
    for choice, ids in zip(item.choices, asked[0].continuations, strict=True):
        assert tokenizer.decode([*asked[0].context, *ids]) == item.context + choice


def test_there_is_one_row_for_each_model_measure_and_pair(made, folder):
    rows, _ = pair_rows(made[0], folder, ["wic", "simlex", "antsynnet"], SETTINGS)
    ids = {letter: [f"{letter}{i}" for i in TEST] for letter in "wsa"}
    tasks = {"wic_states": "w", "simlex": "s", "antonym_cosine": "a", "antonym_probe": "a"}
    expected = [(model, task, i) for model in ("teacher", "cut") for task, key in tasks.items() for i in ids[key]]
    expected += [("human", "simlex", i) for i in ids["s"]]
    assert sorted((row["model"], row["task"], row["id"]) for row in rows) == sorted(expected)
    assert all(list(row) == ["model", "task", "id", "value"] for row in rows)
    assert {row["value"] for row in rows if row["task"] != "simlex"} == {0, 1}


def test_what_states_tell_of_wic_is_that_of_the_whole_models(made, folder):
    models, whole = made
    rows, facts = pair_rows(models, folder, ["wic"], SETTINGS)
    queries = sentence_queries([wic_row(i) for i in (*TRAIN, *TEST)], models.tokenizer, repeated=True)
    train, test = queries.pairs[:12], queries.pairs[12:]
    for name, model in whole.items():
        states = whole_states(model, queries)
        found = wic_scores(states, train, [i % 2 for i in TRAIN], test, [i % 2 for i in TEST])
        assert values(rows, name, "wic_states") == found.correct.tolist()
        assert facts["wic"][name]["threshold"] == pytest.approx(found.threshold, abs=1e-4)
        assert (facts["wic"][name]["auc"], facts["wic"][name]["sign"]) == (round(found.auc, 5), 1)
        assert facts["wic"][name]["train_accuracy"] == round(found.train_accuracy, 5)


def test_similarities_are_those_of_the_whole_models_and_people_s(made, folder):
    models, whole = made
    rows, facts = pair_rows(models, folder, ["simlex"], SETTINGS)
    queries = word_queries(BENCHMARKS["simlex.test"], models.tokenizer)
    human = [i / 3 for i in TEST]
    assert values(rows, "human", "simlex") == pytest.approx(human, abs=1e-5)
    for name, model in whole.items():
        similarity = simlex_similarity(whole_states(model, queries), queries.pairs)
        assert values(rows, name, "simlex") == pytest.approx(similarity.tolist(), abs=1e-4)
    assert values(rows, "teacher", "simlex") != values(rows, "cut", "simlex")
    assert facts == {}


def test_antonyms_are_told_as_from_the_states_of_the_whole_models(made, folder):
    models, whole = made
    rows, facts = pair_rows(models, folder, ["antsynnet"], SETTINGS)
    queries = word_queries([{"id": "", **two_words(i)} for i in (*TRAIN, *TEST)], models.tokenizer)
    train, test = queries.pairs[:12], queries.pairs[12:]
    for name, model in whole.items():
        states = whole_states(model, queries)
        found = antonym_scores(states, train, [i % 2 for i in TRAIN], test, [i % 2 for i in TEST])
        assert values(rows, name, "antonym_cosine") == found.cosine.correct.tolist()
        assert values(rows, name, "antonym_probe") == found.probe_correct.tolist()
        assert facts["antsynnet"][name]["train_accuracy"] == round(found.cosine.train_accuracy, 5)
        assert facts["antsynnet"][name]["probe_train_accuracy"] == round(found.probe_train_accuracy, 5)


def test_the_probe_s_accuracy_is_given_without_the_pairs_that_train_has(made, folder):
    first = BENCHMARKS["antsynnet.train"][0]
    known = {**first, "id": "known", "word1": first["word2"], "word2": first["word1"]}
    write_jsonl(folder / "antsynnet.test.jsonl", [known, *BENCHMARKS["antsynnet.test"]])
    rows, facts = pair_rows(made[0], folder, ["antsynnet"], SETTINGS)
    assert (facts["antsynnet"]["pairs"], facts["antsynnet"]["pairs_in_train"]) == (6, 1)
    for name in ("teacher", "cut"):
        unseen = values(rows, name, "antonym_probe")[1:]
        assert facts["antsynnet"][name]["probe_accuracy_unseen_pairs"] == np.mean(unseen)


def test_wic_s_threshold_is_tuned_on_the_first_rows_only(made, folder):
    few = pair_rows(made[0], folder, ["wic"], SETTINGS.model_copy(update={"wic_train": 8}))
    write_jsonl(folder / "wic.train.jsonl", BENCHMARKS["wic.train"][:8])
    assert pair_rows(made[0], folder, ["wic"], SETTINGS) == few
    write_jsonl(folder / "wic.train.jsonl", BENCHMARKS["wic.train"])
    assert pair_rows(made[0], folder, ["wic"], SETTINGS) != few


@pytest.mark.parametrize("left_out", ["wic", "simlex", "antsynnet"])
def test_what_is_not_available_is_left_out(made, folder, left_out):
    for path in folder.glob(f"{left_out}.*"):
        path.unlink()
    rows, facts = pair_rows(
        made[0], folder, [name for name in ("antsynnet", "simlex", "wic") if name != left_out], SETTINGS
    )
    tasks = {"wic": {"wic_states"}, "simlex": {"simlex"}, "antsynnet": {"antonym_cosine", "antonym_probe"}}
    expected = set().union(*(names for name, names in tasks.items() if name != left_out))
    assert {row["task"] for row in rows} == expected
    assert left_out not in facts


def test_nothing_available_gives_nothing(made, tmp_path):
    assert pair_rows(made[0], tmp_path, [], SETTINGS) == ([], {})
    for protocol in ("cloze", "chat"):
        assert benchmark_rows(made[0], protocol, ["simlex"], 3) == ([], {})


def test_a_protocol_runs_its_own_benchmarks_of_those_available(made, monkeypatch):
    monkeypatch.setattr(measure, "run_tasks", lambda *asked: asked)
    available = ["wic", "squad_v2", "piqa", "simlex", "arc_easy"]
    assert benchmark_rows(made[0], "cloze", available, 3) == (made[0], "cloze", ["arc_easy", "piqa", "wic"], 3)
    assert benchmark_rows(made[0], "chat", available, 4) == (made[0], "chat", ["piqa", "squad_v2"], 4)


def test_the_lexical_items_are_drawn_by_the_seed_of_the_evaluation(made, tmp_path, monkeypatch):
    params, asked = run_params(), []
    assert params.evaluate.seed not in (params.lexicon.seed, params.corpus.seed)
    monkeypatch.setattr(measure, "read_vocabulary", lambda reader: Vocabulary({}, {}, {}, {}, {}))
    monkeypatch.setattr(measure, "build_items", lambda *given: asked.append(given[:3]) or [])
    monkeypatch.setattr(measure, "lexical_rows", lambda models, items: [])
    monkeypatch.setattr(measure, "find_places", lambda *given: asked.append(given[-1]) or [])
    monkeypatch.setattr(measure, "in_context_rows", lambda models, text, places: [])
    write_json(tmp_path / "benchmarks/summary.json", {})
    words = measure.Words(None, set(), None)
    measure.measure(made[0], words, tmp_path / "benchmarks", params, tmp_path / "scores")
    drawn = params.evaluate.seed, params.evaluate.items
    assert asked == [(params.lexicon, *drawn), drawn]
