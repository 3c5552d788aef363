"""Hostile parties, simulated: what they make of their labels, or of the weights that they send.

Whoever forges weights forges what gradients train alone: counters and statistics such as
BatchNorm's, the number of rows, metrics, and whatever else a fusion has parties send (`extras`),
stay as honest training left them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.core import rows as rows_of
from fusion_nb.core import seeds
from fusion_nb.core.types import Reply, Update, Weights
from fusion_nb.errors import DataError, OptionError

Num = Annotated[int, Field(description="hostile parties", ge=1)]


def hostile(parties: Sequence[str], num: int, seed: int) -> tuple[str, ...]:
    """Return which parties are hostile, in party order: a function of the seed alone.

    Raises OptionError where no party would be honest.
    """
    if num >= len(parties):
        line = (
            f"--adversary asks for {num} hostile parties of {len(parties)}, and one at least "
            "must be honest"
        )
        raise OptionError(
            line, f"use {len(parties) - 1} at most" if len(parties) > 1 else "use more parties"
        )
    chosen = seeds.stream(seed, "hostile").choice(len(parties), num, replace=False)
    return tuple(parties[i] for i in sorted(chosen))


class LabelFlip:
    """Train on wrong labels: C - 1 - y for y, of C classes numbered from 0. Test rows keep theirs.

    Source: used as in Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets
    via Bucketing", ICLR 2022.
    """

    def __init__(self, *, num: Num = 1) -> None:
        self.num = num

    def flipped(self, rows: Any, labels: np.ndarray) -> Any:
        """Return a data set of the same rows with wrong labels; the given one is left as it is.

        labels: those of all rows there are, which say what the classes are. Raises DataError for
        measurements.
        """
        if not rows_of.is_classes(labels):
            raise DataError(
                "--adversary label_flip, but the labels are measurements", "use another adversary"
            )
        ends = int(labels.min()) + int(labels.max())
        if isinstance(rows, tuple):
            x, y = rows
            return x, (ends - y.astype(np.int64)).astype(y.dtype)
        return Flipped(rows, ends, labels.ndim)


@dataclass(frozen=True)
class Flipped:
    """The rows of a map-style data set with wrong labels.

    ends: the sum of the lowest and the highest class;  ndim: of the labels of all rows, as class
    numbers
    """

    data: Any
    ends: int
    ndim: int

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, position: int) -> Any:
        x, label = self.data[position]
        y = np.asarray(label)
        if y.ndim == self.ndim and y.size > 1:  # one-hot: a number for each class
            wrong = y[..., ::-1].copy()
        else:
            wrong = (self.ends - y.astype(np.int64)).astype(
                np.int64 if y.dtype == np.bool_ else y.dtype
            )
        return x, wrong if y.ndim else wrong[()]


class Forger(ABC):
    """Sends forged weights for parties that trained honestly; a base of adversaries that do.

    Called with the replies of a round, it yields them in the same order, and failures and silence
    as they are.
    """

    def __init__(self, *, num: Num = 1) -> None:
        self.num = num

    @abstractmethod
    def __call__(
        self,
        replies: Iterator[Reply],
        orders: Mapping[str, Any],
        hostile: Sequence[str],
        trained: frozenset[str],
    ) -> Iterator[Reply]:
        """Yield a round's replies, those of hostile parties with forged weights."""


class _Alone(Forger):
    """Forges from what the party itself learned."""

    def __call__(
        self,
        replies: Iterator[Reply],
        orders: Mapping[str, Any],
        hostile: Sequence[str],
        trained: frozenset[str],
    ) -> Iterator[Reply]:
        """Yield a round's replies, each as soon as it is there."""
        for reply in replies:
            if not (isinstance(reply, Update) and reply.party in hostile):
                yield reply
                continue
            rng = seeds.stream(orders["seed"], "forged", orders["round"], reply.party)
            start, own = orders["weights"], reply.weights
            changes = {
                name: own[name].astype(np.float64) - start[name]
                for name in _forgeable(own, trained)
            }
            yield _forged(
                reply,
                {name: start[name] + self.lie(change, rng) for name, change in changes.items()},
            )

    @abstractmethod
    def lie(self, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return what is sent as the change of an entry."""


class BitFlip(_Alone):
    """Send the negated change: what would undo what was learned.

    Source: Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via
    Bucketing", ICLR 2022 (bit flipping).
    """

    def lie(self, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the negated change."""
        return -change


class SignFlip(_Alone):
    """Send the negated change, made larger: -scale times what was learned.

    Source: Li, Xu, Chen, Giannakis, Ling, "RSA: Byzantine-Robust Stochastic Aggregation Methods for
    Distributed Learning from Heterogeneous Datasets", AAAI 2019 (sign flipping, there of the
    message itself, times -4).
    """

    def __init__(
        self,
        *,
        num: Num = 1,
        scale: Annotated[float, Field(description="how much larger", gt=0)] = 4.0,
    ) -> None:
        super().__init__(num=num)
        self._scale = scale

    def lie(self, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the change times -scale."""
        return -self._scale * change


class Noise(_Alone):
    """Add Gaussian noise to what was learned, of a standard deviation sigma in units of the
    weights.

    Source: after Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries:
    Byzantine Tolerant Gradient Descent", NeurIPS 2017, where hostile parties send noise alone.
    """

    def __init__(
        self,
        *,
        num: Num = 1,
        sigma: Annotated[float, Field(description="its standard deviation", gt=0)] = 1.0,
    ) -> None:
        super().__init__(num=num)
        self._sigma = sigma

    def lie(self, change: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the change with noise on it."""
        return change + rng.normal(0.0, self._sigma, change.shape)


class _Knowing(Forger):
    """Forges from what all honest parties learned in the round, which it waits for; all hostile
    parties send the same.

    Where no honest party answered, hostile ones send what they learned.
    """

    def __call__(
        self,
        replies: Iterator[Reply],
        orders: Mapping[str, Any],
        hostile: Sequence[str],
        trained: frozenset[str],
    ) -> Iterator[Reply]:
        """Yield a round's replies, once all are there."""
        found = list(replies)
        sent = [reply for reply in found if isinstance(reply, Update)]
        honest = [update for update in sent if update.party not in hostile]
        lies: Weights = {}
        if honest and len(honest) < len(sent):
            names = _forgeable(honest[0].weights, trained)
            lies = self.lies(orders["weights"], honest, len(sent) - len(honest), names)
        for reply in found:
            yield (
                _forged(reply, lies)
                if isinstance(reply, Update) and reply.party in hostile
                else reply
            )

    @abstractmethod
    def lies(
        self, start: Weights, honest: Sequence[Update], num_hostile: int, names: Sequence[str]
    ) -> Weights:
        """Return what is sent for the entries of these names."""


class IPM(_Knowing):
    """Send -epsilon times the honest parties' mean change.

    With a large epsilon the mean of all changes points backwards. With a small one the forged
    weights lie near where the round started, and may look more like everybody's than those of
    honest parties do.

    Source: Xie, Koyejo, Gupta, "Fall of Empires: Breaking Byzantine-Tolerant SGD by Inner Product
    Manipulation", UAI 2019.
    """

    def __init__(
        self,
        *,
        num: Num = 1,
        epsilon: Annotated[float, Field(description="length, in mean honest changes", gt=0)] = 0.1,
    ) -> None:
        super().__init__(num=num)
        self._epsilon = epsilon

    def lies(
        self, start: Weights, honest: Sequence[Update], num_hostile: int, names: Sequence[str]
    ) -> Weights:
        """Return the weights moved backwards."""
        means = {name: _stacked(honest, name).mean(axis=0) for name in names}
        return {
            name: start[name] - self._epsilon * (mean - start[name]) for name, mean in means.items()
        }


class ALIE(_Knowing):
    """Send, for every number, the honest parties' mean less z of their standard deviations: too
    near to be cut off.

    Without a z, the largest with which enough honest parties are farther from the mean than the
    hostile ones: of n answers, f of them hostile, floor(n / 2 + 1) - f; it is 0, and the attack
    none, where f is too small for that.

    Source: Baruch, Baruch, Goldberg, "A Little Is Enough: Circumventing Defenses For Distributed
    Learning", NeurIPS
    2019. There hostile parties know only what they learned themselves; here they know all honest
    changes.
    """

    def __init__(
        self,
        *,
        num: Num = 1,
        z: Annotated[
            float, Field(description="standard deviations; 0: computed as in the paper", ge=0)
        ] = 0.0,
    ) -> None:
        super().__init__(num=num)
        self._z = z

    def lies(
        self, start: Weights, honest: Sequence[Update], num_hostile: int, names: Sequence[str]
    ) -> Weights:
        """Return the mean less z standard deviations."""
        z = self._z or largest_z(len(honest) + num_hostile, num_hostile)
        found = {name: _stacked(honest, name) for name in names}
        return {
            name: values.mean(axis=0) - z * values.std(axis=0) for name, values in found.items()
        }


class Mimic(_Knowing):
    """Send what one honest party sends, so that its rows count too much.

    It is the party whose change is longest along the direction in which honest changes differ most.
    As a simplification it is chosen in the first round alone, where the paper's hostile parties
    watch several; in a round without that party, another is chosen for that round.

    Source: Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via
    Bucketing", ICLR 2022.
    """

    def __init__(self, *, num: Num = 1) -> None:
        super().__init__(num=num)
        self._target = ""

    def lies(
        self, start: Weights, honest: Sequence[Update], num_hostile: int, names: Sequence[str]
    ) -> Weights:
        """Return the target's weights."""
        found = next((update for update in honest if update.party == self._target), None)
        if found is None:
            found = honest[_most_unlike(start, honest, names)]
            self._target = self._target or found.party
        return {name: found.weights[name] for name in names}


def largest_z(num_parties: int, num_hostile: int) -> float:
    """Return how many standard deviations from the mean hostile parties hide, as computed in ALIE's
    paper.
    """
    num_honest = num_parties - num_hostile
    supporters = num_parties // 2 + 1 - num_hostile
    share = (num_honest - max(1, supporters)) / num_honest
    return NormalDist().inv_cdf(share) if share > 0.5 else 0.0


def _most_unlike(start: Weights, honest: Sequence[Update], names: Sequence[str]) -> int:
    """Return which change is longest along the first principal direction of all."""
    products = np.zeros((len(honest), len(honest)))
    for name in names:
        changes = (_stacked(honest, name) - start[name]).reshape(len(honest), -1)
        products += changes @ changes.T
    centre = np.eye(len(honest)) - 1 / len(honest)
    direction = centre @ np.linalg.eigh(centre @ products @ centre)[1][:, -1]
    return int(np.argmax(np.abs(products @ direction)))


def _stacked(updates: Sequence[Update], name: str) -> np.ndarray:
    return np.stack([update.weights[name] for update in updates]).astype(np.float64)


def _forgeable(weights: Weights, trained: frozenset[str]) -> list[str]:
    return [
        name
        for name, array in weights.items()
        if name in trained and np.issubdtype(array.dtype, np.floating)
    ]


def _forged(update: Update, lies: Weights) -> Update:
    """Return an update with other weights, in the dtypes of the entries that they replace."""
    with np.errstate(
        over="ignore"
    ):  # what becomes infinite is refused, as it would be from anybody
        cast = {
            name: np.asarray(array).astype(update.weights[name].dtype)
            for name, array in lies.items()
        }
    return replace(update, weights={**update.weights, **cast})
