"""The files and command lines of docs/launch, as accelerate understands them. Nothing is started."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import launch
from accelerate.utils.launch import prepare_multi_gpu_env
from torch.distributed.run import get_args_parser

from dskd.__main__ import SHARED, main, parser
from dskd.errors import UserError
from dskd.infra.processes import TAKEN, check_launch
from dskd.params import LaunchParams

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "docs/launch").glob("*.yaml"))
PAGES = [ROOT / "docs/processes.md", *FILES, ROOT / "docs/launch/slurm.sh"]
SLURM = {"SLURM_NNODES": "3", "SLURM_GPUS_ON_NODE": "4", "SLURM_NODEID": "2", "SLURM_JOB_NODELIST": "n[1-3]"}


@pytest.fixture(autouse=True)
def free_ports(monkeypatch):
    """Whether another run uses the port is not what is asked here."""
    monkeypatch.setattr(launch, "is_port_in_use", lambda *_: False)


def understood(command: list[str]):
    """The arguments of a command line `accelerate launch ...`, completed from its file, as its launchers get them."""
    assert command[:2] == ["accelerate", "launch"]
    arguments, *_ = _validate_launch_command(launch_command_parser().parse_args(command[2:]))
    assert arguments.module and arguments.training_script == "dskd"
    stage, *_ = given = arguments.training_script_args
    assert stage in SHARED
    parser().parse_args(given)
    return arguments


def commands() -> list[str]:
    """Every command line that the pages show."""
    text = "\n".join(path.read_text().replace("\\\n", " ") for path in PAGES if path.suffix != ".sh")
    return re.findall(r"^(?:#.*|\s*)(accelerate launch (?:.* )?-m dskd [^`\n]*)", text, flags=re.MULTILINE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_accelerate_reads_the_file(path):
    config = load_config_from_file(str(path))
    assert config.num_processes >= 2 and config.distributed_type in TAKEN
    check_launch(LaunchParams(processes=2, config=str(path)))


@pytest.mark.parametrize("command", commands())
def test_a_command_line_that_is_shown_is_understood(command, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = understood(shlex.split(command, comments=True))
    environment = prepare_multi_gpu_env(arguments)
    assert (environment.get("ACCELERATE_USE_FSDP") == "true") == ("fsdp" in command)
    get_args_parser().parse_args(["--nproc_per_node", arguments.nproc_per_node, "x"])


def test_every_file_is_shown_in_use():
    shown = " ".join(commands())
    assert all(f"docs/launch/{path.name}" in shown for path in FILES)


def test_the_job_of_slurm_starts_a_launcher_on_each_machine(tmp_path, monkeypatch):
    """With stand-ins for Slurm's commands and for accelerate, which here says what it was given."""
    stands_in = {"scontrol": "echo n1; echo n2; echo n3", "accelerate": 'printf "%s\\n" accelerate "$@"'}
    stands_in["srun"] = 'shift; exec "$@"'
    for name, body in stands_in.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    script = shutil.copy(ROOT / "docs/launch/slurm.sh", tmp_path)  # where no .venv comes first
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", script, "distill", "--objective", "kd", "--seed", "0"],
        cwd=tmp_path,
        env={"PATH": path, **SLURM},
        capture_output=True,
        text=True,
        check=True,
    )
    monkeypatch.chdir(ROOT)
    arguments = understood(done.stdout.splitlines())
    assert (arguments.num_machines, arguments.num_processes, arguments.machine_rank) == (3, 12, 2)
    assert (arguments.main_process_ip, arguments.main_process_port) == ("n1", 29500)
    assert arguments.training_script_args == ["distill", "--objective", "kd", "--seed", "0"]
    environment = prepare_multi_gpu_env(arguments)
    assert environment and (arguments.nproc_per_node, arguments.nnodes) == ("4", "3")


DEEPSPEED = "compute_environment: LOCAL_MACHINE\ndistributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 3}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (DEEPSPEED, "has `distributed_type: DEEPSPEED`; it takes MULTI_GPU or FSDP (MULTI_GPU with or without GPUs;"),
        ("distributed_type: MEGATRON_LM", "has `distributed_type: MEGATRON_LM`; it takes"),
        ("distributed_type: XLA", "has `distributed_type: XLA`; it takes"),
        ("distributed_type: 'NO'", "has `distributed_type: NO`; it takes"),
        ("distributed_type: NO", "has `distributed_type: False`; it takes"),
        ("distributed_type: MULTI_CPU", "has `distributed_type: MULTI_CPU`; it takes"),
        ("distributed_type: TPU", "cannot be used: ValueError: 'TPU' is not a valid DistributedType"),
        ("num_processes: 2", "cannot be used: ValueError: A `distributed_type` must be specified"),
        ("- a list", "cannot be used: AttributeError"),
        ("", "cannot be used: AttributeError"),
        ("a: [", "cannot be used: ParserError"),
        ("compute_environment: AMAZON_SAGEMAKER\ndistributed_type: 'NO'", "cannot be used: ValueError"),
        ("distributed_type: MULTI_GPU\nunknown: 1", "cannot be used: ValueError"),
        (None, "cannot be used: FileNotFoundError"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path, text, says):
    path = tmp_path / "launch.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError) as caught:
        check_launch(LaunchParams(processes=2, config=str(path)))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"launch.config: {path} ") and says in line
    check_launch(LaunchParams(processes=1, config=str(path)))  # it is not used


def test_a_stage_refuses_it_before_anything_is_started(project, capsys):
    Path("deepspeed.yaml").write_text(DEEPSPEED)
    params = Path("params.yaml").read_text()
    Path("params.yaml").write_text(
        params.replace("processes: 1\n  config: null", "processes: 2\n  config: deepspeed.yaml")
    )
    assert main(["harvest"]) == 1
    assert re.fullmatch(r"dskd: launch\.config: deepspeed\.yaml has .*\n", capsys.readouterr().err)
