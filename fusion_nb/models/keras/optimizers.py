"""Keras's own optimizers, by the names that people write for them, and their state as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import keras
import numpy as np

from fusion_nb.errors import OptionError, option
from fusion_nb.models import optimizers
from fusion_nb.models.identity.configurations import of_configured
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
    """Return a new optimizer.

    choice: `adam`, `sgd:momentum=0.9`, `keras.optimizers.Adam`, a class, or an object
    lr: the learning rate; None keeps the optimizer's own, or its schedule
    Raises OptionError for an unknown name, an option that it doesn't have, or a value that it
    refuses.
    """
    fixed = {} if lr is None else {"learning_rate": lr}
    choice = bare(choice)
    if not isinstance(choice, _Optimizer):
        return _ALL.make(choice, **fixed)
    config = _config(choice) | fixed
    try:
        return type(choice).from_config(config)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"Keras can't make another {type(choice).__name__} like the one given: "
            f"{first_line(error)}",
            "register its arguments with keras.saving.register_keras_serializable()",
            option="optimizer",
        ) from error


def _config(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    try:
        config = dict(optimizer.get_config())
    except NotImplementedError as error:
        line = (
            f"Keras can't make another {type(optimizer).__name__} like the one given: "
            f"{first_line(error)}"
        )
        raise OptionError(
            line,
            "give its learning rate's class a get_config(), or name the optimizer",
            option="optimizer",
        ) from error
    if "learning_rate" not in config:  # a MultiOptimizer has several optimizers inside
        line = f"the {type(optimizer).__name__} given has no learning_rate in its get_config()"
        raise OptionError(
            line,
            f"give one optimizer that trains all weights, or name one with {option('optimizer')}",
            option="optimizer",
        )
    return config


def own_lr(optimizer: Any) -> float | None:
    """Return the learning rate of an optimizer object: None for a schedule, 0.01 for a name."""
    optimizer = bare(optimizer)
    if not isinstance(optimizer, _Optimizer):
        return 0.01
    rate = _config(optimizer)["learning_rate"]
    return None if isinstance(rate, dict) else float(rate)


def bare(optimizer: Any) -> Any:
    """Return the optimizer inside a wrapper of mixed precision; compiling wraps it again."""
    is_wrapped = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    return optimizer.inner_optimizer if is_wrapped else optimizer


def identity(choice: Any, lr: float | None) -> dict[str, str]:
    """Return an optimizer's class and options as text; none is made.

    choice, lr: as in `make`
    """
    choice = bare(choice)
    if not isinstance(choice, _Optimizer):
        return {**_ALL.identity(choice), "learning_rate": repr(lr)}
    return of_configured(choice) | ({} if lr is None else {"learning_rate": repr(lr)})


def state(variables: Sequence[Any]) -> list[np.ndarray]:
    """Return a copy of an optimizer's variables, its step counter included."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def restore(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    """Restore the variables from the copy that `state` returned."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def num_steps(optimizer: keras.optimizers.Optimizer) -> int:
    """Return how many steps an optimizer has taken; gathering gradients for one is none."""
    return int(keras.ops.convert_to_numpy(bare(optimizer).iterations))


def effective_step_size(optimizer: keras.optimizers.Optimizer, steps: int) -> float:
    """Return how far the last steps carried a weight whose gradient is always 1.

    For optimizers other than SGD it is the sum of the learning rates. With a schedule and momentum,
    each step counts with the schedule's mean.
    """
    optimizer = bare(optimizer)
    if isinstance(optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        first = max(0, num_steps(optimizer) - steps)
        rates = [_scheduled(optimizer, step) for step in range(first, first + steps)]
        lr = sum(rates) / max(1, steps)
    else:
        lr = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    is_sgd = isinstance(optimizer, keras.optimizers.SGD)
    settings = {"momentum": optimizer.momentum, "nesterov": optimizer.nesterov} if is_sgd else {}
    return optimizers.effective_step_size(steps, lr, **settings)


#: Optimizer -> step -> rate. Computing a rate costs half as much as a step of a small model, and
#: all parties need the same ones.
_RATES: WeakKeyDictionary[keras.optimizers.Optimizer, dict[int, float]] = WeakKeyDictionary()


def _scheduled(optimizer: keras.optimizers.Optimizer, step: int) -> float:
    rates = _RATES.setdefault(optimizer, {})
    if step not in rates:
        # Schedules count batches, of which a step may gather several.
        every = optimizer.gradient_accumulation_steps or 1
        batch = keras.ops.convert_to_tensor(every * (step + 1) - 1, dtype="int32")
        rates[step] = float(keras.ops.convert_to_numpy(optimizer._learning_rate(batch)))
    return rates[step]
