"""Rows and labels read off an update: of a dense layer with a bias, by division."""

from __future__ import annotations

import numpy as np

from fusion_nb.core import arithmetic
from fusion_nb.core.types import Weights

#: The smallest change of a bias that is divided by, as a share of the largest.
_SMALL = 1e-6


def first_row(before: Weights, after: Weights, size: int) -> np.ndarray | None:
    """Return the row that an update of one row was trained on; None without a dense first layer.

    The gradient of a dense layer's weights is that of its bias times the row, so that the row is
    their quotient, whatever the learning rate, the clip, or the number of steps was.

    size: numbers in a row
    Source: Geiping, Bauermeister, Dröge, Moeller, "Inverting Gradients - How Easy Is It to Break
    Privacy in Federated Learning?", NeurIPS 2020 (Proposition 3.1).
    """
    found = _first_layer(before, after, size)
    if found is None:
        return None
    of_weights, of_bias = found
    total = float(np.sum(of_bias**2))
    return (of_bias @ of_weights) / total if total else np.zeros(size)


def candidates(before: Weights, after: Weights, size: int) -> np.ndarray:
    """Return the rows that the neurons of a dense first layer hold after an update of several.

    A neuron that only one row moved holds that row; one that several moved holds a mixture.
    Shape (neurons, size); empty without a dense first layer.
    """
    found = _first_layer(before, after, size)
    if found is None:
        return np.zeros((0, size))
    of_weights, of_bias = found
    moved = np.abs(of_bias) > _SMALL * np.abs(of_bias).max(initial=0.0)
    return np.asarray(of_weights[moved] / of_bias[moved, None])


def label_of(before: Weights, after: Weights, num_classes: int) -> int | None:
    """Return the class of the row that an update of one row was trained on; None where unknown.

    Only the bias of the row's own class grows in a step down the cross-entropy.

    Source: Zhao, Mopuri, Bilen, "iDLG: Improved Deep Leakage from Gradients", 2020.
    """
    change = arithmetic.change(after, before)
    for array in reversed(change.values()):
        if array.ndim == 1 and len(array) == num_classes > 1:
            return int(array.argmax())
        if array.ndim == 1 and len(array) == 1 and num_classes == 2:
            return int(array[0] > 0)
    return None


def _first_layer(
    before: Weights, after: Weights, size: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the changes of the weights (neurons, size) and the bias (neurons,) of that layer."""
    entries = list(arithmetic.change(after, before).values())
    for i, array in enumerate(entries[:-1]):
        bias = entries[i + 1]
        if array.ndim != 2 or bias.ndim != 1:
            continue
        if array.shape == (len(bias), size):
            return array, bias
        if array.shape == (size, len(bias)):
            return array.T, bias
    return None
