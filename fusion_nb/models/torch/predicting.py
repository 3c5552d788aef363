"""PyTorch models used together: their predictions, and the module that joins several."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fusion_nb.core import rows as rows_of
from fusion_nb.core.types import Metrics, Weights
from fusion_nb.models.combining import TIE, TINY
from fusion_nb.models.predicting import Predicting
from fusion_nb.models.torch import files
from fusion_nb.models.torch.batches import Batches
from fusion_nb.models.torch.losses import Objective

_BATCH = 128


def predictions(output: Tensor, form: str) -> Tensor:
    """Return what outputs predict. form: the loss's name, which tells logits from probabilities."""
    if form == "nll":
        return output.exp()
    if form == "bce_logits":
        return output.sigmoid()
    return output.softmax(1) if form == "cross_entropy" else output


def outputs(predicted: Tensor, form: str) -> Tensor:
    """Return outputs that predict this: the reverse of `predictions`."""
    if form in ("nll", "cross_entropy"):
        return predicted.clamp_min(TINY).log()
    return predicted.logit(TINY) if form == "bce_logits" else predicted


class TorchPredicting(Predicting):
    """What a TorchModel predicts, and learns from predictions."""

    module: nn.Module
    _rows: Batches
    _example: Tensor
    gate: Callable[[], None]
    #: An objective whose loss is the user's own, and what outputs were found to be with it.
    _found: tuple[Objective, str] | None = None

    @abstractmethod
    def _ready(self) -> Objective: ...

    @abstractmethod
    def _own_randomness(
        self, data: Any, seed: int
    ) -> AbstractContextManager[AbstractContextManager[Any]]: ...

    @property
    def task(self) -> str:
        """What the model is to learn."""
        return self._ready().task

    @property
    def _form(self) -> str:
        """What outputs are: those of a loss of the user's own are taken as the loss of the same
        task takes them.
        """
        objective = self._ready()
        known = {"nll", "bce", "bce_logits", "nll_of_probabilities", "cross_entropy"}
        if objective.name in known:
            return objective.name
        if objective.task == "binary":
            return "bce" if objective.zero_one else "bce_logits"
        if objective.task != "classes":
            return "numbers"
        if self._found is None or self._found[0] is not objective:
            with torch.no_grad():
                output = self.module.eval()(self._example.to(self._rows.device))
            total = output.sum(1)
            are_probabilities = bool((output >= 0).all()) and torch.allclose(
                total, torch.ones_like(total), atol=1e-3
            )
            self._found = (
                objective,
                "nll_of_probabilities" if are_probabilities else "cross_entropy",
            )
        return self._found[1]

    def predict(self, data: Any) -> np.ndarray:
        """Return the predictions for all rows in order."""
        form, found = self._form, []
        self.module.eval()
        with torch.no_grad(), self._own_randomness(data, seed=0):
            for x, _ in self._rows.of(data, rows_of.chunks(np.arange(rows_of.size(data)), _BATCH)):
                self.gate()
                found.append(predictions(_wide(self.module(x)), form).cpu().numpy())
        return np.concatenate(found)

    def judge(self, predictions: np.ndarray, data: Any) -> Metrics:
        """Return the metrics of predictions for these rows."""
        objective, count = self._ready(), rows_of.size(data)
        chunks = rows_of.chunks(np.arange(count), _BATCH)
        totals: Metrics = {}
        dtype, form = torch.promote_types(self._rows.dtype, torch.float32), self._form
        for (x, y), chunk in zip(self._rows.of(data, chunks), chunks, strict=True):
            output = outputs(
                torch.as_tensor(predictions[chunk], dtype=dtype, device=x.device), form
            )
            for name, value in objective.measure(output, objective.target(y, output)).items():
                totals[name] = totals.get(name, 0.0) + value * len(x)
        return {name: total / count for name, total in totals.items()}

    def imitate(
        self,
        rows: np.ndarray,
        predictions: np.ndarray,
        *,
        epochs: int,
        batch_size: int,
        lr: float,
        seed: int,
    ) -> None:
        """Train, with Adam, on rows without labels until it predicts what it is shown."""
        shuffler, form = torch.Generator().manual_seed(seed), self._form
        stepper = torch.optim.Adam((p for p in self.module.parameters() if p.requires_grad), lr)
        dtype = torch.promote_types(self._rows.dtype, torch.float32)
        shown = torch.as_tensor(predictions, dtype=dtype, device=self._rows.device)
        unlabelled = (rows, np.zeros(len(rows), np.int64))
        self.module.train()
        with self._own_randomness(unlabelled, seed):
            for _ in range(epochs):
                batches = self._rows.shuffled(len(rows), batch_size, shuffler)
                for (x, _), batch in zip(self._rows.of(unlabelled, batches), batches, strict=True):
                    self.gate()
                    stepper.zero_grad(set_to_none=True)
                    _distance(_wide(self.module(x)), shown[batch], form).backward()
                    stepper.step()

    def together(self, members: Sequence[Weights], shares: np.ndarray, rule: str) -> nn.Module:
        """Return a `TorchEnsemble` of the members, on the CPU and in evaluation mode."""
        modules = [self.native(weights) for weights in members]  # type: ignore[attr-defined]
        return TorchEnsemble(modules, shares, rule, self._form).eval()

    def write(self, native: nn.Module, path: Path, format: str) -> None:
        """Write an ensemble in one of the formats of a single model."""
        files.save(native, path, format, self._example)


def _distance(output: Tensor, shown: Tensor, form: str) -> Tensor:
    """Return the cross-entropy between what is shown and what outputs predict; of numbers, the mean
    squared error.
    """
    if form == "numbers":
        return F.mse_loss(output, shown.reshape(output.shape))
    if form in ("bce", "bce_logits"):
        loss = F.binary_cross_entropy if form == "bce" else F.binary_cross_entropy_with_logits
        return loss(output, shown.reshape(output.shape))
    logs = (
        F.log_softmax(output, 1)
        if form == "cross_entropy"
        else outputs(predictions(output, form), "nll")
    )
    return -(shown * logs).sum(1).mean()


def _wide(output: Tensor) -> Tensor:
    """Return outputs in single precision at the least: in half, a probability may well be rounded
    to 1.
    """
    return output.to(torch.promote_types(output.dtype, torch.float32))


class TorchEnsemble(nn.Module):
    """Several modules as one, whose outputs mean what those of one of them do.

    shares: how much each member counts (members,), or counts for each class (classes, members)
    rule:   "mean" of the predictions, or "vote";  form: the name of the loss that the members were
            trained with
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
        stacked = torch.stack(
            [predictions(_wide(member(x)), self.form) for member in self.members], -1
        )
        classes = self.form in ("nll", "cross_entropy", "nll_of_probabilities")
        if self.rule == "vote" and classes:
            voted = F.one_hot(stacked.argmax(1), stacked.shape[1]).to(stacked.dtype).movedim(-1, 1)
            stacked = (voted + TIE * stacked) / (1 + TIE)
        elif self.rule == "vote":
            stacked = ((stacked > 0.5).to(stacked.dtype) + TIE * stacked) / (1 + TIE)
        shares = self.shares
        if shares.ndim == 2:  # (classes, members), between the rows and the places of a row
            shares = shares.reshape(1, shares.shape[0], *[1] * (stacked.ndim - 3), shares.shape[1])
        together = (stacked * shares).sum(-1)
        if classes:
            together = together.clamp_min(TINY)
            together = together / together.sum(1, keepdim=True)
        elif self.form in ("bce", "bce_logits"):
            together = together.clamp(TINY, 1 - TINY)
        return outputs(together, self.form)


# So that a file of a whole ensemble is read as one of torch.nn's own layers is.
torch.serialization.add_safe_globals([TorchEnsemble])
