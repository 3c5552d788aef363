"""Messages of the panel as HTML: a sentence, an error, and a traceback behind a disclosure."""

from __future__ import annotations

import copy
import traceback

import ipywidgets as widgets
from markupsafe import Markup

from fusion_nb.errors import FusionError
from fusion_nb.notebook.panel.labels import spelling
from fusion_nb.reporting.templates import render

_NEWS = '<div role="status" aria-live="polite">{{ sentence }}</div>'
_ASIDE = '<div style="opacity:.8;line-height:1.4;white-space:normal">{{ sentence }}</div>'
_HEADING = """\
<div role="heading" aria-level="4" style="font-weight:bold;line-height:1.4;margin-top:.5em">\
{{ text }}</div>"""
#: Its ink has enough contrast on light and on dark themes.
_ALERT = """\
<div role="alert" style="border-left:3px solid #D55E00;padding-left:.5em;line-height:1.4;\
white-space:normal">{{ sentence }}</div>"""
_DISCLOSURE = """\
<details><summary>{{ line }}</summary><pre style="white-space:pre-wrap;max-height:24em;\
overflow:auto;line-height:1.3">{{ text }}</pre></details>"""
_LISTING = """\
<div role="status" style="line-height:1.5">{{ heading }}\
{% for line in lines %}<div>{{ line }}</div>{% endfor %}</div>"""


def news(sentence: str) -> Markup:
    """Return a sentence that a screen reader says when it has time."""
    return render(_NEWS, sentence=sentence)


def aside(sentence: str) -> Markup:
    """Return a sentence that need not be read."""
    return render(_ASIDE, sentence=sentence)


def heading(text: str) -> Markup:
    """Return the heading of a group of controls."""
    return render(_HEADING, text=text)


def alert(sentence: str) -> Markup:
    """Return a sentence about a mistake, which a screen reader says at once."""
    return render(_ALERT, sentence=sentence)


def disclosure(line: str, text: str) -> Markup:
    """Return a line that opens a longer text, such as a traceback."""
    return render(_DISCLOSURE, line=line, text=text)


def listing(heading: str, lines: list[str]) -> Markup:
    """Return a heading with lines below it."""
    return render(_LISTING, heading=heading, lines=lines)


def of_error(error: BaseException) -> Markup:
    """Return an error: a FusionError as a sentence, any other with its traceback."""
    if isinstance(error, FusionError):
        return alert(sentence_of(error))
    line = f"{type(error).__name__}: {error}".partition("\n")[0]
    return alert(line) + disclosure("traceback", "".join(traceback.format_exception(error)))


def sentence_of(error: FusionError) -> str:
    """Return an error and its hint in one sentence, with options by their labels."""
    if error.option == "overwrite":
        return f'{error.message}: tick "replace an earlier export", or choose another folder'
    # A copy: the cell that raised the error writes options as an option line has them.
    shown = copy.copy(error).spelled(spelling)
    return f"{shown.message}: {shown.hint}" if shown.hint else shown.message


class LastMessage:
    """The panel's last message, at one of several places.

    It stands above the tabs, or in the tab whose button was pressed last: there it is in sight
    though a chart may take the whole height of the page above.
    """

    def __init__(self, sentence: str) -> None:
        self.above = widgets.HTML(news(sentence), layout={"min_height": "2em"})
        self._place = self.above

    @property
    def text(self) -> str:
        """The message, as HTML."""
        return str(self._place.value)

    def move(self, place: widgets.HTML | None) -> None:
        """Remove the last message, and show the next ones in a place, or above the tabs."""
        self.say("")
        self._place = place or self.above

    def say(self, sentence: str) -> None:
        """Show a sentence in place of the last message."""
        self._place.value = news(sentence) if sentence else ""

    def say_error(self, error: BaseException) -> None:
        """Show an error in place of the last message."""
        self._place.value = of_error(error)
