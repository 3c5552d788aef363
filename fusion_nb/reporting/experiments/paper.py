"""Tables for a paper: Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from fusion_nb.reporting.experiments.leaderboard import Leaderboard
from fusion_nb.reporting.formatting import markdown_table
from fusion_nb.reporting.templates import escape_markdown, visible

#: Characters that LaTeX does not print as they are.
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "–": "--",
}


def markdown(board: Leaderboard, notes: Sequence[str]) -> str:
    """Return a table as Markdown, with sentences below. The winner's value is bold."""
    header, *rows = board.cells()
    lines = markdown_table([header, *rows]).split("\n")
    for i, (row, cells) in enumerate(zip(board.rows, rows, strict=True)):
        if board.is_winner(row):
            value = escape_markdown(cells[1])
            lines[i + 2] = lines[i + 2].replace(f"| {value} |", f"| **{value}** |", 1)
    return "\n".join([*lines, "", *(escape_markdown(note) for note in notes)]) + "\n"


def latex(board: Leaderboard, notes: Sequence[str]) -> str:
    """Return a table as LaTeX, for the package booktabs. The winner's value is bold."""
    header, *rows = board.cells()
    lines = [f"% {visible(note)}" for note in notes]
    lines += [rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule"]
    lines += [" & ".join(map(latex_text, header)) + r" \\", r"\midrule"]
    for row, texts in zip(board.rows, rows, strict=True):
        cells = [latex_text(text) for text in texts]
        if board.is_winner(row):
            cells[1] = rf"\textbf{{{cells[1]}}}"
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def latex_text(text: str) -> str:
    r"""Return text that LaTeX prints as it is.

    >>> latex_text("top_k & 5 %")
    'top\\_k \\& 5 \\%'
    """
    return "".join(_LATEX.get(character, character) for character in text)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV, numbers with all their digits, and nothing where there is none."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(row.get(name, "")) for name in names})
    return file.getvalue()


def _cell(value: Any) -> Any:
    return "" if isinstance(value, float) and math.isnan(value) else value
