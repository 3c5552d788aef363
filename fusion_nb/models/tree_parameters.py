"""Parameters of boosted trees out of a file: bounded numbers and words, and none of a machine."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from fusion_nb.errors import ModelError

#: Parameters of the machine that a model was trained on: a file has no say in those.
_OF_MACHINE = frozenset(
    {"device", "device_type", "n_jobs", "nthread", "num_thread", "num_threads", "verbosity"}
)
#: The largest values of parameters by which a file could ask for gigabytes or hours.
_LARGEST = {
    "max_bin": 1 << 16,
    "max_depth": 1000,
    "max_leaves": 1 << 17,
    "n_estimators": 10**6,
    "num_leaves": 1 << 17,
    "num_parallel_tree": 1000,
}
_HINT = "build the model in the notebook, and name the variable"
#: The largest seed, and of all other whole numbers.
_LARGEST_OTHER = 2**32


def of_file(found: Any, allowed: Collection[str]) -> dict[str, Any]:
    """Return the parameters that a file tells, without those of the machine it was written on.

    allowed: names of parameters that a file may set
    Raises ModelError for others, and for values out of bounds.
    """
    if not isinstance(found, dict):
        raise ModelError("its parameters are no mapping", _HINT)
    kept = {name: value for name, value in found.items() if name not in _OF_MACHINE}
    for name, value in kept.items():
        if name not in allowed:
            raise ModelError(f"a file may not set the parameter {name[:40]!r}", _HINT)
        if not _is_plain(value, _LARGEST.get(name, _LARGEST_OTHER)):
            raise ModelError(f"its parameter {name} is {str(value)[:40]!r}", _HINT)
    return kept


def _is_plain(value: Any, largest: int) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) <= largest
    return isinstance(value, str)
