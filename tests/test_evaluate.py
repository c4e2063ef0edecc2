import math

import numpy as np
import pytest
import torch
from tiny import LOWER_LAST, WIDTH, make_ids, make_states
from torch.nn import functional as F

from dskd.decoder import assemble_student, run_part, student_top, teacher_top, trunk
from dskd.evaluate import choice_scores, heldout_scores
from dskd.report import choice_rows, heldout_rows
from dskd.stats import bootstrap_interval, estimate
from dskd.tasks.lexical import Item

IDS = make_ids(7, 11)
LABELS = IDS[:, 1:].long()


@pytest.fixture(scope="module")
def states(teacher):
    return make_states(teacher, IDS, LOWER_LAST, shard=3)


def other_top(teacher):
    top = student_top(teacher, LOWER_LAST)
    with torch.no_grad():
        for weight in top.layers.parameters():
            weight.mul_(0.9)
    return top


def test_the_teacher_agrees_with_itself_and_has_its_own_cross_entropy(teacher, states):
    scores = heldout_scores(None, teacher.get_output_embeddings().weight, states, LABELS, batch_size=3)
    assert (scores["kl"] == 0).all() and (scores["agreement"] == 1).all()
    with torch.no_grad():
        logits = teacher(input_ids=IDS[:, :-1].long()).logits.double()
    true = torch.stack([F.cross_entropy(block, labels) for block, labels in zip(logits, LABELS)])
    assert scores["ce"].dtype == torch.float64
    torch.testing.assert_close(scores["ce"], true, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_student_is_scored_against_the_teacher_position_by_position(teacher, states):
    top, head = other_top(teacher), teacher.get_output_embeddings().weight
    scores = heldout_scores(top, head, states, LABELS, batch_size=3)
    student = assemble_student(teacher, top, LOWER_LAST)
    q, p = (model(input_ids=IDS[:, :-1].long()).logits.double().log_softmax(2) for model in (student, teacher))
    ce = -q.gather(2, LABELS[..., None])[..., 0].mean(dim=1)
    kl = F.kl_div(q, p, reduction="none", log_target=True).sum(dim=2).mean(dim=1)
    agreement = (q.argmax(2) == p.argmax(2)).double().mean(dim=1)
    assert 0 < agreement.mean() < 1 and (kl > 0).all()
    torch.testing.assert_close(scores, {"ce": ce, "kl": kl, "agreement": agreement}, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_held_out_scores_do_not_depend_on_the_batch(teacher, states, batch_size):
    arguments = (other_top(teacher), teacher.get_output_embeddings().weight, states, LABELS)
    torch.testing.assert_close(heldout_scores(*arguments, batch_size), heldout_scores(*arguments, 7))


def test_the_teacher_s_divergence_is_nothing_in_bfloat16_too(bf16_teacher):
    states = make_states(bf16_teacher, IDS, LOWER_LAST)
    head = bf16_teacher.get_output_embeddings().weight
    assert (heldout_scores(None, head, states, LABELS, 4)["kl"] == 0).all()
    # Run again from the split in other batches: rounding only.
    scores = heldout_scores(teacher_top(bf16_teacher, LOWER_LAST), head, states, LABELS, 3)
    assert scores["kl"].abs().max() < 1e-3


CONTEXTS = ["the quick brown", "a big, a small", "pack my box with five dozen liquor"]
CHOICES = [
    [" fox", " dog jumps over", " a", " lazy"],
    [", a lazy dog", " box", " the quick", " jugs"],
    [" jugs", " big", " small fox", " over the lazy dog jumps over the box"],
]


@torch.no_grad()
def naive_likelihood(model, tokenizer, context, choice):
    """One sequence at a time with the whole model: the sum of log p(token | all before it) over the choice."""
    prompt, end = tokenizer(context).input_ids, tokenizer(choice, add_special_tokens=False).input_ids
    log_p = model(input_ids=torch.tensor([prompt + end])).logits[0].double().log_softmax(dim=1)
    return sum(float(log_p[len(prompt) + i - 1, token]) for i, token in enumerate(end))


@pytest.mark.parametrize("batch_size", [1, 5, 32])
def test_choice_scores_are_the_log_likelihoods_of_one_sequence_at_a_time(teacher, tokenizer, batch_size):
    tops = {"teacher": teacher_top(teacher, LOWER_LAST), "student": other_top(teacher)}
    models = {"teacher": teacher, "student": assemble_student(teacher, tops["student"], LOWER_LAST)}
    head = teacher.get_output_embeddings().weight
    lower = trunk(teacher, LOWER_LAST)
    scores = choice_scores(CONTEXTS, CHOICES, tokenizer, lower, tops, head, batch_size=batch_size)
    assert list(scores) == ["teacher", "student"]
    for name, model in models.items():
        true = [[naive_likelihood(model, tokenizer, c, end) for end in ends] for c, ends in zip(CONTEXTS, CHOICES)]
        torch.testing.assert_close(scores[name], torch.tensor(true, dtype=torch.float64), rtol=1e-4, atol=1e-4)
    lengths = [len(tokenizer(end).input_ids) for ends in CHOICES for end in ends]
    assert len(set(lengths)) > 3  # lengths differ, so that padding is at work


def test_the_likelihoods_of_all_one_token_choices_sum_to_one(teacher, tokenizer):
    """With every token as a choice the scores are one whole distribution."""
    head = teacher.get_output_embeddings().weight
    tops = {"teacher": teacher_top(teacher, LOWER_LAST)}
    letters = [token for token in "abcdefghijklmnop" if len(tokenizer(token).input_ids) == 1]
    lower = trunk(teacher, LOWER_LAST)
    scores = choice_scores(["the lazy"], [letters], tokenizer, lower, tops, head)["teacher"][0]
    ids = torch.tensor([tokenizer("the lazy").input_ids])
    with torch.no_grad():
        p = F.softmax(run_part(tops["teacher"], states=run_part(lower, ids=ids))[0, -1] @ head.T, dim=0)
    others = 1 - p[[tokenizer(letter).input_ids[0] for letter in letters]].sum()
    assert len(letters) > 10 and head.shape[1] == WIDTH
    assert float(scores.exp().sum() + others) == pytest.approx(1, abs=1e-5)


def test_the_bootstrap_interval_covers_the_true_mean_about_as_often_as_it_says():
    draw, hits, repetitions = np.random.default_rng(0), 0, 300
    for r in range(repetitions):
        low, high = bootstrap_interval(draw.exponential(size=60), resamples=150, seed=r)
        hits += low <= 1.0 <= high
    # Percentile intervals of 60 skewed values are a little narrow (about 93 %); standard error 1.4 %.
    assert 0.89 <= hits / repetitions <= 0.975


def test_the_bootstrap_interval_has_the_width_of_the_normal_one_at_other_levels_too():
    values = np.random.default_rng(1).normal(3, 2, size=400)
    error = values.std() / math.sqrt(400)
    for level, z in ((0.95, 1.96), (0.5, 0.674)):
        low, high = bootstrap_interval(values, 2000, seed=0, level=level)
        assert low == pytest.approx(values.mean() - z * error, abs=0.15 * error)
        assert high == pytest.approx(values.mean() + z * error, abs=0.15 * error)


def test_one_seed_gives_one_interval_and_another_seed_another():
    values = np.random.default_rng(2).normal(size=50)
    assert bootstrap_interval(values, 200, 0) == bootstrap_interval(values.tolist(), 200, 0)
    assert bootstrap_interval(values, 200, 0) != bootstrap_interval(values, 200, 1)


def test_equal_values_have_an_interval_without_width():
    assert estimate(np.full(9, 0.25), 100, 0) == {"mean": 0.25, "low": 0.25, "high": 0.25}


def item(task, name, answer):
    return Item(task, name, "word", "context", (" a", " b", " c"), answer, "n", "word.n.01")


def test_a_row_of_a_choice_task_says_what_was_chosen_and_whether_it_was_right():
    items = [item("synonym", "s1", 2), item("antonym", "a1", 0)]
    scores = {"one": torch.tensor([[-3.0, -2.0, -1.00004], [-5.0, -4.0, -6.0]], dtype=torch.float64)}
    scores["two"] = scores["one"].flip(1)
    rows = choice_rows(scores, items)
    assert [(row["model"], row["task"], row["id"], row["answer"], row["chosen"], row["correct"]) for row in rows] == [
        ("one", "synonym", "s1", 2, 2, 1),
        ("one", "antonym", "a1", 0, 1, 0),
        ("two", "synonym", "s1", 2, 0, 0),
        ("two", "antonym", "a1", 0, 1, 0),
    ]
    assert rows[0]["log_likelihoods"] == [-3, -2, -1]


def test_a_row_of_held_out_text_names_its_model_block_and_source():
    scores = {"teacher": {"kl": [0.0, 0.0], "ce": [1.0, 2.0], "agreement": [1.0, 1.0]}}
    rows = heldout_rows(scores, torch.tensor([1, 0]))
    assert [(row["model"], row["block"], row["ce"], row["kl"], row["agreement"]) for row in rows] == [
        ("teacher", 0, 1.0, 0.0, 1.0),
        ("teacher", 1, 2.0, 0.0, 1.0),
    ]
    assert rows[0]["source"] != rows[1]["source"]
