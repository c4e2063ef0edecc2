"""Command line: `python -m dskd COMMAND`. `--help` lists the commands."""

import argparse
import errno
import os
import resource
import sys
import threading
import time
from typing import TYPE_CHECKING

from dskd import LAUNCHED, STAGES

if TYPE_CHECKING:
    from dskd.params import Params

# All else is imported later: that takes seconds, in which Ctrl-C may come.

EXPLORE = ("explore_senses", "explore_results")  # notebooks that are no stages
SHARED = ("harvest", "senses", "distill")  # by many processes, where there are (dskd/infra/processes.py)
_OPEN_FILES = 256  # that a process may have at a time: torch, a kernel's sockets, shards of states


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m dskd",
        description="Decoder-based Sense Knowledge Distillation. Parameters are in params.yaml; "
        "`dvc repro` runs all stages in order and only those whose inputs changed.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    purposes = _purposes()
    for name in STAGES:
        besides = ["with a word, print that word's senses"] if name == "senses" else []
        _options(commands.add_parser(name, help="; ".join([*filter(None, [purposes.get(name)]), *besides])), name)
    commands.choices["senses"].add_argument(
        "word", nargs="?", help="make nothing: print this word's senses, synonyms and antonyms, as the run has them"
    )
    notebook = commands.add_parser("notebook", help="run a stage through its notebook, as dvc.yaml does")
    stages = notebook.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for name in STAGES:
        _options(stages.add_parser(name, help=purposes.get(name)), name)
    for name in EXPLORE:
        stages.add_parser(name, help="look at a run; the executed copy goes to reports/notebooks")
    profile = commands.add_parser("profile", help="write the values of profiles/NAME.yaml into params.yaml")
    profile.add_argument("name", help="for example: smoke, default")
    plan = commands.add_parser("plan", help="say what a run will take: tokens, memory, disk and hours of each stage")
    plan.add_argument("--profile", metavar="NAME", help="with the values of profiles/NAME.yaml (default: params.yaml)")
    plan.add_argument("--model", help="teacher, by name or a folder with a config.json (default: the run's)")
    plan.add_argument(
        "--devices", type=int, default=1, help="that share the work, where one is used today (default: 1)"
    )
    plan.add_argument(
        "--flops",
        type=float,
        help="floating point operations a second that a device sustains (default: as in reports/provenance.json)",
    )
    chat = commands.add_parser("chat", help="talk with a student in the terminal; Ctrl-D or Ctrl-C ends it")
    chat.add_argument("student", nargs="?", help="dskd-0, teacher, or a folder (default: the run's last student)")
    chat.add_argument("--tokens", type=int, default=200, help="most tokens of an answer (default: 200)")
    chat.add_argument("--temperature", type=float, default=0.0, help="draw tokens (default: 0, the likeliest)")
    push = commands.add_parser("push", help="upload a student, the dictionary or the lexicon to the Hugging Face hub")
    push.add_argument("what", help="dskd-0 or another student, senses, or lexicon")
    push.add_argument("repository", help="OWNER/NAME; it is made, private, where there is none")
    push.add_argument("--public", action="store_true", help="a repository that all can see")
    push.add_argument("--dry-run", action="store_true", help="say what would be sent, and send nothing")
    pull = commands.add_parser("pull", help="download what push has uploaded, and check it")
    pull.add_argument("what", help="the name for a student, senses, or lexicon")
    pull.add_argument("repository", help="OWNER/NAME, or OWNER/NAME@REVISION")
    commands.add_parser("readme", help="generate the results and costs in README.md and docs/ anew")
    verify = commands.add_parser("verify", help="compare this folder's run with the committed one: bytes, else figures")
    verify.add_argument("--against", default="HEAD", metavar="REVISION", help="Git revision of the run (default: HEAD)")
    return top


def _purposes() -> dict[str, str]:
    """What each stage is for, as the project's dvc.yaml says; nothing outside a project."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    from dskd.errors import UserError
    from dskd.infra.artifacts import project_root

    try:
        stages = YAML(typ="safe").load(project_root() / "dvc.yaml")["stages"]
        return {name: stage["desc"] for name, stage in stages.items()}
    except (UserError, OSError, YAMLError, LookupError, TypeError):
        return {}  # the command itself says what is wrong


def _options(command: argparse.ArgumentParser, stage: str) -> None:
    if stage in ("targets", "distill"):
        command.add_argument("--objective", required=True, help="a name under `objectives` in params.yaml")
    if stage == "distill":
        command.add_argument("--seed", type=int, required=True, help="orders the training blocks")


def main(arguments: list[str] | None = None) -> int:
    if arguments is None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know ASCII alone
    for argument in sys.argv[1:] if arguments is None else arguments:
        if any("\ud800" <= character <= "\udfff" for character in argument):  # bytes that are no text
            return _fail(f"the argument {argument!a} is not in {sys.getfilesystemencoding().upper()}: write it so")
    options = parser().parse_args(arguments)
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()
    if LAUNCHED in os.environ:
        threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        return _main(options)
    except KeyboardInterrupt:
        return _fail("stopped; run the same command to go on from the last safe point", 130)


def _main(options: argparse.Namespace) -> int:
    from dskd.errors import UserError, is_disk_full, no_memory

    # Threads of OpenMP that wait for others spin, and take the processor from those that they wait for where another
    # process is busy. Asleep they cost nothing alone (docs/costs.md). It counts for libraries that are loaded after it.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _allow_open_files()
        return run(options)
    except UserError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:  # the library was installed without the pipeline's packages
        return _fail(f"{error.name} is missing, which the pipeline needs: pip install 'dskd[pipeline,evaluate]'")
    except OSError as error:
        if is_disk_full(error) or error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            what = f"{error.strerror or error}: {error.filename or 'output'}"
            return _fail(f"{what}; make room or allow writing, and run again")
        raise
    except (MemoryError, RuntimeError) as error:
        if line := no_memory(type(error).__name__, str(error)):
            return _fail(line)
        if "LOCAL_RANK" not in os.environ or "Connection" not in str(error):
            raise
        time.sleep(5)  # another process has failed and says why; the launcher is about to end this one
        return _fail("this process has lost the others: one has failed, or the network has")


def _allow_open_files() -> None:
    """As many as are needed, where the shell's limit can be raised; UserError where it cannot."""
    from dskd.errors import UserError

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _OPEN_FILES:
        return
    if hard != resource.RLIM_INFINITY and hard < _OPEN_FILES:
        raise UserError(
            f"only {hard} files may be open at a time, {_OPEN_FILES} are needed: run `ulimit -n 1024` first"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, hard))


def _end_with(parent: int) -> None:
    """Leave when the process `parent` has ended: DVC alone can record what it started, and its next run must not meet
    another writer. A kernel ends with the process that started it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    try:
        _fail("DVC was killed: stopped; run `dvc repro` to go on from the last safe point")
    finally:  # even where nothing can be printed any more
        os._exit(1)


def _end_with_input() -> None:
    """Leave when nothing can come from stdin any more: the process that has launched this one has ended."""
    while os.read(0, 1):
        pass
    os._exit(1)


def _fail(message: str, code: int = 1) -> int:
    print(f"dskd: {message}", file=sys.stderr)
    return code


def run(options: argparse.Namespace) -> int:
    """Carry out a parsed command line; returns the exit status."""
    from dskd.errors import UserError
    from dskd.infra.artifacts import project_root
    from dskd.infra.hashes import check_code
    from dskd.params import load_params

    check_code(project_root())
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and options.command not in SHARED:
        raise UserError(f"{options.command} runs in one process; {', '.join(SHARED)} can be shared by more")
    instance = {key: getattr(options, key) for key in ("objective", "seed") if hasattr(options, key)}
    if options.command == "profile":
        from dskd.infra.profiles import apply_profile

        print(f"wrote {apply_profile(options.name, project_root())}")
    elif options.command == "plan":
        from dskd.report.plan import plan

        print(plan(project_root(), options.profile, options.model, options.devices, options.flops), end="")
    elif options.command == "chat":
        talk(options.student, options.tokens, options.temperature)
    elif options.command in ("push", "pull"):
        os.chdir(project_root())
        from dskd.share import hub

        if options.command == "push":
            hub.push(options.what, options.repository, options.public, options.dry_run)
        else:
            print(f"wrote {hub.pull(options.what, options.repository)}")
    elif options.command == "readme":
        from dskd.infra.profiles import check_default
        from dskd.report.readme import update_docs

        check_default(project_root())
        updated = update_docs(project_root())
        print(f"updated: {', '.join(updated)}" if updated else "all was up to date")
    elif options.command == "verify":
        from dskd.verify.verdict import verify

        return verify(project_root(), options.against)
    elif options.command == "notebook":
        _known(load_params(project_root() / "params.yaml"), instance)
        from dskd.infra.notebook import run_notebook

        run_notebook(options.stage, instance, project_root())
    elif getattr(options, "word", None) is not None:
        os.chdir(project_root())
        settings = load_params().lexicon
        from dskd.explore.cards import as_text, in_colour  # not the stages: they take longer to import than this takes
        from dskd.explore.words import look_up

        print(as_text(look_up(options.word, settings), in_colour()))
    else:
        # A fault shows before the seconds that torch takes to import.
        _known(load_params(project_root() / "params.yaml"), instance)
        from dskd.pipeline import stages

        getattr(stages, options.command)(stages.begin(), **instance)
    return 0


def _known(params: "Params", instance: dict[str, str | int]) -> None:
    """Raise UserError unless these are an objective of the parameters and a seed: they name files."""
    from dskd.errors import UserError
    from dskd.params import LARGEST_SEED, chosen_objective

    if "objective" in instance:
        chosen_objective(params, instance["objective"])
    if not 0 <= instance.get("seed", 0) <= LARGEST_SEED:
        raise UserError(f"--seed {instance['seed']}: it takes a number from 0 to {LARGEST_SEED}")


def talk(student: str | None, tokens: int, temperature: float) -> None:
    """`python -m dskd chat`."""
    from dskd.errors import UserError
    from dskd.infra.artifacts import project_root
    from dskd.params import load_params

    if not 1 <= tokens < 2**31 or not 0 <= temperature < float("inf"):
        raise UserError(
            f"--tokens {tokens} --temperature {temperature:g}: the first takes 1 to {2**31 - 1}, the second 0 or more"
        )
    folder = os.path.abspath(student) if student and os.sep in student else student  # of where the user stands
    os.chdir(project_root())
    params = load_params()
    from dskd.explore import chat

    name = folder or f"{params.distill.objectives[-1]}-{params.distill.seeds[-1]}"
    model, tokenizer = chat.load(name, params.runtime.dtype)
    print(f"{name}; Ctrl-D ends", file=sys.stderr)
    chat.chat(model, tokenizer, tokens, temperature)


if __name__ == "__main__":
    sys.exit(main())
