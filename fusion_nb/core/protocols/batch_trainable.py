"""The contract of a model that trains several parties as one program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from fusion_nb.core.protocols.party import PartyLike
from fusion_nb.core.types import TrainingResult, TrainingTask


class BatchTrainable(ABC):
    """A model that can train several parties' models as one batched program."""

    @abstractmethod
    def train_batched(self, tasks: Sequence[TrainingTask]) -> list[TrainingResult | Exception]:
        """Return for each task its result, or the exception that ended it."""

    @abstractmethod
    def check_batchable(self, options: Mapping[str, Any], parties: Sequence[PartyLike]) -> str:
        """Return why these parties can't be trained as one, or an empty string."""

    @abstractmethod
    def measure_speedup(self, options: Mapping[str, Any], parties: Sequence[PartyLike]) -> float:
        """Return how many times as fast a few parties are when they are trained as one."""
