"""The names that a panel may use: the notebook's variables, and objects that it was given without
one.
"""

from __future__ import annotations

import sys
from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from typing import Any


class Variables:
    """Variables of a notebook, or of any namespace; `names` has objects that were given, too."""

    def __init__(self, namespace: MutableMapping[str, Any] | None = None) -> None:
        self.namespace: MutableMapping[str, Any] = (
            _of_notebook() if namespace is None else namespace
        )
        self._given: dict[str, Any] = {}
        self.names: Mapping[str, Any] = ChainMap(self._given, self.namespace)

    def name_of(self, option: str, value: Any) -> str:
        """Return the variable that holds an object, so that a cell can repeat the run; or make up a
        name for it.
        """
        held = (
            name
            for name, there in self.namespace.items()
            if there is value and not name.startswith("_")
        )
        name = next(held, f"given_{option}")
        if name not in self.namespace:
            self._given[name] = value
        return name

    def snapshot(self) -> dict[str, Any]:
        """Return what is there now, so that no cell can change it while a run is prepared."""
        # Copied each in one go: a cell that runs meanwhile may add and delete variables.
        return {**self.namespace, **self._given}


def _of_notebook() -> MutableMapping[str, Any]:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return {} if shell is None else shell.user_ns
