"""PyTorch's own optimizers, by the names that people write for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn, optim

from fusion_nb.models import optimizers
from fusion_nb.models.optimizers import Optimizers
from fusion_nb.models.torch.plain_sgd import PlainSgd, Stepper

# LBFGS takes a closure, and so does not fit a loop of one step for each batch.
_ALL = Optimizers(
    "PyTorch", optim, optim.Optimizer, frozenset({"LBFGS"}), frozenset({"params", "lr"})
)

NAMES = _ALL.names


def make(choice: Any, parameters: Iterable[nn.Parameter], lr: float | None) -> Stepper:
    """Return an optimizer; a `PlainSgd` for SGD without options.

    choice: `sgd:momentum=0.9`, `optim.Adam`, `torch.optim.Adadelta`, or an Optimizer class
    Raises OptionError for an unknown name, an option that it doesn't have, or a value that it
    refuses.
    """
    given = list(parameters)
    if given and lr is not None and lr >= 0 and _is_plain(choice):
        return PlainSgd(given, lr)
    made: Stepper = _ALL.make(choice, given, **({} if lr is None else {"lr": lr}))
    return made


def identity(choice: Any, lr: float | None) -> dict[str, str]:
    """Return an optimizer's class and options as text; none is made.

    choice: as in `make`
    """
    return {**_ALL.identity(choice), "lr": repr(lr)}


def _is_plain(choice: Any) -> bool:
    return choice is optim.SGD or (isinstance(choice, str) and choice.lower() == "sgd")


def is_bare_sgd(optimizer: Stepper) -> bool:
    """Return whether its step subtracts lr times the gradient, and nothing else."""
    if isinstance(optimizer, PlainSgd):
        return True
    group = optimizer.param_groups[0]
    others = (group.get(name) for name in ("momentum", "weight_decay", "nesterov", "maximize"))
    return type(optimizer) is optim.SGD and not any(others)


def effective_step_size(optimizer: Stepper, num_steps: int) -> float:
    """Return how far these steps carry a weight whose gradient is always 1.

    For optimizers other than SGD it is the sum of the learning rates.
    """
    group = optimizer.param_groups[0]
    if isinstance(optimizer, PlainSgd):
        return optimizers.effective_step_size(num_steps, float(group["lr"]))
    if not isinstance(optimizer, optim.SGD):
        return num_steps * float(group["lr"])
    settings = {name: group[name] for name in ("momentum", "dampening", "nesterov")}
    return optimizers.effective_step_size(num_steps, float(group["lr"]), **settings)
