"""Several parties' modules trained as one: their weights lie in stacks, and each step is done for
all of them.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn, optim

from fusion_nb.core import rows as rows_of
from fusion_nb.core.types import Training, Weights
from fusion_nb.errors import Stopped
from fusion_nb.models.torch import optimizers
from fusion_nb.models.torch.batches import Batches
from fusion_nb.models.torch.losses import LOSSES, Objective
from fusion_nb.models.torch.precision import Precision
from fusion_nb.models.torch.vectorized.batches import Plan
from fusion_nb.models.torch.vectorized.dense import Dense
from fusion_nb.models.torch.vectorized.gradients import Vmapped
from fusion_nb.models.torch.vectorized.steps import FusedSteps, OptimizerSteps

Result = tuple[Weights, Mapping[str, Any]] | Exception
#: Optimizers that treat each number by itself, so that they do the same to a stack as to its parts.
_ELEMENTWISE = (
    *(
        optim.ASGD,
        optim.Adadelta,
        optim.Adagrad,
        optim.Adam,
        optim.AdamW,
        optim.Adamax,
        optim.NAdam,
        optim.RAdam,
    ),
    *(optim.RMSprop, optim.Rprop, optim.SGD),
)
#: Steps, and parties, of the trial that shows whether a module can be trained in stacks, and what
#: that gains.
_TRIED_STEPS, _TRIED_PARTIES = 2, 8
#: What the numbers of one by one and of together may differ by, as a share of how far the weights
#: move.
_TOLERANCE = 1e-3


class TorchTogether:
    """The part of `TorchModel` that trains several parties at once."""

    module: nn.Module
    gate: Callable[[], None]
    _rows: Batches
    _precision: Precision
    _draws: bool
    _keep_optimizer: bool
    _dense: Dense | None

    @abstractmethod
    def _ready(self) -> Objective: ...

    def apart(self, orders: Mapping[str, Any], parties: Sequence[Any]) -> str | float:
        """Return why parties must be trained one by one, or how many times as fast a few are when
        trained as one.

        Told from the module's form, and from a trial of a few steps whose numbers must be the same
        both ways.
        """
        if reason := self._obstacle(orders, parties):
            return reason
        self._dense = Dense.of(self.module, self._ready())
        options = {**orders, "steps": _TRIED_STEPS}
        weights = self.get_weights()  # type: ignore[attr-defined]
        # Of other numbers of rows each: what a module makes of rows that fill up a batch must not
        # matter.
        most = _TRIED_STEPS * options["batch_size"]
        few = [
            rows_of.take(party.train, np.arange(max(1, min(party.num_examples, most) - i % 3)))
            for i, party in enumerate(parties[:_TRIED_PARTIES])
        ]
        trainings = [Training(weights, rows, {**options, "seed": i}) for i, rows in enumerate(few)]
        try:
            together, fast = _timed(lambda: self._stacked(trainings))
        except Exception as error:  # whatever vmap finds that it can't do
            return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        apart, slow = _timed(lambda: [self._alone(training) for training in trainings])
        self.set_weights(weights)  # type: ignore[attr-defined]
        same = all(_agree(a, b, weights) for a, b in zip(together, apart, strict=True))
        return slow / fast if same else "a trial of two steps came to other numbers"

    def fit_together(self, trainings: Sequence[Training]) -> list[Result]:
        """Train several parties' models, those that are told the same as one; the results are as of
        one by one.
        """
        groups: dict[Any, list[int]] = {}
        for i, training in enumerate(trainings):
            groups.setdefault(self._group(i, training), []).append(i)
        found: dict[int, Result] = {}
        for members in groups.values():
            group = [trainings[i] for i in members]
            results = self._stacked(group) if len(group) > 1 else [self._alone(group[0])]
            found |= zip(members, results, strict=True)
        return [found[i] for i in range(len(trainings))]

    def _obstacle(self, orders: Mapping[str, Any], parties: Sequence[Any]) -> str:
        """Return what keeps the module from being stacked, as far as its form tells, or an empty
        string.
        """
        objective, module = self._ready(), self.module
        names = [name for name, _ in module.named_parameters()] + [
            name for name, _ in module.named_buffers()
        ]
        made = self._optimizer_of(orders)
        obstacles = {
            "it draws random numbers, as dropout does": self._draws,
            "its batch normalization would see the rows that fill up short batches": (
                self._rows.min_rows > 1
            ),
            "its rows come from a Dataset, one at a time": not all(
                isinstance(p.train, tuple) for p in parties
            ),
            "its rows are whole numbers": self._rows.takes_numbers,
            f"its loss {objective.name} is none of {', '.join(LOSSES)}": LOSSES.get(
                objective.name, (0,)
            )[0]
            is not objective.loss,
            "parties keep their optimizers": self._keep_optimizer,
            "it computes in bf16": self._precision.is_reduced,
            "some of its weights have two names": set(module.state_dict()) - set(names),
            "its parameters are not float32 or float64": any(
                p.dtype not in (torch.float32, torch.float64) for p in module.parameters()
            ),
            f"the optimizer {type(made).__name__} looks at a whole model": type(made)
            not in _ELEMENTWISE,
        }
        return next((reason for reason, holds in obstacles.items() if holds), "")

    def _group(self, position: int, training: Training) -> Any:
        """Return what trainings must have in common to be stacked; one that can't be has its own
        position.
        """
        options = training.options
        if (
            options.get("mix")
            or not len(training.data[0])
            or not (options.get("steps") or options["epochs"])
        ):
            return position
        told = (options.get(name) for name in ("batch_size", "lr", "mu"))
        return (
            *told,
            str(options["optimizer"]),
            options.get("anchor") is None,
            tuple(options.get("shift") or ()),
        )

    def _alone(self, training: Training) -> Result:
        try:
            self.set_weights(training.weights)  # type: ignore[attr-defined]
            found = self.fit(training.data, **training.options)  # type: ignore[attr-defined]
            return self.get_weights(), found  # type: ignore[attr-defined]
        except Stopped:
            raise
        except Exception as error:
            return error

    def _stacked(self, trainings: Sequence[Training]) -> list[Result]:
        plan, steps = Plan.of(trainings, self._rows), self._steps(trainings)
        losses, done = torch.zeros(max(plan.steps), len(trainings)), {}
        for step, x, y, shares in plan.laid_out(trainings, self._rows):
            self.gate()
            losses[step] = steps.do(x, y, shares)
            for i in plan.ending[step]:
                # What the stack does to it from now on is not its own.
                is_last = step + 1 == len(losses)
                done[i] = {
                    name: stack[i] if is_last else stack[i].clone()
                    for name, stack in steps.values.items()
                }
        means, stepper = plan.mean_losses(losses.numpy()), self._optimizer_of(trainings[0].options)
        results: list[Result] = []
        for i, training in enumerate(trainings):
            weights = {
                **training.weights,
                **{name: value.cpu().numpy() for name, value in done[i].items()},
            }
            travel = optimizers.travel(stepper, plan.steps[i])
            results.append(
                (
                    weights,
                    {"loss": means[i], "steps": plan.steps[i], "travel": travel, "extras": {}},
                )
            )
        return results

    def _steps(self, trainings: Sequence[Training]) -> FusedSteps | OptimizerSteps:
        options, trained = trainings[0].options, self.trained_names()  # type: ignore[attr-defined]
        names = [name for name in trainings[0].weights if name in trained]
        is_plain = (
            not options.get("mu")
            and not options.get("shift")
            and len(names) == len(trainings[0].weights)
        )
        if self._dense and is_plain and self._rows.device.type == "cpu":
            stepper = self._optimizer_of(options)
            if optimizers.is_bare_sgd(stepper):
                return FusedSteps(self._dense, trainings, names, stepper.param_groups[0]["lr"])
        self.module.train()

        def make(parameters: Sequence[nn.Parameter]) -> optim.Optimizer:
            return optimizers.make(options["optimizer"], parameters, options["lr"])

        gradients = self._dense or Vmapped(self.module, self._ready())
        return OptimizerSteps(gradients, trainings, names, make, self._rows.device)

    def _optimizer_of(self, options: Mapping[str, Any]) -> optim.Optimizer:
        """Return an optimizer of the run's kind, to ask for its settings."""
        return optimizers.make(options["optimizer"], [nn.Parameter(torch.zeros(1))], options["lr"])


def _timed(train: Callable[[], list[Result]]) -> tuple[list[Result], float]:
    """Return the results, and the least time of three; the first of them pays for what is set up
    once.
    """
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        results = train()
        seconds.append(time.perf_counter() - started)
    return results, min(seconds)


def _agree(a: Result, b: Result, before: Weights) -> bool:
    if isinstance(a, Exception) or isinstance(b, Exception):
        return isinstance(a, Exception) and isinstance(b, Exception)
    if not np.isfinite(
        b[1]["loss"]
    ):  # rows are extreme, which is no matter of one by one or together
        return not np.isfinite(a[1]["loss"])
    for name, array in b[0].items():
        moved = np.abs(array.astype(np.float64) - before[name]).max(initial=0.0)
        if (
            np.abs(a[0][name].astype(np.float64) - array).max(initial=0.0)
            > _TOLERANCE * moved + 1e-6
        ):
            return False
    return bool(np.isclose(a[1]["loss"], b[1]["loss"], rtol=1e-3, atol=1e-6))
