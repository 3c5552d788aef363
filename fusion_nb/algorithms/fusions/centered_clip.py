"""Centered clipping of the parties' changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.algorithms.fusions import update_matrix
from fusion_nb.algorithms.fusions.robust import RobustFusion, counted, finite_changes, moved_by
from fusion_nb.core.types import FederationInfo, Update, Weights

#: Keeps a distance that is not used from dividing by zero.
_TINY = 1e-300


class CenteredClip(RobustFusion):
    """Average the parties' changes, each clipped to a ball of radius tau around a centre.

    The centre is the last round's result, as a change of weights (zero at first, and zero for
    statistics such as BatchNorm's, which must not be stepped), then the mean, and so on for the
    given number of iterations: v = v + mean of (change - v) * min(1, tau / |change - v|). The
    distance that is clipped is thus that of a party's change from the centre, over all floating
    entries together, statistics included. With a large tau it is iter_avg.

    Source: Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization", ICML
    2021 (centered clipping; there of the parties' momentum, here of the changes by local training;
    the median for tau is ours).
    """

    name = "centered_clip"
    hint = "its tau is longer than all changes of weights; leave it out for the median distance"

    def __init__(
        self,
        *,
        tau: Annotated[
            float,
            Field(
                description="length up to which a party's change of weights counts in full (of "
                "weights: a paper's tau for gradients never clips here); 0: the median distance",
                ge=0,
            ),
        ] = 0.0,
        iterations: Annotated[int, Field(description="means to take", ge=1)] = 1,
    ) -> None:
        self._tau, self._iterations = tau, iterations

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the names of the trained entries, and the first centre: no change."""
        return {"trained": sorted(info.trained), "centre": {}}

    def combine(
        self, weights: Weights, updates: Sequence[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights moved by the clipped mean, and that mean as the next centre."""
        products = update_matrix.products(updates, weights, state["centre"])
        near, products = finite_changes(products, num_extra=1)
        shares = np.zeros(len(near))  # of the changes, and, last, of the centre
        shares[-1] = 1.0
        num_clipped = len(updates) - len(near) + 1  # those that are left out
        for _ in range(self._iterations):
            distances = update_matrix.from_mixture(products, shares)[:-1]
            tau = self._tau or float(np.median(distances))
            num_clipped += int((distances > tau).sum())
            # A change too long for float64 is left out of the sum, and yet counts as a party.
            clipped = np.where(distances > tau, tau / np.maximum(distances, _TINY), 1.0) / len(
                updates
            )
            shares *= 1 - clipped.sum()
            shares[:-1] += clipped
        step = update_matrix.mixture([updates[i] for i in near[:-1]], weights, shares[:-1])
        for name, centre in state["centre"].items():
            step[name] += shares[-1] * centre
        trained = frozenset(state["trained"])
        centre = {name: step[name] for name in step if name in trained}
        kept = counted({**state, "centre": centre}, num_clipped)
        return moved_by(weights, updates, step), kept
