"""Pages, workflow and first notebook, as far as they can be checked without what builds or runs them."""

import ast
import json
import re

import yaml
from whole.test_pipeline import ROOT


class Loader(yaml.SafeLoader):
    """Knows that mkdocs.yml names a function."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
MKDOCS = yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)


def leaves(nav) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [leaf for entry in (nav.values() if isinstance(nav, dict) else nav) for leaf in leaves(entry)]


def test_every_page_is_in_the_sites_navigation():
    pages = {f"docs/{path.name}" for path in ROOT.glob("docs/*.md")} | {
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "examples/README.md",
    }
    assert sorted(leaves(MKDOCS["nav"])) == sorted(pages)


def test_a_missing_page_or_anchor_of_the_site_is_an_error():
    links = MKDOCS["validation"]["links"]
    assert set(links) == {"not_found", "anchors", "absolute_links", "unrecognized_links"}
    assert set(links.values()) == {"warn"} and "mkdocs build --strict" in (ROOT / "Makefile").read_text()


def test_the_site_is_built_with_one_version_of_each_package():
    lines = (ROOT / "docs/requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    assert {"mkdocs-material", "mkdocstrings-python"} <= {line.partition("==")[0] for line in lines}


def test_the_workflow_runs_what_ci_runs():
    jobs = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]
    commands = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in jobs.items()}
    assert commands == {"test": [".ci/run"], "docs": ["make docs"]}
    for job in jobs.values():
        (python,) = [step for step in job["steps"] if "setup-python" in step.get("uses", "")]
        assert python["with"]["python-version"] == "3.11" and python["with"]["cache"] == "pip"
        assert (ROOT / python["with"]["cache-dependency-path"]).is_file()


def test_the_first_notebook_says_where_an_address_is_lacking_and_uses_three_functions():
    cells = json.loads((ROOT / "notebooks/first_contact.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert re.search(r'^REPOSITORY = "https://.*"  # PLACEHOLDER', code, re.MULTILINE)
    of_dictionary = {
        node.func.attr
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if ast.unparse(node.func.value) in ("dictionary", "dskd.SenseDictionary")
    }
    assert of_dictionary == {"from_model", "of", "nearest"}
