"""Which code each stage really uses: `python tests/tools/dependencies.py` prints what `dvc.yaml` has to name.

What a notebook imports, and what its calls of `stages` lead to, is followed through the modules of `dskd`. A stage then
depends on the folder of each room that it reaches, or on one or two files where it takes nothing else of the room.
"""

import ast
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Not named in dvc.yaml, since every stage would run again after each change. The two modules of the pipeline have a
# function for each stage; what that function calls counts. Report and explore are what notebooks show beside what they
# make: a change of a picture must not train students again, so that they count for the stage `report` alone.
EXEMPT = ("__init__", "errors", "params", "infra", "pipeline/__init__", "pipeline/stages", "pipeline/inputs")
SHOWN = ("report", "explore")
EXPORTS = "__init__"  # names the library for others; what a stage imports of it is a constant
BY_FUNCTION = ("pipeline/stages", "pipeline/inputs")


def module_of(name: str) -> str | None:
    """ "dskd.senses.store" -> "senses/store"; None where that is no module of this package."""
    place = name.removeprefix("dskd").removeprefix(".").replace(".", "/") or "__init__"
    for found in (place, f"{place}/__init__"):
        if (ROOT / "dskd" / f"{found}.py").is_file():
            return found
    return None


def imports(tree: ast.AST) -> dict[str, tuple[str, str | None]]:
    """Local name -> the module that it comes from, and its name there (None: the module itself)."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "dskd":
            for alias in node.names:
                whole = module_of(f"{node.module}.{alias.name}")
                target = (whole, None) if whole else (module_of(node.module), alias.name)
                found[alias.asname or alias.name] = target
    return found


def used(node: ast.AST, known: dict[str, tuple[str, str | None]]) -> set[tuple[str, str | None]]:
    """What of these names a piece of code uses: modules, or functions of the modules that are followed by function."""
    reached = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in known:
            module, name = known[part.value.id]
            reached.add((module, part.attr) if name is None else (module, name))
        elif isinstance(part, ast.Name) and part.id in known:
            reached.add(known[part.id])
    return reached


def closure(start: set[tuple[str, str | None]], left_out: tuple[str, ...]) -> set[str]:
    """The modules that are reached from these, those of rooms that are left out neither counted nor followed."""
    waiting, seen = list(start), set()
    while waiting:
        item = module, name = waiting.pop()
        if item in seen or module.partition("/")[0] in left_out:
            continue
        seen.add(item)
        tree = ast.parse((ROOT / "dskd" / f"{module}.py").read_text())
        known = imports(tree)
        if module in BY_FUNCTION:
            functions = {f.name: f for f in tree.body if isinstance(f, ast.FunctionDef)}
            if name in functions:
                waiting += used(functions[name], known | {other: (module, other) for other in functions})
        else:
            waiting += [(target, inner) for target, inner in known.values()]
    return {module for module, _ in seen}


def notebook_uses(path: Path) -> set[tuple[str, str | None]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tree = ast.parse("\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    known = imports(tree)
    plain = {target for target in known.values() if target[0] not in BY_FUNCTION}
    return used(tree, known) | plain


def code_deps(stage: str) -> list[str]:
    """The folders and files of `dskd` that a stage depends on, as dvc.yaml names them."""
    (path,) = (ROOT / "notebooks").glob(f"[0-9]*_{stage}.ipynb")
    reached = closure(notebook_uses(path), (EXPORTS,) if stage == "report" else (EXPORTS, *SHOWN))
    rooms: dict[str, set[str]] = {}
    for module in reached:
        if not _exempt(module):
            rooms.setdefault(module.partition("/")[0], set()).add(module)
    found = []
    for room, modules in rooms.items():
        whole = {f"{room}/{path.stem}" for path in (ROOT / "dskd" / room).glob("[a-z]*.py")}
        if room != "pipeline" and (len(modules) > 2 or modules == whole or f"{room}/__init__" in modules):
            found.append(f"dskd/{room}")
        else:  # a package that is named for the data in it counts with all of its files
            found += [f"dskd/{module}.py".replace("/__init__.py", "") for module in modules]
    return sorted(found)


def _exempt(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}/") for name in EXEMPT)


if __name__ == "__main__":
    for place in sorted((ROOT / "notebooks").glob("[0-9]*_*.ipynb")):
        name = place.stem.partition("_")[2]
        print(f"{name}: {' '.join(code_deps(name))}")
