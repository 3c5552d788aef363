"""The names that a panel can use: the notebook's variables, and objects without a variable."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from typing import Any

from fusion_nb.notebook import kernel


class Variables:
    """The variables of a notebook, or of any namespace.

    `names` has the objects that were given without a variable, too.
    """

    def __init__(self, namespace: MutableMapping[str, Any] | None = None) -> None:
        self.namespace = _notebook_variables() if namespace is None else namespace
        self._given: dict[str, Any] = {}
        self.names: Mapping[str, Any] = ChainMap(self._given, self.namespace)

    def name_of(self, option: str, value: Any) -> str:
        """Return the variable that holds an object, so that a cell can repeat the run.

        An object that no variable holds gets the name `given_OPTION`.
        """
        holding = (
            name
            for name, other in self.namespace.items()
            if other is value and not name.startswith("_")
        )
        name = next(holding, f"given_{option}")
        if name not in self.namespace:
            self._given[name] = value
        return name

    def snapshot(self) -> dict[str, Any]:
        """Return the variables as they are now.

        No cell can change the copy while a run is prepared.
        """
        # Copied each in one step: a cell that runs meanwhile may add and delete variables.
        return {**self.namespace, **self._given}

    def add(self, names: Mapping[str, Any]) -> None:
        """Bind the names that do not exist yet."""
        for name, value in names.items():
            if name not in self.names and not name.startswith("__"):
                self.namespace[name] = value


def _notebook_variables() -> MutableMapping[str, Any]:
    shell = kernel.shell()
    return {} if shell is None else shell.user_ns
