"""DP-SGD for a module: gradients of single rows by Opacus, batches and noise by our seeds."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from fusion_nb.core import rows as rows_of
from fusion_nb.core import seeds
from fusion_nb.core.types import TrainingResult
from fusion_nb.models.passes import Duration
from fusion_nb.models.per_row import chance_and_steps
from fusion_nb.models.torch import optimizers, weights
from fusion_nb.models.torch.gradients import correction
from fusion_nb.models.torch.objectives.loss_names import is_named, setting
from fusion_nb.models.torch.row_gradients import opacus
from fusion_nb.models.torch.setup import Setup
from fusion_nb.models.torch.trees import num_rows


def obstacle(module: nn.Module, setup: Setup, keep_optimizer: bool) -> str:
    """Return why a module can't be trained by noisy gradients of single rows, or ""."""
    objective = setup.objective
    reasons = {
        "parties keep their optimizers": keep_optimizer,
        "its loss leaves labels out, so that rows share their mean": (
            objective.targets.ignored is not None or objective.of_tokens
        ),
        "its loss is a sum, and not a mean": setting(objective.loss, "reduction", "mean") != "mean",
        "its loss has weights of classes, so that rows share their mean": (
            setting(objective.loss, "weight") is not None
        ),
        "it computes in bf16": setup.forward.precision.is_reduced,
        "its rows have several inputs": not isinstance(setup.example, torch.Tensor),
        "it takes a lone row in another way": bool(setup.forward.alone),
        f"its loss {objective.name} may be one of whole batches, and not of rows": (
            setup.own is not None or not is_named(objective.loss)
        ),
    }
    found = next((reason for reason, holds in reasons.items() if holds), "")
    return found or _refusal(module, setup)


def _refusal(module: nn.Module, setup: Setup) -> str:
    """Return what Opacus refuses about a module, or gets wrong; or ""."""
    made = copy.deepcopy(module)
    errors = opacus.part("opacus.validators").ModuleValidator.validate(made.train(), strict=False)
    if not errors:
        name = opacus.disagreement(made, setup)
        other = f"Opacus computes another gradient of {name} than PyTorch does"
        return other if name else ""
    text = str(errors[0]).partition("\n")[0]
    return f"Opacus refuses it ({text})"


def train(
    module: nn.Module,
    setup: Setup,
    gate: Callable[[], None],
    data: Any,
    duration: Duration,
    seed: int,
    *,
    per_row: Mapping[str, float],
    optimizer: Any,
    lr: float | None,
    mu: float = 0.0,
    anchor: Any = None,
    shift: Any = None,
    left_out: Collection[str] = (),
) -> TrainingResult:
    """Train a module in place by noisy gradients; each row takes part in a step by chance.

    per_row: clip and noise, and the stream that noise and batches follow from, beside the seed
    """
    module.train()
    count = rows_of.size(data)
    chance, num_steps = chance_and_steps(
        count, batch_size=duration.batch_size, epochs=duration.epochs, steps=duration.steps
    )
    parameters = [p for p in module.parameters() if p.requires_grad]
    stepper = optimizers.make(optimizer, parameters, lr)
    correct = correction(module, mu=mu, anchor=anchor, shift=shift)
    key = [int(per_row["stream"])] if "stream" in per_row else []
    rng = seeds.stream(seed, "rows", *key)
    drawn = [np.flatnonzero(rng.random(count) < chance) for _ in range(num_steps)]
    batches = setup.batches.of(data, [rows for rows in drawn if len(rows)], seed)
    step_of = setup.turn(module)
    total, seen = 0.0, 0
    noisy = _noisy(
        parameters, per_row, expected=chance * count, seed=seeds.number(seed, "privacy", *key)
    )
    with (
        opacus.row_gradients(module) as wrapped,
        setup.own_randomness(data, seed, all_along=False) as drawing,
    ):
        for rows in drawn:
            gate()
            for p in parameters:
                p.grad, p.grad_sample = None, p.new_zeros((0, *p.shape))  # type: ignore[attr-defined]
            if len(rows):
                for p in parameters:
                    p.grad_sample = None  # type: ignore[attr-defined]
                x, y = next(batches)
                with drawing:
                    loss = step_of.loss(wrapped, x, y)
                loss.backward()
                total += float(loss.detach()) * num_rows(x)
                seen += num_rows(x)
            noisy.pre_step()
            correct()
            stepper.step()
            noisy.zero_grad(set_to_none=True)
    mean = total / seen if seen else 0.0
    return TrainingResult(
        weights.read(module, left_out),
        {"loss": mean},
        num_steps,
        optimizers.effective_step_size(stepper, num_steps),
        {"per_row": [chance, num_steps]},
    )


def _noisy(
    parameters: list[nn.Parameter], per_row: Mapping[str, float], *, expected: float, seed: int
) -> Any:
    """Return Opacus's optimizer, of which only the clipping and the noise are used."""
    generator = torch.Generator(parameters[0].device)
    generator.manual_seed(seed)
    return opacus.part("opacus.optimizers").DPOptimizer(
        torch.optim.SGD(parameters, lr=1.0),
        noise_multiplier=per_row["noise"],
        max_grad_norm=per_row["clip"],
        expected_batch_size=expected,
        loss_reduction="mean",
        generator=generator,
    )
