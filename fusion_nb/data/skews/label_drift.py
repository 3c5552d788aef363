"""Rows that change from round to round."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.core.protocols import Place, Skew
from fusion_nb.core.rounds.drift import Drift
from fusion_nb.data.splits import need_one_label_each
from fusion_nb.errors import SplitError


class LabelDrift(Skew):
    """Let each party have a part of its training rows at a time, with other labels each time.

    A party's rows are sorted by label, from another label on at each party, and cut into as many
    equal parts as there are phases. A phase lasts `every` rounds; after the last one the first
    comes again. Test rows are of all phases.

    Source: Jothimurugesan, Hsieh, Wang, Joshi, Gibbons, "Federated Learning under Distributed
    Concept Drift", AISTATS 2023 (staggered drift), with a shift of labels in place of concepts.
    """

    def __init__(
        self,
        *,
        phases: Annotated[int, Field(description="parts of a party's rows", ge=2)] = 3,
        every: Annotated[int, Field(description="rounds that a phase lasts", ge=1)] = 5,
        mix: Annotated[
            float, Field(description="share of the rows that are in any phase", ge=0, le=1)
        ] = 0.0,
    ) -> None:
        self._phases, self._every, self._mix = phases, every, mix

    def drift(self, labels: np.ndarray, place: Place) -> Drift | None:
        """Return the party's phases."""
        need_one_label_each(labels, "drift")
        if len(labels) < self._phases:
            raise SplitError(
                f"the split 'drift' cuts rows into {self._phases} phases, and party "
                f"{place.number + 1} has {len(labels)}",
                "use fewer phases or fewer parties",
                option="split",
                value="drift",
            )
        order = place.rng.permutation(len(labels))
        by_label = order[np.argsort(labels[order], kind="stable")]
        by_label = np.roll(by_label, -(len(labels) * place.number // place.num_parties))
        # Mixed rows change places among themselves, and so come into any phase.
        mixed = np.flatnonzero(place.rng.random(len(labels)) < self._mix)
        by_label[mixed] = by_label[place.rng.permutation(mixed)]
        parts = np.array_split(by_label, self._phases)
        return Drift(self._every, tuple(place.rng.permutation(part) for part in parts))

    def describe(self, num_parties: int) -> str:
        """Return the phases."""
        return (
            f"in each round a party trains on one of {self._phases} parts of its rows, each with "
            f"other labels, and changes to the next after {self._every} rounds"
        )
