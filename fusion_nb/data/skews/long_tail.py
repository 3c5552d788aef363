"""Classes of unequal sizes over all parties."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.core.protocols import Skew
from fusion_nb.data.splits import need_classes


class LongTail(Skew):
    """Leave out rows so that classes become rarer, each by the same factor as the one before.

    The first class keeps all its rows, and the last one has `ratio` times fewer than it. Which rows
    a party has is decided by the split after the +, as `long_tail:ratio=50+dirichlet:alpha=0.3`.

    Source: Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of
    Samples", CVPR 2019; among parties as in Shang, Lu, Huang, Wang, "Federated Learning on
    Heterogeneous and Long-Tailed Data via Classifier Re-Training with Federated Features", IJCAI
    2022.
    """

    def __init__(
        self,
        *,
        ratio: Annotated[
            float, Field(description="rows of the commonest class for one of the rarest", ge=1)
        ] = 10.0,
    ) -> None:
        self._ratio = ratio

    def kept(self, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the rows that remain, at least one of each class, in their order."""
        need_classes(labels, "long_tail")
        found, counts = np.unique(labels, return_counts=True)
        kept = []
        for place, (label, count) in enumerate(zip(found, counts, strict=True)):
            most = counts[0] * self._ratio ** (-place / max(1, len(found) - 1))
            rows = rng.permutation(np.flatnonzero(labels == label))
            kept.append(rows[: min(count, max(1, round(most)))])
        return np.sort(np.concatenate(kept))
