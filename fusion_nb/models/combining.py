"""Several models as one: what their weights are called together, and what they predict together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: The entry of an ensemble's weights that says how much each member counts.
SHARES = "shares"
#: The least probability that is told of anything, so that a loss can be told of it.
TINY = 1e-7
#: How much of a vote is the member's probability: it decides where as many members vote for one
#: class as for another.
TIE = 1e-4


def prefix(member: int) -> str:
    """Return what the names of a member's entries begin with, as in a PyTorch ModuleList."""
    return f"members.{member}."


def combine(
    predictions: Sequence[np.ndarray], shares: np.ndarray, rule: str, task: str, axis: int
) -> np.ndarray:
    """Return what members predict together; see `Predicting.together`. Probabilities of classes sum
    to 1.
    """
    stacked = np.stack(
        [np.moveaxis(p, axis, -1) if task == "classes" else p for p in predictions], axis=-1
    )
    if rule == "vote":
        stacked = votes(stacked, task)
    together = (stacked * shares).sum(-1)
    if task == "binary":
        return np.clip(together, TINY, 1 - TINY)
    if task != "classes":
        return np.asarray(together)
    together = np.maximum(together, TINY)
    return np.moveaxis(together / together.sum(-1, keepdims=True), -1, axis)


def votes(stacked: np.ndarray, task: str) -> np.ndarray:
    """Return about 1 where a member's probability is its highest, and about 0 elsewhere; members
    are the last axis.
    """
    if task == "binary":
        voted = stacked > 0.5
    else:
        voted = np.arange(stacked.shape[-2])[:, None] == stacked.argmax(-2)[..., None, :]
    return np.asarray((voted.astype(stacked.dtype) + TIE * stacked) / (1 + TIE))
