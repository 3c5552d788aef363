"""The kernel behind a notebook: its shell, its cells, and whether its front end draws widgets.

Every function asks IPython only if something else has imported it, so that a process without a
notebook never loads it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fusion_nb.core.process import cell_output

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


class KernelCells:
    """The cells of the notebook that this process is the kernel of, if it is one."""

    def current_cell(self) -> tuple[str, str]:
        """Return the ids of the running cell and of this execution; empty where there is none."""
        kernel_shell = _kernel_shell()
        parent = {} if kernel_shell is None else kernel_shell.get_parent()
        cell, execution = parent.get("metadata", {}), parent.get("header", {})
        return cell.get("cellId", ""), execution.get("msg_id", "")

    def bind_output(self) -> Callable[[], None]:
        """Return a function for a new thread to call first, so that it prints into this cell.

        Outside a notebook it does nothing.
        """
        kernel_shell = _kernel_shell()
        if kernel_shell is None:
            return lambda: None
        parent = kernel_shell.get_parent()
        # ipykernel 7.4 has a method for threads; earlier ones set the parent of the calling thread.
        set_parent = getattr(kernel_shell, "set_thread_parent", kernel_shell.set_parent)
        return lambda: set_parent(parent)


def install() -> None:
    """Tell the core how to find the cells of a notebook."""
    cell_output.set_hook(KernelCells())


def shell() -> InteractiveShell | None:
    """Return IPython's shell of this process, or None."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def is_notebook() -> bool:
    """Return whether this process is the kernel of a notebook, and no terminal."""
    return _kernel_shell() is not None


def draws_widgets() -> bool:
    """Return whether a person looks on: a front end that can ask for input also draws widgets."""
    return bool(_request().get("allow_stdin"))


def cell_source() -> str:
    """Return the text of the cell that is running; empty where there is none."""
    return str(_request().get("code", ""))


def repaints_only_for_cells() -> bool:
    """Return whether a widget that a background thread changes is not drawn anew, as in Colab."""
    return "google.colab" in sys.modules


def _request() -> dict[str, Any]:
    """Return the content of the message by which a front end runs this cell; empty without one."""
    kernel = getattr(shell(), "kernel", None)
    return {} if kernel is None else dict(kernel.get_parent().get("content", {}))


def _kernel_shell() -> Any:
    """Return the shell of a notebook's kernel, or None: a terminal's shell has no cells."""
    found = shell()
    return found if hasattr(found, "get_parent") else None
