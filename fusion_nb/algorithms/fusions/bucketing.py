"""A robust rule that is given means of a few parties in place of single ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.algorithms.fusions.base import Around
from fusion_nb.core import seeds
from fusion_nb.core.arithmetic import weighted_mean
from fusion_nb.core.types import Fusion, Update, Weights
from fusion_nb.errors import OptionError


class Bucketing(Around):
    """Give the inner rule the means of s parties each, drawn anew in every round, in place of
    single parties.

    The inner rule comes after a plus: `bucketing:s=2+krum:f=1`. For parties whose rows are unlike:
    means differ less than what they are made of, so that fewer honest ones are taken for hostile.
    Of n parties ceil(n / s) buckets reach the inner rule, the last of which may be smaller, and f
    hostile parties spoil up to f of them. In a bucket all parties count the same. With s 1 it is
    the inner rule on parties in a random order.

    Source: Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via
    Bucketing", ICLR 2022.
    """

    def __init__(
        self,
        inner: Fusion,
        *,
        s: Annotated[int, Field(description="parties in a bucket", ge=1)] = 2,
    ) -> None:
        if other := next((part for part in ("train", "asks", "send") if hasattr(inner, part)), ""):
            line = (
                f"bucketing gives the rule after it means, and a rule with {other}() needs to "
                "hear of single parties"
            )
            raise OptionError(
                line, "write another after the +, such as bucketing:s=2+geometric_median"
            )
        super().__init__(inner)
        self._size = s
        #: The inner rule must get as many buckets as it needs, the last of one party at the least.
        self.min_updates = s * (getattr(inner, "min_updates", 1) - 1) + 1

    def init(self, weights: Weights) -> Any:
        """Return the inner rule's state, and the rounds so far."""
        return self.inner.init(weights), 0

    def fuse(self, weights: Weights, updates: Iterator[Update], state: Any) -> tuple[Weights, Any]:
        """Return what the inner rule makes of the buckets."""
        inner, rounds = state
        given = sorted(updates, key=lambda update: update.party)
        order = seeds.stream(0, "bucketing", rounds).permutation(len(given))
        buckets = (
            [given[i] for i in order[begin : begin + self._size]]
            for begin in range(0, len(given), self._size)
        )
        means = (_mean(number, bucket) for number, bucket in enumerate(buckets, 1))
        fused, inner = self.inner.fuse(weights, means, inner)
        return fused, (inner, rounds + 1)


def _mean(number: int, bucket: list[Update]) -> Update:
    """Return a bucket as if it were a party with the mean of its parties' weights and all their
    rows.
    """
    rows = sum(update.num_examples for update in bucket)
    return Update(f"bucket {number}", weighted_mean(bucket, lambda update: 1.0), rows)
