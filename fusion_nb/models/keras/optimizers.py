"""Keras's own optimizers, by the names that people write for them, and their state as arrays."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from fusion_nb.errors import OptionError
from fusion_nb.models.keras.probe import first_line
from fusion_nb.models.optimizers import Optimizers

_Optimizer = keras.optimizers.Optimizer
# These wrap others, which text can't name.
_ALL = Optimizers(
    "Keras",
    keras.optimizers,
    _Optimizer,
    frozenset({"LossScaleOptimizer", "MultiOptimizer"}),
    frozenset({"learning_rate", "name", "kwargs"}),
)

NAMES = _ALL.names


def make(choice: Any, lr: float | None) -> keras.optimizers.Optimizer:
    """Return a new optimizer from `adam`, `sgd:momentum=0.9`, `keras.optimizers.Adam`, a class, or an object.

    lr: the learning rate; None leaves the one that the optimizer has, or its schedule
    Raises OptionError for an unknown name, an option that it doesn't have, or a value that it refuses.
    """
    fixed = {} if lr is None else {"learning_rate": lr}
    choice = _bare(choice)
    if not isinstance(choice, _Optimizer):
        return _ALL.make(choice, **fixed)
    config = _config(choice) | fixed
    try:
        return type(choice).from_config(config)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"Keras can't make another {type(choice).__name__} like the one given: {first_line(error)}",
            "register what it was given with keras.saving.register_keras_serializable()",
        ) from error


def _config(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    try:
        return dict(optimizer.get_config())
    except NotImplementedError as error:
        line = f"Keras can't make another {type(optimizer).__name__} like the one given: {first_line(error)}"
        raise OptionError(line, "give its learning rate's class a get_config(), or name the optimizer") from error


def own_lr(optimizer: Any) -> float | None:
    """Return the learning rate that an optimizer object brings: None for a schedule, 0.01 for a mere name."""
    optimizer = _bare(optimizer)
    if not isinstance(optimizer, _Optimizer):
        return 0.01
    rate = _config(optimizer)["learning_rate"]
    return None if isinstance(rate, dict) else float(rate)


def _bare(optimizer: Any) -> Any:
    """Return the optimizer itself where mixed precision has wrapped it; compiling a copy wraps it again."""
    is_wrapped = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return optimizer.inner_optimizer if is_wrapped else optimizer


def state(optimizer: keras.optimizers.Optimizer) -> list[np.ndarray]:
    """Return a copy of the optimizer's variables, its step counter included."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in optimizer.variables]


def restore(optimizer: keras.optimizers.Optimizer, values: list[np.ndarray]) -> None:
    """Put back what `state` returned."""
    for variable, value in zip(optimizer.variables, values, strict=True):
        variable.assign(value)
