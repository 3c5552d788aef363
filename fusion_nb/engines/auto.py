"""The engine that chooses: by what the model allows, and by a trial of a few batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fusion_nb.core.types import Reply, Verb
from fusion_nb.engines.local import LocalEngine
from fusion_nb.engines.vectorized import VectorizedEngine, trial

#: How many times as fast a stack must be in the trial, so that it is worth curves that differ in
#: their last digits.
_WORTH = 1.2


class AutoEngine:
    """Trains parties in stacks where a trial of a few batches says that this is faster, and one by
    one elsewhere.
    """

    def __init__(self) -> None:
        self._chosen = LocalEngine()

    def check(self, model: Any, orders: dict[str, Any], parties: Sequence[Any]) -> list[str]:
        """Choose; return what was chosen, and why, as a sentence."""
        gain = trial(model, orders, parties) if len(parties) > 1 else "there is one party"
        if isinstance(gain, str):
            return [f"engine: local ({gain})"]
        if gain < _WORTH:
            return [
                f"engine: local (in a trial, parties trained as one took {1 / gain:.1f} times as "
                "long)"
            ]
        self._chosen = VectorizedEngine()
        return [
            f"engine: vectorized (in a trial, {gain:.1f} times as fast as one party after the "
            "other)"
        ]

    def width(self, model: Any, num_parties: int) -> int:
        """Return how many parties train at once."""
        return self._chosen.width(model, num_parties)

    def start(self, parties: Sequence[Any], model: Any, gate: Callable[[], None]) -> None:
        """Let the chosen engine take charge of the parties."""
        self._chosen.start(parties, model, gate)

    def run(self, verb: Verb, cohort: Sequence[str], **orders: Any) -> Iterator[Reply]:
        """Ask each party of the cohort."""
        return self._chosen.run(verb, cohort, **orders)

    def close(self) -> None:
        """Let go of the engine's workers."""
        self._chosen.close()
