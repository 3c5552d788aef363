"""The contracts of attacks: parties that poison their labels, or the weights that they send."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from fusion_nb.core.types import Reply, RoundRequest


class DataPoisoning(ABC):
    """Hostile parties that train on other labels than those that their rows have.

    >>> import numpy as np
    >>> class AllZero(DataPoisoning):
    ...     "Train on the label 0 only."
    ...     def flip(self, rows, labels):
    ...         return rows[0], np.zeros_like(rows[1])
    >>> AllZero().flip((np.ones((2, 3)), np.array([4, 5])), labels=np.arange(10))[1]
    array([0, 0])
    """

    #: How many parties are hostile.
    num: int = 1

    @abstractmethod
    def flip(self, rows: Any, labels: np.ndarray) -> Any:
        """Return a data set of the same rows with other labels; the given one stays as it is.

        labels: those of all rows of the federation, which say what the classes are
        """


class ModelPoisoning(ABC):
    """Hostile parties that train honestly and send forged weights.

    >>> import numpy as np
    >>> from fusion_nb.core.types import Update
    >>> class Zeros(ModelPoisoning):
    ...     "Send zeros in place of trained weights."
    ...     def forge(self, replies, request, hostile, trained):
    ...         for reply in replies:
    ...             if reply.party in hostile:
    ...                 zeros = {name: array * 0 for name, array in reply.weights.items()}
    ...                 reply = Update(reply.party, zeros, reply.num_examples)
    ...             yield reply
    >>> sent = [Update("party 1", {"w": np.array([2.0])}, 10)]
    >>> next(Zeros().forge(iter(sent), None, ["party 1"], frozenset({"w"}))).weights
    {'w': array([0.])}
    """

    #: How many parties are hostile.
    num: int = 1
    #: Its memory of earlier rounds, as plain data for a checkpoint. Replaced, not changed.
    persistent_state: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def forge(
        self,
        replies: Iterator[Reply],
        request: RoundRequest,
        hostile: Sequence[str],
        trained: frozenset[str],
    ) -> Iterator[Reply]:
        """Yield the replies of a round in their order, those of hostile parties forged.

        trained: the names of the entries that gradients train. Failures pass as they are.
        """
