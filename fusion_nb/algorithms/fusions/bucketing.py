"""Bucketing: means of a few parties, for a robust rule after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions.fusion_wrapper import (
    FusionWrapper,
    broadcasts,
    changes_local_update,
)
from fusion_nb.core import seeds
from fusion_nb.core.arithmetic import weighted_mean
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import FederationInfo, Update, Weights
from fusion_nb.errors import OptionError, option


class Bucketing(FusionWrapper):
    """Give the inner rule the means of s parties each, drawn again in every round.

    The inner rule comes after a plus: `bucketing:s=2+krum:f=1`. For parties whose rows are unlike:
    means differ less than the parties in them, so that fewer honest parties look hostile. Of n
    parties ceil(n / s) buckets reach the inner rule, the last of which may be smaller, and f
    hostile parties spoil up to f of them. In a bucket all parties have the same share. With s 1 it
    is the inner rule on parties in a random order.

    Source: Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via
    Bucketing", ICLR 2022.
    """

    not_linear = "hands on the means of some parties each"

    def __init__(
        self,
        inner: Fusion,
        *,
        s: Annotated[int, Field(description="parties in a bucket", ge=1)] = 2,
    ) -> None:
        needs_parties = {
            "local_update": changes_local_update(inner),
            "select_senders": inner.synchronising is not None,
            "broadcast": broadcasts(inner),
        }
        if method := next((name for name, needs in needs_parties.items() if needs), ""):
            raise OptionError(
                f"bucketing gives the rule after it means, and a rule with {method}() needs the "
                "updates of single parties",
                "write another after the +, such as "
                f"{option('fusion', 'bucketing:s=2+geometric_median')}",
            )
        super().__init__(inner)
        self.averages = False
        self._size = s
        # The inner rule must get as many buckets as it needs, the last of at least one party.
        needed = s * (inner.requires.min_updates - 1) + 1
        self.requires = replace(inner.requires, min_updates=needed)

    def init(self, weights: Weights, info: FederationInfo) -> Any:
        """Return the inner rule's state, and the number of rounds so far."""
        return {"inner": self.inner.init(weights, info), "rounds": 0}

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        """Return the weights that the inner rule makes of the buckets."""
        received = sorted(updates, key=lambda update: update.party)
        order = seeds.stream(0, "bucketing", state["rounds"]).permutation(len(received))
        buckets = (
            [received[i] for i in order[begin : begin + self._size]]
            for begin in range(0, len(received), self._size)
        )
        means = (_mean(number, bucket) for number, bucket in enumerate(buckets, 1))
        fused, inner = self.inner.aggregate(weights, means, state["inner"])
        return fused, {"inner": inner, "rounds": state["rounds"] + 1}


def _mean(number: int, bucket: list[Update]) -> Update:
    """Return the mean of a bucket's updates, as the update of one party with all their rows."""
    rows = sum(update.num_examples for update in bucket)
    return Update(f"bucket {number}", weighted_mean(bucket, lambda update: 1.0), rows)
