"""Executed notebooks that are equal, byte for byte, from run to run and from machine to machine.

What is left out: times, ids, progress bars, stderr, absolute paths, memory addresses, widgets, passwords in addresses.
"""

import posixpath
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from dskd.errors import without_passwords

_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
_BINARY = {"image/png", "image/jpeg", "image/gif", "application/pdf"}
_ADDRESS = re.compile(r"(?<=\bat )0x[0-9a-fA-F]+|\b0x(?:7f|5[56])[0-9a-f]{10}\b")
_CELL_FILE = re.compile(r"/\S*/ipykernel_\d+/\d+\.py")
_RELATIVE = re.compile(r"(?<=\]\()(?![a-z]+:|[#/])[^)#\s]+")  # target of a Markdown link
_REWRITTEN = re.compile(r"[^\n]*\r(?!\n)")  # what a terminal shows of "a\rb" is b


def normalise(notebook: NotebookNode, root: Path) -> NotebookNode:
    """A copy of an executed notebook without what varies; paths below `root` become relative."""
    cells, count, heading = [], 0, ""
    for number, cell in enumerate(notebook.cells, start=1):
        kept = {key: cell.metadata[key] for key in ("tags", "alt") if cell.metadata.get(key)}
        new = NotebookNode(cell_type=cell.cell_type, id=f"cell-{number:04}", metadata=kept, source=cell.source)
        if cell.get("attachments"):
            new.attachments = cell.attachments
        if cell.cell_type == "markdown" and (headings := re.findall(r"^#+ +(.+)$", cell.source, flags=re.M)):
            heading = headings[-1].strip()
        if cell.cell_type == "code":
            count += bool(cell.source.strip())
            new.execution_count = count if cell.source.strip() else None
            new.outputs = _outputs(cell.outputs, new.execution_count, kept.get("alt") or heading, root)
        cells.append(nbformat.from_dict(new))
    return nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": _METADATA, "cells": cells})


def relinked(notebook: NotebookNode, folder: str) -> NotebookNode:
    """A copy whose relative links lead from another place to where they led from `folder`, as that place sees it."""
    copy = nbformat.from_dict(notebook)
    for cell in copy.cells:
        if cell.cell_type == "markdown":
            cell.source = _RELATIVE.sub(lambda link: posixpath.normpath(f"{folder}/{link[0]}"), cell.source)
    return copy


def notebook_text(notebook: NotebookNode) -> str:
    """The notebook as JSON with sorted keys and a newline at the end."""
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


def check_source_notebooks(root: str | Path) -> list[str]:
    """Names of the notebooks in `root/notebooks` that hold outputs or execution counts."""
    dirty = []
    for path in sorted(Path(root, "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        if any(cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None) for cell in cells):
            dirty.append(path.name)
    return dirty


def _outputs(outputs: list, count: int | None, alt: str, root: Path) -> list[NotebookNode]:
    kept = []
    for output in outputs:
        kind = output.output_type
        if kind == "stream":
            if output.name == "stderr":
                continue
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += output.text  # how the kernel cuts a stream depends on its clock
            else:
                kept.append(NotebookNode(output_type=kind, name="stdout", text=output.text))
        elif kind == "error":
            values = {key: _clean(output[key], root) for key in ("ename", "evalue", "traceback")}
            kept.append(NotebookNode(output_type=kind, **values))
        elif not any("widget" in mime for mime in output.data):
            data = {m: v if m in _BINARY else _clean(v, root) for m, v in output.data.items()}
            metadata = dict(output.metadata)
            for mime in {"image/png", "image/jpeg"} & data.keys():
                metadata[mime] = {"alt": f"Figure: {alt}" if alt else "Figure", **metadata.get(mime, {})}
            new = NotebookNode(output_type=kind, data=data, metadata=metadata)
            if kind == "execute_result":
                new.execution_count = count
            kept.append(new)
    for output in kept:
        if output.output_type == "stream":
            output.text = _clean(_REWRITTEN.sub("", output.text), root)
    return [o for o in kept if o.output_type != "stream" or o.text.strip()]


def _clean(value, root: Path):
    """Replace absolute paths and memory addresses in every string of a JSON value."""
    if isinstance(value, list):
        return [_clean(item, root) for item in value]
    if isinstance(value, dict):
        return {key: _clean(item, root) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    places = [(str(root.resolve()), "."), (str(root.absolute()), "."), (sys.prefix, "python"), (str(Path.home()), "~")]
    # The longest first, as they may be nested; "/" itself names no place of this machine.
    for place, name in sorted((p for p in places if len(p[0]) > 1), key=lambda p: -len(p[0])):
        start = rf"(?<![\w./-]){re.escape(place)}"
        if name == ".":
            value = re.sub(rf"{start}/(?=[\w.])", "", value)
        value = re.sub(rf"{start}(?![\w.-])", name, value)
    return without_passwords(_ADDRESS.sub("0x0", _CELL_FILE.sub("cell", value)))
