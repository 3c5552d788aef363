"""Several parties' modules trained as one: their weights lie in stacks, and a step is done for all.

Which modules can be trained so is told from their form, and from a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn, optim

from fusion_nb.core import rows as rows_of
from fusion_nb.core.protocols import PartyLike
from fusion_nb.core.types import TrainingResult, TrainingTask, Weights
from fusion_nb.errors import Stopped
from fusion_nb.models.torch import optimizers
from fusion_nb.models.torch import weights as module_weights
from fusion_nb.models.torch.copying.parameter_hooks import ParameterHooks
from fusion_nb.models.torch.devices.lookup import exact_products
from fusion_nb.models.torch.objectives.loss_names import LOSSES, is_named
from fusion_nb.models.torch.plain_sgd import PlainSgd, Stepper
from fusion_nb.models.torch.setup import Setup
from fusion_nb.models.torch.vectorized import replay
from fusion_nb.models.torch.vectorized.batches import Plan
from fusion_nb.models.torch.vectorized.dense import Dense
from fusion_nb.models.torch.vectorized.gradients import Vmapped
from fusion_nb.models.torch.vectorized.randomness import StackedRandomness
from fusion_nb.models.torch.vectorized.steps import FusedSteps, OptimizerSteps, Steps

Result = TrainingResult | Exception
#: Optimizers that treat each number by itself, so that they do the same to a stack as to its parts.
_ELEMENTWISE = (
    PlainSgd,
    optim.ASGD,
    optim.Adadelta,
    optim.Adagrad,
    optim.Adam,
    optim.AdamW,
    optim.Adamax,
    optim.NAdam,
    optim.RAdam,
    optim.RMSprop,
    optim.Rprop,
    optim.SGD,
)
#: Steps and parties of the trial.
_TRIED_STEPS, _TRIED_PARTIES = 2, 8
#: Largest difference between the weights of the two ways, as a share of how far they moved.
_TOLERANCE = 1e-3


class BatchedTraining:
    """Trains several parties' modules as one.

    module, setup: of one party;  gate: called between two batches
    dense:         the quick way to train this module, if it has the form for it
    train_alone:   trains one party, for tasks that can't be stacked
    """

    def __init__(
        self,
        module: nn.Module,
        setup: Setup,
        gate: Callable[[], None],
        dense: Dense | None,
        train_alone: Callable[[TrainingTask], TrainingResult],
    ) -> None:
        self._module = module
        self._setup = setup
        self._gate = gate
        self._dense = dense
        self._train_alone = train_alone

    def train(self, tasks: Sequence[TrainingTask]) -> list[Result]:
        """Return the results of all tasks, the same as one by one."""
        groups: dict[Hashable, list[int]] = {}
        for i, task in enumerate(tasks):
            groups.setdefault(_group(i, task), []).append(i)
        found: dict[int, Result] = {}
        for members in groups.values():
            group = [tasks[i] for i in members]
            found |= zip(members, self._together(group), strict=True)
        return [found[i] for i in range(len(tasks))]

    def obstacle(self, options: Mapping[str, Any], parties: Sequence[PartyLike]) -> str:
        """Return why the module's form can't be stacked, or ""."""
        objective, rows, module = self._setup.objective, self._setup.batches, self._module
        stepper = _optimizer_of(options)
        names = {name for name, _ in module.named_parameters()}
        names |= {name for name, _ in module.named_buffers()}
        is_known = is_named(objective.loss)
        obstacles = {
            "each row's gradient is clipped by itself": bool(options.get("per_row")),
            "it draws random numbers anew in the backward pass": self._setup.draws.in_backward,
            "dropout on this device draws from one stream for all parties": (
                self._setup.draws.in_training and rows.device.type != "cpu"
            ),
            "its rows come from a Dataset, one at a time": not all(
                isinstance(party.train, tuple) for party in parties
            ),
            "its rows hold numbers for which an Embedding has no vector": (
                rows.takes_numbers and not _are_known(module, parties)
            ),
            "its loss is one of whole batches": self._setup.own is not None,
            "its rows have several inputs": not isinstance(self._setup.example, torch.Tensor),
            "its output is a part of what it returns": self._setup.forward.picks,
            "it takes a lone row in another way": bool(self._setup.forward.alone),
            "its parameters have hooks": bool(ParameterHooks(module)),
            "it changes what its state dict does not hold": bool(self._setup.carried.hidden),
            f"its loss {objective.name} is none of {', '.join(LOSSES)}": not is_known,
            "its loss leaves labels out, and classes have weights": (
                objective.weights is not None and objective.targets.ignored is not None
            ),
            "it computes in bf16": self._setup.forward.precision.is_reduced,
            "some of its weights have two names": bool(set(module.state_dict()) - names),
            "its parameters are not float32 or float64": any(
                p.dtype not in (torch.float32, torch.float64) for p in module.parameters()
            ),
            f"the optimizer {type(stepper).__name__} looks at a whole model": (
                type(stepper) not in _ELEMENTWISE
            ),
        }
        return next((reason for reason, holds in obstacles.items() if holds), "")

    def trial(
        self, options: Mapping[str, Any], parties: Sequence[PartyLike], weights: Weights
    ) -> str:
        """Return why a trial of two steps fails as one, or "".

        Its numbers must be those of one party after the other.
        """
        tasks = _trial_tasks(options, parties, weights)
        with exact_products(self._setup.batches.device):
            alone = [self._alone(task) for task in tasks]
            if any(isinstance(result, Exception) for result in alone):
                return ""  # it can't be told here: a stack whose rows raise errors is trained alone
            try:
                batched = self._stacked(tasks)
            except Exception as error:  # anything that vmap finds that it can't do
                return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        agree = all(_agree(a, b, weights) for a, b in zip(batched, alone, strict=True))
        return "" if agree else "a trial of two steps came to other numbers"

    def _together(self, group: Sequence[TrainingTask]) -> list[Result]:
        """Return the results of tasks with equal options.

        Where one task's rows raise an error, all of them are trained alone, so that only its party
        fails.
        """
        if len(group) > 1:
            try:
                return self._stacked(group)
            except Stopped:
                raise
            except Exception as error:
                del error  # or its traceback would keep the stacks
        return [self._alone(task) for task in group]

    def _alone(self, task: TrainingTask) -> Result:
        try:
            return self._train_alone(task)
        except Stopped:
            raise
        except Exception as error:
            return error

    def _stacked(self, tasks: Sequence[TrainingTask]) -> list[Result]:
        rows = self._setup.batches
        plan = Plan.of(tasks, rows)
        steps = self._steps(tasks, max(plan.steps))
        losses = torch.zeros(max(plan.steps), len(tasks), dtype=rows.dtype, device=rows.device)
        done: dict[int, Weights] = {}
        for step, batch in enumerate(plan.laid_out(tasks, rows)):
            self._gate()
            losses[step] = steps.do(batch)
            if ending := plan.ending[step]:
                done |= _read(steps.changed, ending, is_last=step + 1 == len(losses))
        means, stepper = plan.mean_losses(losses.cpu().numpy()), _optimizer_of(tasks[0].options)
        return [
            TrainingResult(
                task.weights | done[i],
                {"loss": means[i]},
                plan.steps[i],
                optimizers.effective_step_size(stepper, plan.steps[i]),
            )
            for i, task in enumerate(tasks)
        ]

    def _steps(self, tasks: Sequence[TrainingTask], num_steps: int) -> Steps:
        options, trained = tasks[0].options, module_weights.trained_names(self._module)
        names = [name for name in tasks[0].weights if name in trained]
        device = self._setup.batches.device
        is_plain = (
            not options.get("mu")
            and not options.get("shift")
            and len(names) == len(tasks[0].weights)
        )
        if self._dense and is_plain and device.type == "cpu":
            stepper = _optimizer_of(options)
            if optimizers.is_bare_sgd(stepper):
                return FusedSteps(self._dense, tasks, names, stepper.param_groups[0]["lr"])
        self._module.train()

        def make(parameters: Iterable[nn.Parameter]) -> Stepper:
            return optimizers.make(options["optimizer"], parameters, options["lr"])

        gradients = self._dense or Vmapped(
            self._module,
            self._setup.objective,
            looks_across=module_weights.has_batch_norm(self._module),
            randomness=StackedRandomness([task.options["seed"] for task in tasks])
            if self._setup.draws.in_training
            else None,
        )
        statistics = frozenset(name for name, _ in self._module.named_buffers())
        steps = OptimizerSteps(gradients, tasks, names, statistics, make, device)
        is_alike = isinstance(gradients, Dense) or gradients.are_alike
        if device.type == "cuda" and is_alike and num_steps >= replay.FEWEST:
            return replay.ReplayedSteps(steps, replay.record_on_cuda)
        return steps


def _read(
    stacks: Mapping[str, torch.Tensor], tasks: Sequence[int], *, is_last: bool
) -> dict[int, Weights]:
    """Return the weights of the tasks that end with this step, by their positions.

    Before the last step they are copied, since later steps of the stack are not theirs.
    """
    if is_last:
        arrays = {name: stack.cpu().numpy() for name, stack in stacks.items()}
        return {i: {name: array[i] for name, array in arrays.items()} for i in tasks}
    index = torch.tensor(tasks)
    arrays = {name: stack[index.to(stack.device)].cpu().numpy() for name, stack in stacks.items()}
    return {i: {name: array[j] for name, array in arrays.items()} for j, i in enumerate(tasks)}


def _group(position: int, task: TrainingTask) -> Hashable:
    """Return a key that tasks in one stack share; a task that can't be stacked has its own."""
    options = task.options
    has_steps = options.get("steps") or options["epochs"]
    if options.get("mix") or options.get("per_row") or not len(task.data[0]) or not has_steps:
        return position
    return (
        options.get("batch_size"),
        options.get("lr"),
        options.get("mu"),
        str(options["optimizer"]),
        options.get("anchor") is None,
        tuple(options.get("shift") or ()),
    )


def _optimizer_of(options: Mapping[str, Any]) -> Stepper:
    """Return an optimizer of the run's kind, to read its settings."""
    return optimizers.make(options["optimizer"], [nn.Parameter(torch.zeros(1))], options["lr"])


def _are_known(module: nn.Module, parties: Sequence[PartyLike]) -> bool:
    """Return whether every Embedding has a vector for each number of the parties' rows.

    In a stack, the vectors of all parties lie in one table: a number beyond a party's own vectors
    would be another one's.
    """
    sizes = [part.num_embeddings for part in module.modules() if isinstance(part, nn.Embedding)]
    rows = [party.train[0] for party in parties if isinstance(party.train, tuple)]
    rows = [x for x in rows if isinstance(x, np.ndarray) and x.size]
    return bool(sizes) and all(x.min() >= 0 and x.max() < min(sizes) for x in rows)


def _trial_tasks(
    options: Mapping[str, Any], parties: Sequence[PartyLike], weights: Weights
) -> list[TrainingTask]:
    """Return the tasks of a trial of two steps.

    Their numbers of rows differ, since the rows that fill up a batch must not matter. Plain SGD
    compares gradients as they are: Adam makes a whole step of one that is rounding alone.
    """
    plain = {"optimizer": "sgd", "lr": options["lr"] or 0.01}
    most = _TRIED_STEPS * options["batch_size"]
    tasks = []
    for i, party in enumerate(parties[:_TRIED_PARTIES]):
        count = min(party.num_examples, max(2, min(party.num_examples, most) - i % 3))
        rows = rows_of.take(party.train, np.arange(count))
        tasks.append(
            TrainingTask(weights, rows, {**options, **plain, "steps": _TRIED_STEPS, "seed": i})
        )
    return tasks


def _agree(batched: Result, alone: Result, before: Weights) -> bool:
    if isinstance(batched, Exception) or isinstance(alone, Exception):
        return False
    if not np.isfinite(alone.metrics["loss"]):  # rows are extreme, which is the same both ways
        return not np.isfinite(batched.metrics["loss"])
    for name, array in alone.weights.items():
        moved = np.abs(array.astype(np.float64) - before[name]).max(initial=0.0)
        difference = np.abs(batched.weights[name].astype(np.float64) - array).max(initial=0.0)
        if difference > _TOLERANCE * moved + 1e-6:
            return False
    losses = batched.metrics["loss"], alone.metrics["loss"]
    return bool(np.isclose(*losses, rtol=1e-3, atol=1e-6))
