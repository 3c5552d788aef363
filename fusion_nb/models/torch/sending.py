"""The weights of a module that travel: all of them, or all but those that are frozen.

Statistics and counters, such as BatchNorm's, change in training too, and so they always travel.
"""

from __future__ import annotations

from torch import nn

from fusion_nb.errors import OptionError, nearest, option
from fusion_nb.models.torch import weights

CHOICES = ["all", "trained"]


def check(send: str) -> None:
    """Raise OptionError for a value that is not allowed."""
    if send not in CHOICES:
        raise OptionError(
            f"{option('send', send)} is not allowed",
            f"{nearest(send, CHOICES)}give one of: {', '.join(CHOICES)}",
            option="send",
            value=send,
            allowed=CHOICES,
        )


def left_out(module: nn.Module, send: str) -> frozenset[str]:
    """Return the names of the weights that do not travel."""
    return weights.frozen_names(module) if send == "trained" else frozenset()


def notes(module: nn.Module, send: str) -> list[str]:
    """Return how many of the module's numbers travel in a round, as sentences for the user."""
    frozen = weights.frozen_names(module)
    sizes = {name: tensor.numel() for name, tensor in module.state_dict().items()}
    num_all, num_frozen = sum(sizes.values()), sum(sizes.get(name, 0) for name in frozen)
    if send == "trained" and not frozen:
        return ["send: no weight of the model is frozen, so that all of them travel"]
    if send == "trained":
        return [
            f"send: {num_all - num_frozen:,} of {num_all:,} numbers travel in each round. The "
            "frozen ones come to each party once, with the model, and are not counted in bytes"
        ]
    if frozen:
        return [
            f"send: all {num_all:,} numbers travel in each round, and {num_frozen:,} of them are "
            "frozen; --send trained leaves these out"
        ]
    return []
