"""Models that find the documents of parties that are nearest to a text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from fusion_nb.core.protocols import PartyLike
from fusion_nb.core.types import Weights

#: A document near a text: its tag, its party, and its cosine similarity.
Neighbour = tuple[str, str, float]
#: Returns the nearest documents to a text or its words, and that many of them.
FindNeighbours = Callable[[str | Sequence[str], int], list[Neighbour]]


class FindsDocuments(ABC):
    """A model with vectors of documents, which `run.similar` compares with that of a text."""

    @abstractmethod
    def neighbours(self, weights: Weights, parties: Sequence[PartyLike]) -> FindNeighbours:
        """Return a function that finds the nearest documents of all parties, the nearest first.

        Vectors are inferred under these weights.
        """
