"""The contract of a model whose parties agree on something before round 1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from fusion_nb.core.types import Update


class NeedsAgreement(ABC):
    """A model whose parties agree on something before round 1, such as a vocabulary or a scale.

    Its first weights are read after that. Derive an adapter from this and from `Model`.

    >>> import numpy as np
    >>> class Centred(NeedsAgreement):
    ...     "Let all parties subtract the mean of all rows."
    ...     def collect(self, data):
    ...         return {"sum": data[0].sum(0), "count": len(data[0])}
    ...     def agree(self, updates):
    ...         total = sum(update.extras["sum"] for update in updates)
    ...         return total / sum(update.extras["count"] for update in updates)
    ...     def prepare(self, data, state, agreed):
    ...         state["mean"] = agreed
    >>> rows = np.array([[1.0], [3.0]]), np.zeros(2)
    >>> Centred().agree([Update("party 1", {}, 2, extras=Centred().collect(rows))])
    array([2.])
    """

    @abstractmethod
    def collect(self, data: Any) -> Mapping[str, Any]:
        """Return what a party reports about its training rows, at the party."""

    @abstractmethod
    def agree(self, updates: Sequence[Update]) -> Any:
        """Return what all parties take over, from the `extras` of all, at the aggregator."""

    @abstractmethod
    def prepare(self, data: Any, state: dict[str, Any], agreed: Any) -> None:
        """Take over what was agreed on, at the party; `state` is what it keeps between rounds."""
