"""The user's own compilation of a Keras model: its loss, its optimizer and its metrics."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras

from fusion_nb.core.builtin import BUILTIN


@dataclass(frozen=True)
class Compilation:
    """How the user compiled a model, if at all.

    config: as Keras describes it, or None for a model that is not compiled
    loss, optimizer: None where it has none
    """

    config: dict[str, Any] | None = None
    loss: Any = None
    optimizer: Any = None

    @classmethod
    def of(cls, model: keras.Model) -> Compilation:
        """Return how a model is compiled."""
        if not model.compiled:
            return cls()
        try:
            with warnings.catch_warnings():
                # A lambda is only dangerous in a file.
                warnings.simplefilter("ignore")
                config = model.get_compile_config()
        except Exception:  # a loss or a metric of the user's own that has no get_config
            return cls(None, model.loss, model.optimizer)
        # Looked up in the configuration: Keras leaves `model.loss` as it was when a model is
        # compiled without one.
        has_loss = config is not None and config.get("loss") is not None
        return cls(config, model.loss if has_loss else None, model.optimizer)

    def repeat(self, model: keras.Model) -> None:
        """Compile a copy in the same way, where Keras can."""
        # A loss or metric of the user's own can't be made again, nor be held by a file.
        with suppress(Exception):
            model.compile_from_config(self.config)

    @property
    def runs_eagerly(self) -> bool:
        """Whether the model is to be run line by line, since its call() can't be traced."""
        return bool((self.config or {}).get("run_eagerly"))

    def metric_notes(self, measured: tuple[str, ...]) -> list[str]:
        """Return a sentence about the metrics of compile() that a run does not measure."""
        given = [
            metric
            for name in ("metrics", "weighted_metrics")
            for metric in _names((self.config or {}).get(name))
        ]
        left = [name for name in dict.fromkeys(given) if name not in measured]
        if not left:
            return []
        known = [name for name in left if name in BUILTIN["metrics"]]
        hint = f"; --metrics {','.join(known)} is measured" if known else ""
        return [
            f"metrics: {', '.join(left)} of compile() are not measured in rounds; run.model is "
            f"compiled with them{hint}"
        ]

    def optimizer_note(self, lr: float | None) -> str:
        """Return a sentence about the user's optimizer."""
        rate = "its own schedule" if lr is None else f"lr {lr:g}"
        name = type(self.optimizer).__name__.lower()
        return f"optimizer: {name}, {rate} (as the model was compiled)"


def _names(metrics: Any) -> list[str]:
    """Return the names of metrics in the forms that a compile configuration has them."""
    if metrics is None:
        return []
    if isinstance(metrics, str):
        return [{"acc": "accuracy"}.get(metrics, metrics)]
    if isinstance(metrics, list | tuple):
        return [name for metric in metrics for name in _names(metric)]
    if isinstance(metrics, dict):
        if "class_name" in metrics:  # as Keras writes an object
            config = metrics.get("config")
            name = config.get("name") if isinstance(config, dict) else config
            return [str(name or metrics["class_name"])]
        return [name for metric in metrics.values() for name in _names(metric)]
    return [
        str(getattr(metrics, "name", "") or getattr(metrics, "__name__", type(metrics).__name__))
    ]
