"""Several models as one: the names of their joint weights, and their joint predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: The entry of an ensemble's weights that holds the weight of each member.
SHARES = "shares"
#: The least probability of a joint prediction, so that its loss is finite.
TINY = 1e-7
#: The least probability of a label in a log loss of float64, as scikit-learn has it.
LEAST = float(np.finfo(np.float64).eps)
#: The part of a vote that is the member's probability: it decides between classes with equally
#: many votes.
TIE = 1e-4


def prefix(member: int) -> str:
    """Return the prefix of the names of a member's entries, as in a PyTorch ModuleList."""
    return f"members.{member}."


def combine(
    predictions: Sequence[np.ndarray], shares: np.ndarray, rule: str, task: str, axis: int
) -> np.ndarray:
    """Return the joint predictions of members; see `Ensembling.joined`.

    Probabilities of classes sum to 1.
    """
    stacked = np.stack(
        [np.moveaxis(p, axis, -1) if task == "classes" else p for p in predictions], axis=-1
    )
    if rule == "vote":
        stacked = votes(stacked, task)
    joint = (stacked * shares).sum(-1)
    if task == "binary":
        return np.clip(joint, TINY, 1 - TINY)
    if task != "classes":
        return np.asarray(joint)
    joint = np.maximum(joint, TINY)
    return np.moveaxis(joint / joint.sum(-1, keepdims=True), -1, axis)


def votes(stacked: np.ndarray, task: str) -> np.ndarray:
    """Return about 1 where a member's probability is its highest, and about 0 elsewhere.

    Members are the last axis.
    """
    if task == "binary":
        voted = stacked > 0.5
    else:
        voted = np.arange(stacked.shape[-2])[:, None] == stacked.argmax(-2)[..., None, :]
    return np.asarray((voted.astype(stacked.dtype) + TIE * stacked) / (1 + TIE))


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """Return the probabilities of yes for scores, without an overflow.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    small = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1, small) / (1 + small)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return the probabilities of classes (rows, classes) for scores."""
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def both(yes: np.ndarray) -> np.ndarray:
    """Return the probabilities of two classes (rows, 2) for those of the second one."""
    return np.stack([1 - yes, yes], axis=1)
