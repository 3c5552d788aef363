"""Names and options that methods for personal models share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fusion_nb.core.types import Answer, LocalContext, Metrics

#: Values of fusions' client options with which local training is plain.
_PLAIN = {"mu": 0.0, "anchor": None, "shift": None}


def plain_options(client_options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options that undo, for one training, the client options of a fusion.

    >>> plain_options({"mu": 0.1})
    {'mu': 0.0}
    """
    return {name: value for name, value in _PLAIN.items() if name in client_options}


def personal_metrics(metrics: Mapping[str, float]) -> Metrics:
    """Return metrics under the names that they have for a party's own model.

    >>> personal_metrics({"loss": 0.5})
    {'personal_loss': 0.5}
    """
    return {f"personal_{name}": value for name, value in metrics.items()}


def with_personal_metrics(answer: Answer, context: LocalContext) -> Answer:
    """Return an answer with the metrics of the party's own model on its own test rows."""
    own = personal_metrics(context.evaluate_test(context.state["personal"]))
    return replace(answer, metrics={**answer.metrics, **own})
