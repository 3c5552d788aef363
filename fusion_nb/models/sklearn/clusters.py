"""KMeans from the sums and counts of clusters: a round is one step of Lloyd's algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin_min

from fusion_nb.core.types import Weights
from fusion_nb.errors import ModelError
from fusion_nb.models.sklearn.learner import Agreed, Learned, SummedLearner, Work
from fusion_nb.models.tabular import Task

#: Steps of Lloyd's algorithm over the parties' centres, from which the first centres come.
_STEPS = 100


class Lloyd(SummedLearner):
    """KMeans: parties send sums and counts of the rows that are nearest to each centre.

    A cluster without rows keeps its centre. First centres are those of a weighted k-means over the
    centres that each party finds on its own rows; a centre of a single row does not leave a party.

    Source: Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory
    1982.
    """

    kinds: ClassVar = (KMeans,)
    needs_centres: ClassVar = True

    def notes(self) -> list[str]:
        """Return how it is trained."""
        return [
            "training: a round is one step of Lloyd's algorithm over the rows of all parties",
            "first centres: the estimator's own"
            if isinstance(self.estimator.init, np.ndarray)
            else "first centres: from those that each party finds on its own rows",
        ]

    def first_weights(self, task: Task, agreed: Agreed, seed: int) -> Weights:
        """Return the agreed centres, as those of clusters without rows."""
        centres = agreed.centres
        assert centres is not None
        return _weights(centres, np.zeros_like(centres), np.zeros(len(centres)), 1.0)

    def learn(
        self, weights: Weights, x: np.ndarray, y: np.ndarray, task: Task, agreed: Agreed, work: Work
    ) -> Learned:
        """Return the sums and counts of the party's rows by their nearest centre."""
        work.gate()
        centres = _centres(weights)
        nearest, _ = pairwise_distances_argmin_min(x, centres)
        belongs = (nearest[:, None] == np.arange(len(centres))).astype(np.float64)
        return Learned(_weights(centres, belongs.T @ x, belongs.sum(0), float(len(x))), 1)

    def fitted(self, weights: Weights, task: Task, agreed: Agreed) -> Any:
        """Return a fitted estimator."""
        made = self.template(task)
        made.cluster_centers_ = np.ascontiguousarray(_centres(weights))
        return made

    def fit_examples(self, task: Task) -> Any:
        """Return an estimator that is fitted to as many points as it has clusters."""
        count = self.estimator.n_clusters
        points = np.repeat(np.arange(float(count))[:, None], task.num_features, axis=1)
        made = self.made().set_params(init=points, n_init=1, max_iter=1).fit(points)
        return made.set_params(**self.estimator.get_params(deep=False))


def local_centres(estimator: Any, x: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres that a party finds on its own rows, and their numbers of rows."""
    from sklearn.base import clone

    count = min(estimator.n_clusters, len(np.unique(x, axis=0)))
    made = clone(estimator).set_params(n_clusters=count, n_init=1, random_state=seed).fit(x)
    counts = np.bincount(made.labels_, minlength=count).astype(np.float64)
    several = counts > 1
    return made.cluster_centers_[several], counts[several]


def first_centres(
    found: Sequence[tuple[np.ndarray, np.ndarray]], count: int, seed: int
) -> np.ndarray:
    """Return the first centres, from those of all parties and their numbers of rows."""
    centres = np.concatenate([of_party for of_party, _ in found])
    counts = np.concatenate([of_party for _, of_party in found])
    if len(centres) < count:
        raise ModelError(
            f"the parties' own rows form {len(centres)} clusters of two rows or more, and "
            f"n_clusters is {count}",
            "use fewer clusters, or give first centres: KMeans(init=array)",
        )
    made = KMeans(count, n_init=10, max_iter=_STEPS, random_state=seed)
    return np.asarray(made.fit(centres, sample_weight=counts).cluster_centers_)


def _weights(centres: np.ndarray, sums: np.ndarray, counts: np.ndarray, rows: float) -> Weights:
    """Return the statistics of a step. `start` adds up to the centres before it."""
    return {"sum": sums, "count": counts, "start": centres * rows, "rows": np.array(rows)}


def _centres(weights: Weights) -> np.ndarray:
    """Return the means of the clusters; those without rows stay where they were."""
    counts = weights["count"][:, None]
    start = weights["start"] / weights["rows"]
    return np.where(counts > 0, weights["sum"] / np.maximum(counts, 1), start)
