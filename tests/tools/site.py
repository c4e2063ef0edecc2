"""Hooks of mkdocs (mkdocs.yml): a page of docstrings for each room, and links to code that lead there.

A link to another folder becomes plain text, since a site has no page for it.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def modules() -> dict[str, list[str]]:
    """Room -> its modules in alphabetical order; the modules that lie in no room are those of "dskd"."""
    found = {"dskd": []}
    for path in sorted((ROOT / "dskd").rglob("*.py")):
        *folders, name = path.relative_to(ROOT).with_suffix("").parts
        room = folders[1] if len(folders) > 1 else "dskd"
        if name != "__main__":
            module = ".".join([*folders, name]).removesuffix(".__init__")
            found.setdefault(room, []).append(module)
    return found


def page_of(room: str) -> str:
    return "dskd/index.md" if room == "dskd" else f"dskd/{room}/index.md"


def on_config(config):
    pages = [{room: page_of(room)} for room in modules()]
    config.nav[-1] = {"Code": pages}
    return config


def on_files(files, config):
    for room, names in modules().items():
        text = f"# {room}\n\n" + "".join(f"::: {name}\n\n" for name in names)
        files.append(File.generated(config, page_of(room), content=text))
    return files


def on_page_markdown(markdown: str, page, config, files) -> str:
    here = posixpath.dirname(page.file.src_uri)

    def changed(match: re.Match) -> str:
        text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(here, target))
        room, _, rest = path.removeprefix("dskd/").partition("/")
        if path.startswith("dskd/") and (path.endswith(".py") or (not rest and (ROOT / path).is_dir())):
            if path.endswith(".py"):
                room = room if rest else "dskd"
                anchor = "#" + path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            return f"[{text}]({posixpath.relpath(page_of(room), here or '.')}{anchor or ''})"
        return text if (ROOT / path).is_dir() else match[0]

    return _LINK.sub(changed, markdown)
