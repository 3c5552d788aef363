"""The engine that chooses another one, by the model's form and sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from fusion_nb.core.protocols import BatchTrainable, EngineWrapper, Model, PartyLike
from fusion_nb.engines.local import LocalEngine
from fusion_nb.engines.vectorized import VectorizedEngine, check_batchable

#: Parties from which on stacks are taken. With fewer there is less to gain, and a curve keeps the
#: digits of one party after the other.
_FEWEST = 8


class AutoEngine(EngineWrapper):
    """Trains parties in stacks where that is known to be faster, and else side by side.

    The choice follows from the run's options, the model and the numbers of rows. No time is
    measured, so that the same run has the same curve on another day.
    """

    def __init__(self) -> None:
        super().__init__(LocalEngine())

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Choose an engine; return it and the reason as a sentence."""
        if reason := _obstacle(model, options, parties):
            return [f"engine: local ({reason})"]
        self.inner = VectorizedEngine()
        return ["engine: vectorized (several small networks train as one)"]


def _obstacle(model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]) -> str:
    """Return why parties are not trained in stacks, or an empty string."""
    if len(parties) < _FEWEST:
        return f"there are fewer than {_FEWEST} parties"
    if not isinstance(model, BatchTrainable):
        return f"a {model.kind} is trained one party at a time"
    if find_spec("greenlet") is None:
        return "vectorized needs greenlet, which is not installed"
    advice = model.advise_stack(options, parties)
    return advice.drawback or check_batchable(model, options, parties)
