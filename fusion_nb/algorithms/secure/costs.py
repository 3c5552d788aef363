"""The costs of a round of secure aggregation: seconds and bytes of a party."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_nb.core import arithmetic


class Costs:
    """The seconds and bytes of a round, summed over its parties."""

    def __init__(self) -> None:
        self._seconds, self._up, self._down = 0.0, 0, 0

    def add(
        self,
        *,
        told_by: Mapping[str, Mapping[str, Any]],
        told_to: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Add an exchange: what parties told, and what they were told before."""
        self._seconds += sum(float(answer["seconds"]) for answer in told_by.values())
        self._up += sum(map(arithmetic.num_bytes, told_by.values()))
        self._down += sum(map(arithmetic.num_bytes, (told_to or {}).values()))

    def of_party(self, size: int, count: int) -> dict[str, float]:
        """Return the means over a number of parties, traffic as multiples of the weights' bytes."""
        return {
            "seconds": self._seconds / count,
            "up": self._up / count / max(1, size),
            "down": 1 + self._down / count / max(1, size),
        }


def sentence(costs: Mapping[str, float], neighbours: int) -> str:
    """Return the costs of the last round in words; neighbours: 0 for all."""
    lost = int(costs["lost"])
    gone = f"; {lost} dropped out after it had shared its secrets" if lost == 1 else ""
    gone = f"; {lost} dropped out after they had shared their secrets" if lost > 1 else gone
    among = f", with {neighbours} neighbours each" if neighbours else ""
    return (
        f"secure: in the last round a party spent {costs['seconds']:.2g} s on keys and masks"
        f"{among}, and sent {costs['up']:.2f} and received {costs['down']:.2f} times the bytes of "
        f"its weights{gone}"
    )
