"""What a plan says, against counts of real models and against the committed run."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import torch
from tiny.families import FAMILIES
from tiny.models import FIRST, LAYERS, make_ids, make_states, make_teacher, make_tokenizer
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig

from dskd.__main__ import main
from dskd.corpus.prompts import join_prompts, pack_prompts
from dskd.errors import UserError
from dskd.infra.artifacts import PROVENANCE, load_tensors, read_json, write_json
from dskd.infra.profiles import load_profile
from dskd.model.cut import student_top
from dskd.model.logits import head_of
from dskd.model.parts import run_part
from dskd.params import PromptsParams, load_params
from dskd.report import plan, stage_costs
from dskd.report.decoder_shape import (
    KNOWN,
    Shape,
    forward_flops,
    head_flops,
    parameters,
    read_shape,
    state_bytes,
    training_flops,
)
from dskd.states import harvest
from dskd.states.store import save_shard
from dskd.students.output_loss import Heads, OutputWeights, output_loss
from dskd.students.store import export_student
from dskd.verify.runs import committed_run

ROOT = Path(__file__).parents[2]
SMOL = KNOWN["SmolLM2-135M"]
PARAMS = load_profile("default", ROOT)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """What the command reads, as it is committed: a run of the user's own may lack benchmarks or times."""
    committed_run(ROOT, "HEAD", tmp_path)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "profiles", tmp_path / "profiles")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shape_of(model) -> Shape:
    return Shape.model_validate(model.config.to_dict())


def changed(group: str, **values):
    return PARAMS.model_copy(update={group: getattr(PARAMS, group).model_copy(update=values)})


def stages(params=PARAMS, shape=SMOL, held=4) -> dict[str, stage_costs.Stage]:
    return {stage.name: stage for stage in stage_costs.run_stages(params, shape, held)}


# Parameters as counted by transformers in the published weights.
@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("SmolLM2-135M", 134_515_008),
        ("Llama-3-8B-Instruct", 8_030_261_248),
        ("Mistral-7B-Instruct-v0.1", 7_241_732_096),
        ("Gemma-3-270M", 268_098_176),
    ],
)
def test_known_models_have_the_published_number_of_parameters(name, number):
    shape = KNOWN[name]
    assert parameters(shape, shape.num_hidden_layers) == number


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_and_bytes_of_a_student_are_those_of_its_file(tmp_path, tied):
    teacher = make_teacher(tied=tied)
    shape = shape_of(teacher)
    assert parameters(shape, LAYERS) == sum(weight.numel() for weight in teacher.parameters())
    top = student_top(teacher, FIRST)
    export_student(teacher, top, FIRST, make_tokenizer(), tmp_path / "student", torch.bfloat16)
    tensors = load_tensors(tmp_path / "student/model.safetensors", "")
    assert 2 * parameters(shape, FIRST.layers) == sum(tensor.nbytes for tensor in tensors.values())
    assert read_shape(str(tmp_path / "student")).num_hidden_layers == FIRST.layers


def write_config(folder, kind):
    config = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 1000, "model_type": kind}))
    return str(folder)


@pytest.mark.parametrize("kind", [*FAMILIES, "smollm3", "phi3", "olmo2"])
def test_where_a_config_is_silent_the_head_is_as_transformers_has_it(tmp_path, kind):
    assert read_shape(write_config(tmp_path, kind)).tied == AutoConfig.for_model(kind).tie_word_embeddings


@pytest.mark.parametrize("kind", ["gpt_neox", "bert", "granite"])
def test_a_model_of_another_kind_is_not_planned_as_if_it_were_a_llama(tmp_path, kind):
    """Their config.json has the same names; their feed-forward parts are others, and `sources` refuses them."""
    with pytest.raises(UserError, match=f"of the type '{kind}', whose costs are not known here"):
        read_shape(write_config(tmp_path, kind))


def test_bytes_of_states_are_those_of_a_shard(teacher, tmp_path):
    states = make_states(teacher, make_ids(3, 8), FIRST)
    save_shard(tmp_path / "shard", *(part[0] for part in states[:3]))
    tensors = load_tensors(tmp_path / "shard", "")
    assert 3 * 8 * state_bytes(shape_of(teacher), 4) == sum(tensor.nbytes for tensor in tensors.values())


@pytest.fixture
def counted():
    """A model whose attention torch can count: written out, and as if nothing were masked."""
    model = make_teacher()
    model.set_attn_implementation("eager")
    return model


def masked(shape: Shape, layers: int, tokens: int, length: int) -> int:
    return layers * tokens * 2 * length * shape.query


def test_operations_of_a_forward_pass_are_those_that_torch_counts(counted):
    shape, ids = shape_of(counted), make_ids(4, 16)[:, :-1]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        harvest.predict(run_part(counted.base_model, ids=ids), counted.get_output_embeddings().weight)
    ours = forward_flops(shape, LAYERS, 64, 16) + head_flops(shape, 64)
    assert ours + masked(shape, LAYERS, 64, 16) == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("kl", [0.0, 0.7])
def test_operations_of_training_are_those_that_torch_counts(counted, kl):
    shape, ids = shape_of(counted), make_ids(4, 16)
    states, head = make_states(counted, ids, FIRST), head_of(counted)
    top = student_top(counted, FIRST)
    given = states.hidden_states[0].flatten(0, 1), ids[:, 1:].flatten().long(), Heads(head, head)
    with FlopCounterMode(display=False) as counter:
        student = run_part(top, states=states.split_states[0]).flatten(0, 1)
        output_loss(student, *given, OutputWeights(1.0, kl, 2.0))[0].backward()
    ours = training_flops(shape, FIRST.trained, 64, 16, kl > 0)
    assert ours + 3 * masked(shape, FIRST.trained, 64, 16) == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("kind", ["states", "senses", "targets", "students"])
def test_disk_is_within_15_percent_of_the_committed_run(root, kind):
    stage = {"states": "harvest", "students": "distill"}.get(kind, kind)
    ours = sum(cost.disk for cost in stages().values() if stage_costs.kind(cost) == stage)
    sizes = read_json(PROVENANCE)["artifacts_mb"]
    assert ours / 1e6 == pytest.approx(sizes[kind] + (sizes["reservoir"] if kind == "states" else 0), rel=0.15)


@pytest.mark.parametrize("name", ["harvest", "senses", "targets-kd", "targets-dskd", "distill-kd-0", "distill-dskd-0"])
def test_memory_is_within_15_percent_of_the_committed_run(root, name):
    """A measured peak holds all mapped pages, since memory was free."""
    record = read_json(PROVENANCE)
    stage = stages(held=2 if record["machine"]["fast_bfloat16"] else 4)[name]
    peak = record["stages"][name]["peak_memory_mb"] * 2**20  # its megabytes are these
    assert stage_costs.LIBRARIES + stage.memory + stage.mapped == pytest.approx(peak, rel=0.15)


def test_training_ran_at_the_speed_of_the_harvest(root):
    """So the operations of the two are counted alike. Other work may have run beside one of them."""
    speed = plan.measured_speed(root, PARAMS)
    assert speed.flops["distill"] == pytest.approx(speed.flops["harvest"], rel=0.35)


def test_hours_of_the_measured_run_are_those_that_were_measured(root):
    measured, speed, run = read_json(PROVENANCE)["stages"], plan.measured_speed(root, PARAMS), stages().values()
    for kind in speed.flops:
        chosen = [stage for stage in run if stage_costs.kind(stage) == kind]
        ours = sum(plan.stage_seconds(stage, speed, 1) for stage in chosen)
        assert ours == pytest.approx(sum(measured[stage.name]["seconds"] for stage in chosen), rel=0.15), kind


def test_hours_of_the_study_follow_from_those_of_the_default_run_on_its_processor(root):
    """A quarter of the text a student, forty students, twice the items; the study's processes had one core each. Both
    records are of one machine."""
    shutil.copy(ROOT / "reports/runs/zen5/provenance.json", PROVENANCE)
    record, speed = read_json(ROOT / "reports/runs/study/provenance.json"), plan.measured_speed(root, PARAMS)
    cores = read_json(PROVENANCE)["machine"]["cores"] / record["machine"]["cores"]
    ratios = {"distill": [], "evaluate": []}
    for stage in stage_costs.run_stages(load_profile("study", root), SMOL, speed.held):
        if stage_costs.kind(stage) in ratios:
            seconds = cores * plan.stage_seconds(stage, speed, 1)
            ratios[stage_costs.kind(stage)].append(seconds / record["stages"][stage.name]["seconds"])
    assert len(ratios["distill"]) == 40 and median(ratios["distill"]) == pytest.approx(1, abs=0.1)
    assert ratios["evaluate"] == [pytest.approx(1, abs=0.25)]


def test_prompts_are_counted_where_there_are_some(root, capsys):
    assert "prompts" not in stages()
    paper = load_profile("paper", root)
    number, tokens = stage_costs.prompt_tokens(paper)
    assert number == 130319 + round(1119 / 4) + round(9741 / 4) + round(16113 / 4) + round(285 / 4)
    assert 40e6 < tokens < stage_costs.train_tokens(paper) < 50e6
    assert plan.measured_speed(root, paper) == plan.measured_speed(root, PARAMS)  # the measured run had none
    assert main(["plan", "--profile", "paper", "--model", "Llama-3-8B-Instruct", "--flops", "4e14"]) == 0
    assert re.search(rf"^prompts +{tokens:,} ", capsys.readouterr().out, re.M)


@pytest.mark.parametrize(("mean", "length"), [(300, 1024), (500, 1024), (450, 256)])
def test_blocks_of_prompts_are_as_many_as_they_are_packed_into(monkeypatch, mean, length):
    monkeypatch.setitem(stage_costs.PROMPTS, "piqa", (1000, mean))
    params = changed("corpus", train_tokens=1, block_length=length)
    params = params.model_copy(update={"prompts": PromptsParams(sets={"piqa": {"share": 1.0}})})
    sizes = np.random.default_rng(0).integers(mean // 2, 3 * mean // 2, size=1000)
    packed = pack_prompts(join_prompts([([0] * size, []) for size in sizes.tolist()]), length, 0)
    assert stage_costs.train_tokens(params) == pytest.approx(length * len(packed), rel=0.2)


@pytest.mark.parametrize(
    ("params", "shape"),
    [
        (changed("corpus", train_tokens=2 * PARAMS.corpus.train_tokens), SMOL),
        (PARAMS, SMOL.model_copy(update={"num_hidden_layers": 32})),
        (PARAMS, SMOL.model_copy(update={"vocab_size": 2 * SMOL.vocab_size})),
        (PARAMS, SMOL.model_copy(update={"hidden_size": 2 * SMOL.hidden_size, "head_dim": 64})),
        (changed("student", layers=25, trained=5), SMOL),
    ],
    ids=["tokens", "layers", "vocabulary", "width", "trained"],
)
def test_more_of_anything_never_costs_less(params, shape):
    before, after = stages(), stages(params, shape)
    for name, stage in after.items():
        for ours, fewer in zip(stage[1:], before[name][1:]):
            assert ours is None or ours >= fewer, name
    total = [sum(stage.flops for stage in run.values()) for run in (before, after)]
    assert total[1] > total[0]


def test_devices_share_the_blocks_and_not_the_choice_of_targets():
    speed, run = plan.given_speed(1e12, PARAMS), stages(held=2)
    assert plan.stage_seconds(run["harvest"], speed, 4) == pytest.approx(run["harvest"].flops / 4e12)
    assert plan.stage_seconds(run["targets-dskd"], speed, 4) == plan.stage_seconds(run["targets-dskd"], speed, 1)


def test_every_student_and_objective_has_a_line_and_nothing_is_written(root, capsys):
    before = sorted(root.rglob("*"))
    assert main(["plan", "--profile", "study"]) == 0
    text = capsys.readouterr().out
    study = load_profile("study", root)
    assert all(f"distill-{name}-{seed} " in text for name in study.distill.objectives for seed in study.distill.seeds)
    assert all(f"targets-{name} " in text for name in study.distill.objectives) and "\ntotal " in text
    assert sorted(root.rglob("*")) == before and load_params("params.yaml") == load_params(ROOT / "params.yaml")


def test_a_given_speed_needs_no_measured_run(root, capsys):
    (root / PROVENANCE).unlink()
    assert main(["plan", "--model", "Llama-3-8B-Instruct", "--flops", "4e14", "--devices", "8"]) == 0
    assert "4e+14" in capsys.readouterr().out
    assert main(["plan"]) == 1
    assert "say --flops" in capsys.readouterr().err


def test_the_fetched_teacher_is_the_default_model(root, capsys):
    make_teacher().config.save_pretrained(root / "artifacts/teacher")
    assert main(["plan"]) == 1  # six layers are too few for the student of the default
    assert "the teacher has 6" in capsys.readouterr().err


def test_the_teacher_is_named_and_so_is_another_one_of_the_profile(root, capsys):
    ours, theirs = (load_profile(name, root).sources.teacher.source for name in ("default", "gemma"))
    assert ours != theirs and main(["plan", "--flops", "1e12"]) == 0
    assert "\nThe teacher has the shape of SmolLM2-135M, since none is fetched.\nMemory" in capsys.readouterr().out
    deep = make_teacher().config
    deep.num_hidden_layers = 30
    for fetched in (False, True):
        if fetched:
            deep.save_pretrained(root / "artifacts/teacher")
        assert main(["plan", "--flops", "1e12", "--profile", "gemma"]) == 0
        assert "\nThe profile has another teacher, " in capsys.readouterr().out
    assert main(["plan", "--flops", "1e12"]) == 0
    assert f"\nThe teacher has the shape of artifacts/teacher, {ours}.\nMemory" in capsys.readouterr().out
    assert main(["plan", "--flops", "1e12", "--profile", "gemma", "--model", "Gemma-3-270M"]) == 0
    assert "\nThe teacher has the shape of Gemma-3-270M.\nMemory" in capsys.readouterr().out


def test_a_stage_that_went_on_has_no_speed(root):
    """Its seconds are those of a part."""
    record = read_json(PROVENANCE)
    before = plan.measured_speed(root, PARAMS)
    record["stages"]["harvest"] |= {"seconds": 60.0, "went_on": True}
    write_json(PROVENANCE, record)
    after = plan.measured_speed(root, PARAMS)
    assert "harvest" in before.flops and "harvest" not in after.flops
    assert after.flops["distill"] == before.flops["distill"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--profile", "unheard"], "no profile 'unheard'"),
        (["--model", "GPT-7"], "no known model; there are: SmolLM2-135M"),
        (["--model", "profiles"], "no folder with a config.json"),
        (["--model", "odd"], "odd/config.json is no configuration of a decoder"),
        (["--model", "listed"], "listed/config.json is no configuration of a decoder"),
        (["--model", "experts"], "mixture of experts"),
        (["--model", "Gemma-3-270M"], "student.layers = 24, but the teacher has 18"),
        (["--devices", "0"], "--devices 0"),
        (["--flops", "0"], "--flops 0"),
        (["--flops", "nan"], "--flops nan"),
    ],
)
def test_a_fault_is_one_line(root, capsys, arguments, says):
    for name, text in {"odd": '{"hidden_size": -1}', "listed": "[1]", "experts": '{"num_local_experts": 8}'}.items():
        (root / name).mkdir()
        (root / name / "config.json").write_text(text)
    assert main(["plan", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and says in err


@pytest.mark.parametrize("text", ["{}", '{"machine": {}, "stages": {}}', "[", '{"machine": 1, "stages": {"a": 2}}'])
def test_a_damaged_record_is_one_line(root, capsys, text):
    (root / PROVENANCE).write_text(text)
    assert main(["plan"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "provenance.json" in err


def test_a_plan_does_not_wait_for_torch():
    code = "import sys, dskd.report.plan; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run(
        [sys.executable, "-c", f"import json; {code}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not {"torch", "transformers"} & set(json.loads(out.stdout))


def test_stages_run_one_after_another_so_the_total_of_memory_is_the_largest():
    text = plan.plan(ROOT, "default", "SmolLM2-135M", 1, 1e12)
    lines = [line.replace(",", "").split() for line in text.splitlines()[2 : text.splitlines().index("")]]
    *rows, total = [[float(cell) if cell != "-" else 0.0 for cell in line[1:]] for line in lines]
    tokens, operations, memory, mapped, disk, hours = zip(*rows)
    expected = [sum(tokens), sum(operations), max(memory), max(mapped), sum(disk), sum(hours)]
    assert lines[-1][0] == "total" and total == pytest.approx(expected, rel=0.01)
    assert max(memory) < 0.9 * sum(memory) and max(disk) < 0.9 * sum(disk)
