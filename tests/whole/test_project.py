"""The repository itself: what is committed agrees with itself."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tools.dependencies import code_deps, imports
from whole.test_pipeline import ENV, ROOT, checkout, run

import dskd
from dskd.infra import artifacts
from dskd.infra.normalise import check_source_notebooks
from dskd.params import load_params
from dskd.report.parameter_tables import parameters_block
from dskd.report.readme import bench_block, cost_block, read_speeds, results_block
from dskd.report.study_tables import grid_block, half_block, headline_block

# The rooms of dskd/, in the order of the method: each imports only from rooms before it.
ROOMS = """
    errors params infra verify sources model lexicon benchmarks corpus states senses codes targets students scores
    report pipeline explore library share __main__
""".split()


def pins(lines) -> dict[str, str]:
    found = (re.fullmatch(r"([A-Za-z0-9._-]+)==([^ ;]+)", line.split("#")[0].strip()) for line in lines)
    return {re.sub(r"[-_.]+", "-", match[1]).lower(): match[2] for match in found if match}


def test_conda_and_pip_install_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert conda == ["python=3.11", "pip"]  # all else comes from pip's list, or versions could part
    assert environment["dependencies"][-1] == {"pip": ["-r requirements.txt", "-e ."]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"  # the library's; the pipeline's versions are for 3.11


def test_the_lock_file_pins_everything_and_agrees_with_pyproject():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    locked = pins(lines)
    assert len(locked) == len(lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = project["optional-dependencies"]
    for group in ("pipeline", "evaluate", "share", "dev"):
        assert pins(groups[group]).items() <= locked.items() and len(pins(groups[group])) == len(groups[group]), group
    assert locked["torch"] == "2.13.0"

    # The library has ranges, which hold what the pipeline pins.
    for requirement in map(Requirement, [*project["dependencies"], *groups["lexicon"]]):
        name = canonicalize_name(requirement.name)
        assert not any(part.operator in ("==", "<", "<=", "~=") for part in requirement.specifier), name
        assert name in pins(groups["pipeline"]) and locked[name] in requirement.specifier, name


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (citation["title"], citation["version"], citation["license"]) == (
        project["name"],
        project["version"],
        project["license"],
    )
    (date,) = re.findall(rf"^## {re.escape(project['version'])}, (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert date == str(citation.get("date-released", "unreleased")) and dskd.__version__ == project["version"]


def test_links_between_pages_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_notebooks_are_committed_without_outputs():
    assert check_source_notebooks(ROOT) == []


def test_every_stage_has_a_notebook_and_a_command():
    from dskd.__main__ import STAGES

    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert list(stages) == list(STAGES)
    for name, stage in stages.items():
        assert any(re.fullmatch(rf"notebooks/\d\d_{name}\.ipynb", dep) for dep in stage["deps"])


@pytest.mark.parametrize(
    ("page", "path", "block"),
    [
        ("docs/results.md", artifacts.METRICS, results_block),
        ("docs/costs.md", artifacts.PROVENANCE, cost_block),
    ],
)
def test_the_pages_show_the_results(page, path, block):
    """Those of the last run, or those that are committed if the pages were not generated anew since."""
    text = (ROOT / page).read_text()
    if block(artifacts.read_json(ROOT / path)) not in text:
        committed = json.loads(run(ROOT, "git", "show", f"HEAD:{path}"))
        assert block(committed) in text, "run `python -m dskd readme`"


@pytest.mark.parametrize(
    ("page", "trial", "block"),
    [
        ("docs/study", "grid.test", grid_block),
        ("docs/study", "claim.test", grid_block),
        ("docs/study", "claim_long.test", grid_block),
        ("docs/earlier", "study", half_block),
    ],
)
def test_the_pages_show_what_the_other_half_of_words_and_text_says(page, trial, block):
    found = pd.read_csv(ROOT / f"docs/trials/{trial}.csv")
    assert block(found) in (ROOT / f"{page}.md").read_text(), "run `python -m dskd readme`"


def test_the_readme_says_what_both_grids_decided():
    grid, claim = (pd.read_csv(ROOT / f"docs/trials/{name}.test.csv") for name in ("grid", "claim_long"))
    assert headline_block(grid, claim) in (ROOT / "README.md").read_text(), "run `python -m dskd readme`"


def test_the_pages_show_the_speeds():
    assert bench_block(read_speeds(ROOT)) in (ROOT / "docs/costs.md").read_text(), "run `python -m dskd readme`"


def test_readme_is_short_and_says_how_to_begin():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    assert not [line for line in text.splitlines() if len(line) > 100 and not line.startswith("|")]
    assert "make repro" in text and "make test" in text


@pytest.mark.parametrize(("index", "folder"), [("docs/README.md", ""), ("README.md", "docs/")])
def test_the_lists_of_pages_name_every_page(index, folder):
    pages = {path.name for path in ROOT.glob("docs/*.md")} - {"README.md"}
    text = (ROOT / index).read_text()
    assert [page for page in sorted(pages) if f"]({folder}{page})" not in text] == []


def test_the_page_of_parameters_is_up_to_date(tmp_path):
    """With the values of params.yaml, or with those that are committed if other ones are tried here."""
    text, committed = (ROOT / "docs/parameters.md").read_text(), tmp_path / "params.yaml"
    committed.write_text(run(ROOT, "git", "show", "HEAD:params.yaml"))
    found = (parameters_block(load_params(path)) in text for path in (ROOT / "params.yaml", committed))
    assert any(found), "run `python -m dskd readme`"


def test_the_default_profile_is_what_is_committed(tmp_path):
    for name in ("params.yaml", "profiles/default.yaml", "profiles/smoke.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    from dskd.infra.profiles import apply_profile

    before = (tmp_path / "params.yaml").read_text()
    apply_profile("smoke", tmp_path)
    assert (tmp_path / "params.yaml").read_text() != before
    apply_profile("default", tmp_path)
    assert (tmp_path / "params.yaml").read_text() == before


def test_dvc_lock_is_that_of_the_committed_parameters_and_code(tmp_path):
    folder = checkout(tmp_path)
    run(folder, "git", "checkout", "--quiet", "params.yaml")
    out = run(folder, "dvc", "repro", "--dry", "--allow-missing")
    assert "Running stage" not in out, f"dvc.lock is stale: run `make repro` and commit\n{out}"


def test_imports_run_one_way_through_the_rooms():
    found = {path.stem for path in (ROOT / "dskd").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert found - {"__init__"} == set(ROOMS)
    for path in (ROOT / "dskd").rglob("*.py"):
        room = path.relative_to(ROOT / "dskd").with_suffix("").parts[0]
        if room == "__init__":
            continue
        for module, _ in imports(ast.parse(path.read_text())).values():
            other = module.partition("/")[0]
            assert other == "__init__" or ROOMS.index(other) <= ROOMS.index(room), f"{path} imports from dskd/{other}"


def test_a_room_is_small_enough_to_be_seen_at_a_glance():
    for room in (path for path in (ROOT / "dskd").rglob("*") if path.is_dir() and list(path.glob("*.py"))):
        assert len(list(room.glob("*.py"))) <= 14, room  # 13 and what names the room
    for path in (ROOT / "dskd").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                given = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                assert len(set(given) - {"self", "cls", "ctx"}) <= 8, f"{path}: {node.name}"


STAGES = tuple(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_that_it_uses(stage):
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["deps"]
    assert sorted(dep for dep in deps if dep.startswith("dskd/")) == code_deps(stage)


def test_dvc_sees_a_change_of_one_line_in_every_room(tmp_path):
    """In every module that some stage uses a line is added, a room at a time; each stage that uses one is named."""
    folder, wanted = checkout(tmp_path), {stage: code_deps(stage) for stage in STAGES}
    for room in (path for path in sorted((folder / "dskd").iterdir()) if path.is_dir()):
        files = {path: path.read_text() for path in room.rglob("*.py")}
        for path, text in files.items():
            path.write_text(text + "# another line\n")
        status = json.loads(run(folder, "dvc", "status", "--json"))
        for path, text in files.items():
            path.write_text(text)
        named = {
            name.partition("@")[0]: changed
            for name, changes in status.items()
            for changed in [next((c["changed deps"] for c in changes if "changed deps" in c), {})]
        }
        for stage, deps in wanted.items():
            inside = {dep for dep in deps if dep.startswith(f"dskd/{room.name}/") or dep == f"dskd/{room.name}"}
            assert inside == {dep for dep in named.get(stage, ()) if dep.startswith("dskd/")}, (room.name, stage)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("  k: 10", "  k: ten"), "senses.k = 'ten'"),
        (("  k: 10", "  kk: 10"), "senses.kk is not a parameter"),
        (("  related_share: 0.4", "  related_share: 1.4"), "targets.related_share = 1.4"),
        (("  trained: 4", "  trained: 40"), "trained (40) must not exceed layers (24)"),
    ],
)
@pytest.mark.parametrize("command", [["senses"], ["notebook", "senses"]])
def test_a_wrong_parameter_is_one_clear_line(tmp_path, change, says, command):
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    text = (ROOT / "params.yaml").read_text()
    assert change[0] in text
    (tmp_path / "params.yaml").write_text(text.replace(*change))
    done = subprocess.run(
        [sys.executable, "-m", "dskd", *command], cwd=tmp_path, env=ENV, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1 and says in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dvc.yaml", "params.yaml"]


def test_outside_a_project_the_command_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "dskd", "lexicon"], cwd=tmp_path, env=ENV, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "no dvc.yaml" in done.stderr and "Traceback" not in done.stderr


def test_help_names_every_stage():
    out = run(ROOT, "python", "-m", "dskd", "--help")
    assert all(stage in out for stage in ("sources", "distill", "notebook", "profile", "readme"))
    assert "with a word, print that word's senses" in " ".join(out.split())


def test_no_data_is_run_as_code():
    """No pickle, no code from a model's folder, no shell."""
    sources = [path.read_text() for path in (ROOT / "dskd").rglob("*.py")]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        sources += ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert len(sources) > 50
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "cPickle", "dill", "joblib", "marshal", "shelve"}, ast.unparse(node)
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "torch.load", "os.system", "os.popen", "np.load"), ast.unparse(
                    node
                )
                risky = [k for k in node.keywords if k.arg in ("shell", "trust_remote_code", "allow_pickle")]
                assert all(ast.unparse(k.value) == "False" for k in risky), ast.unparse(node)


def test_nothing_names_this_or_another_machine():
    tracked = run(ROOT, "git", "ls-files", "-z").split("\0")
    kinds = {".py", ".md", ".yaml", ".yml", ".ipynb", ".html", ".json"}
    for path in [ROOT / name for name in tracked if Path(name).suffix in kinds and not name.startswith("tests/")]:
        assert not re.search(r"/(home|root|Users)/\w", path.read_text(encoding="utf-8")), path
