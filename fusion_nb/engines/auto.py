"""The engine that chooses another one, by what the model allows and by a trial of a few batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusion_nb.core.protocols import BatchTrainable, EngineWrapper, Model, PartyLike
from fusion_nb.engines.local import LocalEngine
from fusion_nb.engines.vectorized import VectorizedEngine, check_batchable

#: Speed-up of a stack in the trial that is worth curves that differ in their last digits.
_WORTH = 1.2


class AutoEngine(EngineWrapper):
    """Trains parties in stacks where a trial says that this is faster, and else one by one."""

    def __init__(self) -> None:
        super().__init__(LocalEngine())

    def check(
        self, model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
    ) -> list[str]:
        """Choose an engine; return it and the reason as a sentence."""
        if len(parties) < 2:
            return ["engine: local (there is one party)"]
        if reason := check_batchable(model, options, parties):
            return [f"engine: local ({reason})"]
        speedup = measure_speedup(model, options, parties)
        if speedup < _WORTH:
            return [
                f"engine: local (in a trial, parties trained as one took {1 / speedup:.1f} times "
                "as long)"
            ]
        self.inner = VectorizedEngine()
        return [
            f"engine: vectorized (in a trial, {speedup:.1f} times as fast as one party after the "
            "other)"
        ]


def measure_speedup(
    model: Model, options: Mapping[str, Any], parties: Sequence[PartyLike]
) -> float:
    """Return how many times as fast a few parties train in a stack."""
    assert isinstance(model, BatchTrainable)
    with model.single_threaded():
        return model.measure_speedup(options, parties)
