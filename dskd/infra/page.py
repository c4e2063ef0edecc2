"""A notebook as one HTML page: no scripts, nothing to load, readable from a phone to a wide screen."""

import html
import re

import nh3
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html
from nbformat import NotebookNode, from_dict

_TAGS = """a abbr b blockquote br caption code col colgroup dd details div dl dt em figcaption figure h1 h2 h3 h4 h5
h6 hr i img li ol p pre s small span strong sub summary sup table tbody td tfoot th thead tr ul"""
_ATTRIBUTES = "alt title id class colspan rowspan scope lang width height open"
_NO_TAG = re.compile(rf"<(?!/?(?:{'|'.join(_TAGS.split())})(?=[\s/>])|!--)", re.IGNORECASE)

_CSS = """
:root { color-scheme: light; }
body { max-width: 1240px; margin: 0 auto; padding: 1rem; color: #1b1b1b; background: #fff;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif;
  overflow-wrap: break-word; }
h1, h2, h3, h4 { line-height: 1.25; margin: 1.6em 0 .5em; }
h1 { font-size: 1.8rem; margin-top: .4em; } h2 { font-size: 1.35rem; } h3 { font-size: 1.1rem; }
a { color: #0b57a4; } a.anchor-link, .prompt, .prompt_container { display: none; }
img, svg { max-width: 100%; height: auto; }
pre, code { font: 13.5px/1.45 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
pre { margin: 0; overflow-x: auto; white-space: pre-wrap; }
p code, li code, td code { background: #f2f3f5; padding: .1em .3em; border-radius: 3px; }
div.cell { margin: .8rem 0; }
div.input_area, .text_cell_render pre { background: #f6f7f9; border-left: 3px solid #c9d1db; padding: .6rem .8rem; }
div.output_area { margin: .5rem 0; padding: 0 .1rem; overflow-x: auto; max-width: 100%; box-sizing: border-box; }
div.output:has(> .output_area > .output_png) { display: flex; flex-wrap: wrap; gap: 0 1.2rem; }
table { border-collapse: collapse; font-size: .86em; margin: .6rem 0; }
.text_cell_render table { display: block; overflow-x: auto; max-width: 100%; }
th, td { padding: .3rem .55rem; border-bottom: 1px solid #dfe3e8; text-align: left; vertical-align: top; }
th { background: #f6f7f9; }
td { font-variant-numeric: tabular-nums; }
tbody th { position: sticky; left: 0; } /* stays while its row scrolls */
div.output_area:has(details) { margin: 0; }
details { margin: .25rem 0; overflow-x: auto; }
summary { cursor: pointer; font-weight: 600; padding: .15rem 0; position: sticky; left: 0; }
blockquote { margin: 1em 0; padding-left: 1em; border-left: 3px solid #dfe3e8; color: #4a4f57; }
@media (max-width: 640px) { img { max-width: none; } } /* scrolls; shrunk, a picture of three panels is illegible */
@media print { body { max-width: none; } pre { white-space: pre-wrap; } }
"""


def to_html(notebook: NotebookNode, name: str) -> str:
    """The page for a normalised notebook, without its code; `name` is the title if there is no heading.

    Markup in outputs is cut down to harmless tags; anything else of it shows as text. SVG outputs are not shown, since
    they can hold scripts: show figures as PNG.
    """
    notebook = from_dict(notebook)  # a copy
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "data" in output:
                output.data = _harmless(output.data)
    exporter = HTMLExporter(
        template_name="basic",
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        mathjax_url="",
        require_js_url="",
        mermaid_js_url="",
        jquery_url="",
    )
    body, _ = exporter.from_notebook_node(notebook)
    headings = (re.search(r"^# +(.+)$", cell.source, re.M) for cell in notebook.cells if cell.cell_type == "markdown")
    title = next((found[1].strip() for found in headings if found), name)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(line.rstrip() for line in body.strip().splitlines())
        + "\n</main>\n</body>\n</html>\n"
    )


def _harmless(data: dict) -> dict:
    kept = {mime: value for mime, value in data.items() if mime in ("text/plain", "image/png", "image/jpeg")}
    if "text/html" in data:
        # pandas writes a style sheet with each table; the page has its own
        kept["text/html"] = _clean(re.sub(r"<style[^>]*>.*?</style>", "", data["text/html"], flags=re.S))
    elif "text/markdown" in data:
        kept["text/html"] = _clean(markdown2html(data["text/markdown"]))
    elif "text/latex" in data:
        kept["text/plain"] = data["text/latex"]
    return kept


def _clean(markup: str) -> str:
    """The markup with harmless tags alone; all that only looks like a tag, as <eos> does, shows as text."""
    return nh3.clean(
        _NO_TAG.sub("&lt;", markup),
        tags=set(_TAGS.split()),
        attributes={"*": set(_ATTRIBUTES.split()), "a": {"href"}, "img": {"src"}},
        attribute_filter=_allowed,
        url_schemes={"http", "https", "mailto", "data"},
        link_rel=None,
    )


def _allowed(tag: str, name: str, value: str) -> str | None:
    data = re.sub(r"[\x00-\x20]", "", value).lower().startswith("data:")  # as a browser reads "\nDATA:"
    refused = {"src": not value.startswith("data:image/"), "href": data}
    return None if refused.get(name) else value
