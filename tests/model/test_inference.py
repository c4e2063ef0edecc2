import itertools

import pytest
import torch
from tiny.families import make_decoder
from tiny.models import LOWER_LAST, make_ids

from dskd.errors import UserError
from dskd.model import inference
from dskd.model.cut import student_top, teacher_top, trunk
from dskd.model.inference import Choices, Models, greedy, log_likelihoods, states_at
from dskd.model.logits import head_of
from dskd.students.store import assemble_student


@pytest.fixture(scope="module")
def made(teacher):
    """The models with their shared trunk, and each as a whole."""
    with torch.no_grad():
        cut = student_top(teacher, LOWER_LAST)
        for weight in cut.layers.parameters():
            weight.add_(0.05)  # no longer the teacher's layers
    whole = {"teacher": teacher, "cut": assemble_student(teacher, cut, LOWER_LAST)}
    tops = {"teacher": teacher_top(teacher, LOWER_LAST), "cut": cut}
    return Models(trunk(teacher, LOWER_LAST), tops, head_of(teacher), None, 64), whole


@pytest.fixture(params=[2048, 40, 1], ids=["one batch", "some batches", "one item a batch"])
def batches(request, monkeypatch):
    monkeypatch.setattr(inference, "_TOKENS", request.param)
    monkeypatch.setattr(inference, "SCORE_CHUNK", 7)  # chunks end within items


def items(number: int = 9) -> list[Choices]:
    ids = make_ids(number, 30, seed=4).tolist()
    made = []
    for i, row in enumerate(ids):
        lengths = [(i * 3 + j * 5) % 6 + 1 for j in range(2 + i % 3)]
        ends = [0, *torch.tensor(lengths).cumsum(0).tolist()]
        made.append(Choices(row[: 1 + i], [row[9 + a : 9 + b] for a, b in itertools.pairwise(ends)]))
    return made


@torch.no_grad()
def naive(model, context, continuation):
    """A forward pass over context and continuation alone."""
    log_p = model(torch.tensor([context + continuation])).logits[0].double().log_softmax(dim=1)
    places = range(len(context) - 1, len(context) + len(continuation) - 1)
    value = sum(float(log_p[place, token]) for place, token in zip(places, continuation))
    return value, all(int(log_p[place].argmax()) == token for place, token in zip(places, continuation))


def assert_scored_as_alone(models, whole, asked):
    """Every model of `models` gives the likelihoods, answers and states that the model of its name in `whole` gives."""
    prompts, places = [row[: 7 + i * 3] for i, row in enumerate(make_ids(3, 20, seed=1).tolist())], [6, 9, 12]
    found, written = log_likelihoods(models, asked), greedy(models, prompts, 4, [])
    states = states_at(models, prompts, places)
    assert list(found) == list(written) == list(states) == list(whole)
    for name, model in whole.items():
        for item, scores in zip(asked, found[name], strict=True):
            for continuation, (value, is_greedy) in zip(item.continuations, scores, strict=True):
                expected, expected_greedy = naive(model, item.context, continuation)
                assert value == pytest.approx(expected, abs=1e-4) and is_greedy == expected_greedy
        for prompt, answer, place, state in zip(prompts, written[name], places, states[name], strict=True):
            longer = list(prompt)
            for _ in range(4):
                longer.append(int(model(torch.tensor([longer])).logits[0, -1].argmax()))
            assert answer == longer[len(prompt) :]
            expected = model.base_model(torch.tensor([prompt])).last_hidden_state[0, place]
            torch.testing.assert_close(state, expected, rtol=1e-4, atol=1e-4)


def test_packed_choices_score_as_each_choice_alone(made, batches):
    models, whole = made
    found = log_likelihoods(models, items())
    assert list(found) == ["teacher", "cut"]
    for name, model in whole.items():
        for item, scores in zip(items(), found[name]):
            for continuation, (value, is_greedy) in zip(item.continuations, scores):
                expected, expected_greedy = naive(model, item.context, continuation)
                assert value == pytest.approx(expected, abs=1e-4)
                assert is_greedy == expected_greedy


def test_the_most_probable_continuation_is_called_greedy(made):
    models, _ = made
    context = make_ids(1, 6, seed=2)[0].tolist()
    best = greedy(models, [context], 3, [])
    for name in models.tops:
        scores = log_likelihoods(models, [Choices(context, [best[name][0], [1, 2, 3]])])[name][0]
        assert [is_greedy for _, is_greedy in scores] == [True, False]


def test_choices_do_not_see_each_other(made):
    models, _ = made
    context, first, second = [5, 6, 7], [8, 9, 10], [11, 12]
    alone = log_likelihoods(models, [Choices(context, [first])])
    together = log_likelihoods(models, [Choices(context, [second, first])])
    for name in models.tops:
        assert together[name][0][1][0] == pytest.approx(alone[name][0][0][0], abs=1e-5)


def test_greedy_answers_are_those_of_generate(made, batches):
    models, whole = made
    prompts = [row[: 3 + i * 2] for i, row in enumerate(make_ids(6, 20, seed=1).tolist())]
    stop = 0
    for tokens in (1, 5):
        found = greedy(models, prompts, tokens, [stop])
        for name, model in whole.items():
            for prompt, written in zip(prompts, found[name]):
                ids = torch.tensor([prompt])
                out = model.generate(
                    ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=0,
                    eos_token_id=stop,
                )[0, len(prompt) :].tolist()  # fmt: skip
                assert written == (out[: out.index(stop)] if stop in out else out)


def test_an_answer_ends_before_the_stop_token(made):
    models, _ = made
    prompts = [row[:5] for row in make_ids(4, 20, seed=3).tolist()]
    free = greedy(models, prompts, 6, [])["teacher"]
    for stops in ([free[0][2]], {free[0][4], free[1][1], free[0][2]}):
        ends = [min((i for i, token in enumerate(whole) if token in stops), default=6) for whole in free]
        assert min(ends) < 6
        assert greedy(models, prompts, 6, stops)["teacher"] == [whole[:end] for whole, end in zip(free, ends)]


def test_states_are_those_of_the_whole_model_at_their_place(made, batches):
    models, whole = made
    sequences = [row[: 4 + i] for i, row in enumerate(make_ids(7, 20, seed=5).tolist())]
    positions = [(i * 2) % len(ids) for i, ids in enumerate(sequences)]
    found = states_at(models, sequences, positions)
    for name, model in whole.items():
        assert found[name].dtype == torch.float32
        for ids, position, state in zip(sequences, positions, found[name]):
            with torch.no_grad():
                expected = model.base_model(torch.tensor([ids])).last_hidden_state[0, position]
            assert torch.allclose(state, expected, atol=1e-4)


def test_batches_hold_so_many_tokens_at_most_or_one_item_the_longest_first(monkeypatch):
    monkeypatch.setattr(inference, "_TOKENS", 12)
    assert list(inference._batches([3, 20, 4, 13, 6, 3], "")) == [[1], [3], [4, 2], [0, 5]]


def test_a_text_that_a_model_reads_otherwise_because_it_is_long_is_an_error():
    rotation = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 12}
    rotation |= {"short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [2.0, 3.0, 4.0, 5.0]}
    model = make_decoder("phi3", rope_parameters=rotation, original_max_position_embeddings=12)
    models = Models(trunk(model, LOWER_LAST), {"teacher": teacher_top(model, LOWER_LAST)}, head_of(model), None, 64)
    prompt = make_ids(1, 8)[0].tolist()  # 9 tokens
    ((value, _),) = log_likelihoods(models, [Choices(prompt, [[5, 7, 6]])])["teacher"][0]
    assert value == pytest.approx(naive(model, prompt, [5, 7, 6])[0], abs=1e-4)
    assert len(greedy(models, [prompt], 4, [])["teacher"][0]) == 4
    for ask in (lambda: log_likelihoods(models, [Choices(prompt, [[5]]), Choices(prompt, [[5, 7, 6, 4, 3]])]),
                lambda: greedy(models, [prompt], 5, []),
                lambda: states_at(models, [prompt + prompt], [12])):  # fmt: skip
        with pytest.raises(UserError, match=r"a text to be scored has 13 tokens.*longrope"):
            ask()


def test_no_items_give_no_scores(made):
    models, _ = made
    assert log_likelihoods(models, []) == {"teacher": [], "cut": []}
    assert greedy(models, [], 3, [0]) == {"teacher": [], "cut": []}
    assert states_at(models, [], [])["cut"].shape == (0, models.lower.config.hidden_size)
