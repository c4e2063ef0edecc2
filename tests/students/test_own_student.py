"""A student of another model than the teacher: narrower, deeper or of another family, with the same vocabulary."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from model.test_inference import assert_scored_as_alone, items
from safetensors.torch import load_file, save_file
from students.test_losses import example, naive_divergence, value_and_gradient
from students.test_train import (
    OBJECTIVES,
    assert_same,
    curves,
    fresh_accelerator,
    make_data,
    make_text,
    stop_at,
    uncompiled,
    weights_of,
)
from tiny.families import make_decoder
from tiny.models import LOWER_LAST, VOCABULARY, distill_settings, generator, make_teacher, make_tokenizer
from tiny.project import STAGES
from tiny.project import run as run_stage
from tools.parallel import run_in_processes
from torch.nn import functional as F

from dskd.errors import UserError
from dskd.explore.distances import compare_states
from dskd.infra import processes
from dskd.infra.hashes import sha256_tree
from dskd.model.cut import check_cut, part, split_depth, student_top, teacher_top, trunk
from dskd.model.inference import Choices, Models, greedy, log_likelihoods
from dskd.model.load import load_decoder
from dskd.model.logits import Head, LogitMap, head_of, mapped
from dskd.model.lora import add_lora
from dskd.model.origin import check_vocabularies, teacher_split
from dskd.model.parts import run_part
from dskd.params import Lora, Objective, Source, load_params
from dskd.pipeline import models as models_of_run
from dskd.report.decoder_shape import KNOWN
from dskd.report.stage_costs import run_stages
from dskd.scores.harness import SharedTrunk
from dskd.scores.heldout import heldout_scores
from dskd.states.store import Text
from dskd.students import projection as projection_module
from dskd.students import train as distill_module
from dskd.students.batches import Reader, load_batch
from dskd.students.output_loss import IGNORE, Heads, OutputWeights, output_loss
from dskd.students.projection import fitted_projection
from dskd.students.store import assemble_student, export_student, load_student_top, new_student
from dskd.students.train import Recipe, make_goal, step_loss, train

__all__ = ["fresh_accelerator", "uncompiled"]
SOURCE = Source(source="file:own/student", sha256="0" * 64, licence="mine")
OWN = LOWER_LAST.model_copy(update={"layers": 5, "source": SOURCE})
IDS = make_text()[:, :-1]
ALL_TERMS = Objective(ce=1.0, kl=0.7, hidden=0.5, sense=1.0, margin=1.0, targets="lexicon", metric="whitened")


def make_origin(family="gemma2", layers=7):
    """Other weights, width, depth and logits than the teacher's."""
    return make_decoder(family, seed=3, hidden_size=24, num_hidden_layers=layers)


@pytest.fixture(scope="module")
def data(teacher):
    return make_data(teacher)


def untrained(origin, data, objective, student=OWN):
    """The student as the stage makes it."""
    made, weights = new_student(origin, None, student), of_name(objective)
    if weights.hidden or weights.sense:
        made = made._replace(projection=fitted_projection(origin, student, data[0]))
    return made


def of_name(objective):
    return OBJECTIVES.get(objective, ALL_TERMS)


def run(teacher, origin, data, folder, objective="kd", student=OWN, seed=0, lora=None, **changes):
    """Train in `folder` as the stage does; the trained student."""
    (text, targets), weights = data, of_name(objective)
    made = untrained(origin, data, objective, student)
    if lora:
        add_lora(made.top, lora, seed)
    recipe = Recipe(weights, distill_settings(**changes), seed)
    train(made, head_of(teacher), text, targets if weights.sense else None, recipe, folder / "work")
    return made


def whole_loss(teacher, data, student, objective):
    """The loss over all blocks at once, and its terms."""
    (text, targets), head = data, head_of(teacher)
    goal = make_goal(Recipe(of_name(objective), distill_settings(), 0), head, text.states, targets, torch.device("cpu"))
    batch = load_batch(Reader(text, targets, head.weight.dtype), torch.arange(len(text.labels)))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=head.weight.dtype == torch.bfloat16):
        hidden_states = run_part(student.top, states=student.entering(batch.split_states, batch.ids))
    with torch.no_grad():
        return step_loss(student, hidden_states, batch, goal)


def first_and_last(folder):
    """The first and the last point of each curve."""
    points = {name: text.splitlines()[1:] for name, text in curves(folder).items()}
    return {name: [float(lines[i].split("\t")[1]) for i in (0, -1)] for name, lines in points.items()}


# ---- the loss


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kl_weight", [0.0, 0.7])
def test_the_loss_of_two_heads_has_the_value_and_gradient_of_the_naive_form(compiled, kl_weight):
    student, _, head, labels = example()
    teacher, teacher_head = (torch.randn(n, 11, generator=generator(5), dtype=torch.float64) for n in (13, 37))
    own, other = LogitMap(0.3), LogitMap(1.5, 4.0)
    weights = OutputWeights(0.5, kl_weight, 2.0, 0.5)
    heads = Heads(Head(head, own), Head(teacher_head, other))
    loss, ce, kl = output_loss(student, teacher, labels, heads, weights, chunk=4, compiled=compiled)
    kept = labels != IGNORE
    z, t = mapped(student[kept] @ head.T, own), mapped(teacher[kept] @ teacher_head.T, other)
    true_ce = F.cross_entropy(z, labels[kept])
    true_kl = naive_divergence((t / 2).log_softmax(dim=1), (z / 2).log_softmax(dim=1), 0.5)
    torch.testing.assert_close(ce, true_ce.detach(), rtol=1e-11, atol=0)
    torch.testing.assert_close(kl, true_kl.detach() * bool(kl_weight), rtol=1e-11, atol=0)
    true = 0.5 * true_ce + kl_weight * 4 * true_kl
    found, right = value_and_gradient(loss, student), value_and_gradient(true, student)
    torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-13)


# ---- the map between the two spaces of states


def test_the_map_is_found_again_where_the_teacher_s_states_are_one_of_the_student_s(data):
    origin, text = make_origin(), data[0]
    whole = part(origin, [0, 1, 2, 3, 4], norm=True)
    weight, bias = (torch.randn(*shape, generator=generator(1)) for shape in ((32, 24), (32,)))
    with torch.no_grad():
        states = text.states._replace(hidden_states=[run_part(whole, ids=IDS) @ weight.T + bias])
    student = OWN.model_copy(update={"cut": "first"})
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    found = fitted_projection(origin, student, text._replace(states=states))
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.testing.assert_close(found.weight, weight, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(found.bias, bias, rtol=1e-2, atol=1e-2)
    assert found.weight.requires_grad and found.weight.dtype == torch.float32


@pytest.mark.parametrize(("number", "every"), [(64, 1), (65, 2), (129, 3)])
def test_the_map_is_fitted_on_64_blocks_at_most_that_are_spread_evenly(data, number, every):
    origin, (row,) = make_origin(), IDS[:1]
    ids = (row + torch.arange(number)[:, None]).remainder(VOCABULARY).int()
    states = torch.randn(number, len(row), 32, generator=generator(3))
    states[torch.arange(number) % every != 0] = torch.nan  # in what is not read
    text = Text(data[0].states._replace(hidden_states=[states]), data[0].labels, ids)
    assert fitted_projection(origin, OWN, text).weight.isfinite().all()
    states[(number - 1) // every * every] = torch.nan  # the last that is read
    assert fitted_projection(origin, OWN, text).weight.isnan().any()


def test_the_map_lies_where_the_student_s_states_are(data, monkeypatch):
    monkeypatch.setattr(projection_module, "run_part", lambda _, ids: torch.zeros(*ids.shape, 24, device="meta"))
    found = fitted_projection(make_origin(), OWN, data[0])
    assert found.weight.device.type == found.bias.device.type == "meta"


# ---- training


def test_a_student_of_the_teacher_itself_trains_as_one_that_is_cut_from_it(teacher, data, tmp_path):
    text, _ = data
    recipe = Recipe(OBJECTIVES["kd"], distill_settings(), 0)
    own = new_student(teacher, None, LOWER_LAST)
    cut = new_student(teacher, teacher, LOWER_LAST)
    assert own.lower is not None and cut.lower is None
    for name, student in (("own", own), ("cut", cut)):
        train(student, head_of(teacher), text, None, recipe, tmp_path / name)
    torch.testing.assert_close(weights_of(own.top), weights_of(cut.top), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("objective", ["ce", "kd", "kd_hidden", "dskd", "span", "all"])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_training_lowers_each_objective_and_changes_trained_layers_alone(teacher, data, tmp_path, family, objective):
    origin = make_origin(family)
    before = {name: weight.clone() for name, weight in origin.named_parameters()}
    student = run(teacher, origin, data, tmp_path, objective)
    top, beginning, start = student.top, untrained(origin, data, objective), weights_of(student_top(origin, OWN))
    first, _ = whole_loss(teacher, data, beginning, objective)
    last, _ = whole_loss(teacher, data, student, objective)
    assert float(last) < 0.9 * float(first)
    assert_same(before, dict(origin.named_parameters()))
    assert weights_of(top).keys() == start.keys()  # the map is no part of it
    changed = {name for name, weight in weights_of(top).items() if not torch.equal(weight, start[name])}
    assert changed == {name for name in start if name.startswith("layers.")}
    if student.projection is not None:
        fitted = fitted_projection(origin, OWN, data[0])
        assert not torch.equal(student.projection.weight, fitted.weight)
    assert (student.projection is None) == (objective in ("ce", "kd"))


def test_the_first_point_of_the_curves_is_the_loss_of_both_whole_models(teacher, data, tmp_path):
    origin = make_origin()
    run(teacher, origin, data, tmp_path, epochs=0.01, log_steps=1, batch_size=22)
    whole = assemble_student(origin, student_top(origin, OWN), OWN)
    with torch.no_grad():
        z, t = (model(input_ids=IDS).logits.flatten(0, 1).double() for model in (whole, teacher))
    found = {name: point[0] for name, point in first_and_last(tmp_path).items()}
    assert found["ce"] == pytest.approx(float(F.cross_entropy(z, data[0].labels.flatten())), rel=1e-5)
    expected = naive_divergence((t / 2).log_softmax(dim=1), (z / 2).log_softmax(dim=1), 0)
    assert found["kl"] == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("lora", [None, Lora(rank=4, alpha=8.0)])
def test_a_stopped_run_goes_on_and_ends_bitwise_as_an_undisturbed_one(teacher, data, tmp_path, monkeypatch, lora):
    origin = make_origin()
    whole = run(teacher, origin, data, tmp_path / "whole", "all", lora=lora)
    stop_at(monkeypatch, 9)
    with pytest.raises(RuntimeError, match="power"):
        run(teacher, origin, data, tmp_path / "stopped", "all", lora=lora)
    calls = stop_at(monkeypatch, 99)
    resumed = run(teacher, origin, data, tmp_path / "stopped", "all", lora=lora)
    assert len(calls) == 18 - 8
    assert_same(weights_of(whole.top), weights_of(resumed.top))
    assert_same(weights_of(whole.projection), weights_of(resumed.projection))
    assert curves(tmp_path / "whole") == curves(tmp_path / "stopped") != {}


def test_training_in_bfloat16_lowers_the_loss_and_repeats_bitwise(bf16_teacher, tmp_path):
    data, found, origin = make_data(bf16_teacher), [], make_teacher(torch.bfloat16, seed=4, layers=8)
    for i in range(2):
        found.append(run(bf16_teacher, origin, data, tmp_path / str(i), "all"))
    assert_same(weights_of(found[0].top), weights_of(found[1].top))
    assert found[0].projection.weight.dtype == torch.float32
    first, _ = whole_loss(bf16_teacher, data, untrained(origin, data, "all"), "all")
    last, _ = whole_loss(bf16_teacher, data, found[0], "all")
    assert float(last) < 0.9 * float(first)


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(("number", "batch_size"), [(2, 4), (3, 2)])  # 3: one has no block
def test_more_processes_train_as_one_does(teacher, data, tmp_path, monkeypatch, number, batch_size, sharded):
    changes = {"objective": "all", "batch_size": batch_size, "epochs": 1}

    def work(rank):
        student = run(teacher, make_origin(), data, tmp_path / "more", **changes)
        projection = {name: processes.whole(w) for name, w in weights_of(student.projection).items()}
        save_file(weights_of(student.top) | projection, tmp_path / f"weights-{rank}")

    student = run(teacher, make_origin(), data, tmp_path / "one", **changes)
    one = weights_of(student.top) | weights_of(student.projection)
    monkeypatch.setattr(distill_module, "is_sharded", lambda _: sharded)
    assert run_in_processes(number, work) == [0] * number
    every = [load_file(tmp_path / f"weights-{rank}") for rank in range(number)]
    for found in every:
        assert_same(found, every[0])
    torch.testing.assert_close(every[0], one, rtol=1e-3, atol=1e-4)


# ---- scores


@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_a_trained_student_scores_as_its_whole_and_as_the_folder_it_is_exported_to(
    teacher, data, tokenizer, tmp_path, family
):
    (text, _), origin = data, make_origin(family)
    student = run(teacher, origin, data, tmp_path)
    scores = heldout_scores(student, head_of(teacher), text, 4)
    export_student(origin, student.top, OWN, tokenizer, tmp_path / "student", torch.float32)
    loaded = student._replace(top=load_student_top(tmp_path / "student", origin, OWN))
    loaded = heldout_scores(loaded, head_of(teacher), text, 4)
    model, _ = load_decoder(tmp_path / "student", "float32")
    assert type(model) is type(origin) and model.config.num_hidden_layers == 5
    with torch.no_grad():
        q, p = (m(input_ids=IDS).logits.double().log_softmax(dim=2) for m in (model, teacher))
    assert all(torch.equal(scores[name], loaded[name]) for name in scores)
    expected = {
        "ce": -q.gather(2, text.labels[..., None])[..., 0].mean(dim=1),
        "kl": F.kl_div(q, p, reduction="none", log_target=True).sum(dim=2).mean(dim=1),
        "agreement": (q.argmax(2) == p.argmax(2)).double().mean(dim=1),
    }
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
    alone = heldout_scores(None, head_of(teacher), text, 4)
    assert (alone["kl"] == 0).all() and (alone["agreement"] == 1).all()


def models_apart(teacher, tokenizer=None):
    """The teacher, and a student of another model beside it; and each as a whole."""
    origin = make_origin()
    cut = student_top(origin, OWN)
    whole = {"teacher": teacher, "cut": assemble_student(origin, student_top(origin, OWN), OWN)}
    apart = Models(trunk(origin, OWN), {"cut": cut}, head_of(origin), tokenizer, 64)
    tops = {"teacher": teacher_top(teacher, LOWER_LAST)}
    return Models(trunk(teacher, LOWER_LAST), tops, head_of(teacher), tokenizer, 64, apart), whole


def test_the_harness_has_the_answers_of_models_that_stand_apart(teacher, tokenizer):
    models, _ = models_apart(teacher, tokenizer)
    harness, text = SharedTrunk(models), "the quick brown fox"
    ids, choices = tokenizer.encode(text), [[5, 6], [7]]
    written = greedy(models, [ids], 3, [])
    scores = log_likelihoods(models, [Choices(ids, choices)])
    assert harness.name == "teacher" and scores["teacher"] != scores["cut"]
    for harness.name in models.names:
        answers = harness.generate_until([SimpleNamespace(args=(text, {"max_gen_toks": 3}))])
        assert answers == [tokenizer.decode(written[harness.name][0], skip_special_tokens=True)]
        asked = [((text, str(choice)), ids, choice) for choice in choices]
        assert harness._loglikelihood_tokens(asked) == scores[harness.name][0]


def test_what_ends_an_answer_of_either_model_ends_it(tokenizer, monkeypatch):
    teacher, origin = make_teacher(), make_origin()
    teacher.generation_config.eos_token_id, origin.generation_config.eos_token_id = [3, 4], 5
    monkeypatch.setattr(models_of_run, "load_teacher", lambda params: (teacher, tokenizer))
    monkeypatch.setattr(models_of_run, "load_origin", lambda *_: origin)
    assert models_of_run.load_models(SimpleNamespace(student=OWN), []).stops == [0, 3, 4, 5]


def test_models_that_stand_apart_are_scored_as_each_alone(teacher):
    models, whole = models_apart(teacher)
    apart = models.apart
    assert models.names == ["teacher", "cut"] and models.of("cut") is apart and models.of("teacher") is models
    assert_scored_as_alone(models, whole, items(4))


# ---- what does not go together


def test_other_vocabularies_are_an_error_that_names_both_their_sizes_and_a_token():
    one, other = make_tokenizer(60), make_tokenizer(50)
    names = "sources.teacher (hf:a/b@main)", "student.source (file:c)"
    check_vocabularies(names, (one, make_tokenizer(60)), (120, 120))
    ids = {token: id for id, token in enumerate(one.convert_ids_to_tokens(range(60)))}
    with pytest.raises(UserError) as caught:
        check_vocabularies(names, (one, other), (120, 120))
    first = one.convert_ids_to_tokens(50)
    assert ids[first] == 50 and str(caught.value).startswith(
        "sources.teacher (hf:a/b@main) and student.source (file:c) have different vocabularies, of 60 and 50 tokens: "
        f"{first!r} has the id 50 and no id; "
    )
    with pytest.raises(UserError, match="the same tokens, but 120 and 128 logits"):
        check_vocabularies(names, (one, one), (120, 128))
    swapped = json.loads(one.backend_tokenizer.to_str())
    vocabulary = swapped["model"]["vocab"]
    a, b = one.convert_ids_to_tokens([7, 9])
    vocabulary[a], vocabulary[b] = 9, 7
    other = make_tokenizer(60)
    other._tokenizer = type(one.backend_tokenizer).from_str(json.dumps(swapped))
    with pytest.raises(UserError, match=r"of 60 and 60 tokens: .* has the id .* and the id "):
        check_vocabularies(names, (one, other), (120, 120))


@pytest.mark.parametrize(("layers", "trained", "split"), [(5, 2, 3), (9, 2, 4), (9, 9, 0)])
def test_the_teacher_is_split_where_a_student_cut_from_it_is_if_it_is_deep_enough(teacher, layers, trained, split):
    student = OWN.model_copy(update={"layers": layers, "trained": trained})
    cut = teacher_split(student, 6)
    assert split_depth(cut) == split and cut.layers <= 6
    check_cut(cut, teacher)
    assert teacher_split(LOWER_LAST, 6) is LOWER_LAST


def test_a_plan_is_refused():
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    params = params.model_copy(update={"student": OWN})
    with pytest.raises(UserError, match=r"student\.source: no plan"):
        run_stages(params, KNOWN["SmolLM2-135M"], 4)


# ---- a project in miniature


@pytest.fixture
def own_project(project):
    """A project that has run, and a narrower and deeper model with the teacher's tokenizer, for the student."""
    shutil.copytree("artifacts/teacher", "given/student")
    vocabulary = json.loads(Path("given/student/config.json").read_text())["vocab_size"]
    make_decoder("qwen3", hidden_size=24, num_hidden_layers=7, vocab_size=vocabulary).save_pretrained("given/student")
    (project / "given/student/SHA256SUMS").unlink()
    choose(layers=7)
    return project


def choose(folder="given/student", **changes):
    """Name the model in params.yaml, with the hash that it has."""
    values = yaml.safe_load(Path("params.yaml").read_text())
    source = {"source": f"file:{folder}", "sha256": sha256_tree(folder), "licence": "CC BY-NC 4.0"}
    values["student"] |= {"source": source, **changes}
    Path("params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))


def run_stages_of(*names):
    for name in names:
        code, text = run_stage(name)
        assert code == 0, text


def test_a_run_from_sources_to_scores(own_project):
    states = sha256_tree("artifacts/corpus"), sha256_tree("artifacts/senses")
    run_stages_of(*STAGES)
    assert (sha256_tree("artifacts/corpus"), sha256_tree("artifacts/senses")) == states  # they are the teacher's
    folder = own_project / "artifacts/students/dskd-0"
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["hidden_size"], config["num_hidden_layers"]) == ("qwen3", 24, 7)
    assert "projection" not in " ".join(load_file(folder / "model.safetensors"))
    card = (folder / "README.md").read_text()
    assert (
        "It starts as a copy of `file:given/student`'s layers" in card and "| student | `file:given/student` |" in card
    )
    assert "the licence of student forbids it" in card and '"student": "' in card
    rows = [json.loads(line) for line in (own_project / "reports/scores/heldout.jsonl").read_text().splitlines()]
    kl = {name: [row["kl"] for row in rows if row["model"] == name] for name in ("teacher", "cut", "dskd-0")}
    assert set(kl["teacher"]) == {0.0} and min(kl["cut"]) > 0
    assert sum(kl["dskd-0"]) < sum(kl["cut"])
    found = compare_states(load_params(), "bank", ["dskd-0"], contexts=3)
    assert ("dskd-0", "predicts") in found and ("dskd-0", "distance") not in found and ("teacher", "sense") in found
    before = sha256_tree(folder)
    run_stages_of("distill")
    assert sha256_tree(folder) == before


@pytest.mark.parametrize("stage", ["sources", "distill", "evaluate"])
def test_another_vocabulary_is_one_line_wherever_the_model_is_loaded(own_project, stage):
    if stage != "sources":
        choose()
        run_stages_of("sources", "harvest")
    place = Path("given/student" if stage == "sources" else "artifacts/sources/student")
    (place / "SHA256SUMS").unlink(missing_ok=True)
    Path("artifacts/sources/SHA256SUMS").unlink(missing_ok=True)
    make_tokenizer(50).save_pretrained(place)
    choose()
    before = sha256_tree("artifacts/sources"), sha256_tree("artifacts/students")
    code, text = run_stage(stage)
    assert code == 1 and len(text.splitlines()) == 1, text
    assert "sources.teacher (file:given/teacher) and student.source (file:given/student) have different vocab" in text
    assert (sha256_tree("artifacts/sources"), sha256_tree("artifacts/students")) == before


def test_more_layers_than_the_model_has_are_one_line(own_project):
    choose(layers=8)
    code, text = run_stage("sources")
    assert code == 1 and text.endswith(
        "student.layers = 8, but student.source (file:given/student) has 7: take at most 7"
    )
