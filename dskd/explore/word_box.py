"""A box in a notebook to type a word into; below it stand the word's cards."""

from collections.abc import Callable, Iterable
from html import escape

from IPython.display import HTML, DisplayHandle, display
from ipywidgets import Combobox

from dskd.errors import UserError
from dskd.explore.cards import as_html
from dskd.explore.words import Run, look_up
from dskd.params import Params


def word_box(word: str, words: Iterable[str], look: Callable[[str], str]) -> Combobox:
    """Show a box that completes `words`, and below it what `look` makes of the word in it. The box needs a kernel that
    runs. What stands below it is an output like any other: an executed copy keeps it, with the first word.

    Args:
        word: that is in the box at first.
        look: a word as it was typed -> HTML, with all that comes from data escaped.
    """
    box = Combobox(value=word, options=list(words), description="Word", continuous_update=False, ensure_option=False)
    shown = DisplayHandle()
    display(box)
    shown.display(HTML(look(word)))
    box.observe(lambda change: shown.update(HTML(look(change["new"]))), names="value")
    return box


def cards_of(word: str, params: Params, run: Run) -> str:
    """The cards of a word as HTML; where there are none, one line that says why, with the nearest spellings."""
    try:
        return as_html(look_up(word, params.lexicon, params.senses.contexts, run))
    except UserError as error:
        return f"<p>{escape(str(error))}</p>"
