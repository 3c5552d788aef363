"""The user's estimator after parties agreed: it scales rows, trains, and is made of weights."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn.base import clone

from fusion_nb.core import arithmetic
from fusion_nb.core.types import Weights
from fusion_nb.models.sklearn import scaling
from fusion_nb.models.sklearn.agreement import ENTRY, Agreement
from fusion_nb.models.sklearn.learner import Agreed, Learned, Learner, Work
from fusion_nb.models.sklearn.lookup import Parts, parts_of
from fusion_nb.models.tabular import Task

#: The attribute of a fitted model that holds the weights that its other attributes do not.
_KEPT = "federated_weights_"


class AgreedEstimator:
    """Scalers and a learner, which find what parties agreed on in the entry `ENTRY` of weights.

    model: the user's own, which is never changed
    """

    def __init__(self, model: Any) -> None:
        self.model = clone(model)
        self.parts: Parts = parts_of(clone(model))
        #: The agreement that was read last, and what follows from it.
        self._read: tuple[bytes, tuple[list[Any], Agreed]] | None = None

    @property
    def learner(self) -> Learner:
        """The part that trains the estimator."""
        return self.parts.learner

    def copied(self) -> AgreedEstimator:
        """Return an independent copy."""
        other = copy.copy(self)
        other.parts = copy.deepcopy(self.parts)
        return other

    def first_weights(
        self, agreed: Agreement, start: Weights | None, task: Task, seed: int
    ) -> Weights:
        """Return the weights before round 1; `start` are those of the user's fit, or None."""
        _, numbers = agreed.fit_scalers(self.parts)
        first = start or self.learner.first_weights(task, numbers, seed)
        return {ENTRY: agreed.packed(), **first}

    def scaled(self, weights: Weights, x: np.ndarray) -> np.ndarray:
        """Return rows as the estimator after the scalers sees them."""
        scalers, _ = self._agreed(weights)
        return scaling.transformed(scalers, x)

    def learn(
        self, weights: Weights, rows: np.ndarray, y: np.ndarray, task: Task, work: Work
    ) -> Learned:
        """Train from weights on scaled rows."""
        _, numbers = self._agreed(weights)
        return self.learner.learn(_own(weights), rows, y, task, numbers, work)

    def fitted(self, weights: Weights, task: Task) -> Any:
        """Return the estimator after the scalers with these weights."""
        _, numbers = self._agreed(weights)
        return self.learner.fitted(_own(weights), task, numbers)

    def native(self, weights: Weights, task: Task) -> Any:
        """Return a fitted model of the user's form with these weights."""
        parts = parts_of(clone(self.model))
        scalers, numbers = self._agreed(weights)
        made = parts.joined(scalers, parts.learner.fitted(_own(weights), task, numbers), self.model)
        first = made.steps[0][1] if parts.names else made
        if task.columns:
            first.feature_names_in_ = np.array(task.columns, dtype=object)
        is_exact = self.learner.weights_kind == "statistics"
        vars(made)[_KEPT] = arithmetic.copy(weights if is_exact else {ENTRY: weights[ENTRY]})
        return made

    def _agreed(self, weights: Weights) -> tuple[list[Any], Agreed]:
        """Return the fitted scalers and numbers of the agreement, which is read once."""
        packed = weights[ENTRY].tobytes()
        if self._read is None or self._read[0] != packed:
            agreed = Agreement.unpacked(weights[ENTRY])
            self._read = packed, agreed.fit_scalers(self.parts)
        return self._read[1]


def kept_weights(native: Any) -> Weights:
    """Return the weights that a model of `AgreedEstimator.native` holds beside its attributes."""
    return dict(vars(native).get(_KEPT, {}))


def _own(weights: Weights) -> Weights:
    """Return the estimator's own weights, without the agreement."""
    return {name: array for name, array in weights.items() if name != ENTRY}
