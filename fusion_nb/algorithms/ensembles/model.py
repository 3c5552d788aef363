"""Models of several parties as one model: each party trains its member, and all predict
together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.core import seeds
from fusion_nb.core.types import Metrics, Weights
from fusion_nb.models.base import Model
from fusion_nb.models.combining import SHARES, combine, prefix


class EnsembleModel(Model):
    """One member for each party, and how much each counts.

    inner:    the adapter of a single model, which was checked against the data;  parties: in order
    rule:     "mean" or "vote";  holdout: share of a party's training rows that its member does not
              see, for stacking
    Members that nobody trained yet count for nothing.
    """

    def __init__(
        self,
        inner: Any,
        parties: Sequence[str],
        rule: str,
        holdout: float = 0.0,
        per_class: int = 0,
    ) -> None:
        self.inner = inner
        # What a kind of model says of itself is here that of the members.
        self.__dict__["supports"] = inner.supports | {"member", "stacks"}
        for name in (
            "kind",
            "formats",
            "orders",
            "packages",
            "takes",
            "metrics",
            "min_rows",
            "defaults",
        ):
            setattr(self, name, getattr(inner, name))
        self.rule = rule
        self._positions = {party: i for i, party in enumerate(parties)}
        self._holdout = holdout
        first = inner.get_weights()
        self._members: list[Weights] = [first for _ in parties]
        shape = (per_class, len(parties)) if per_class else (len(parties),)
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
    def single(self) -> Model:
        """The adapter of a member."""
        found: Model = self.inner
        return found

    @property
    def settings(self) -> list[str]:
        """The options of a run that decide how a member's adapter is made."""
        found: list[str] = self.inner.settings
        return found

    def clone(self) -> EnsembleModel:
        """Return an independent copy."""
        other: EnsembleModel = object.__new__(EnsembleModel)
        other.__dict__.update(self.__dict__)
        other.inner, other._members = self.inner.clone(), list(self._members)
        return other

    def check(
        self, rows: Any, labels: np.ndarray, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Check a single model."""
        found: list[str] = self.inner.check(rows, labels, lr=lr, optimizer=optimizer)
        return found

    def get_weights(self) -> Weights:
        """Return all members' weights under their prefixes, and the shares."""
        found = {
            f"{prefix(i)}{n}": array
            for i, member in enumerate(self._members)
            for n, array in member.items()
        }
        return found | {SHARES: self._shares}

    def trained_names(self) -> frozenset[str]:
        """Return the names that are trained in each member."""
        names = self.inner.trained_names()
        return frozenset(f"{prefix(i)}{name}" for i in range(len(self._members)) for name in names)

    def set_weights(self, weights: Weights) -> None:
        """Take over all members."""
        names = list(self._members[0])
        self._members = [
            {name: weights[prefix(i) + name] for name in names} for i in range(len(self._members))
        ]
        self._shares, self._trained = weights[SHARES], None

    def fit(
        self, data: Any, *, member: str = "", stacks: bool = False, **options: Any
    ) -> Mapping[str, Any]:
        """Train a party's member on its rows; or, with `stacks`, sum up what all members predict on
        rows kept back.
        """
        if stacks:
            return self._sums(rows_of.take(data, kept_back(rows_of.size(data), self._holdout)))
        seen = data
        if self._holdout:
            every = np.arange(rows_of.size(data))
            seen = rows_of.take(data, np.setdiff1d(every, kept_back(len(every), self._holdout)))
        self._trained = self._positions[member]
        self.inner.set_weights(self._members[self._trained])
        fitted: Mapping[str, Any] = self.inner.fit(seen, **options)
        self._members[self._trained] = self.inner.get_weights()
        return fitted

    def evaluate(self, data: Any) -> Metrics:
        """Return the metrics of all members together; right after training, of the member that was
        trained.
        """
        if self._trained is not None:
            self.inner.set_weights(self._members[self._trained])
            alone: Metrics = self.inner.evaluate(data)
            return alone
        together = combine(
            self._predictions(data), self._shares, self.rule, self.inner.task, self.inner.class_axis
        )
        found: Metrics = self.inner.judge(together, data)
        return found

    def native(self, weights: Weights) -> Any:
        """Return one model of the framework that predicts what the members do together."""
        other = self.clone()
        other.set_weights(weights)
        used = np.flatnonzero(other._shares.reshape(-1, len(other._members)).any(0))
        members = [other._members[i] for i in used]
        return other.inner.together(members, other._shares[..., used], self.rule)

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write that model."""
        self.inner.write(self.native(weights), path, format)

    def _predictions(self, data: Any) -> list[np.ndarray]:
        counts = np.asarray(self._shares.reshape(-1, len(self._members)).any(0))
        found: list[Any] = [None] * len(self._members)
        for i, member in enumerate(self._members):
            if counts[i]:
                self.inner.set_weights(member)
                found[i] = self.inner.predict(data)
        nothing = np.zeros_like(next(p for p in found if p is not None))
        return [nothing if p is None else p for p in found]

    def _sums(self, data: Any) -> dict[str, Any]:
        """Return sums over the rows: of products of two members' predictions, and of products with
        the truth.
        """
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
        return {"loss": self.inner.judge(joint, data)["loss"], "extras": sums}


def kept_back(num_rows: int, share: float) -> np.ndarray:
    """Return the positions of that share of a party's rows, in order: the same whenever it is
    asked.

    Drawn, since labels may come in a pattern.
    """
    count = max(1, int(share * num_rows + 0.5))
    return np.sort(seeds.stream(0, "kept back", num_rows).choice(num_rows, count, replace=False))
