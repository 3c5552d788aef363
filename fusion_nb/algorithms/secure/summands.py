"""An update as named arrays that are added up: changes of weights, and extras of the rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fusion_nb.algorithms.secure.quantised import change_of
from fusion_nb.core.types import Update, Weights
from fusion_nb.errors import ContractError, PartyError

#: Before the name of an extra, and between it and that of its entry; no weights are named so.
_MARK = "\0"


def numbers_of(update: Update, old: Weights) -> Weights:
    """Return the changes of weights, and the extras after them, in float64.

    Extras are numbers, arrays, or arrays by name. Raises ContractError for others.
    """
    found = change_of(update.weights, old)
    for name, extra in update.extras.items():
        entries = extra if isinstance(extra, Mapping) else {"": extra}
        for entry, value in entries.items():
            array = np.asarray(value)
            if array.dtype.kind not in "biuf":
                raise ContractError(
                    f"secure aggregation adds up numbers, and {name!r} of an update holds "
                    f"{array.dtype}",
                    "send numbers and arrays of numbers",
                )
            found[f"{_MARK}{name}{_MARK}{entry}"] = array.astype(np.float64)
    return found


def extra_shapes(numbers: Weights) -> dict[str, np.ndarray]:
    """Return the shapes of the extras among numbers, by name."""
    return {
        name: np.array(array.shape, np.int64)
        for name, array in numbers.items()
        if name.startswith(_MARK)
    }


def shapes_of(
    entries: Weights, told: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all numbers of a round, weights first.

    entries: the weights that travel;  told: the shapes of the extras, by party
    Raises PartyError where parties tell different ones.
    """
    first_party, first = next(iter(told.items()))
    shapes = {str(name): tuple(int(n) for n in shape) for name, shape in first.items()}
    for party, found in told.items():
        if {name: tuple(map(int, shape)) for name, shape in found.items()} != shapes:
            raise PartyError(
                f"secure aggregation: {party} adds arrays of another form than {first_party}",
                "use the same version of fusion_nb at all parties",
            )
    return {name: array.shape for name, array in entries.items()} | shapes


def split(means: Weights) -> tuple[Weights, dict[str, Any]]:
    """Return the mean changes of weights, and the mean extras as a rule's parties send them."""
    changes, extras = {}, dict[str, Any]()
    for key, array in means.items():
        if not key.startswith(_MARK):
            changes[key] = array
            continue
        _, name, entry = key.split(_MARK, 2)
        if entry:
            extras.setdefault(name, {})[entry] = array
        else:
            extras[name] = float(array) if array.ndim == 0 else array
    return changes, extras
