import copy
import shutil
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState
from tiny.families import make_decoder
from tiny.models import LOWER_LAST, VOCABULARY, distill_settings, make_ids, make_states, sampled, sense_settings

from dskd.errors import UserError
from dskd.infra import arithmetic
from dskd.infra.hashes import sha256_tree
from dskd.model.cut import student_top
from dskd.model.logits import head_of
from dskd.model.parts import run_part
from dskd.params import Objective, TargetsParams
from dskd.scores import heldout
from dskd.scores.heldout import heldout_scores
from dskd.senses.cluster import build_senses
from dskd.states.harvest import likely_tokens
from dskd.states.store import Text, take_blocks
from dskd.students import output_loss as output_loss_module
from dskd.students import train as train_module
from dskd.students.batches import Reader, batches, load_batch, prefetched, schedule
from dskd.students.checkpoint import Progress, load_checkpoint, save_checkpoint
from dskd.students.hidden_loss import hidden_loss, whitening
from dskd.students.output_loss import IGNORE, Heads, OutputWeights, output_loss
from dskd.students.sampled_vocabulary import Sampling
from dskd.students.sense_loss import sense_loss, span_loss
from dskd.students.store import assemble_student, export_student, load_student_top, new_student
from dskd.students.train import Recipe, _many_states, learning_rate, make_goal, step_loss, train
from dskd.targets.choose import build_targets

BLOCKS, LENGTH = 22, 12  # 6 steps an epoch, the last of 2 blocks
OBJECTIVES = {
    "ce": Objective(ce=1.0, kl=0.0, hidden=0.0, sense=0.0, margin=1.0, targets="none"),
    "kd": Objective(ce=1.0, kl=0.7, hidden=0.0, sense=0.0, margin=1.0, targets="none"),
    "kd_hidden": Objective(ce=1.0, kl=0.7, hidden=1.0, sense=0.0, margin=1.0, targets="none"),
    "dskd": Objective(ce=1.0, kl=0.7, hidden=0.0, sense=1.0, margin=1.0, targets="lexicon"),
    "span": Objective(
        ce=1.0, kl=0.7, hidden=0.5, sense=1.0, margin=1.0, targets="lexicon", form="span", metric="whitened"
    ),
}


@pytest.fixture(autouse=True)
def fresh_accelerator():
    """Accelerate keeps the number format of a process's first run; the tests use two."""
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch):
    """Compiling takes seconds; tests/students/test_losses.py compares the compiled loss with the plain one."""
    for module in (output_loss_module, heldout):
        monkeypatch.setattr(module, "fused", lambda function: function)


@pytest.fixture(scope="module")
def data(teacher):
    """A text in which a token's successor is three times itself, and its targets; some words have one sense only."""
    text, targets = make_data(teacher)
    targets.pull[:, ::3, 1] = -1
    return text, targets


def make_data(teacher):
    ids = make_text()
    states, labels = make_states(teacher, ids, LOWER_LAST, shard=5), ids[:, 1:].long()
    return Text(states, labels, ids[:, :-1]), build_targets(states, labels, *make_lexicon(states, labels))


def make_text():
    return (make_ids(BLOCKS, 0) * 3 ** torch.arange(LENGTH + 1) % VOCABULARY).int()


def make_lexicon(states, labels):
    """Senses, synonyms, antonyms and the settings of the targets."""
    chosen = sense_settings(key="observed", k=3, reservoir=20, iterations=10, contexts=1)
    senses = build_senses(sampled(states, labels, chosen), chosen)
    related = senses.tokens.tolist()[::3]
    synonyms, antonyms = {t: [(related[0],)] for t in related}, {t: [(related[-1],)] for t in related[:-1]}
    limits = {"neighbours": 2, "max_synonyms": 5, "max_antonyms": 5, "related_share": 0.5, "related_min": 1}
    return senses, synonyms, antonyms, TargetsParams(seed=0, **limits)


@pytest.mark.parametrize("epochs, steps", [(1, 6), (2, 12), (0.5, 3), (1.5, 9), (0.01, 1)])
def test_part_of_an_epoch_is_its_first_steps(epochs, steps):
    whole = schedule(BLOCKS, 0, distill_settings(epochs=3))
    part = schedule(BLOCKS, 0, distill_settings(epochs=epochs))
    assert len(part) == steps and all(torch.equal(a, b) for a, b in zip(part, whole))


def test_batches_are_read_ahead_each_once_and_in_order(data, monkeypatch):
    text, targets = data
    asked = []
    monkeypatch.setattr("dskd.students.batches.load_batch", lambda *given: asked.append(given) or load_batch(*given))
    order = [torch.tensor([7, 2]), torch.tensor([21]), torch.tensor([0, 5])]
    found = prefetched(Reader(text, targets, torch.float64), order)
    first = next(found)
    rest = list(found)
    assert len(asked) == 3
    for blocks, batch in zip(order, [first, *rest], strict=True):
        assert batch.split_states.dtype == batch.hidden_states.dtype == torch.float64
        torch.testing.assert_close(batch.split_states.float(), torch.cat(text.states.split_states)[blocks])
        torch.testing.assert_close(batch.hidden_states.float(), torch.cat(text.states.hidden_states)[blocks])
        assert torch.equal(batch.labels, text.labels[blocks]) and torch.equal(batch.ids, text.ids[blocks])
        assert torch.equal(batch.pull, targets.pull[blocks]) and torch.equal(batch.push, targets.push[blocks])
    assert list(prefetched(Reader(text, targets, torch.float32), [])) == []


def test_a_failure_of_the_reading_thread_stops_the_training(data):
    order = [torch.tensor([0]), torch.tensor([BLOCKS + 9])]  # no such block
    with pytest.raises(IndexError):
        list(prefetched(Reader(*data, torch.float32), order))


def run(teacher, data, folder, objective="kd", seed=0, **changes):
    """Train in `folder`; the trained part."""
    text, targets = data
    student, weights = new_student(teacher, teacher, LOWER_LAST), OBJECTIVES[objective]
    given = targets if weights.sense else None
    train(student, head_of(teacher), text, given, Recipe(weights, distill_settings(**changes), seed), folder / "work")
    return student.top


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"learning_rate": 1e30}, "its ce and kl loss at step 2 of 18"),
        ({"learning_rate": 1e30, "epochs": 0.1}, "a weight at the end"),  # after its only step
    ],
)
def test_a_training_that_leaves_the_numbers_is_one_line(teacher, data, tmp_path, changes, what):
    with pytest.raises(UserError) as refused:
        run(teacher, data, tmp_path, warmup_share=0.0, weight_decay=1e10, **changes)
    assert str(refused.value).startswith(f"this objective cannot be trained so: {what} is no finite number; lower dist")


def weights_of(top):
    return {name: weight.detach().clone() for name, weight in top.named_parameters()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def curves(folder):
    return {path.stem: path.read_text() for path in (folder / "work/curves").rglob("*.tsv")}


def goal_of(teacher, data, objective, **changes):
    recipe = Recipe(objective, distill_settings(**changes), 0)
    return make_goal(recipe, head_of(teacher), data[0].states, data[1], torch.device("cpu"))


def test_a_metric_is_whitened_by_more_states_than_there_are_dimensions():
    """By fewer, directions that no state has would count a thousand times."""
    few = SimpleNamespace(hidden_states=[torch.randn(9, 3, 8)], blocks=9)
    assert torch.equal(_many_states(few), few.hidden_states[0].flatten(0, 1))  # an eighth would be 6 of 8 dimensions
    many = SimpleNamespace(hidden_states=[torch.randn(24, 3, 8)], blocks=24)
    assert len(_many_states(many)) == 9
    too_few = SimpleNamespace(hidden_states=[torch.randn(2, 3, 8)], blocks=2)
    with pytest.raises(UserError, match=r"has 6 states of 8 dimensions, too few to whiten by: raise corpus.train_tok"):
        _many_states(too_few)


def whole_loss(teacher, data, top, objective):
    student = new_student(teacher, teacher, LOWER_LAST)._replace(top=top)
    batch = load_batch(Reader(*data, torch.float32), torch.arange(BLOCKS))
    hidden_states = run_part(top, states=batch.split_states)
    return step_loss(student, hidden_states, batch, goal_of(teacher, data, OBJECTIVES[objective]))


@pytest.mark.parametrize("objective", ["ce", "kd", "kd_hidden", "dskd", "span"])
def test_training_lowers_each_objective_and_changes_the_trained_layers_alone(teacher, data, tmp_path, objective):
    before = {name: weight.clone() for name, weight in teacher.named_parameters()}
    start = student_top(teacher, LOWER_LAST)
    first, _ = whole_loss(teacher, data, start, objective)
    top = run(teacher, data, tmp_path, objective)
    last, _ = whole_loss(teacher, data, top, objective)
    assert float(last.detach()) < 0.9 * float(first.detach())
    assert_same(before, dict(teacher.named_parameters()))
    old, new = weights_of(start), weights_of(top)
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {name for name in old if name.startswith("layers.")}


@pytest.fixture
def step(teacher, data):
    """A batch, and the hidden states of an untrained student in it."""
    student, (text, targets) = new_student(teacher, teacher, LOWER_LAST), data
    batch = load_batch(Reader(text, targets, torch.float32), torch.tensor([7, 2, 21]))
    return student, batch, run_part(student.top, states=batch.split_states)


def test_the_loss_of_a_step_is_the_weighted_sum_of_its_terms(teacher, data, step):
    (text, targets), (student, batch, hidden_states) = data, step
    blocks = torch.tensor([7, 2, 21])
    objective = Objective(ce=0.5, kl=0.7, hidden=1.3, sense=0.2, margin=2.0, targets="lexicon")
    goal = goal_of(teacher, data, objective, temperature=3.0, beta=0.4)
    loss, terms = step_loss(student, hidden_states, batch, goal)
    states, of_teacher = hidden_states.flatten(0, 1), torch.cat(text.states.hidden_states)[blocks].flatten(0, 1)
    heads, weights = Heads(head_of(teacher), head_of(teacher)), OutputWeights(0.5, 0.7, 3.0, 0.4)
    output, ce, kl = output_loss(states, of_teacher, text.labels[blocks].flatten(), heads, weights)
    pull, push = targets.pull[blocks].flatten(0, 1), targets.push[blocks].flatten(0, 1)
    supervised = pull[:, 0] >= 0
    assert 0 < (pull[:, 1] >= 0).sum() < supervised.sum() < len(states)
    assert batch.counts == (len(states), len(states), int(supervised.sum()))
    sense = sense_loss(states, targets.vectors, pull, push, 2.0, int(supervised.sum()))
    hidden = hidden_loss(states, of_teacher, len(states))
    torch.testing.assert_close(loss, output + 1.3 * hidden + 0.2 * sense)
    torch.testing.assert_close(terms, {"ce": ce, "kl": kl, "hidden": hidden.detach(), "sense": sense.detach()})
    assert not any(term.requires_grad for term in terms.values())


def test_the_other_form_and_the_other_metric_are_in_the_loss_of_a_step(teacher, data, step):
    (text, targets), (student, batch, hidden_states) = data, step
    states, of_teacher = hidden_states.flatten(0, 1), batch.hidden_states.flatten(0, 1)
    m = whitening(torch.cat(text.states.hidden_states)[::8].flatten(0, 1))
    chosen = (batch.pull.flatten(0, 1) >= 0).any(dim=1)
    pull, push = (rows.flatten(0, 1)[chosen] for rows in (batch.pull, batch.push))
    weights = {"ce": 0.5, "kl": 0.7, "margin": 1.0, "targets": "lexicon", "form": "span", "metric": "whitened"}
    goal = goal_of(teacher, data, Objective(**weights, hidden=0.0, sense=0.0))
    plain, _ = step_loss(student, hidden_states, batch, goal)
    goal = goal_of(teacher, data, Objective(**weights, hidden=1.3, sense=0.2))
    loss, terms = step_loss(student, hidden_states, batch, goal)
    vectors = targets.vectors.float() @ m
    spanned = span_loss((states @ m)[chosen], (of_teacher @ m)[chosen], vectors, pull, push).sum() / chosen.sum()
    torch.testing.assert_close(terms["sense"], spanned.detach())
    torch.testing.assert_close(terms["hidden"], hidden_loss(states @ m, of_teacher @ m, len(states)).detach())
    torch.testing.assert_close(loss, plain + 1.3 * terms["hidden"] + 0.2 * spanned)


def test_the_span_form_gives_another_student_and_the_same_each_time(teacher, data, tmp_path):
    found = [
        weights_of(run(teacher, data, tmp_path / str(i), objective))
        for i, objective in enumerate(("span", "span", "dskd"))
    ]
    assert_same(found[0], found[1])
    assert any(not torch.equal(found[0][name], found[2][name]) for name in found[0])


def test_the_curves_hold_the_terms_of_the_objective(teacher, data, tmp_path):
    run(teacher, data, tmp_path, "dskd")
    tables = {name: text.splitlines() for name, text in curves(tmp_path).items()}
    assert set(tables) == {"ce", "kl", "sense"}
    for lines in tables.values():
        assert [line.split("\t")[0] for line in lines[1:]] == [str(step) for step in range(2, 19, 2)]
    values = [float(line.split("\t")[1]) for line in tables["ce"][1:]]
    assert values[-1] < values[0]


def test_one_seed_gives_bitwise_the_same_student_and_another_seed_another(teacher, data, tmp_path):
    one, two, other = (
        weights_of(run(teacher, data, tmp_path / str(i), "dskd", seed)) for i, seed in enumerate((0, 0, 1))
    )
    assert_same(one, two)
    assert curves(tmp_path / "0") == curves(tmp_path / "1") != curves(tmp_path / "2")
    assert not torch.equal(one["layers.0.mlp.up_proj.weight"], other["layers.0.mlp.up_proj.weight"])


def stop_at(monkeypatch, step):
    """Let the training step with this number (from 0) fail after its backward pass."""
    calls = []

    def clip(*arguments):
        calls.append(None)
        if len(calls) == step + 1:
            raise RuntimeError("power")
        return torch.nn.utils.clip_grad_norm_(*arguments)

    monkeypatch.setattr(train_module, "clip_grad_norm_", clip)
    return calls


@pytest.mark.parametrize("log_steps", [2, 3])  # 3: the checkpoint falls between two points of the curves
@pytest.mark.parametrize("step", [1, 9])  # before the first checkpoint; after the second
def test_a_stopped_run_goes_on_and_ends_bitwise_as_an_undisturbed_one(
    teacher, data, tmp_path, monkeypatch, step, log_steps
):
    whole = weights_of(run(teacher, data, tmp_path / "whole", "dskd", log_steps=log_steps))
    stop_at(monkeypatch, step)
    with pytest.raises(RuntimeError, match="power"):
        run(teacher, data, tmp_path / "stopped", "dskd", log_steps=log_steps)
    calls = stop_at(monkeypatch, 99)
    resumed = weights_of(run(teacher, data, tmp_path / "stopped", "dskd", log_steps=log_steps))
    assert len(calls) == 18 - step // 4 * 4  # steps before the last checkpoint are not done again
    assert_same(whole, resumed)
    assert curves(tmp_path / "whole") == curves(tmp_path / "stopped") != {}


def test_a_run_with_a_sampled_vocabulary_goes_on_as_an_undisturbed_one(teacher, data, tmp_path, monkeypatch):
    data, settings = with_top_tokens(teacher, data), {"sampled_vocabulary": 10}
    exact, whole = (run(teacher, data, tmp_path / str(i), "dskd", **given) for i, given in enumerate([{}, settings]))
    assert any(not torch.equal(a, b) for a, b in zip(exact.parameters(), whole.parameters()))
    stop_at(monkeypatch, 9)
    with pytest.raises(RuntimeError, match="power"):
        run(teacher, data, tmp_path / "stopped", "dskd", **settings)
    stop_at(monkeypatch, 99)
    assert_same(weights_of(whole), weights_of(run(teacher, data, tmp_path / "stopped", "dskd", **settings)))


def with_top_tokens(teacher, data, top=3):
    text, targets = data
    head = teacher.get_output_embeddings().weight
    tokens = [likely_tokens(shard, head, top)[1].detach() for shard in text.states.hidden_states]
    return text._replace(states=text.states._replace(top_tokens=tokens)), targets


def test_every_part_of_a_batch_computes_with_the_same_tokens(teacher, data):
    text, _ = with_top_tokens(teacher, data)
    blocks, sampling = torch.tensor([7, 2, 11]), Sampling(5, VOCABULARY, 0)
    parts = [load_batch(Reader(text, None, torch.float32, sampling, i, 2), blocks, 3).vocabulary for i in range(2)]
    assert torch.equal(parts[0].tokens, parts[1].tokens) and torch.equal(*(part.log_weights for part in parts))
    certain = torch.cat([text.labels[blocks].flatten(), take_blocks(text.states.top_tokens, blocks).flatten()])
    sure = parts[0].tokens[parts[0].log_weights == 0]
    assert torch.equal(sure, certain[certain != IGNORE].unique())
    later = load_batch(Reader(text, None, torch.float32, sampling), blocks, 4).vocabulary
    assert not torch.equal(later.tokens, parts[0].tokens)
    first, unsaid = (load_batch(Reader(text, None, torch.float32, sampling), blocks, *step) for step in ([0], []))
    assert torch.equal(unsaid.vocabulary.tokens, first.vocabulary.tokens)


def test_a_finished_run_that_is_called_again_trains_no_further(teacher, data, tmp_path, monkeypatch):
    first = weights_of(run(teacher, data, tmp_path, checkpoint_steps=6))
    calls = stop_at(monkeypatch, 99)
    assert_same(first, weights_of(run(teacher, data, tmp_path, checkpoint_steps=6)))
    assert not calls


def test_training_in_bfloat16_lowers_the_loss_and_repeats_bitwise(bf16_teacher, tmp_path):
    data = make_data(bf16_teacher)
    one, two = (run(bf16_teacher, data, tmp_path / str(i), "dskd") for i in range(2))
    assert_same(weights_of(one), weights_of(two))
    assert {weight.dtype for weight in one.layers.parameters()} == {torch.float32}
    values = [float(line.split("\t")[1]) for line in curves(tmp_path / "0")["ce"].splitlines()[1:]]
    assert values[-1] < 0.9 * values[0]


@pytest.mark.parametrize("family", ["gemma2", "gemma3_text", "cohere"])
def test_the_curves_of_other_families_are_the_losses_of_the_whole_student(family, tmp_path):
    teacher = make_decoder(family)
    data = text, _ = make_data(teacher)
    run(teacher, data, tmp_path, "ce", epochs=0.01, log_steps=1)
    (blocks,) = schedule(BLOCKS, 0, distill_settings(epochs=0.01))
    start = assemble_student(teacher, student_top(teacher, LOWER_LAST), LOWER_LAST)
    logits = start(input_ids=make_text()[blocks, :-1]).logits.flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits.detach(), text.labels[blocks].flatten())
    found = float(curves(tmp_path)["ce"].splitlines()[1].split("\t")[1])
    assert found == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("kind", ["teacher", "bf16_teacher"])
def test_a_trained_student_scores_as_the_folder_it_is_exported_to(kind, tokenizer, tmp_path, request, monkeypatch):
    monkeypatch.setattr(arithmetic, "fast_bfloat16", lambda: True)  # what is loaded is in the teacher's dtype
    teacher = request.getfixturevalue(kind)
    text, _ = data = make_data(teacher)
    top = run(teacher, data, tmp_path)
    top.layers.to(teacher.dtype)  # as the stage does before it scores
    student = new_student(teacher, teacher, LOWER_LAST)._replace(top=top)
    scores = heldout_scores(student, head_of(teacher), text, 4)
    export_student(teacher, top, LOWER_LAST, tokenizer, tmp_path / "student", teacher.dtype)
    loaded = student._replace(top=load_student_top(tmp_path / "student", teacher, LOWER_LAST))
    again = heldout_scores(loaded, head_of(teacher), text, 4)
    for name in scores:
        assert torch.equal(scores[name], again[name]), name


def test_the_batches_of_an_epoch_cover_every_block_once_in_an_order_of_its_own():
    settings = distill_settings()
    orders = [torch.cat(batches(BLOCKS, epoch, seed, settings)) for epoch in range(2) for seed in range(2)]
    for order in orders:
        assert sorted(order.tolist()) == list(range(BLOCKS))
    assert len({tuple(order.tolist()) for order in orders}) == 4
    assert [len(batch) for batch in batches(BLOCKS, 0, 0, settings)] == [4] * 5 + [2]


def test_a_stopped_folder_of_work_is_all_that_a_resumed_run_reads(teacher, data, tmp_path):
    run(teacher, data, tmp_path)
    before = sha256_tree(tmp_path / "work")
    assert sorted(p.name for p in (tmp_path / "work" / "checkpoint-000000018").iterdir()) == [
        "SHA256SUMS",
        "history.json",
        "tensors.safetensors",
    ]
    run(teacher, data, tmp_path / "again")
    assert sha256_tree(tmp_path / "again" / "work") == before


def test_the_learning_rate_rises_linearly_and_falls_as_half_a_cosine_to_nothing():
    settings = distill_settings(learning_rate=2.0, warmup_share=0.1)
    rates = [learning_rate(step, 100, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (step + 1) for step in range(10)])
    assert max(rates) == rates[10] == 2.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(1.0)  # half way down
    assert 0 < rates[99] < 2.0 * 1e-3


@pytest.mark.parametrize("share, steps", [(0.0, 5), (1.0, 5), (0.1, 1), (1.0, 1)])
def test_the_learning_rate_is_positive_and_bounded_at_the_ends_of_the_warm_up(share, steps):
    settings = distill_settings(learning_rate=2.0, warmup_share=share)
    assert all(0 < learning_rate(step, steps, settings) <= 2.0 for step in range(steps))


def plain_training(teacher, data, objective, settings, rates, seed):
    """Clipped AdamW by hand, at these rates: the trained layers' weights, and the loss terms of each step."""
    student, goal = new_student(teacher, teacher, LOWER_LAST), goal_of(teacher, data, objective)
    weights = list(student.top.layers.parameters())
    means, squares, terms = [torch.zeros_like(w) for w in weights], [torch.zeros_like(w) for w in weights], []
    for step, (blocks, rate) in enumerate(zip(schedule(BLOCKS, seed, settings), rates, strict=True), start=1):
        batch = load_batch(Reader(*data, torch.float32), blocks)
        loss, found = step_loss(student, run_part(student.top, states=batch.split_states), batch, goal)
        terms.append({name: float(value) for name, value in found.items()})
        gradients = torch.autograd.grad(loss, weights)
        length = float(torch.stack([g.square().sum() for g in gradients]).sum().sqrt())
        assert length > settings.clip_norm
        for w, g, mean, square in zip(weights, gradients, means, squares):
            g = g * settings.clip_norm / length
            mean.mul_(0.9).add_(0.1 * g)
            square.mul_(0.999).add_(0.001 * g**2)
            ahead = (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
            w.data.mul_(1 - rate * settings.weight_decay).sub_(rate * ahead)
    return weights, terms


def test_training_is_adamw_with_decay_clipping_and_warm_up_written_plainly(teacher, data, tmp_path):
    chosen = {"epochs": 1, "learning_rate": 0.01, "warmup_share": 0.5, "weight_decay": 0.5, "clip_norm": 0.1}
    rates = [0.01 * share for share in (1 / 3, 2 / 3, 1, 1, 0.75, 0.25)]  # up to the half, then half a cosine
    plain, terms = plain_training(teacher, data, OBJECTIVES["dskd"], distill_settings(**chosen), rates, seed=3)
    top = run(teacher, data, tmp_path, "dskd", seed=3, **chosen)
    for found, true in zip(top.layers.parameters(), plain, strict=True):
        torch.testing.assert_close(found, true, rtol=1e-3, atol=2e-5)
    for name, table in curves(tmp_path).items():
        found = [float(line.split("\t")[1]) for line in table.splitlines()[1:]]
        assert found == pytest.approx([(terms[i][name] + terms[i + 1][name]) / 2 for i in (0, 2, 4)], rel=1e-3), name


def test_only_a_whitened_objective_has_a_metric(teacher, data):
    goal = goal_of(teacher, data, OBJECTIVES["dskd"])
    assert goal.metric is None and torch.equal(goal.vectors, data[1].vectors)
    assert goal_of(teacher, data, OBJECTIVES["span"]).metric is not None


@pytest.mark.parametrize("kind", ["teacher", "bf16_teacher"])
def test_layers_in_float32_compute_in_the_teacher_s_format(kind, tmp_path, request):
    teacher = request.getfixturevalue(kind)
    data, student = make_data(teacher), new_student(teacher, teacher, LOWER_LAST)
    formats = set()
    student.top.layers[0].mlp.up_proj.register_forward_hook(lambda *given: formats.add(given[-1].dtype))
    recipe = Recipe(OBJECTIVES["kd"], distill_settings(epochs=0.01), 0)
    train(student, head_of(teacher), data[0], None, recipe, tmp_path / "work")
    assert formats == {teacher.dtype}
    assert {weight.dtype for weight in student.top.layers.parameters()} == {torch.float32}


def stepped(value):
    """Weights with one number, and an optimizer that has done a step."""
    weight = torch.nn.Parameter(torch.tensor([value]))
    optimizer = torch.optim.AdamW([weight], lr=0.5)
    weight.grad = torch.tensor([value])
    optimizer.step()
    return {"w": weight}, optimizer


def test_one_checkpoint_is_kept_and_the_latest_is_gone_on_from(tmp_path):
    saved = {step: stepped(float(step)) for step in (4, 8, 12)}
    for step in (4, 8):
        save_checkpoint(tmp_path, Progress(step, [{"step": step, "ce": 1.5}], {"ce": 0.5}), *saved[step])
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == ["checkpoint-000000008"]
    shutil.copytree(tmp_path / "checkpoint-000000008", tmp_path / "kept")
    save_checkpoint(tmp_path, Progress(12, [], {"ce": 0.25}), *saved[12])
    (tmp_path / "kept").rename(tmp_path / "checkpoint-000000008")  # as a kill before the clearing leaves it
    weights, optimizer = stepped(1.0)
    assert load_checkpoint(tmp_path, weights, optimizer) == Progress(12, [], {"ce": 0.25})
    assert torch.equal(weights["w"], saved[12][0]["w"])
    for part, value in saved[12][1].state[saved[12][0]["w"]].items():
        assert torch.equal(optimizer.state[weights["w"]][part], value), part


def test_layers_of_which_some_weights_train_keep_the_others(teacher):
    top = student_top(teacher, LOWER_LAST)
    plain, top.projection = copy.deepcopy(top.layers), None
    name, weight = next(iter(top.layers.named_parameters()))
    train_module._undistribute(top, {name: weight + 1}, copy.deepcopy(plain))
    for other, value in top.layers.named_parameters():
        assert torch.equal(value, plain.get_parameter(other) + (other == name)), other
