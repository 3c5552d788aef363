"""The contract of a model that trains several parties as one program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_nb.core.protocols.party import PartyLike
from fusion_nb.core.types import TrainingResult, TrainingTask


@dataclass(frozen=True)
class StackAdvice:
    """How many parties to train as one.

    size: the number that is fastest;  most: the largest whose weights fit in memory
    drawback: why parties are not faster as one, or an empty string
    """

    size: int
    most: int
    drawback: str = ""


class BatchTrainable(ABC):
    """A model that can train several parties' models as one batched program."""

    @abstractmethod
    def train_batched(self, tasks: Sequence[TrainingTask]) -> list[TrainingResult | Exception]:
        """Return for each task its result, or the exception that ended it."""

    @abstractmethod
    def check_batchable(self, options: Mapping[str, Any], parties: Sequence[PartyLike]) -> str:
        """Return why these parties can't be trained as one, or an empty string."""

    @abstractmethod
    def advise_stack(self, options: Mapping[str, Any], parties: Sequence[PartyLike]) -> StackAdvice:
        """Return whether these parties are faster as one, and how many of them.

        The answer follows from the model, the options and numbers of rows alone: it decides the
        last digits of a curve, which must not depend on the number of cores.
        """
