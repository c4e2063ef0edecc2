"""The losses of the library against the pipeline's own, and against plain formulas."""

from dataclasses import replace

import pytest
import torch
from tiny.models import generator, make_teacher, random_states, sampled, sense_settings
from torch.nn import functional as F

from dskd import (
    IGNORE,
    Lexicon,
    OutputWeights,
    SenseDictionary,
    SenseLoss,
    StateLoss,
    TargetSettings,
    UserError,
    model_head,
    output_loss,
)
from dskd.lexicon.relations import SYNONYM
from dskd.library.lexicon import RelatedSpans
from dskd.model.logits import Head
from dskd.senses.cluster import build_senses
from dskd.students.hidden_loss import hidden_loss, whitening
from dskd.students.sense_loss import sense_loss, span_loss
from dskd.targets.choose import build_targets, nearest_rows, sample_positions

BLOCKS, LENGTH, WIDTH, TOKENS = 6, 40, 8, 25
SYNONYMS = {1: [(2,), (5, 6)], 3: [(999,)], 4: [(1,), (6,), (7,)], 2: [(1,)]}
ANTONYMS = {1: [(8,), (1,), (9, 3)], 2: [(8, 9, 10)], 6: [(7,), (999, 2)]}
RELATED = {1, 2, 4, 6}
TARGETS = TargetSettings(neighbours=3, max_synonyms=2, related_share=0.5, related_min=2)


class OfSpans:
    """A lexicon whose spans are given."""

    def spans(self, tokenizer):
        return RelatedSpans(SYNONYMS, ANTONYMS)


@pytest.fixture(scope="module")
def made():
    states = random_states(BLOCKS, LENGTH, WIDTH, TOKENS)
    labels = torch.cat(states.predicted).roll(1, dims=1).long()
    chosen = sense_settings(reservoir=30, iterations=20, contexts=1)
    senses = build_senses(sampled(states, labels, chosen), chosen)
    student = torch.randn(BLOCKS, LENGTH, WIDTH, generator=generator(3))
    return states, labels, SenseDictionary(senses, tokenizer=None), student


def pipelines_positions(labels, loss):
    return sample_positions(labels, RELATED, loss.known, TARGETS.params())


@pytest.mark.parametrize("form", ["regression", "span"])
@pytest.mark.parametrize("whitened", [False, True])
def test_the_sense_loss_of_a_batch_is_that_of_the_pipelines_cached_targets(made, form, whitened):
    states, labels, dictionary, student = made
    targets = build_targets(states, labels, dictionary.senses, SYNONYMS, ANTONYMS, TARGETS.params())
    teacher = torch.cat(states.hidden_states)
    sample = teacher.flatten(0, 1) if whitened else None
    loss = SenseLoss(dictionary, OfSpans(), form, 2.0, sample, TARGETS)
    found = loss.choose(teacher, labels, pipelines_positions(labels, loss))
    assert torch.equal(loss.vectors, targets.vectors)
    assert torch.equal(found.pull, targets.pull) and torch.equal(found.push, targets.push)
    assert (found.push >= 0).any() and loss.related == RELATED

    loss.positions = lambda labels, mask: pipelines_positions(labels, loss)
    own, other, pull, push = (x.flatten(0, 1) for x in (student.clone(), teacher, targets.pull, targets.push))
    metric = whitening(sample) if whitened else torch.eye(WIDTH)
    own.requires_grad_()
    chosen = (pull >= 0).any(dim=1)
    seen = own[chosen] @ metric, targets.vectors @ metric
    if form == "span":
        wanted = span_loss(seen[0], other[chosen] @ metric, seen[1], pull[chosen], push[chosen]).mean()
    else:
        wanted = sense_loss(*seen, pull[chosen], push[chosen], 2.0, int(chosen.sum()))
    batch = student.clone().requires_grad_()
    value = loss(batch, teacher, labels)
    torch.testing.assert_close(value, wanted)
    gradients = torch.autograd.grad(wanted, own)[0].view_as(batch), torch.autograd.grad(value, batch)[0]
    torch.testing.assert_close(*gradients)
    assert gradients[0].any()


def test_the_nearest_of_many_tokens_at_once_are_those_of_one_at_a_time(made, monkeypatch):
    states, labels, dictionary, _ = made
    loss = SenseLoss(dictionary, OfSpans(), settings=TARGETS)
    flat, tokens = torch.cat(states.hidden_states).flatten(0, 1), labels.flatten()
    index = torch.searchsorted(loss.tokens, tokens)
    for numbers in (1 << 24, 40):  # all in one part, and a position at a time
        monkeypatch.setattr("dskd.library.senses._NUMBERS", numbers)
        found = loss.close.nearest(flat, loss.vectors, index, 4)
        for token in tokens.unique().tolist():
            here = tokens == token
            place = int(torch.searchsorted(loss.tokens, token))
            rows = loss.close.rows[loss.close.starts[place] : loss.close.starts[place + 1]]
            assert torch.equal(found[here], nearest_rows(flat[here], loss.vectors, rows, 4))


def test_positions_are_a_share_of_the_related_and_as_many_others(made):
    _, labels, dictionary, _ = made
    loss = SenseLoss(dictionary, OfSpans(), settings=TARGETS)
    with_relations, own_only = loss.positions(labels)
    related = torch.isin(labels, torch.tensor(sorted(RELATED)))
    available = related.sum(dim=1)
    wanted = torch.minimum((available * 0.5).ceil().clamp_min(2), available)
    assert with_relations.sum(dim=1).tolist() == wanted.tolist() and not (with_relations & ~related).any()
    assert own_only.any() and not (own_only & with_relations).any()
    assert int(loss.count(labels)) == int((with_relations | own_only).sum())


def test_a_row_is_supervised_alike_whatever_stands_beside_it_or_pads_it(made):
    _, labels, dictionary, _ = made
    loss = SenseLoss(dictionary, OfSpans(), settings=TARGETS)
    whole = loss.positions(labels)
    padded = torch.cat([labels[3:4], torch.full((1, 7), IGNORE)], dim=1)
    for mask, alone in zip(whole, loss.positions(padded)):
        assert torch.equal(mask[3], alone[0, :LENGTH]) and not alone[0, LENGTH:].any()
    left = torch.cat([torch.full((BLOCKS, 7), IGNORE), labels], dim=1)
    for mask, moved in zip(whole, loss.positions(left)):
        assert torch.equal(mask, moved[:, 7:]) and not moved[:, :7].any()
    other = SenseLoss(dictionary, OfSpans(), settings=TARGETS._replace(seed=1))
    assert not torch.equal(whole[0], other.positions(labels)[0])
    assert not torch.equal(whole[0], loss.positions(labels.roll(1, dims=1))[0].roll(-1, dims=1))


def test_what_is_masked_is_not_supervised(made):
    states, labels, dictionary, student = made
    loss, mask = SenseLoss(dictionary, OfSpans(), settings=TARGETS), torch.arange(LENGTH) % 3 == 0
    mask = mask.expand(BLOCKS, -1)
    ignored = labels.masked_fill(~mask, IGNORE)
    for found in (loss.positions(labels, mask), loss.positions(ignored)):
        assert (found[0] | found[1]).any() and not ((found[0] | found[1]) & ~mask).any()
    teacher = torch.cat(states.hidden_states)
    assert loss(student, teacher, labels, mask) == loss(student, teacher, ignored)
    assert loss(student.masked_fill(~mask[..., None], torch.nan), teacher, ignored).isfinite()


def every_loss(made):
    states, _, dictionary, _ = made
    sample = torch.cat(states.hidden_states).flatten(0, 1)
    yield StateLoss()
    yield StateLoss.whitened(sample)
    yield StateLoss.whitened(sample, deviation=1.0)
    yield SenseLoss(dictionary, OfSpans(), settings=TARGETS)
    yield SenseLoss(dictionary, OfSpans(), form="span", whiten=sample, settings=TARGETS)


def test_parts_of_a_batch_add_up_to_the_whole(made):
    states, labels, _, student = made
    teacher, labels = torch.cat(states.hidden_states), labels.clone()
    labels[:2, 5:] = IGNORE
    for loss in every_loss(made):
        count = loss.count(labels[:2]) + loss.count(labels[2:])
        parts = [loss(student[p], teacher[p], labels[p], count=count) for p in (slice(0, 2), slice(2, None))]
        torch.testing.assert_close(sum(parts), loss(student, teacher, labels))
        assert float(parts[0]) != float(parts[1])


def test_a_batch_without_a_position_that_counts_gives_zero_and_zero_gradients(made):
    states, labels, _, student = made
    teacher, none = torch.cat(states.hidden_states), torch.full_like(labels, IGNORE)
    for loss in every_loss(made):
        for masked in ((none, None), (labels, torch.zeros_like(labels, dtype=torch.bool))):
            own = student.clone().requires_grad_()
            value = loss(own, teacher, *masked)
            value.backward()
            assert float(value.detach()) == 0 and own.grad is not None and not own.grad.any()


def test_under_autocast_the_losses_are_computed_in_float32(made):
    states, labels, _, student = made
    teacher = torch.cat(states.hidden_states)
    for loss in every_loss(made):
        wanted = loss(student, teacher, labels)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(loss(student, teacher, labels), wanted)
        low = student.bfloat16().requires_grad_()
        loss(low, teacher.bfloat16(), labels).backward()
        assert low.grad.isfinite().all() and low.grad.any()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_a_loss_keeps_its_numbers_where_a_teacher_is_narrowed_beside_it(made, kind):
    """`DistillationLoss(...).to(torch.bfloat16)` is meant for the teacher."""
    states, labels, _, student = made
    teacher = torch.cat(states.hidden_states)
    for loss in every_loss(made):
        wanted = loss(student, teacher, labels)
        assert torch.equal(loss.to(kind)(student, teacher, labels), wanted)
        assert all(numbers.device.type == "meta" for numbers in loss.to("meta", kind).buffers())


def test_the_state_losses_are_those_of_plain_formulas_and_of_the_pipeline(made):
    states, labels, _, student = made
    teacher, labels = torch.cat(states.hidden_states), labels.clone()
    labels[0, 3:] = IGNORE
    kept = labels != IGNORE
    own, other, sample = student[kept], teacher[kept], teacher.flatten(0, 1)
    torch.testing.assert_close(StateLoss()(student, teacher, labels), (own - other).square().mean())
    metric, mean = whitening(sample), sample.mean(dim=0)
    whitened = hidden_loss(own @ metric, other @ metric, len(own))
    torch.testing.assert_close(StateLoss.whitened(sample)(student, teacher, labels), whitened)
    away = (mean - other) @ metric
    away = away / away.norm(dim=1, keepdim=True)
    along = (((own - other) @ metric) * away).sum(dim=1).square().mean() / WIDTH
    found = StateLoss.whitened(sample, deviation=2.0)(student, teacher, labels)
    torch.testing.assert_close(found, whitened + 2 * along, rtol=1e-3, atol=1e-6)
    rows = torch.zeros(len(own), 1, dtype=torch.int32)  # as the pipeline's span_mean does it
    span = span_loss(own @ metric, other @ metric, mean[None] @ metric, rows, rows - 1).mean()
    torch.testing.assert_close(found, whitened + 2 * span)


def test_a_metric_that_is_not_symmetric_sees_states_from_the_left():
    """||M(s - h)||^2 / d, and the deviation from the mean as M sees it."""
    draw = generator(5)
    metric, student, teacher = (torch.randn(n, WIDTH, generator=draw) for n in (WIDTH, 9, 9))
    labels, mean = torch.arange(9), torch.zeros(WIDTH)
    seen = [metric @ (own - other) for own, other in zip(student, teacher)]
    wanted = torch.stack([error.square().mean() for error in seen]).mean()
    torch.testing.assert_close(StateLoss(metric)(student, teacher, labels), wanted)
    ways = [F.normalize(metric @ other, dim=0) for other in teacher]
    along = torch.stack([(error @ way).square() / WIDTH for error, way in zip(seen, ways)]).mean()
    found = StateLoss(metric, mean, deviation=1.0)(student, teacher, labels)
    torch.testing.assert_close(found, wanted + along, rtol=1e-3, atol=1e-6)


def test_a_label_without_a_dimension_is_one_clear_line(made):
    head = model_head(make_teacher())
    one = torch.tensor(5)
    for loss in every_loss(made):
        for given in (lambda loss=loss: loss(torch.zeros(WIDTH), torch.zeros(WIDTH), one),
                      lambda loss=loss: loss.count(one)):  # fmt: skip
            with pytest.raises(UserError, match="without a dimension"):
                given()
    with pytest.raises(UserError, match="without a dimension"):
        output_loss(torch.zeros(32), torch.zeros(32), one, (head, head))


def test_wrong_shapes_and_settings_are_one_clear_line(made):
    states, labels, dictionary, student = made
    teacher = torch.cat(states.hidden_states)
    for loss in every_loss(made):
        with pytest.raises(UserError, match="linear layer"):
            loss(student[..., :5], teacher, labels)
    with pytest.raises(UserError, match="8 dimensions, the states 5"):
        SenseLoss(dictionary, OfSpans(), settings=TARGETS)(student[..., :5], teacher[..., :5], labels)
    for faulty, says in (
        (lambda: StateLoss(deviation=1.0), "needs a mean"),
        (lambda: StateLoss.whitened(student), "no covariance"),
        (lambda: SenseLoss(dictionary, OfSpans(), form="other"), "form = 'other'"),
        (lambda: SenseLoss(dictionary, OfSpans(), settings=TargetSettings(neighbours=0)), "neighbours = 0"),
        (
            lambda: SenseLoss(dictionary, OfSpans(), settings=TargetSettings(related_share=0.0, related_min=0)),
            "^related_share and related_min are both 0, so that no position would be supervised$",
        ),
    ):
        with pytest.raises(UserError, match=says):
            faulty()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda labels: labels.T, "one label for each|the labels are"),
        (lambda labels: labels[0], "the labels are"),  # of which a square batch would take rows
        (lambda labels: labels[:, :-1], "the labels are"),
        (lambda labels: labels.float(), "whole numbers"),
        (lambda labels: labels.masked_fill(labels == labels[0, 0], -1), "the label -1 is no token"),
    ],
)
def test_labels_that_are_not_those_of_the_states_are_refused(made, change, says):
    states, labels, _, student = made
    teacher, faulty = torch.cat(states.hidden_states), change(labels)
    for loss in every_loss(made):
        with pytest.raises(UserError, match=says):
            loss(student, teacher, faulty)
    square = student[:, :BLOCKS], teacher[:, :BLOCKS], labels[0, :BLOCKS]
    with pytest.raises(UserError, match="the labels are"):
        StateLoss()(*square)


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (torch.ones(BLOCKS, LENGTH + 1), "one value for each"),
        (torch.ones(LENGTH), "one value for each"),
        (torch.full((BLOCKS, LENGTH), -torch.inf), "other values than 0 and 1"),  # as attention adds it: turned round
    ],
)
def test_what_is_no_mask_of_the_labels_is_refused(made, mask, says):
    states, labels, _, student = made
    for loss in every_loss(made):
        for given in (lambda loss=loss: loss(student, torch.cat(states.hidden_states), labels, mask),
                      lambda loss=loss: loss.count(labels, mask)):  # fmt: skip
            with pytest.raises(UserError, match=says):
                given()


def test_masks_of_any_kind_and_batches_of_other_formats_are_read_alike(made):
    states, labels, _, student = made
    teacher, mask = torch.cat(states.hidden_states), torch.arange(LENGTH).expand(BLOCKS, -1) % 2 == 0
    for loss in every_loss(made):
        wanted = loss(student, teacher, labels, mask)
        for other in (mask.long(), mask.float()):
            assert torch.equal(loss(student, teacher, labels, other), wanted)
        assert torch.equal(loss(student, teacher, labels.int(), mask), wanted)
        torch.testing.assert_close(loss(student.half(), teacher.double(), labels, mask), wanted, rtol=1e-2, atol=1e-3)
        empty = loss(student[:, :0], teacher[:, :0], labels[:, :0])
        assert float(empty) == 0


def test_a_lexicon_of_other_words_is_refused_and_not_a_loss_of_zero(made, teacher, tokenizer):
    from tiny.models import TEXT

    from dskd import DictionarySettings

    dictionary = SenseDictionary.from_model(teacher, tokenizer, TEXT * 9, DictionarySettings(length=8))
    with pytest.raises(UserError, match="no token of the dictionary has a synonym or an antonym"):
        SenseLoss(dictionary, Lexicon.from_pairs([("katze", "mieze")]))


def test_states_without_a_covariance_and_of_another_width_are_refused(made):
    states, labels, dictionary, student = made
    sample = torch.cat(states.hidden_states).flatten(0, 1)
    for faulty in (torch.ones(9, WIDTH), sample.masked_fill(sample > 1, torch.nan)):
        with pytest.raises(UserError, match="not finite, or all alike"):
            StateLoss.whitened(faulty)
    with pytest.raises(UserError, match=r"\[8, 8\] have no covariance"):  # they leave a direction without any spread
        StateLoss.whitened(sample[:WIDTH])
    with pytest.raises(UserError, match="whitened for 5 dimensions"):
        StateLoss.whitened(sample[:, :5])(student, torch.cat(states.hidden_states), labels)
    with pytest.raises(UserError, match="the states to whiten by 5"):
        SenseLoss(dictionary, OfSpans(), whiten=sample[:, :5], settings=TARGETS)


@pytest.mark.parametrize(
    "wrong",
    [{"temperature": 0.0}, {"temperature": -1.0}, {"ce": float("nan")}, {"kl": -0.5}, {"beta": 1.5}],
)
def test_what_are_no_weights_is_refused(wrong):
    head = model_head(make_teacher())
    weights = OutputWeights(1.0, 0.7, 2.0)._replace(**wrong)
    with pytest.raises(UserError, match=f"{next(iter(wrong))} = "):
        output_loss(torch.zeros(1, 32), torch.zeros(1, 32), torch.zeros(1, dtype=torch.int64), (head, head), weights)


def test_labels_beyond_the_vocabulary_and_states_of_other_shapes_are_refused():
    heads = (model_head(make_teacher()),) * 2
    states, labels = torch.randn(2, 9, 32, generator=generator(1)), torch.zeros(2, 9, dtype=torch.int64)
    for label in (-1, 120):
        with pytest.raises(UserError, match=f"the label {label} is no token"):
            output_loss(states, states, labels + label, heads)
    for own, other, of in (
        (states, states, labels.view(9, 2)),
        (states, states.view(9, 2, 32), labels),
        (states[..., :8], states, labels),
        (states, states[:1], labels),
    ):
        with pytest.raises(UserError, match=r"the labels"):
            output_loss(own, other, of, heads)


def reference(model, other, ids, labels, weights):
    """Cross-entropy and KL by transformers' own logits."""
    logits, soft = model(input_ids=ids).logits.float(), other(input_ids=ids).logits.float()
    kept = labels != IGNORE
    ce = F.cross_entropy(logits[kept], labels[kept])
    p, q = (F.log_softmax(x[kept] / weights.temperature, dim=-1) for x in (soft, logits))
    kl = (p.exp() * (p - q)).sum(dim=-1).mean()
    return weights.ce * ce + weights.kl * weights.temperature**2 * kl


@pytest.mark.parametrize(("kind", "vocabulary"), [(torch.int8, 300), (torch.int16, 40_000)])
def test_labels_of_fewer_bytes_than_the_vocabularys_size_are_tokens(kind, vocabulary):
    states, labels = torch.randn(2, 3, 4), torch.tensor([[5, 127, IGNORE], [0, 99, 1]])
    heads = (Head(torch.randn(vocabulary, 4)),) * 2
    assert output_loss(states, states, labels.to(kind), heads).ce == output_loss(states, states, labels, heads).ce
    assert torch.equal(StateLoss()(states, states + 1, labels.to(kind)), torch.ones(()))


@pytest.mark.parametrize("tied", [True, False])
def test_the_output_loss_and_its_gradient_reach_states_and_a_head_that_trains(tied):
    teacher, student = make_teacher(seed=1), make_teacher(tied=tied).requires_grad_(True)
    ids = torch.randint(0, 120, (3, 17), generator=generator(0))
    labels = ids.roll(-1, dims=1)
    labels[:, -1] = labels[1, :5] = IGNORE
    weights = OutputWeights(0.8, 0.6, 2.0)
    wanted = reference(student, teacher, ids, labels, weights)
    wanted.backward()
    gradients = {name: weight.grad.clone() for name, weight in student.named_parameters()}
    student.zero_grad()
    states = student.base_model(input_ids=ids).last_hidden_state
    with torch.no_grad():
        other = teacher.base_model(input_ids=ids).last_hidden_state
    found = output_loss(states, other, labels, (model_head(student), model_head(teacher)), weights)
    found.loss.backward()
    torch.testing.assert_close(found.loss, wanted)
    for name, weight in student.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-3, atol=1e-6, msg=name)


def test_the_output_loss_in_parts_masked_and_under_autocast():
    teacher, student = make_teacher(seed=1), make_teacher()
    states, other = torch.randn(2, 9, 32, generator=generator(1)), torch.randn(2, 9, 32, generator=generator(2))
    labels = torch.randint(0, 120, (2, 9), generator=generator(0))
    labels[0, 4:] = IGNORE
    heads = model_head(student), model_head(teacher)
    whole = output_loss(states, other, labels, heads).loss
    parts = [output_loss(states[i], other[i], labels[i], heads, count=torch.tensor(13)).loss for i in (0, 1)]
    torch.testing.assert_close(sum(parts), whole)
    own = states.clone().requires_grad_()
    none = output_loss(own, other, torch.full_like(labels, IGNORE), heads)
    none.loss.backward()
    assert [float(value.detach()) for value in none] == [0, 0, 0] and not own.grad.any()
    with torch.autocast("cpu", torch.bfloat16):
        low = output_loss(states, other, labels, heads).loss
    assert low != whole and abs(float(low - whole)) < 0.05 * float(whole)


def test_a_divergence_of_the_weight_0_is_not_0():
    head, states = model_head(make_teacher()), torch.randn(2, 9, 32, generator=generator(1))
    labels = torch.randint(0, 120, (2, 9), generator=generator(0))
    found = output_loss(states, -states, labels, (head, head), OutputWeights(1.0, 0.0, 2.0))
    assert found.kl.isnan() and torch.equal(found.loss, found.ce) and found.loss.isfinite()


def test_a_head_that_is_not_all_is_refused():
    model = make_teacher()
    model.lm_head.register_forward_hook(lambda *given: given[-1] * 2)
    with pytest.raises(UserError, match="LlamaForCausalLM computes its logits otherwise"):
        model_head(model)
    heads = model_head(make_teacher()), model_head(make_teacher(vocabulary=90))
    with pytest.raises(UserError, match="120 tokens, the teacher 90"):
        output_loss(torch.zeros(1, 32), torch.zeros(1, 32), torch.zeros(1, dtype=torch.int64), heads)


def test_words_of_a_lexicon_reach_the_loss(teacher, tokenizer):
    from tiny.models import TEXT

    from dskd import DictionarySettings

    dictionary = SenseDictionary.from_model(teacher, tokenizer, TEXT * 9, DictionarySettings(length=8))
    lexicon = Lexicon.from_pairs([("quick", "lazy")])
    assert {pair.relation for pair in lexicon.pairs} == {SYNONYM}
    loss = SenseLoss(dictionary, lexicon)
    assert loss.related == {dictionary.tokens_of(word)[0] for word in ("quick", "lazy")}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_on_cuda_the_losses_and_gradients_are_those_of_the_processor(made):
    states, labels, _, student = made
    teacher, found = torch.cat(states.hidden_states), {}
    for device in ("cpu", "cuda"):
        for number, loss in enumerate(every_loss(made)):
            own = student.to(device).requires_grad_()
            value = loss.to(device)(own, teacher.to(device), labels.to(device))
            value.backward()
            found[device, number] = value.detach().cpu(), own.grad.cpu()
    for number in range(len(found) // 2):
        torch.testing.assert_close(found["cuda", number], found["cpu", number], rtol=1e-3, atol=1e-5)


def test_the_senses_that_pull_are_the_nearest_where_all_states_lie_far_off(made):
    """As where one dimension is large in every state: a difference of squares has few digits left."""
    states, labels, dictionary, _ = made
    away = torch.tensor([3000.0] + [0.0] * (WIDTH - 1))
    far = replace(dictionary, senses=dictionary.senses._replace(centroids=dictionary.senses.centroids + away))
    teacher = torch.cat(states.hidden_states) + away
    loss = SenseLoss(far, OfSpans(), settings=TARGETS)
    supervised, _ = positions = loss.positions(labels)
    pull = loss.choose(teacher, labels, positions).pull[supervised][:, 0].long()
    for state, token, row in zip(teacher[supervised].double(), labels[supervised], pull, strict=True):
        place = int(torch.searchsorted(loss.tokens, token))
        rows = loss.close.rows[loss.close.starts[place] : loss.close.starts[place + 1]]
        distances = (loss.vectors[rows].double() - state).square().sum(dim=1)
        assert int(row) == int(rows[distances.argmin()])


@pytest.mark.parametrize("form", ["regression", "span"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e30])  # the square of the last is not finite
def test_a_teacher_whose_states_are_not_finite_chooses_no_senses(made, form, value):
    """As of a model in float16 that overflows: every position would be pulled elsewhere, or left out of the mean."""
    states, labels, dictionary, student = made
    loss, teacher = SenseLoss(dictionary, OfSpans(), form, settings=TARGETS), torch.cat(states.hidden_states)
    faulty = teacher.clone()
    faulty[:, 20:] = value
    with pytest.raises(UserError, match="a state of the teacher is not finite"):
        loss(student, faulty, labels)
    masked = labels.clone()
    masked[:, 20:] = IGNORE
    assert torch.equal(loss(student, faulty, masked), loss(student, teacher, masked))
    for place in (faulty[0, 30], faulty[:, 18:22]):
        with pytest.raises(UserError, match="a state of the teacher is not finite"):
            dictionary.nearest(place, int(labels[0, 30]))


@pytest.mark.parametrize("count", [0, -5.0, torch.nan, torch.inf, torch.tensor(0), torch.ones(2)])
def test_what_is_no_count_of_the_positions_is_refused(made, count):
    states, labels, _, student = made
    teacher, none = torch.cat(states.hidden_states), torch.full_like(labels, IGNORE)
    head = model_head(make_teacher())
    wide = torch.zeros(*labels.shape, 32)
    for loss in every_loss(made):
        with pytest.raises(UserError, match="count"):
            loss(student, teacher, labels, count=count)
        assert float(loss(student, teacher, none, count=0)) == 0  # a part without a position
    with pytest.raises(UserError, match="count"):
        output_loss(wide, wide, labels, (head, head), count=count)


@pytest.mark.parametrize("kind", [torch.uint8, torch.bool, torch.complex64])
def test_labels_that_cannot_hold_what_does_not_count_are_refused(made, kind):
    """As uint8, IGNORE is 156, which is a token."""
    states, labels, _, student = made
    teacher, faulty = torch.cat(states.hidden_states), labels.to(kind)
    for loss in every_loss(made):
        for given in (lambda loss=loss: loss(student, teacher, faulty), lambda loss=loss: loss.count(faulty)):
            with pytest.raises(UserError, match="whole numbers with a sign"):
                given()


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_margins_and_deviations_that_are_none_are_refused(made, value):
    states, _, dictionary, _ = made
    with pytest.raises(UserError, match="margin = "):
        SenseLoss(dictionary, OfSpans(), margin=value, settings=TARGETS)
    with pytest.raises(UserError, match="deviation = "):
        StateLoss.whitened(torch.cat(states.hidden_states).flatten(0, 1), deviation=value)


@pytest.mark.parametrize("count", [64, 1 << 20])
def test_in_float16_the_gradient_of_a_large_batch_is_not_lost(count):
    """The mean of a million positions has gradients below what float16 knows, and the scale of a loss comes later."""
    draw = generator(0)
    weight, states, other = (torch.randn(n, 32, generator=draw).div(3).half() for n in (500, 64, 64))
    labels, found = torch.randint(0, 500, (64,), generator=draw), {}
    for dtype in (torch.float32, torch.float16):
        own, head = states.to(dtype).clone().requires_grad_(), Head(weight.to(dtype))
        loss = output_loss(own, other.to(dtype), labels, (head, head), count=count).loss
        (loss * 2.0**16).backward()  # the scale that torch.amp.GradScaler begins with
        found[dtype] = own.grad.float()
    torch.testing.assert_close(found[torch.float16], found[torch.float32], rtol=2e-3, atol=1e-3 * 64 / count)
