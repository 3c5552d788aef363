"""The user's own compilation of a Keras model: its loss, its optimizer and its metrics."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import keras


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
        config = model.get_compile_config()
        # Looked up in the configuration: Keras leaves `model.loss` as it was when a model is
        # compiled without one.
        has_loss = config is not None and config.get("loss") is not None
        return cls(config, model.loss if has_loss else None, model.optimizer)

    def repeat(self, model: keras.Model) -> None:
        """Compile a copy in the same way, where Keras can."""
        # A loss or metric of the user's own can't be made again, nor be held by a file.
        with suppress(Exception):
            model.compile_from_config(self.config)

    def optimizer_note(self, lr: float | None) -> str:
        """Return a sentence about the user's optimizer."""
        rate = "its own schedule" if lr is None else f"lr {lr:g}"
        name = type(self.optimizer).__name__.lower()
        return f"optimizer: {name}, {rate} (as the model was compiled)"
