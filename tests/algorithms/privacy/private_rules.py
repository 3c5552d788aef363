"""Private rules on weights of a few numbers, and what their parties send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fusion_nb.algorithms.privacy.base import PrivateFusion, PrivateRun
from fusion_nb.algorithms.privacy.cohorts import PrivateCohorts
from fusion_nb.algorithms.privacy.option import around
from fusion_nb.core import registry
from fusion_nb.core.types import FederationInfo, LocalContext, TrainingResult, Update, Weights


def rule(
    text: str,
    fusion: str = "fedavg",
    *,
    num_parties: int = 4,
    seed: int = 0,
    fraction: float = 1.0,
    chance: float | None = None,
    rounds: int = 5,
) -> PrivateFusion:
    """The rule that an option `privacy` makes of a fusion."""
    parties = tuple(f"party {number}" for number in range(1, num_parties + 1))
    cohorts = PrivateCohorts(parties, seed, fraction, chance)
    return around(registry.create("fusions", fusion), text, PrivateRun(fusion, cohorts, rounds))


def info(weights: Weights, *, num_parties: int = 4, untrained: Sequence[str] = ()) -> Any:
    """Facts about a federation with these weights."""
    return FederationInfo(num_parties, tuple(weights), frozenset(weights) - frozenset(untrained))


def updates(weights: Weights, steps: Sequence[Any], **extras: float) -> list[Update]:
    """Updates of parties that moved every entry by a step; a step is a number or an array."""
    return [
        Update(
            f"party {number}",
            {name: (array + step).astype(array.dtype) for name, array in weights.items()},
            10 * number,
            extras=extras,
        )
        for number, step in enumerate(steps, 1)
    ]


def context(
    made: PrivateFusion,
    weights: Weights,
    trained_to: Weights,
    *,
    party: str = "party 1",
    round: int = 1,
    seed: int = 0,
    **facts: Any,
) -> LocalContext:
    """A party's view of a round in which its training leads to given weights."""
    state = made.init(weights, info(weights, **facts))
    return LocalContext(
        party=party,
        round=round,
        seed=seed,
        weights=weights,
        broadcast=made.broadcast(state),
        state={},
        num_examples=10,
        num_test=0,
        info=info(weights, **facts),
        train=lambda start, name="", **options: TrainingResult(trained_to, {"loss": 0.0}, 1, 0.1),
        evaluate_train=lambda weights: {},
        evaluate_test=lambda weights, rows=slice(None): {},
    )
