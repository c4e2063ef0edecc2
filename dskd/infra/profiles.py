"""A profile is an overlay, `profiles/NAME.yaml`: `python -m dskd profile NAME` writes its values into `params.yaml`, so
that DVC always sees the true ones."""

from functools import reduce
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from dskd.errors import UserError, one_line
from dskd.infra.artifacts import LOCK, read_lock
from dskd.params import UNREADABLE, Params, read_yaml, validated


def apply_profile(name: str, root: str | Path = ".") -> Path:
    """Write the values of `profiles/NAME.yaml` into `params.yaml`, keeping its comments and order.

    The result is checked before it replaces the file. Raises UserError for an unknown profile.
    """
    content, _ = _applied(name, root)
    target = Path(root) / "params.yaml"
    partial = target.with_name(".params.yaml.partial")
    try:
        partial.write_bytes(content)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def load_profile(name: str, root: str | Path = ".") -> Params:
    """The parameters as `apply_profile` would write them; nothing is written. Raises UserError as that does."""
    return _applied(name, root)[1]


def check_default(root: str | Path = ".") -> None:
    """Raise UserError where `params.yaml` has other values than the profile `default`, or where the run that `dvc.lock`
    tells of had: README and docs call their tables those of the default run."""
    path, way = Path(root) / "params.yaml", "run `python -m dskd profile default` and `make repro`"
    values = read_yaml(YAML(typ="safe", pure=True), path)
    default = YAML(typ="safe", pure=True).load(_applied("default", root)[0])
    if other := next((key for key in default if values.get(key) != default[key]), None):
        raise UserError(f"{path} has other values than the default run ({other}), which the pages are of: {way}")
    for stage, entry in read_lock(Path(root) / LOCK)["stages"].items():
        for key, had in entry.get("params", {}).get("params.yaml", {}).items():
            if had != reduce(lambda group, part: (group or {}).get(part), key.split("."), values):
                raise UserError(f"{LOCK} tells of another {key} in {stage} than {path} has: {way}")


def _applied(name: str, root: str | Path) -> tuple[bytes, Params]:
    """What `params.yaml` would hold after this profile, and the parameters that are read from that."""
    profile, target = _profile(name, root), Path(root) / "params.yaml"
    yaml, text = YAML(), StringIO()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    values = _changed(yaml, target, profile)
    try:
        yaml.dump(values, text)
        # Read again: what an objective takes over from another (`<<: *span`) changes with that one.
        return text.getvalue().encode(), validated(YAML(typ="safe", pure=True).load(text.getvalue()), profile)
    except UNREADABLE as error:
        raise UserError(f"{profile} cannot be read: {one_line(error)[:300]}") from None


def _profile(name: str, root: str | Path) -> Path:
    folder = Path(root) / "profiles"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:  # nor any other path
        raise UserError(f"no profile {name!r}; there are: {', '.join(known)}")
    return folder / f"{name}.yaml"


def _changed(yaml: YAML, target: Path, profile: Path) -> dict:
    """The values of `target` with those of `profile` over them."""
    values, changes = read_yaml(yaml, target), read_yaml(yaml, profile)
    if changes is None or changes == {}:
        raise UserError(f"{profile} has no values, so that it would change nothing: was it saved?")
    for path, content in ((target, values), (profile, changes)):
        if not isinstance(content, dict):
            raise UserError(f"{path} is no mapping of parameters")
    _check_licences(values, changes, profile)
    overlay(values, changes)
    return values


def _check_licences(values: dict, changes: dict, profile: Path, above: str = "") -> None:
    """Raise UserError where a source is changed and its licence is not said: it would keep that of the one before."""
    for key, change in changes.items():
        known, name = values.get(key), f"{above}{key}"
        if not (isinstance(change, dict) and isinstance(known, dict)):
            continue
        source = change.get("source")
        if isinstance(source, str) and source != known.get("source") and "licence" not in change:
            raise UserError(
                f"{profile}: {name}.source is another one, and {name}.licence is missing: write its licence"
            )
        _check_licences(known, change, profile, f"{name}.")


def overlay(values: dict, changes: dict) -> None:
    """Put `changes` into the mapping of mappings `values`."""
    for key, change in changes.items():
        if change and isinstance(change, dict) and isinstance(values.get(key), dict):  # {} replaces what is there
            overlay(values[key], change)
        else:
            values[key] = change
