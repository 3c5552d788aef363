"""Several parties' modules trained as one: their weights lie in stacks, and each step is done for all of them."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusion_nb import data as rows_of
from fusion_nb.errors import Stopped
from fusion_nb.models.torch import optimizers
from fusion_nb.models.torch.batches import Batches
from fusion_nb.models.torch.losses import LOSSES, Objective
from fusion_nb.models.torch.precision import Precision
from fusion_nb.models.torch.stacked.batches import Plan
from fusion_nb.models.torch.stacked.dense import Dense
from fusion_nb.models.torch.stacked.gradients import Vmapped
from fusion_nb.types import Training, Weights

Result = tuple[Weights, Mapping[str, Any]] | Exception
#: Optimizers that treat each number by itself, so that they do the same to a stack as to its parts.
_ELEMENTWISE = {
    *("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"),
}
#: Steps, and parties, of the trial that shows whether a module can be trained in stacks, and what that gains.
_TRIED_STEPS, _TRIED_PARTIES = 2, 8
#: What the numbers of one by one and of together may differ by, as a share of how far the weights move.
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
        """Return why parties must be trained one by one, or how many times as fast a few are when trained as one.

        Told from the module's form, and from a trial of a few steps whose numbers must be the same both ways.
        """
        if reason := self._obstacle(orders, parties):
            return reason
        options = {**orders, "steps": _TRIED_STEPS}
        weights = self.get_weights()  # type: ignore[attr-defined]
        # Of other numbers of rows each: what a module makes of rows that fill up a batch must not matter.
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
        """Train several parties' models, those that are told the same as one; the results are as of one by one."""
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
        """Return what keeps the module from being stacked, as far as its form tells, or an empty string."""
        objective, module = self._ready(), self.module
        names = [name for name, _ in module.named_parameters()] + [name for name, _ in module.named_buffers()]
        made = optimizers.make(orders["optimizer"], [nn.Parameter(torch.zeros(1))], orders["lr"])
        obstacles = {
            "it draws random numbers, as dropout does": self._draws,
            "its batch normalization would see the rows that fill up short batches": self._rows.min_rows > 1,
            "its rows come from a Dataset, one at a time": not all(isinstance(p.train, tuple) for p in parties),
            "its rows are whole numbers": self._rows.takes_numbers,
            f"its loss {objective.name} is none of {', '.join(LOSSES)}": LOSSES.get(objective.name, (0,))[0]
            is not objective.loss,
            "parties keep their optimizers": self._keep_optimizer,
            "it computes in bf16": self._precision.is_reduced,
            "some of its weights have two names": set(module.state_dict()) - set(names),
            "its parameters are not float32 or float64": any(
                p.dtype not in (torch.float32, torch.float64) for p in module.parameters()
            ),
            f"the optimizer {type(made).__name__} looks at a whole model": type(made).__name__ not in _ELEMENTWISE,
        }
        return next((reason for reason, holds in obstacles.items() if holds), "")

    def _group(self, position: int, training: Training) -> Any:
        """Return what trainings must have in common to be stacked; one that can't be has its own position."""
        options = training.options
        if options.get("mix") or not len(training.data[0]) or not (options.get("steps") or options["epochs"]):
            return position
        told = (options.get(name) for name in ("batch_size", "lr", "mu"))
        return *told, str(options["optimizer"]), options.get("anchor") is None, tuple(options.get("shift") or ())

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
        plan, options = Plan.of(trainings, self._rows), trainings[0].options
        stacks = {name: self._stack([t.weights[name] for t in trainings]) for name in trainings[0].weights}
        wanted = {name for name, p in self.module.named_parameters() if p.requires_grad}
        trained = {name: nn.Parameter(stack) for name, stack in stacks.items() if name in wanted}
        others = {name: stack for name, stack in stacks.items() if name not in wanted}
        stepper = optimizers.make(options["optimizer"], trained.values(), options["lr"])
        values = {name: p.detach() for name, p in trained.items()}
        correct = _correction(trained, trainings, self._stack)
        is_plain = correct is None and not others and optimizers.is_bare_sgd(stepper)
        gradients = self._dense or Vmapped(self.module, self._ready())
        losses, done = torch.zeros(max(plan.steps), len(trainings)), {}
        self.module.train()
        for step, x, y, shares in plan.laid_out(trainings, self._rows):
            self.gate()
            if self._dense and is_plain:
                losses[step] = self._dense.step(values, x, y, shares, stepper.param_groups[0]["lr"])
            else:
                found, losses[step] = gradients(values, others, x, y, shares)
                for name, parameter in trained.items():
                    parameter.grad = found[name]
                if correct:
                    correct()
                stepper.step()
            for i, num_steps in enumerate(plan.steps):
                if num_steps == step + 1:  # what the stack does to it from now on is not its own
                    is_last = num_steps == len(losses)
                    done[i] = {name: p[i] if is_last else p[i].clone() for name, p in values.items()}
        means = plan.mean_losses(losses)
        return [
            (
                {n: done[i][n].cpu().numpy() if n in done[i] else array for n, array in training.weights.items()},
                {
                    "loss": means[i],
                    "steps": plan.steps[i],
                    "travel": optimizers.travel(stepper, plan.steps[i]),
                    "extras": {},
                },
            )
            for i, training in enumerate(trainings)
        ]

    def _stack(self, arrays: Sequence[np.ndarray]) -> Tensor:
        first = torch.from_numpy(np.require(arrays[0], requirements=["W"]))
        if all(array is arrays[0] for array in arrays):
            return first.to(self._rows.device).expand(len(arrays), *first.shape).contiguous()
        return torch.from_numpy(np.stack(arrays)).to(self._rows.device)


def _correction(
    trained: Mapping[str, nn.Parameter], trainings: Sequence[Training], stack: Callable[[Sequence[np.ndarray]], Tensor]
) -> Callable[[], None] | None:
    """Return what adds mu * (w - anchor) and shift to the gradients, as `gradients.correction` does for one module."""
    options = [training.options for training in trainings]
    mu, shifts = options[0].get("mu", 0.0), {}
    anchors: dict[str, Tensor] = {}
    if mu:
        given = [o.get("anchor") or t.weights for o, t in zip(options, trainings, strict=True)]
        anchors = {name: stack([anchor[name] for anchor in given]) for name in trained}
    if options[0].get("shift"):
        shifts = {
            name: stack([np.asarray(o["shift"][name]) for o in options]).to(p.dtype)
            for name, p in trained.items()
            if name in options[0]["shift"]
        }
    if not (anchors or shifts):
        return None

    def correct() -> None:
        for name, p in trained.items():
            assert p.grad is not None
            if name in anchors:
                p.grad.add_(p.detach() - anchors[name], alpha=mu)
            if name in shifts:
                p.grad.add_(shifts[name])

    return correct


def _timed(train: Callable[[], list[Result]]) -> tuple[list[Result], float]:
    """Return the results, and the least time of three; the first of them pays for what is set up once."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        results = train()
        seconds.append(time.perf_counter() - started)
    return results, min(seconds)


def _agree(a: Result, b: Result, before: Weights) -> bool:
    if isinstance(a, Exception) or isinstance(b, Exception):
        return isinstance(a, Exception) and isinstance(b, Exception)
    if not np.isfinite(b[1]["loss"]):  # rows are extreme, which is no matter of one by one or together
        return not np.isfinite(a[1]["loss"])
    for name, array in b[0].items():
        moved = np.abs(array.astype(np.float64) - before[name]).max(initial=0.0)
        if np.abs(a[0][name].astype(np.float64) - array).max(initial=0.0) > _TOLERANCE * moved + 1e-6:
            return False
    return bool(np.isclose(a[1]["loss"], b[1]["loss"], rtol=1e-3, atol=1e-6))
