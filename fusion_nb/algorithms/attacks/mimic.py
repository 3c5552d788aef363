"""Mimic: hostile parties copy one honest party."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusion_nb.algorithms.attacks.base import OmniscientPoisoning, stacked
from fusion_nb.core.types import Update, Weights


class Mimic(OmniscientPoisoning):
    """Send the weights of one honest party, so that its rows get too large a share.

    It is the party whose change is longest along the direction in which honest changes differ most.
    As a simplification it is chosen in the first round alone, where the paper's hostile parties
    observe several; in a round without that party, another is chosen for that round.

    Source: Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via
    Bucketing", ICLR 2022.
    """

    def forged_weights(
        self, start: Weights, honest: Sequence[Update], num_hostile: int, names: Sequence[str]
    ) -> Weights:
        """Return the target's weights."""
        target = self.persistent_state.get("target")
        update = next((update for update in honest if update.party == target), None)
        if update is None:
            update = honest[_most_unlike(start, honest, names)]
            if not target:
                self.persistent_state = {"target": update.party}
        return {name: update.weights[name] for name in names}


def _most_unlike(start: Weights, honest: Sequence[Update], names: Sequence[str]) -> int:
    """Return the position of the change that is longest along the first principal direction."""
    products = np.zeros((len(honest), len(honest)))
    for name in names:
        changes = (stacked(honest, name) - start[name]).reshape(len(honest), -1)
        products += changes @ changes.T
    centre = np.eye(len(honest)) - 1 / len(honest)
    direction = centre @ np.linalg.eigh(centre @ products @ centre)[1][:, -1]
    return int(np.argmax(np.abs(products @ direction)))
