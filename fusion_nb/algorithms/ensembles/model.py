"""The parties' models as one model: each party trains its member, and all predict together."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core import seeds
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import Metrics, TrainingResult, Update, Weights
from fusion_nb.models.base import Model, NeedsAgreement
from fusion_nb.models.combining import SHARES, combine, prefix
from fusion_nb.models.predicting import Ensembling, PredictsRows


class PredictingModel(Model, PredictsRows):
    """The type of an adapter of which several can be joined."""

    @property
    @abstractmethod
    def ensembling(self) -> Ensembling:
        """The part that joins several, and trains it on predictions."""


class EnsembleModel(PredictsRows, Model):
    """One member for each party, and each member's share of the prediction.

    inner:    the adapter of a single model, which was checked against the data;  parties: in order
    rule:     "mean" or "vote";  holdout: share of a party's training rows that its member does not
              see, for stacking;  num_classes: for shares by class, or 0 for one share for each
              member
    Members that no party has trained yet have no share.
    """

    base_class = ""  # it is made from models of other frameworks

    def __init__(
        self,
        inner: PredictingModel,
        parties: Sequence[str],
        rule: str,
        holdout: float = 0.0,
        num_classes: int = 0,
    ) -> None:
        self.inner = inner
        self.supported_client_options = inner.supported_client_options | {"member", "stacks"}
        self.supported_options = inner.supported_options
        self.kind = inner.kind
        self.packages = inner.packages
        self.formats = type(inner).formats  # a single model may have more
        self.data_kind = inner.data_kind
        self.metrics, self.measures = inner.metrics, inner.measures
        self.min_rows = inner.min_rows
        self.ignored_label = inner.ignored_label
        self.defaults = inner.defaults
        self.class_axis = inner.class_axis
        self.rule = rule
        self._positions = {party: i for i, party in enumerate(parties)}
        self._holdout = holdout
        first = inner.get_weights()
        self._members: list[Weights] = [first for _ in parties]
        shape = (num_classes, len(parties)) if num_classes else (len(parties),)
        self._shares = np.full(shape, 1 / len(parties), np.float32)
        #: The member that was trained last, which stands for all until there are other weights.
        self._trained: int | None = None

    @property
    def gate(self) -> Callable[[], None]:
        """Called between two batches."""
        return self.inner.gate

    @gate.setter
    def gate(self, gate: Callable[[], None]) -> None:
        self.inner.gate = gate

    @property
    def single_model(self) -> Model:
        """The adapter of a member."""
        return self.inner

    @property
    def setting_names(self) -> list[str]:
        """The options of a run that decide how a member's adapter is made."""
        return self.inner.setting_names

    def clone(self) -> EnsembleModel:
        """Return an independent copy."""
        other = copy.copy(self)
        other.inner = cast(PredictingModel, self.inner.clone())
        other._members = list(self._members)
        return other

    def check(
        self, rows: Any, schema: DataSchema, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Check a single model."""
        return self.inner.check(rows, schema, lr=lr, optimizer=optimizer)

    def get_weights(self) -> Weights:
        """Return all members' weights under their prefixes, and the shares."""
        entries = {
            f"{prefix(i)}{name}": array
            for i, member in enumerate(self._members)
            for name, array in member.items()
        }
        return entries | {SHARES: self._shares}

    def trained_names(self) -> frozenset[str]:
        """Return the names that are trained in each member."""
        names = self.inner.trained_names()
        return frozenset(f"{prefix(i)}{name}" for i in range(len(self._members)) for name in names)

    def set_weights(self, weights: Weights) -> None:
        """Take over all members."""
        # Not those of the members: a worker may not know them yet.
        first = prefix(0)
        names = [name.removeprefix(first) for name in weights if name.startswith(first)]
        self._members = [
            {name: weights[prefix(i) + name] for name in names} for i in range(len(self._members))
        ]
        self._shares, self._trained = weights[SHARES], None

    def fit(
        self, data: Any, *, member: str = "", stacks: bool = False, **options: Any
    ) -> TrainingResult:
        """Train a party's member on its rows.

        With `stacks`, return sums over all members' predictions on the rows that were held back.

        The result has the weights of all members.
        """
        if stacks:
            return self._sums(rows_of.take(data, held_back(rows_of.size(data), self._holdout)))
        seen = data
        if self._holdout:
            every = np.arange(rows_of.size(data))
            seen = rows_of.take(data, np.setdiff1d(every, held_back(len(every), self._holdout)))
        self._trained = self._positions[member]
        self.inner.set_weights(self._members[self._trained])
        result = self.inner.fit(seen, **options)
        self._members[self._trained] = result.weights
        return replace(result, weights=self.get_weights())

    def evaluate(self, data: Any) -> Metrics:
        """Return the metrics of all members together.

        Right after training they are those of the member that was trained.
        """
        if self._trained is not None:
            self.inner.set_weights(self._members[self._trained])
            return self.inner.evaluate(data)
        return self.inner.ensembling.evaluate(self.predict(data), data)

    @property
    def task(self) -> str:
        """The task of each member."""
        return self.inner.task

    def predict(self, data: Any) -> np.ndarray:
        """Return the joint predictions of all members, or those of the member trained last."""
        if self._trained is not None:
            self.inner.set_weights(self._members[self._trained])
            return self.inner.predict(data)
        return combine(
            self._predictions(data), self._shares, self.rule, self.inner.task, self.class_axis
        )

    def native(self, weights: Weights) -> Any:
        """Return one model of the framework with the joint prediction of the members."""
        other = self.clone()
        other.set_weights(weights)
        used = np.flatnonzero(other._shares.reshape(-1, len(other._members)).any(0))
        members = [other._members[i] for i in used]
        return other.inner.ensembling.joined(members, other._shares[..., used], self.rule)

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write that model."""
        self.inner.ensembling.write(self.native(weights), path, format)

    def _predictions(self, data: Any) -> list[np.ndarray]:
        has_share = np.asarray(self._shares.reshape(-1, len(self._members)).any(0))
        predicted: dict[int, np.ndarray] = {}
        for i in np.flatnonzero(has_share).tolist():
            self.inner.set_weights(self._members[i])
            predicted[i] = self.inner.predict(data)
        nothing = np.zeros_like(next(iter(predicted.values())))
        return [predicted.get(i, nothing) for i in range(len(self._members))]

    def _sums(self, data: Any) -> TrainingResult:
        """Return sums over rows: products of members' predictions, and products with the truth."""
        members, axis = self._predictions(data), self.inner.class_axis
        stored = np.asarray(rows_of.stored_labels(data))
        if self.inner.task == "classes":
            rows = [np.moveaxis(p, axis, -1) for p in members]
            num_classes = rows[0].shape[-1]
            stacked = np.stack(
                [p.reshape(-1, num_classes) for p in rows], -1
            )  # places, classes, members
            if stored.shape == members[0].shape:  # labels are shares of classes, or rows of 0 and 1
                truth = np.moveaxis(stored, axis, -1).reshape(-1, num_classes)
            else:
                # A label that a loss ignores, such as -100, is no class, and its place does not
                # count.
                labels = stored.astype(int).reshape(-1)
                counted = (labels >= 0) & (labels < num_classes)
                stacked, truth = stacked[counted], np.eye(num_classes)[labels[counted]]
        else:
            stacked = np.stack([p.reshape(-1, 1) for p in members], -1)
            truth = stored.reshape(-1, 1)
        stacked = stacked.astype(np.float64)
        joint = combine(members, self._shares, self.rule, self.inner.task, axis)
        sums = {
            "products": np.einsum("pcm,pcn->cmn", stacked, stacked),
            "truth": np.einsum("pcm,pc->cm", stacked, truth.astype(np.float64)),
        }
        loss = self.inner.ensembling.evaluate(joint, data)["loss"]
        return TrainingResult(self.get_weights(), {"loss": loss}, 0, math.nan, sums)


class AgreeingEnsembleModel(NeedsAgreement, EnsembleModel):
    """An ensemble of models whose parties agree on something first: their members begin with it."""

    def collect(self, data: Any) -> Mapping[str, Any]:
        """Return what a party reports for its member."""
        return self._agreeing.collect(data)

    def agree(self, updates: Sequence[Update]) -> Any:
        """Return the agreement of the members."""
        agreed = self._agreeing.agree(updates)
        self._begin()
        return agreed

    def prepare(self, data: Any, state: dict[str, Any], agreed: Any) -> None:
        """Take over the agreement."""
        self._agreeing.prepare(data, state, agreed)
        self._begin()

    @property
    def _agreeing(self) -> NeedsAgreement:
        return cast(NeedsAgreement, self.inner)

    def _begin(self) -> None:
        first = self.inner.get_weights()
        self._members = [first for _ in self._members]


def ensemble_of(inner: PredictingModel, parties: Sequence[str], rule: str) -> EnsembleModel:
    """Return the ensemble of the models of parties."""
    kind = AgreeingEnsembleModel if isinstance(inner, NeedsAgreement) else EnsembleModel
    return kind(inner, parties, rule)


def held_back(num_rows: int, share: float) -> np.ndarray:
    """Return the positions of a share of a party's rows, in order: a function of the arguments.

    They are drawn at random, since labels may come in a pattern.
    """
    count = max(1, int(share * num_rows + 0.5))
    return np.sort(seeds.stream(0, "kept back", num_rows).choice(num_rows, count, replace=False))
