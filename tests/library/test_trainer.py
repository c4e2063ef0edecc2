"""The Trainer's steps are those of a plain loop over whole batches."""

import copy

import pytest
import torch
from tiny.models import TEXT, make_teacher
from tools.parallel import run_in_processes
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import IterableDataset
from transformers import GPT2Config, GPT2LMHeadModel, MixtralConfig, MixtralForCausalLM, TrainingArguments

from dskd import (
    IGNORE,
    DictionarySettings,
    DistillationLoss,
    DistillationTrainer,
    Lexicon,
    OutputWeights,
    SenseDictionary,
    SenseLoss,
    StateLoss,
    TargetSettings,
    Term,
    UserError,
    states_of,
)
from dskd.library.distillation import _place
from dskd.library.models import unwrapped

LENGTH = 12


@pytest.fixture(scope="module")
def made(teacher, tokenizer):
    dictionary = SenseDictionary.from_model(teacher, tokenizer, TEXT * 9, DictionarySettings(length=8))
    lexicon = Lexicon.from_pairs([("quick", "lazy"), ("box", "fox")], [("big", "small")])
    sense = SenseLoss(dictionary, lexicon, settings=TargetSettings(related_min=1))
    state = StateLoss.whitened(states_of(teacher, tokenizer, TEXT * 9, length=8), deviation=1.0)
    loss = DistillationLoss(make_teacher(), [Term(0.5, sense), Term(0.3, state)], OutputWeights(1.0, 0.7, 2.0))
    ids = tokenizer(TEXT * 4, truncation=True, max_length=LENGTH)["input_ids"]
    rows = [torch.tensor(row + [0] * (LENGTH - len(row))) for row in ids]
    batch = {"input_ids": torch.stack(rows), "labels": torch.stack(rows).masked_fill(torch.stack(rows) == 0, IGNORE)}
    batch["labels"][1, 4:] = IGNORE  # parts of unlike size
    return loss, batch


def student():
    return make_teacher(seed=3, layers=2).requires_grad_(True).train()


def part(batch, rows):
    return {name: value[rows] for name, value in batch.items()}


def test_the_loss_is_the_weighted_sum_of_its_terms_and_is_the_same_in_parts(made):
    loss, batch = made
    model = student()
    whole = loss(model, batch)
    terms = whole.terms
    wanted = terms["ce"] + 0.7 * 4 * terms["kl"] + 0.5 * terms["SenseLoss"] + 0.3 * terms["StateLoss"]
    assert float(whole.loss.detach()) == pytest.approx(wanted, rel=1e-5) and min(terms.values()) > 0
    parts = [part(batch, slice(i, i + 3)) for i in range(0, 12, 3)]
    counts = loss.counts(parts)
    assert counts == loss.counts([batch]) and counts[0] == counts[2] > counts[1] > 0
    found = [loss(model, one, counts) for one in parts]
    torch.testing.assert_close(sum(one.loss for one in found), whole.loss)
    for name in terms:
        assert sum(one.terms[name] for one in found) == pytest.approx(terms[name], rel=1e-4)


def test_two_terms_of_a_kind_are_both_told(made):
    _, batch = made
    loss = DistillationLoss(
        make_teacher(), [Term(1.0, StateLoss()), Term(2.0, StateLoss.whitened(torch.randn(99, 32)))]
    )
    found = loss(student(), batch)
    assert list(found.terms) == ["ce", "kl", "StateLoss", "StateLoss 2"]
    wanted = found.terms["ce"] + 0.7 * 4 * found.terms["kl"] + found.terms["StateLoss"] + 2 * found.terms["StateLoss 2"]
    assert float(found.loss.detach()) == pytest.approx(wanted, rel=1e-5)


def test_a_batch_without_labels_and_counts_of_other_losses_are_refused(made):
    loss, batch = made
    unlabelled = {"input_ids": batch["input_ids"]}
    for given in (lambda: loss(student(), unlabelled), lambda: loss.counts([unlabelled])):
        with pytest.raises(UserError, match="no labels"):
            given()
    for counts in ([5.0], []):
        with pytest.raises(UserError, match=f"{len(counts)} counts, of 3 losses"):
            loss(student(), batch, counts)
    with pytest.raises(UserError, match="temperature = 0"):
        DistillationLoss(make_teacher(), weights=OutputWeights(1.0, 0.7, 0.0))
    nothing = [Term(0.0, term.loss) for term in loss.terms]
    with pytest.raises(UserError, match="all weights are 0, so that nothing is learnt"):
        DistillationLoss(make_teacher(), nothing, OutputWeights(0.0, 0.0, 1.0))


@pytest.mark.parametrize("last", [IGNORE, 7])
def test_labels_that_are_moved_already_are_refused(made, last):
    """As loops have them that cut x and y out of one stream: they would be moved twice."""
    loss, batch = made
    ids = batch["input_ids"][:2, :8]
    moved = torch.cat([ids[:, 1:], torch.full((2, 1), last)], dim=1)
    for labels in (moved, torch.where(torch.arange(8) < 5, IGNORE, moved)):  # all of it, or an answer alone
        with pytest.raises(UserError, match="the labels are moved by one already"):
            loss(student(), {"input_ids": ids, "labels": labels})
    same = torch.full((2, 8), 5)  # where all tokens are one, nobody can tell
    assert loss(student(), {"input_ids": same, "labels": same}).loss.isfinite()
    noisy = ids.clone()
    noisy[:, 3] = 9  # the model may be given other tokens than it is to tell
    assert loss(student(), {"input_ids": noisy, "labels": ids}).loss.isfinite()


def test_a_teacher_does_not_read_the_students_embeddings(made):
    loss, batch = made
    model = student()
    embedded = model.get_input_embeddings()(batch["input_ids"])
    with pytest.raises(UserError, match="inputs_embeds, which are of one of the models: give input_ids"):
        loss(model, {"inputs_embeds": embedded, "labels": batch["labels"]})


def test_terms_may_come_from_a_generator(made):
    _, batch = made
    terms = [Term(0.5, StateLoss()), Term(0.2, StateLoss.whitened(torch.randn(99, 32)))]
    wanted = DistillationLoss(make_teacher(), terms)(student(), batch)
    found = DistillationLoss(make_teacher(), (term for term in terms))(student(), batch)
    assert found.terms == wanted.terms and len(found.terms) == 4 and torch.equal(found.loss, wanted.loss)


@pytest.mark.parametrize(
    ("term", "says"),
    [
        (Term(float("nan"), StateLoss()), "the weight of StateLoss = nan"),
        (Term(-0.1, StateLoss()), "the weight of StateLoss = -0.1"),
        (StateLoss(), r"a term is a StateLoss: give Term\("),
        (Term(StateLoss(), 0.1), "a term is a Term"),
    ],
)
def test_what_are_no_terms_is_refused(term, says):
    with pytest.raises(UserError, match=says):
        DistillationLoss(make_teacher(), [term])


def test_one_batch_in_the_place_of_a_list_is_refused(made):
    loss, batch = made
    with pytest.raises(UserError, match=r"give a list of all that are accumulated, \[batch\]"):
        loss.counts(batch)


def test_a_student_that_shares_what_trains_with_the_teacher_is_refused(made):
    """The teacher would train with it; or nothing would, since the teacher is frozen."""
    _, batch = made
    teacher, model = make_teacher(), student()
    loss = DistillationLoss(teacher, [Term(0.5, StateLoss())])
    model.model.layers[0] = teacher.model.layers[0].requires_grad_(True)
    with pytest.raises(UserError, match=r"share weights \(model.layers.0"):
        loss(model, batch)
    teacher.requires_grad_(False)
    loss(model, batch).loss.backward()  # frozen for both
    with pytest.raises(UserError, match="share weights"):
        loss(teacher.train(), batch)
    assert loss(teacher.eval(), batch).terms["kl"] == pytest.approx(0, abs=1e-6)  # nothing is to train


def test_a_student_whose_weights_lie_in_the_teachers_memory_is_refused(made):
    """Its Parameters are others, and a step of theirs would move the teacher's."""
    _, batch = made
    teacher, model = make_teacher(), student()
    model.load_state_dict(teacher.state_dict(), strict=False, assign=True)
    loss = DistillationLoss(teacher)
    with pytest.raises(UserError, match=r"share weights \(model.embed_tokens"):
        loss(model.train(), batch)
    loss(copy.deepcopy(model), batch).loss.backward()


def test_weights_without_memory_are_not_shared():
    """Parameters of no numbers, and those of a model that was not loaded, all lie at 0."""
    for a, b in ((torch.empty(0), torch.empty(0)), (torch.empty(3, device="meta"), torch.empty(3, device="meta"))):
        assert _place(a) == _place(a) != _place(b)


def test_what_runs_a_student_on_many_devices_and_compiles_it_stays_as_it_is(made):
    """accelerate would take out what keeps the copies alike."""
    model = student()
    many = torch.nn.DataParallel(model)
    compiled = torch.compile(many)
    assert unwrapped(compiled) is model and compiled._orig_mod is many


def test_cross_entropy_is_that_of_transformers(made):
    loss, batch = made
    model = student()
    wanted = model(**batch).loss.detach()
    assert loss(model, batch).terms["ce"] == pytest.approx(float(wanted), rel=1e-5)
    nothing = loss(model, batch | {"labels": torch.full_like(batch["labels"], IGNORE)})
    nothing.loss.backward()
    assert not any(nothing.terms.values())
    assert not any(weight.grad.any() for weight in model.parameters() if weight.grad is not None)


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.float32])
def test_padding_does_not_count_on_either_side_and_with_any_labels(made, tokenizer, kind):
    """A collator may leave the labels of padding; padding on the left has a state before the first token."""
    loss, _ = made
    model = student()
    found, counts = [], []
    rows = tokenizer(TEXT)["input_ids"]
    for side in ("right", "left"):
        ids = pad_sequence([torch.tensor(row) for row in rows], True, 0, side)  # 0 is no token of the text
        for labels in (ids, ids.masked_fill(ids == 0, IGNORE)):
            batch = {"input_ids": ids, "attention_mask": (ids != 0).to(kind), "labels": labels}
            counts.append(loss.counts([batch]))
            found.append(loss(model, batch).terms)
    assert counts[0][0] == sum(len(row) - 1 for row in rows)
    for count, terms in zip(counts, found):
        assert count == counts[0] and terms == pytest.approx(found[0], rel=1e-4)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT asks for it
def test_padding_on_the_left_moves_no_place_of_a_model_that_learns_places(made, tokenizer):
    peft = pytest.importorskip("peft")
    loss = DistillationLoss(make_teacher())
    config = GPT2Config(vocab_size=loss.teacher.config.vocab_size, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    torch.manual_seed(0)
    model, rows = GPT2LMHeadModel(config).eval(), tokenizer(TEXT)["input_ids"]
    found = []
    lora = peft.LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True)
    for wrapped in (model, peft.get_peft_model(model, lora).eval()):
        for side in ("right", "left"):
            ids = pad_sequence([torch.tensor(row) for row in rows], True, 0, side)
            found.append(loss(wrapped, {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": ids}).terms)
    assert all(terms == pytest.approx(found[0], rel=1e-4) for terms in found)


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # PEFT asks for it
def test_a_student_of_peft_makes_no_logits_that_nobody_needs(made):
    peft = pytest.importorskip("peft")
    loss, batch = made
    adapted = peft.get_peft_model(student(), peft.LoraConfig(target_modules=["q_proj"])).train()
    assert loss(adapted, batch).outputs.logits.shape[1] == 1


def test_a_text_that_was_packed_with_another_does_not_follow_it(made):
    loss, batch = made
    numbers = torch.ones_like(batch["labels"])
    numbers[:, 5:] = 2
    labels = batch["labels"].clone()
    labels[:, 5] = IGNORE
    wanted = loss.counts([batch | {"labels": labels}])
    assert loss.counts([batch | {"attention_mask": numbers}]) == wanted != loss.counts([batch])


def test_a_mask_of_pairs_says_nothing_of_padding(made):
    loss, batch = made
    pairs = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril().expand(len(batch["labels"]), 1, -1, -1)
    assert loss(student(), batch | {"attention_mask": pairs}).terms == pytest.approx(loss(student(), batch).terms)


def test_the_teacher_never_trains(made):
    loss, batch = made
    loss.train()
    assert not loss.teacher.training
    loss(student(), batch).loss.backward()
    assert all(weight.grad is None for weight in loss.teacher.parameters())


def test_the_teacher_has_no_dropout_where_a_student_that_trains_shares_its_modules(made):
    """`student.train()` switches them on; in the student they stay so."""
    _, batch = made
    config = GPT2Config(vocab_size=120, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)
    teacher = GPT2LMHeadModel(config)
    loss = DistillationLoss(teacher)
    model = copy.deepcopy(teacher).requires_grad_(True)
    model.transformer.wte, model.transformer.wpe = teacher.transformer.wte, teacher.transformer.wpe
    model.transformer.h[0], model.lm_head = teacher.transformer.h[0], teacher.lm_head
    wanted = teacher(input_ids=batch["input_ids"]).logits
    found = []
    teacher.transformer.register_forward_hook(lambda *given: found.append(teacher.lm_head(given[-1][0])))
    loss(model.train(), batch).loss.backward()
    assert torch.equal(found[0], wanted) and all(module.training for module in model.modules())


def test_the_teachers_head_may_be_replaced(made):
    """As by load_state_dict(assign=True); a copy of the loss has the head of its own teacher."""
    _, batch = made
    teacher, model = make_teacher(tied=False), make_teacher(tied=False, seed=2)
    loss = DistillationLoss(teacher)
    teacher.load_state_dict(copy.deepcopy(model.state_dict()), assign=True)
    assert loss(model, batch).terms["kl"] == pytest.approx(0, abs=1e-6)
    other = copy.deepcopy(loss)
    other.teacher.lm_head.weight.zero_()
    assert other(model, batch).terms["kl"] > 0.01


def test_a_divergence_that_is_not_computed_is_not_told(made):
    _, batch = made
    terms = DistillationLoss(make_teacher(), [Term(1.0, StateLoss())], OutputWeights(1.0, 0.0, 2.0))
    assert list(terms(student(), batch).terms) == ["ce", "StateLoss"]


def test_models_of_unlike_vocabularies_are_refused(made):
    loss, batch = made
    with pytest.raises(UserError, match="90 tokens, the teacher 120"):
        loss(make_teacher(vocabulary=90, layers=2), part(batch, slice(0, 1)) | {"input_ids": torch.zeros(1, 12).long()})


def trained(loss, rows, folder, size: int, accumulated: int = 1):
    """The student after two steps of 6 rows, and what was logged."""
    model = student()
    arguments = TrainingArguments(
        str(folder),
        max_steps=2,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=accumulated,
        learning_rate=1e-2,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        logging_steps=1,
        report_to="none",
        save_strategy="no",
        train_sampling_strategy="sequential",
        use_cpu=True,
        full_determinism=False,
    )
    trainer = DistillationTrainer(model=model, args=arguments, train_dataset=rows, distillation=loss)
    trainer.train()
    return model, [point for point in trainer.state.log_history if "loss" in point]


@pytest.mark.filterwarnings("ignore")  # transformers' own
def test_accumulated_steps_of_the_trainer_are_those_of_whole_batches(made, tmp_path):
    loss, batch = made
    rows = [part(batch, i) for i in range(12)]

    first, logs = trained(loss, rows, tmp_path, 6)
    second, other = trained(loss, rows, tmp_path, 2, 3)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    for one, two in zip(logs, other, strict=True):
        for name in ("loss", "ce", "kl", "SenseLoss", "StateLoss"):
            assert one[name] == pytest.approx(two[name], rel=1e-3), name
    plain = student()
    optimizer = torch.optim.SGD(plain.parameters(), lr=1e-2)
    for step in (slice(0, 6), slice(6, 12)):
        loss(plain, part(batch, step)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for a, b in zip(first.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_no_trainer_divides_the_loss_once_more(made, tmp_path, monkeypatch):
    """transformers 5.0 asks whether the model takes `num_items_in_batch`."""
    monkeypatch.setattr(type(student()), "accepts_loss_kwargs", False, raising=False)
    arguments = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, gradient_accumulation_steps=3)
    trainer = DistillationTrainer(model=student(), args=arguments, distillation=made[0])
    assert trainer.loss_is_scaled_for_ga and trainer.model_accepts_loss_kwargs


@pytest.mark.filterwarnings("ignore")
def test_two_processes_train_and_log_what_one_does(made, tmp_path):
    loss, batch = made
    rows = [part(batch, i) for i in range(12)]

    def work(rank: int) -> None:
        model, logs = trained(loss, rows, tmp_path, 3)
        torch.save((list(model.parameters()), logs), tmp_path / f"rank-{rank}")

    assert run_in_processes(2, work) == [0, 0]
    model, logs = trained(loss, rows, tmp_path, 6)
    for rank in range(2):
        weights, other = torch.load(tmp_path / f"rank-{rank}", weights_only=False)
        for a, b in zip(model.parameters(), weights, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
        for one, two in zip(logs, other, strict=True):
            for name in ("loss", "ce", "kl", "SenseLoss", "StateLoss"):
                assert one[name] == pytest.approx(two[name], rel=1e-3), name


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("arguments", "more", "says"),
    [
        ({"label_smoothing_factor": 0.1}, {}, "label_smoothing_factor"),
        ({}, {"compute_loss_func": lambda *_, **__: 0.0}, "compute_loss_func"),
    ],
)
def test_another_loss_that_would_not_be_computed_is_refused(made, tmp_path, arguments, more, says):
    settings = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, **arguments)
    with pytest.raises(UserError, match=f"{says} asks for another"):
        DistillationTrainer(model=student(), args=settings, distillation=made[0], **more)


def routed(coefficient: float, reports: bool) -> MixtralForCausalLM:
    """A model with experts, whose own loss has the router's where it reports it."""
    return MixtralForCausalLM(
        MixtralConfig(
            vocab_size=120,
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            num_local_experts=4,
            output_router_logits=reports,
            router_aux_loss_coef=coefficient,
        )
    )


@pytest.mark.filterwarnings("ignore")
def test_a_routers_loss_that_would_not_be_computed_is_refused(tmp_path):
    arguments = TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    loss = DistillationLoss(make_teacher())
    with pytest.raises(UserError, match="router_aux_loss_coef asks for more"):
        DistillationTrainer(model=routed(0.01, True), args=arguments, distillation=loss)
    for silent in (routed(0.0, True), routed(0.01, False)):
        DistillationTrainer(model=silent, args=arguments, distillation=loss)


@pytest.mark.filterwarnings("ignore")
def test_a_routers_loss_that_trl_asks_for_is_refused(tmp_path, tokenizer):
    trl, datasets = pytest.importorskip("trl"), pytest.importorskip("datasets")

    class Both(DistillationTrainer, trl.SFTTrainer):
        pass

    def made_with(coefficient: float) -> Both:
        arguments = trl.SFTConfig(str(tmp_path), report_to="none", use_cpu=True, router_aux_loss_coef=coefficient)
        rows = datasets.Dataset.from_list([{"input_ids": [1, 2, 3]}])
        loss = DistillationLoss(make_teacher())
        given = {"args": arguments, "train_dataset": rows, "processing_class": padded, "distillation": loss}
        return Both(model=routed(0.01, False), **given)

    padded = copy.deepcopy(tokenizer)
    padded.pad_token = padded.eos_token
    with pytest.raises(UserError, match="router_aux_loss_coef asks for more"):
        made_with(1.0)
    made_with(0.0)


def settings(folder, **more) -> TrainingArguments:
    """Steps of two rows, that are logged and not saved."""
    values = {"report_to": "none", "save_strategy": "no", "use_cpu": True, "per_device_train_batch_size": 2}
    return TrainingArguments(str(folder), **values, **more)


def logged(trainer) -> list[dict[str, float]]:
    return [point for point in trainer.state.log_history if "loss" in point]


class Ending(IterableDataset):
    """A stream that ends."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        yield from self.rows


@pytest.mark.filterwarnings("ignore")
def test_the_logged_terms_are_those_of_the_loss_where_a_stream_ends(made, tmp_path):
    """It begins anew until there are as many steps as were asked for."""
    _, batch = made
    rows = Ending([part(batch, i) for i in range(4)])
    arguments = settings(tmp_path, max_steps=5, logging_steps=1, learning_rate=0.0)
    loss = DistillationLoss(make_teacher())
    trainer = DistillationTrainer(model=student(), args=arguments, train_dataset=rows, distillation=loss)
    trainer.train()
    assert len(logged(trainer)) == 5
    for point in logged(trainer):
        assert point["ce"] + 0.7 * 4 * point["kl"] == pytest.approx(point["loss"], rel=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_what_is_logged_is_of_this_training_alone(made, tmp_path):
    """Two steps were left over, of another learning rate."""
    _, batch = made
    rows = [part(batch, i) for i in range(4)]
    arguments = settings(tmp_path, max_steps=5, logging_steps=3, learning_rate=3e-2, lr_scheduler_type="constant")
    loss = DistillationLoss(make_teacher())
    trainer = DistillationTrainer(model=student(), args=arguments, train_dataset=rows, distillation=loss)
    for _ in range(2):
        trainer.train()
        (point,) = logged(trainer)
        assert point["ce"] + 0.7 * 4 * point["kl"] == pytest.approx(point["loss"], rel=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_evaluation_gives_the_loss_of_each_batch_and_all_logits(made, tmp_path):
    loss, batch = made
    arguments = TrainingArguments(str(tmp_path), per_device_eval_batch_size=12, report_to="none", use_cpu=True)
    model = student()
    trainer = DistillationTrainer(
        model=model, args=arguments, eval_dataset=[part(batch, i) for i in range(12)], distillation=loss
    )
    wanted = float(loss(model.eval(), batch).loss.detach())
    assert trainer.evaluate()["eval_loss"] == pytest.approx(wanted, rel=1e-4)
    for rows in ([part(batch, i) for i in range(2)], [{"input_ids": batch["input_ids"][i]} for i in range(2)]):
        assert trainer.predict(rows).predictions.shape == (2, LENGTH, 120)  # logits, as in Trainer, and no states
