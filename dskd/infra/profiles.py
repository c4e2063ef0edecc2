"""A profile is an overlay, `profiles/NAME.yaml`: `python -m dskd profile NAME` writes its values into `params.yaml`, so
that DVC always sees the true ones."""

from pathlib import Path

from ruamel.yaml import YAML

from dskd.errors import UserError, one_line
from dskd.params import UNREADABLE, Params, load_params, read_yaml, validated


def apply_profile(name: str, root: str | Path = ".") -> Path:
    """Write the values of `profiles/NAME.yaml` into `params.yaml`, keeping its comments and order.

    The result is checked before it replaces the file. Raises UserError for an unknown profile.
    """
    profile, target = _profile(name, root), Path(root) / "params.yaml"
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    values = _changed(yaml, target, profile)
    partial = target.with_name(".params.yaml.partial")
    try:
        yaml.dump(values, partial)
        load_params(partial)
        partial.replace(target)
    except UNREADABLE as error:
        raise UserError(f"{profile} cannot be read: {one_line(error)[:300]}") from None
    except UserError as error:
        raise UserError(str(error).replace(str(partial), str(profile))) from None
    finally:
        partial.unlink(missing_ok=True)
    return target


def load_profile(name: str, root: str | Path = ".") -> Params:
    """The parameters as `apply_profile` would write them; nothing is written. Raises UserError as that does."""
    profile = _profile(name, root)
    return validated(_changed(YAML(typ="safe", pure=True), Path(root) / "params.yaml", profile), profile)


def _profile(name: str, root: str | Path) -> Path:
    folder = Path(root) / "profiles"
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:  # nor any other path
        raise UserError(f"no profile {name!r}; there are: {', '.join(known)}")
    return folder / f"{name}.yaml"


def _changed(yaml: YAML, target: Path, profile: Path) -> dict:
    """The values of `target` with those of `profile` over them."""
    values, changes = read_yaml(yaml, target), read_yaml(yaml, profile) or {}
    for path, content in ((target, values), (profile, changes)):
        if not isinstance(content, dict):
            raise UserError(f"{path} is no mapping of parameters")
    overlay(values, changes)
    return values


def overlay(values: dict, changes: dict) -> None:
    """Put `changes` into the mapping of mappings `values`."""
    for key, change in changes.items():
        if change and isinstance(change, dict) and isinstance(values.get(key), dict):  # {} replaces what is there
            overlay(values[key], change)
        else:
            values[key] = change
