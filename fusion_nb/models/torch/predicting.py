"""PyTorch models used together: their predictions, and the module that joins several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_nb.core import rows as rows_of
from fusion_nb.core.types import Metrics, Weights
from fusion_nb.errors import ModelError, option
from fusion_nb.models.combining import TIE, TINY
from fusion_nb.models.predicting import Ensembling
from fusion_nb.models.torch import files
from fusion_nb.models.torch.forward import main_output
from fusion_nb.models.torch.gradient_mode import with_gradients
from fusion_nb.models.torch.objectives import batch_metrics
from fusion_nb.models.torch.objectives.output_forms import CLASS_FORMS
from fusion_nb.models.torch.setup import Setup
from fusion_nb.models.torch.trees import num_rows

_BATCH = 128


def predictions(output: Tensor, form: str) -> Tensor:
    """Return the predictions of outputs.

    form: see `losses.form`; it tells logits from probabilities
    """
    if form == "nll":
        return output.exp()
    if form in ("bce_logits", "logits_of_shares"):
        return output.sigmoid()
    return output.softmax(1) if form == "cross_entropy" else output


def outputs(predicted: Tensor, form: str) -> Tensor:
    """Return outputs with these predictions: the reverse of `predictions`."""
    if form in ("nll", "cross_entropy"):
        return predicted.clamp_min(TINY).log()
    is_logit = form in ("bce_logits", "logits_of_shares")
    return predicted.logit(TINY) if is_logit else predicted


def predict(module: nn.Module, setup: Setup, gate: Callable[[], None], data: Any) -> np.ndarray:
    """Return a module's predictions for all rows in order. gate: called between two batches."""
    if setup.own is not None:
        raise ModelError(
            f"the loss {setup.objective.name} takes more than outputs and labels: "
            "predictions can't be joined",
            f"name a loss of (output, target) with {option('loss')}",
        )
    found = []
    chunks = rows_of.chunks(np.arange(rows_of.size(data)), _BATCH)
    setup.begin(module)
    module.eval()
    with torch.no_grad(), setup.own_randomness(data, seed=0):
        for x, _ in setup.batches.of(data, chunks):
            gate()
            output = _wide(setup.forward.exact(module, x))
            found.append(predictions(output, setup.form).cpu().numpy())
    return np.concatenate(found)


def _distance(output: Tensor, shown: Tensor, form: str) -> Tensor:
    """Return the cross-entropy between given predictions and those of outputs.

    For numbers it is the mean squared error.
    """
    if form == "numbers":
        return F.mse_loss(output, shown.reshape(output.shape))
    if form in ("bce", "bce_logits", "logits_of_shares"):
        loss = F.binary_cross_entropy if form == "bce" else F.binary_cross_entropy_with_logits
        return loss(output, shown.reshape(output.shape))
    logs = (
        F.log_softmax(output, 1)
        if form == "cross_entropy"
        else outputs(predictions(output, form), "nll")
    )
    return -(shown * logs).sum(1).mean()


def _wide(output: Tensor) -> Tensor:
    """Return outputs in single precision at least: in half, a probability may be rounded to 1."""
    return output.to(torch.promote_types(output.dtype, torch.float32))


class TorchEnsemble(nn.Module):
    """Several modules as one, whose outputs have the same meaning as those of one of them.

    shares: the weight of each member (members,), or of each for each class (classes, members)
    rule:   "mean" of the predictions, or "vote";  form: see `losses.form`
    """

    shares: Tensor

    def __init__(
        self, members: Sequence[nn.Module], shares: np.ndarray, rule: str, form: str
    ) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.register_buffer("shares", torch.as_tensor(shares, dtype=torch.float32))
        self.rule, self.form = rule, form

    def forward(self, x: Tensor) -> Tensor:
        """Return the joint outputs."""
        return self.joint([member(x) for member in self.members])

    def joint(self, found: list[Tensor]) -> Tensor:
        """Return the joint outputs of those of all members."""
        stacked = torch.stack([predictions(_wide(output), self.form) for output in found], -1)
        classes = self.form in CLASS_FORMS
        if self.rule == "vote" and classes:
            voted = F.one_hot(stacked.argmax(1), stacked.shape[1]).to(stacked.dtype).movedim(-1, 1)
            stacked = (voted + TIE * stacked) / (1 + TIE)
        elif self.rule == "vote":
            stacked = ((stacked > 0.5).to(stacked.dtype) + TIE * stacked) / (1 + TIE)
        shares = self.shares
        if shares.ndim == 2:  # (classes, members), between the rows and the places of a row
            shares = shares.reshape(1, shares.shape[0], *[1] * (stacked.ndim - 3), shares.shape[1])
        joint = (stacked * shares).sum(-1)
        if classes:
            joint = joint.clamp_min(TINY)
            joint = joint / joint.sum(1, keepdim=True)
        elif self.form in ("bce", "bce_logits"):
            joint = joint.clamp(TINY, 1 - TINY)
        return outputs(joint, self.form)


class TreeEnsemble(TorchEnsemble):
    """Several modules as one that have several inputs, or whose output is a part of a result."""

    def forward(self, *parts: Any, **named: Any) -> Tensor:
        """Return the joint outputs."""
        count = num_rows((*parts, named))
        found = [main_output(member(*parts, **named), count) for member in self.members]
        return self.joint(found)


class TorchEnsembling(Ensembling):
    """The part of a `TorchModel` that joins several, and trains it on predictions.

    gate: called between two batches;  native: returns the user's own module with given weights
    """

    def __init__(
        self,
        module: nn.Module,
        setup: Setup,
        gate: Callable[[], None],
        native: Callable[[Weights], nn.Module],
    ) -> None:
        self._module, self._setup, self._gate, self._native = module, setup, gate, native

    def evaluate(self, predictions: np.ndarray, data: Any) -> Metrics:
        """Return the metrics of predictions for these rows."""
        objective, found = self._setup.objective, []
        device = self._setup.batches.device
        chunks = rows_of.chunks(np.arange(rows_of.size(data)), _BATCH)
        for (_, y), chunk in zip(self._setup.batches.of(data, chunks), chunks, strict=True):
            predicted = torch.as_tensor(predictions[chunk], dtype=self._dtype, device=device)
            output = outputs(predicted, self._setup.form)
            found.append(objective.measure(output, objective.target(y, output)))
        return batch_metrics.mean(found)

    @with_gradients
    def distill(
        self,
        rows: np.ndarray,
        predictions: np.ndarray,
        *,
        epochs: int,
        batch_size: int,
        lr: float,
        seed: int,
    ) -> None:
        """Train, with Adam, on rows without labels towards the given predictions."""
        batches_of = self._setup.batches
        shuffler = torch.Generator().manual_seed(seed)
        stepper = torch.optim.Adam((p for p in self._module.parameters() if p.requires_grad), lr)
        shown = torch.as_tensor(predictions, dtype=self._dtype, device=batches_of.device)
        unlabelled = (rows, np.zeros(len(rows), np.int64))
        self._setup.begin(self._module)
        self._module.train()
        with self._setup.own_randomness(unlabelled, seed):
            for _ in range(epochs):
                batches = batches_of.shuffled(len(rows), batch_size, shuffler)
                for (x, _), batch in zip(batches_of.of(unlabelled, batches), batches, strict=True):
                    self._gate()
                    stepper.zero_grad(set_to_none=True)
                    output = _wide(self._setup.forward.exact(self._module, x))
                    _distance(output, shown[batch], self._setup.form).backward()
                    stepper.step()

    def joined(self, members: Sequence[Weights], shares: np.ndarray, rule: str) -> nn.Module:
        """Return a `TorchEnsemble` of the members, on the CPU and in evaluation mode."""
        modules = [self._native(weights) for weights in members]
        is_tree = self._setup.forward.picks or self._setup.forward.spread
        kind = TreeEnsemble if is_tree else TorchEnsemble
        return kind(modules, shares, rule, self._setup.form).eval()

    def write(self, native: nn.Module, path: Path, format: str) -> None:
        """Write a module in one of the formats of a single model."""
        files.save(native, path, format, self._setup.example)

    @property
    def _dtype(self) -> torch.dtype:
        return torch.promote_types(self._setup.batches.dtype, torch.float32)


# So that a file of a whole ensemble is read as one of torch.nn's own layers is.
torch.serialization.add_safe_globals([TorchEnsemble, TreeEnsemble])
