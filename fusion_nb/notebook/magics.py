"""`%fusion` and `%%fusion` in an IPython shell.

Loading the extension imports this module alone and must stay quick: the commands, the option line
and completion are imported when they are first used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher
from IPython.core.magic import Magics, line_cell_magic, magics_class

from fusion_nb.models.quiet import hush, no_hush
from fusion_nb.notebook import kernel
from fusion_nb.notebook.first_line import FirstLine
from fusion_nb.notebook.interrupting import in_one_line

#: The start of a line or cell that this extension completes, and the words after it.
_LINE = re.compile(r"^\s*(%%?)fusion\s(.*)$", re.DOTALL)


def _usage() -> str:
    """Return the usage that `%fusion?` and `%%fusion?` show."""
    from fusion_nb.notebook.options import usage

    return usage()


def _with_usage(function: Any) -> Any:
    """Give a magic the usage as its docstring, which is made when IPython asks for it."""
    function.getdoc = _usage  # IPython looks for this name before it reads `__doc__`
    return function


@magics_class
class FusionMagics(Magics):
    """The magics of one IPython shell, and the completion of their option line."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self.matcher = matcher(shell.user_ns)
        self._first_line = FirstLine()

    @line_cell_magic
    @_with_usage
    def fusion(self, line: str, cell: str | None = None) -> Any:
        """Train one model over several parties. `%fusion help` lists commands and options."""
        # Or an interrupt leaves half of the modules imported.
        with in_one_line(is_cell=cell is not None):
            self._first_line.show()
            from fusion_nb.notebook import commands

            return commands.execute(self.shell, line, cell)


def matcher(namespace: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return an IPython matcher that completes `%fusion` and `%%fusion` lines, and no others."""

    def in_one_row(text: str) -> str:
        # JupyterLab breaks a type at its spaces, and lays the rows of a list over each other.
        return text.replace(" ", "\N{NO-BREAK SPACE}") if kernel.is_notebook() else text

    @context_matcher()
    def fusion_matcher(context: Any) -> Any:
        line = _LINE.match(_line_until_cursor(context))
        is_first = not context.full_text[: context.full_text.find("fusion")].strip(" %\n")
        if line is None or (line[1] == "%%" and not is_first):
            return {"completions": []}
        from fusion_nb.notebook.complete import meaning, suggest

        *words, fragment = re.split(r"\s", line[2])
        before = [word for word in words if word]
        offered = suggest(before, fragment, namespace)
        return {
            "completions": [
                # Front ends write the type beside the word.
                SimpleCompletion(word, type=in_one_row(meaning(before, word)) or "param")
                for word in offered
                if word.startswith(fragment)
            ],
            "matched_fragment": fragment,
            "suppress": True,
            "ordered": True,
        }

    return fusion_matcher


def _line_until_cursor(context: Any) -> str:
    """Return the text before the cursor, with the lines above that go on with a backslash."""
    text = context.text_until_cursor
    above = context.full_text.split("\n")[: context.cursor_line]
    while above and (line := above.pop().partition(" #")[0].rstrip()).endswith("\\"):
        text = line[:-1] + " " + text
    return str(text)


def load(ip: Any) -> None:
    """Register the magics and their completion in a shell, once."""
    if "FusionMagics" in ip.magics_manager.registry:
        return
    kernel.install()
    hush()
    magics = FusionMagics(ip)
    ip.register_magics(magics)
    ip.Completer.custom_matchers.append(magics.matcher)


def unload(ip: Any) -> None:
    """Take the magics away again; runs that are bound to variables stay usable."""
    magics = ip.magics_manager.registry.pop("FusionMagics", None)
    if magics is None:
        return
    no_hush()
    for kind in ("line", "cell"):
        ip.magics_manager.magics[kind].pop("fusion", None)
    if magics.matcher in ip.Completer.custom_matchers:
        ip.Completer.custom_matchers.remove(magics.matcher)
