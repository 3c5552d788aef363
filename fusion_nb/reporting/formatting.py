"""Numbers, times, sizes, captions and tables as text, HTML and Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from fusion_nb.reporting.templates import escape_markdown, render, visible

#: A table as text: its rows, the first of which is the header.
Table = Sequence[Sequence[str]]

_CAPTION = (
    '<div class="tex2jax_ignore" style="line-height:1.8"><b>{{ line }}</b></div>'
    "{% for note in notes %}"
    '<div class="tex2jax_ignore" style="opacity:.8">{{ note }}</div>{% endfor %}'
)
# Each cell has its own style, since not every front end brings one for tables. Front ends set what
# stands between dollar signs as mathematics, unless the class says that they shall not.
_TABLE = (
    '{% set style = "padding:.1em .6em;text-align:right;line-height:1.6" %}'
    '<table class="tex2jax_ignore" style="margin:.5em 0"><thead><tr>'
    '{% for cell in header %}<th scope="col" style="{{ style }}">{{ cell }}</th>{% endfor %}'
    "</tr></thead><tbody>"
    '{% for row in rows %}<tr><th scope="row" style="{{ style }}">{{ row[0] }}</th>'
    '{% for cell in row[1:] %}<td style="{{ style }}">{{ cell }}</td>{% endfor %}</tr>{% endfor %}'
    "</tbody></table>"
)


def number(value: float | None) -> str:
    """Return a metric with three digits, and a dash for None.

    >>> number(0.25), number(1234.5), number(0.00001234), number(0.0), number(None)
    ('0.250', '1.23e+03', '1.23e-05', '0.000', '–')
    """
    if value is None:
        return "–"
    has_three = value == 0 or 0.0005 <= abs(value) < 1000
    return f"{value:.3f}" if has_three else f"{value:.3g}"


def duration(seconds: float) -> str:
    """Return a time in seconds, minutes or hours, as exact as a reader needs it.

    >>> duration(0.1), duration(600), duration(9000)
    ('1 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def count_bytes(count: float) -> str:
    """Return a number of bytes with three digits.

    >>> count_bytes(1234567)
    '1.23 MB'
    """
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def caption_html(line: str, notes: Sequence[str]) -> Markup:
    """Return a line and the notes of a run as HTML.

    The live chart and the final one have the same caption, so that the page does not move.
    """
    return render(_CAPTION, line=visible(line), notes=list(map(visible, notes)))


def html_table(table: Table) -> Markup:
    """Return a small table as HTML, whose header cells say which row or column they head."""
    return render(_TABLE, header=table[0], rows=table[1:])


def markdown_table(table: Table) -> str:
    """Return a table as Markdown."""
    lines = [f"| {' | '.join(escape_markdown(cell) for cell in row)} |" for row in table]
    return "\n".join([lines[0], "|---" * len(table[0]) + "|", *lines[1:]])


def text_table(table: Table) -> list[str]:
    """Return the lines of a table as text, its columns aligned."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
