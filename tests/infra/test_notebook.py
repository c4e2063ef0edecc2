"""Small notebooks in a folder of their own are run as the stages are."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dskd.errors import UserError
from dskd.infra import notebook
from dskd.infra.normalise import check_source_notebooks, normalise, notebook_text, relinked
from dskd.infra.notebook import NotebookError, run_notebook
from dskd.infra.page import to_html

HERE = Path(__file__).resolve().parents[2]
RUN = """
import json, sys
from pathlib import Path
from dskd.errors import UserError
from dskd.infra.notebook import run_notebook
try:
    run_notebook(sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3]))
except UserError as error:
    print(f"dskd: {error}", file=sys.stderr)
    sys.exit(1)
"""

# What varies between runs and machines: paths, addresses, places, hashes, time zone, cuts of the stream.
VARIED = """
import os, sys, time
for i in range(3):
    print(f"\\rprogress {i}", end="", file=sys.stderr, flush=True)
    print(f"\\rbar {i}", end="", flush=True)
print("\\nroot", os.getcwd() + "/data/x.txt", os.path.expanduser("~/y"), object())
time.sleep(0.4)
print(hash("x"), time.tzname, sys.argv[0] == "", os.environ.get("LC_ALL"), sorted({"b", "a"}))
print(seed, name, "dskd" in sys.modules)
object()
"""
TABLE = "import pandas as pd\npd.DataFrame({'word': ['<script>alert(1)</script>', 'b'], 'n': [1.0, 2.5]})"
FIGURE = "import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1))\nplt.plot([1, 2]);"
RAW = """
from IPython.display import HTML, Markdown
display(HTML('<b onclick="x()">bold</b><script>evil()</script>'))
display(Markdown('*soft* <img src=x onerror=evil()>'))
print('</pre><script>evil()</script>')
"""
WAIT = """
import os, sys, time
open("pid", "w").write(str(os.getpid()))
print("\\r 10% [00:01<00:09]", end="", file=sys.stderr)
os.system("echo child >&2")
while not os.path.exists("seen"):
    time.sleep(0.05)
"""


def tree(root, **stages):
    """A project whose notebooks have the cells given, after one with parameters."""
    (root / "notebooks").mkdir(parents=True, exist_ok=True)
    (root / "dvc.yaml").write_text("stages: {}\n")
    for number, (stage, cells) in enumerate(stages.items(), start=1):
        book = new_notebook(cells=[new_markdown_cell(f"# The {stage}\n\nWhat it does.")])
        book.cells.append(new_code_cell("name = 'none'\nseed = 0", metadata={"tags": ["parameters"]}))
        book.cells += [new_code_cell(cell.strip()) for cell in cells]
        nbformat.write(book, root / "notebooks" / f"{number:02}_{stage}.ipynb")
    return root


def command(root, stage, parameters=None):
    return [sys.executable, "-W", "error::ResourceWarning", "-c", RUN, stage, json.dumps(parameters or {}), str(root)]


def environment(**values):
    return {**os.environ, "PYTHONPATH": str(HERE), **values}


def reports(root):
    folder = root / "reports"
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_two_machines_write_the_same_bytes(tmp_path):
    kernels = tmp_path / "foreign/kernels/python3"  # another python3 must not be taken
    kernels.mkdir(parents=True)
    (kernels / "kernel.json").write_text(json.dumps({"argv": ["false"], "display_name": "no", "language": "python"}))
    found = []
    places = {"one": {"LANG": "C", "TZ": "Asia/Tokyo"}, "two/{deep} er": {"LANG": "de_DE.UTF-8", "TZ": ""}}
    for folder, env in places.items():
        root = tree(tmp_path / folder, report=[VARIED, TABLE, FIGURE, RAW], states=[VARIED, TABLE, FIGURE, RAW])
        home = tmp_path / folder / "home"
        home.mkdir()
        env = environment(**env, HOME=str(home), JUPYTER_PATH=str(tmp_path / "foreign"), PYTHONHASHSEED="7")
        for stage in ("report", "states"):
            given = command(root, stage, {"name": "kd", "seed": 3})
            done = subprocess.run(given, env=env, capture_output=True, cwd=tmp_path)
            assert done.returncode == 0, done.stderr.decode()
            assert done.stderr == b"\rprogress 0\rprogress 1\rprogress 2"  # and no warnings
        files = reports(root)
        provenance = json.loads(files.pop("provenance.json"))
        assert provenance["stages"]["report-kd-3"]["seconds"] > 0
        assert provenance["stages"]["report-kd-3"]["peak_memory_mb"] > 20
        assert provenance["versions"]["python"] and provenance["machine"]["cores"] >= 1
        found.append(files)
    assert sorted(found[0]) == ["index.html", "notebooks/states-kd-3.ipynb"]
    assert found[0] == found[1]

    text = found[0]["notebooks/states-kd-3.ipynb"].decode()
    assert text.endswith("}\n") and "papermill" not in text and "\rprogress" not in text
    book = nbformat.reads(text, as_version=4)
    nbformat.validate(book)
    assert [cell.id for cell in book.cells][:2] == ["cell-0001", "cell-0002"]
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3, 4, 5, 6]
    assert code[1].source == '# Parameters\nname = "kd"\nseed = 3\n'
    stream, result = code[2].outputs
    assert stream.text.startswith("bar 2\nroot data/x.txt ~/y <object object at 0x0>\n")
    assert "('UTC', 'UTC')" in stream.text and "3 kd" in stream.text
    assert result.data["text/plain"] == "<object at 0x0>"
    assert code[4].outputs[0].metadata["image/png"]["alt"] == "Figure: The states"

    markup = found[0]["index.html"].decode()
    assert "<title>The report</title>" in markup and "&lt;script&gt;alert(1)&lt;/script&gt;" in markup
    assert "<script" not in markup and "http" not in markup and 'alt="Figure: The report"' in markup
    assert not re.search(r"<[^>]*\son\w+=", markup)
    assert "<b>bold</b>" in markup and "<em>soft</em>" in markup
    assert "plt" not in markup and "In [" not in markup
    assert len(markup) < 60_000


@pytest.mark.parametrize("length", [60, 100, 180])
def test_a_folder_for_temporary_files_may_have_a_path_of_any_length(tmp_path, length):
    place = tmp_path / "t"
    while len(str(place)) < length:
        place /= "x" * min(20, length - len(str(place)))
    place.mkdir(parents=True)
    root = tree(tmp_path / "project", states=["print(1)"])
    env = environment(TMPDIR=str(place))
    done = subprocess.run(command(root, "states"), env=env, capture_output=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()
    assert not list(place.iterdir())


def test_where_there_is_no_room_for_a_socket_it_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook.tempfile, "gettempdir", lambda: "/tmp/" + "x" * 100)
    monkeypatch.setattr(notebook.os, "access", lambda *_: False)
    with pytest.raises(UserError, match=r"is too long for the sockets of a notebook's kernel: set TMPDIR to a shorter"):
        run_notebook("states", {}, tree(tmp_path, states=[]))

    def none():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(notebook.tempfile, "gettempdir", none)
    with pytest.raises(UserError, match=r"no folder for temporary files can be written .*: set TMPDIR"):
        run_notebook("states", {}, tree(tmp_path, states=[]))


def start(root):
    """Start a stage that waits, and return when what it and its child process write has come through, once."""
    process = subprocess.Popen(
        command(root, "states"),
        env=environment(),
        stderr=subprocess.PIPE,
        # A shell that starts the tests in the background lets them ignore interrupts, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    text = b""
    while len(text) < len(b"\r 10% [00:01<00:09]child\n"):
        text += os.read(process.stderr.fileno(), 4096) or pytest.fail(text.decode())
    assert sorted(text) == sorted(b"\r 10% [00:01<00:09]child\n")
    return process


def test_progress_shows_while_it_runs(tmp_path):
    # The cell ends only when the test has seen its progress: that it ends shows that progress comes live.
    root = tree(tmp_path, states=[WAIT])
    with start(root) as process:
        (root / "seen").touch()
        assert process.stderr.read() == b""
        assert process.wait(60) == 0
    book = nbformat.read(root / "reports/notebooks/states.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in book.cells)


def test_interrupt_is_one_line_and_leaves_no_kernel(tmp_path):
    root = tree(tmp_path, states=[WAIT])
    with start(root) as process:
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read().decode()
        assert process.wait(30) == 1
    assert rest.count("\n") == 1 and "interrupted" in rest
    with pytest.raises(ProcessLookupError):
        for _ in range(40):
            os.kill(int((root / "pid").read_text()), 0)
            time.sleep(0.05)


def test_failures_leave_earlier_outputs(tmp_path, capsys):
    cells = ["import os\nfrom dskd.errors import UserError", "mode = open('mode').read()", "print('so far')"]
    cells += ["if mode == 'user': raise UserError('teacher is missing:\\n make it')\nif mode == 'bug': 1 / 0"]
    cells += ["if mode == 'full': raise OSError(28, 'No space left on device')\nif mode == 'dead': os._exit(9)"]
    root = tree(tmp_path, lexicon=cells)
    (root / "mode").write_text("fine")
    run_notebook("lexicon", {}, root)
    assert not list(root.glob("reports/notebooks/.*"))
    before = reports(root)
    for mode, kind, message in [
        ("user", UserError, "^teacher is missing: make it$"),
        ("full", UserError, "disk full while writing"),
        ("bug", NotebookError, r"notebooks/01_lexicon.ipynb, In \[5\]: ZeroDivisionError: division by zero"),
        ("dead", UserError, "kernel was killed"),
    ]:
        (root / "mode").write_text(mode)
        with pytest.raises(kind, match=message) as caught:
            run_notebook("lexicon", {}, root)
        assert "\n" not in str(caught.value)
        after = reports(root)
        assert "so far" in after.pop("notebooks/.lexicon.failed.ipynb").decode()
        assert after == before
        assert ("Traceback" in capsys.readouterr().err) == (mode == "bug")
    (root / "reports/provenance.json").write_text('{"stages": {"other": {"seconds": 1}}}')
    (root / "mode").write_text("fine")
    run_notebook("lexicon", {}, root)
    assert not list(root.glob("reports/notebooks/.*"))
    stages = json.loads((root / "reports/provenance.json").read_text())["stages"]
    assert sorted(stages) == ["lexicon", "other"] and stages["other"] == {"seconds": 1}


GOES_ON = """
from pathlib import Path
from dskd.infra.output import output
with output(Path("made"), "fingerprint") as partial:
    (partial / "first").touch()
    if not Path("again").exists():
        Path("again").touch()
        raise KeyError("stopped")
"""


def test_the_time_of_a_stage_that_went_on_is_marked(tmp_path):
    root = tree(tmp_path, lexicon=[GOES_ON], states=["1"])
    with pytest.raises(NotebookError, match="stopped"):
        run_notebook("lexicon", {}, root)
    for stage in ("lexicon", "states"):
        run_notebook(stage, {}, root)
    stages = json.loads((root / "reports/provenance.json").read_text())["stages"]
    assert stages["lexicon"]["went_on"] is True and "went_on" not in stages["states"]


def test_a_want_of_memory_is_one_line(tmp_path):
    root = tree(tmp_path, states=["import torch; torch.empty(10**15)"])
    with pytest.raises(UserError, match=r"^notebooks/01_states\.ipynb: out of memory \(4000000000000000 bytes\): free"):
        run_notebook("states", {}, root)


def test_parameters_and_stages_are_checked(tmp_path):
    root = tree(tmp_path, lexicon=[])
    with pytest.raises(TypeError, match="flag = True"):
        run_notebook("lexicon", {"flag": True}, root)
    with pytest.raises(TypeError, match="rate"):
        run_notebook("lexicon", {"rate": 0.5}, root)
    with pytest.raises(UserError, match=r"no notebook for stage 'states'.*lexicon"):
        run_notebook("states", {}, root)
    with pytest.raises(UserError, match="cannot name a file"):
        run_notebook("lexicon", {"name": "../x"}, root)


def test_normalise_keeps_base64_and_drops_widgets(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/root")
    data = {"image/png": "ab/root/cd", "text/plain": f"{tmp_path}/a {tmp_path}b /root /rooted 0xdeadbeef"}
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": "100%"}
    outputs = [new_output("display_data", data=data), new_output("display_data", data=widget)]
    outputs += [new_output("stream", name="stderr", text="x"), new_output("stream", name="stdout", text="a\r\n")]
    book = new_notebook(cells=[new_code_cell("1", outputs=outputs, metadata={"papermill": {}})])
    book.metadata.papermill = {"x": 1}
    result = normalise(book, tmp_path)
    shown, stream = result.cells[0].outputs
    assert shown.data["image/png"] == "ab/root/cd"
    assert shown.data["text/plain"] == f"a {tmp_path}b ~ /rooted 0xdeadbeef"
    assert stream.text == "a\r\n" and not result.cells[0].metadata and "papermill" not in result.metadata
    assert notebook_text(normalise(result, tmp_path)) == notebook_text(result)
    assert "ab/root/cd" in to_html(result, "x<y") and "<title>x&lt;y</title>" in to_html(result, "x<y")


def test_normalise_leaves_out_passwords_in_addresses(tmp_path):
    """Git keeps notebooks, and an error of another library may name the address that it was given."""
    said = "https://me:s3cret@hub.example/x failed; see https://a.b/@c and me@mail.example"
    outputs = [new_output("display_data", data={"text/plain": said, "text/html": f"<b>{said}</b>"})]
    outputs += [
        new_output("stream", name="stdout", text=said),
        new_output("error", ename="E", evalue=said, traceback=[said]),
    ]
    text = notebook_text(normalise(new_notebook(cells=[new_code_cell("1", outputs=outputs)]), tmp_path))
    assert "s3cret" not in text and text.count("https://hub.example/x") == 5
    assert text.count("https://a.b/@c and me@mail.example") == 5


def test_an_executed_copy_leads_where_its_source_does():
    text = "[a](../docs/a.md#x) [b](02_lexicon.ipynb), [c](https://x.org/y) [d](#here) ![e](../reports/e.png)"
    book = new_notebook(cells=[new_markdown_cell(text), new_code_cell("f(x)[0](../y)")])
    moved = relinked(book, "../../notebooks")
    assert moved.cells[0].source == (
        "[a](../../docs/a.md#x) [b](../../notebooks/02_lexicon.ipynb), [c](https://x.org/y) [d](#here) "
        "![e](../../reports/e.png)"
    )
    assert moved.cells[1].source == "f(x)[0](../y)" and book.cells[0].source == text


def test_source_notebooks_hold_no_outputs(tmp_path):
    root = tree(tmp_path, lexicon=["1"], states=["2"], corpus=[])
    assert check_source_notebooks(root) == []
    path = root / "notebooks/02_states.ipynb"
    book = nbformat.read(path, as_version=4)
    book.cells[-1].execution_count = 1
    nbformat.write(book, path)
    assert check_source_notebooks(root) == ["02_states.ipynb"]
    assert check_source_notebooks(HERE) == []
    assert notebook.check_source_notebooks is check_source_notebooks


@pytest.mark.parametrize("name", ["05_harvest", "07_targets", "11_evaluate"])
def test_a_notebook_shows_a_run_of_short_blocks_few_senses_and_no_items(project, name):
    """Its cells in this process: blocks have 16 tokens, no token has 5 senses, and no word is held out."""
    values = {"display": lambda shown: None}
    for cell in nbformat.read(HERE / f"notebooks/{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, values)
