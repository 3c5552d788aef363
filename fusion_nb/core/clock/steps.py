"""The number of batches that a party trains in a round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def num_steps(num_examples: int, options: Mapping[str, Any], least: int) -> int:
    """Return the batches that a party with that number of rows trains in a round.

    options: of `Model.fit`;  least: the fewest rows of a batch that the model can take

    >>> num_steps(70, {"batch_size": 32, "epochs": 2}, least=1)
    6
    """
    if "steps" in options:
        return int(options["steps"])
    return batches_of_epoch(num_examples, options["batch_size"], least) * int(options["epochs"])


def batches_of_epoch(size: int, batch_size: int, least: int) -> int:
    """Return the batches of an epoch.

    A last batch with fewer rows than the model can take is joined with the one before.
    """
    full, rest = divmod(size, batch_size)
    return full + (rest >= least or not full)
