"""The agreement of parties before round 1, and the bytes in which it travels with the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusion_nb.core.types import Update
from fusion_nb.models.sklearn import clusters, scaling
from fusion_nb.models.sklearn.learner import Agreed
from fusion_nb.models.sklearn.lookup import Parts
from fusion_nb.models.sklearn.scaling import Moments
from fusion_nb.models.tabular import Task

#: The entry of the weights that holds the agreement. Every party sends it back as it is: any
#: fusion of equal bytes gives these bytes.
ENTRY = "agreed"


@dataclass(frozen=True)
class Agreement:
    """The moments of all rows, from which scalers follow, and the rest of what parties agree on.

    label_means: of the labels, for measurements;  centres: first centres of clusters, or ()
    """

    moments: Moments
    label_means: tuple[float, ...] = ()
    centres: tuple[tuple[float, ...], ...] = ()

    def packed(self) -> np.ndarray:
        """Return it as bytes, for the weights."""
        found = {
            "moments": self.moments.to_tree(),
            "label_means": list(self.label_means),
            "centres": [list(centre) for centre in self.centres],
        }
        return np.frombuffer(json.dumps(found).encode(), np.uint8).copy()

    @classmethod
    def unpacked(cls, packed: np.ndarray) -> Agreement:
        """Return the agreement that `packed` wrote."""
        found: Mapping[str, Any] = json.loads(packed.tobytes())
        return cls(
            Moments.from_tree(found["moments"]),
            tuple(found["label_means"]),
            tuple(tuple(centre) for centre in found["centres"]),
        )

    def fit_scalers(self, parts: Parts) -> tuple[list[Any], Agreed]:
        """Return the fitted scalers, and the numbers that the estimator after them is given."""
        made, moments = scaling.fitted(parts.scalers, self.moments)
        centres = np.array(self.centres) if self.centres else None
        return made, Agreed(self.moments.count, moments.means, np.array(self.label_means), centres)


def collect(parts: Parts, x: np.ndarray, y: np.ndarray, task: Task, seed: int) -> dict[str, Any]:
    """Return what a party reports of its rows: moments, and centres of clusters where asked for.

    Centres are of rows that are not scaled.
    """
    with_range = scaling.needs_range(parts.scalers)
    found: dict[str, Any] = Moments.of(x, with_range=with_range).to_tree()
    if not task.predicts_classes and y.dtype.kind in "fiub":
        found["label_means"] = y.reshape(len(y), -1).mean(0)
    if parts.learner.needs_centres and not _own_centres(parts):
        found["centres"], found["sizes"] = clusters.local_centres(parts.learner.estimator, x, seed)
    return found


def agree(parts: Parts, updates: Sequence[Update], seed: int) -> Agreement:
    """Return the agreement from the reports of all parties."""
    reports = [update.extras for update in updates]
    moments = Moments.merged([Moments.from_tree(report) for report in reports])
    labels: tuple[float, ...] = ()
    if "label_means" in reports[0]:
        shares = [report["count"] / moments.count for report in reports]
        found = sum(
            share * report["label_means"] for share, report in zip(shares, reports, strict=True)
        )
        labels = tuple(np.asarray(found).tolist())
    centres: tuple[tuple[float, ...], ...] = ()
    if parts.learner.needs_centres:
        scalers, _ = scaling.fitted(parts.scalers, moments)
        first = parts.learner.estimator.init
        if not _own_centres(parts):
            pairs = [(report["centres"], report["sizes"]) for report in reports]
            found = clusters.first_centres(
                [(scaling.transformed(scalers, c), sizes) for c, sizes in pairs if len(c)],
                parts.learner.estimator.n_clusters,
                seed,
            )
            first = found
        centres = tuple(tuple(centre) for centre in np.asarray(first, float).tolist())
    return Agreement(moments, labels, centres)


def _own_centres(parts: Parts) -> bool:
    """Return whether the user gave the first centres."""
    return not isinstance(parts.learner.estimator.init, str)
