"""Run a stage's notebook with papermill; leave a normalised copy, and its provenance.

The kernel is this interpreter, whatever kernels are registered, in an environment without locale,
time zone or personal IPython settings. What it writes to stderr (progress) shows as it comes and is
not kept. Earlier outputs are replaced only when all of the new ones are there.
"""

import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import papermill
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError

import dskd
from dskd.errors import UserError, no_memory
from dskd.infra.normalise import check_source_notebooks, normalise, notebook_text, relinked
from dskd.infra.output import WENT_ON, output, writing
from dskd.infra.page import to_html
from dskd.infra.provenance import record

__all__ = ["NotebookError", "check_source_notebooks", "run_notebook"]

# The greatest resident size of the kernel or of one of its children; Linux counts in KiB, macOS in bytes.
_PEAK = "max(__import__('resource').getrusage(w).ru_maxrss for w in (__import__('resource').RUSAGE_SELF, -1))"
_SOCKET = 100  # bytes in the path of a Unix socket: Linux takes 107, macOS 103


class NotebookError(RuntimeError):
    """A notebook failed through no fault of the user's: a bug."""


def run_notebook(stage: str, parameters: dict[str, str | int], root: Path) -> None:
    """Execute `root/notebooks/NN_<stage>.ipynb` and write its results below `root/reports`.

    It leaves `notebooks/<name>.ipynb`, where <name> is the stage and the parameters' values (`distill-kd-0`); of the
    stage `report` the page `index.html` instead, without code; and an entry in `provenance.json`. After a failure
    `notebooks/.<name>.failed.ipynb` is what ran so far.

    Raises:
        TypeError: a parameter is neither a string nor an integer (a bool is neither, here).
        UserError: no such notebook; the notebook raised one; the disk is full, the kernel was killed,
            or the run was interrupted.
        NotebookError: any other exception in the notebook; the traceback goes to stderr.
    """
    for key, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise TypeError(
                f"parameter {key} = {value!r} of {stage}: only strings and integers are passed to notebooks"
            )
    root = Path(root).resolve()
    source = _source(stage, root)
    name = "-".join([stage, *map(str, parameters.values())])
    if not re.fullmatch(r"[\w.=+-]+", name):
        raise UserError(f"{name!r} cannot name a file: use letters, digits, . _ - in parameters")
    folder = root / "reports" / "notebooks"
    folder.mkdir(parents=True, exist_ok=True)
    failed = folder / f".{name}.failed.ipynb"
    start = time.perf_counter()
    executed = _execute(source, failed, parameters, root)
    seconds = time.perf_counter() - start
    peak, went_on = executed.metadata.pop("peak_memory"), executed.metadata.pop("went_on")
    notebook = normalise(executed, root)
    is_page = stage == "report"
    path = root / "reports" / "index.html" if is_page else folder / f"{name}.ipynb"
    with output(path) as partial:
        text = to_html(notebook, name) if is_page else notebook_text(relinked(notebook, "../../notebooks"))
        partial.write_text(text, encoding="utf-8")
    failed.unlink(missing_ok=True)
    if not stage.startswith("explore_"):  # which are no stages
        record(root, name, seconds, round(peak / (2**20 if sys.platform == "darwin" else 2**10)), went_on)


def _source(stage: str, root: Path) -> Path:
    stages = {path.stem.partition("_")[2]: path for path in sorted((root / "notebooks").glob("[0-9]*_*.ipynb"))}
    stages |= {path.stem: path for path in sorted((root / "notebooks").glob("explore_*.ipynb"))}
    if stage not in stages:
        raise UserError(f"no notebook for stage {stage!r} in {root / 'notebooks'}; there are: {', '.join(stages)}")
    return stages[stage]


def _execute(source: Path, record_path: Path, parameters: dict, root: Path) -> nbformat.NotebookNode:
    """Run the notebook; `record_path` is rewritten with each cell, and marks the one that fails."""
    where = source.relative_to(root)
    # papermill fills {} in paths
    paths = [str(path).replace("{", "{{").replace("}", "}}") for path in (source, record_path)]
    # For the kernel's sockets and key, and for what IPython writes to its home.
    with tempfile.TemporaryDirectory(prefix="dskd-", dir=_scratch_place()) as scratch, writing(record_path):
        try:
            return papermill.execute_notebook(
                *paths, parameters, engine_name="dskd", kernel_name="python3", language="python", progress_bar=False,
                cwd=root, scratch=scratch,
            )  # fmt: skip
        except PapermillExecutionError as error:
            if error.ename == "UserError" or "No space left on device" in error.evalue:
                raise UserError(" ".join(error.evalue.split())) from None
            if line := no_memory(error.ename, error.evalue):
                raise UserError(f"{where}: {line}") from None
            print("\n".join(error.traceback), file=sys.stderr, flush=True)
            line = error.evalue.strip().partition("\n")[0]
            cell = f"{where}, In [{error.exec_count}]"
            raise NotebookError(f"{cell}: {error.ename}: {line} (see {record_path.relative_to(root)})") from None
        except DeadKernelError:
            raise UserError(f"{where}: its kernel was killed, most often for want of memory: free some") from None
        except KeyboardInterrupt:
            raise UserError(f"{where} was interrupted: earlier outputs are untouched; run again to go on") from None


def _scratch_place() -> str:
    """The folder for temporary files, or another where its path is too long for the sockets in it."""
    try:
        chosen = tempfile.gettempdir()
    except OSError as error:
        raise UserError(f"no folder for temporary files can be written ({error}): set TMPDIR to one of yours") from None
    for place in (chosen, "/tmp", "/var/tmp"):
        if len(os.fsencode(place)) + len("/dskd-01234567/s-99") <= _SOCKET and os.access(place, os.W_OK | os.X_OK):
            return place
    raise UserError(f"the path of {chosen} is too long for the sockets of a notebook's kernel: set TMPDIR to a shorter")


def _noted(scratch: str) -> str:
    """The file by which a stage says that it went on from what an earlier run had made."""
    return os.path.join(scratch, "went_on")


class _Kernel(AsyncKernelManager):
    scratch = ""

    @property
    def kernel_spec(self) -> KernelSpec:
        """This interpreter, with the same `dskd`, in a plain environment."""
        package = str(Path(dskd.__file__).resolve().parents[1])
        env = {
            "PYTHONHASHSEED": "0",
            "PYTHONUTF8": "1",
            "LC_ALL": "C.UTF-8",
            "LANGUAGE": "C",
            "TZ": "UTC",
            "COLUMNS": "100",
            "IPYTHONDIR": self.scratch,
            WENT_ON: _noted(self.scratch),
            "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        }
        # The kernel's own log would show when it is stopped amid a cell. What child processes print (pip)
        # goes straight to the terminal; captured, ipykernel would both echo it and send it here.
        options = ["--log-level=50", "--IPKernelApp.capture_fd_output=False"]
        return KernelSpec(**get_kernel_dict(options, ["-Xfrozen_modules=off"]), env=env)


class _Client(PapermillNotebookClient):
    scratch = ""

    def create_kernel_manager(self) -> AsyncKernelManager:
        # Sockets are files in a folder of ours: no port is opened, and no other user can listen.
        place = {"connection_file": f"{self.scratch}/kernel.json", "transport": "ipc", "ip": f"{self.scratch}/s"}
        self.km = _Kernel(kernel_name="python3", **place)
        self.km.scratch = self.scratch
        return self.km

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "stream" and msg["content"]["name"] == "stderr":
            sys.stderr.write(msg["content"]["text"])
            sys.stderr.flush()
            return None
        return super().process_message(msg, cell, cell_index)

    def papermill_execute_cells(self):
        super().papermill_execute_cells()
        request = self.kc.execute("", silent=True, store_history=False, user_expressions={"peak": _PEAK})
        reply = self.wait_for_reply(request)["content"]["user_expressions"]["peak"]
        self.nb.metadata["peak_memory"] = int(reply["data"]["text/plain"])
        self.nb.metadata["went_on"] = os.path.exists(_noted(self.scratch))


class _Engine(NBClientEngine):
    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, scratch, **_):
        client = _Client(nb_man, kernel_name=kernel_name, startup_timeout=120)
        client.scratch = scratch
        return client.execute()


papermill_engines.register("dskd", _Engine)
