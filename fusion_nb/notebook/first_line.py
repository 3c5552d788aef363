"""The first line of a cell that trains, shown before anything is imported for it."""

from __future__ import annotations

import re

from IPython.display import clear_output, display

from fusion_nb.notebook import kernel

#: The start of a cell whose first statement trains. Nothing else has been shown in it before.
_TRAINS = re.compile(r"(\s*(#.*)?\n)*\s*(%%fusion\b|%fusion\s+(run\b|sweep\b|resume\b|-))")
_BUNDLE = {
    "text/html": '<div role="status" aria-live="polite" style="line-height:1.8">preparing the run'
    "</div>",
    "text/plain": "preparing the run",
}


class FirstLine:
    """Says that a cell is at work, until its next output replaces the line."""

    def __init__(self) -> None:
        self._shown_in = ""

    def show(self) -> None:
        """Show the line, once in each cell that trains and that a person looks at.

        A cell that shall show nothing shows no line either.
        """
        source, execution = kernel.cell_source(), kernel.KernelCells().current_cell()[1]
        if execution == self._shown_in or not kernel.draws_widgets():
            return
        if _TRAINS.match(source) and "--quiet" not in source:
            self._shown_in = execution
            display(_BUNDLE, raw=True)
            clear_output(wait=True)
