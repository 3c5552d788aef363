"""The contract of a learner: how parties train one kind of scikit-learn's estimators."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from sklearn.base import clone

from fusion_nb.core.types import Weights, WeightsKind
from fusion_nb.errors import ModelError, option
from fusion_nb.models.tabular import Task


@dataclass(frozen=True)
class Agreed:
    """The numbers that parties agree on before round 1.

    num_rows: training rows of all parties together
    means:    of the features, as the estimator sees them (after a scaler)
    label_means: of the labels, for measurements
    centres:  the first centres of clusters, or None
    """

    num_rows: int
    means: np.ndarray
    label_means: np.ndarray
    centres: np.ndarray | None = None


@dataclass(frozen=True)
class Work:
    """One training at a party.

    lr:   None leaves it to the estimator
    gate: called between two passes over the rows
    """

    epochs: int
    batch_size: int
    lr: float | None
    seed: int
    gate: Callable[[], None]

    @property
    def random_state(self) -> np.random.RandomState:
        """The random numbers of the training, as scikit-learn takes them."""
        return np.random.RandomState(self.seed % 2**32)


@dataclass(frozen=True)
class Learned:
    """The weights after a training, the steps that were taken, and their effective size."""

    weights: Weights
    num_steps: int
    step_size: float = float("nan")


class Learner(ABC):
    """Trains one kind of estimators. It keeps nothing of a training: weights in, weights out.

    estimator: the user's own, which is never changed
    """

    #: The kind of its weights, and the fusion of a run that names none.
    weights_kind: ClassVar[WeightsKind] = "numbers"
    fusion: ClassVar[str] = "fedavg"
    #: Those options of `fit` beside `epochs` that mean something.
    takes: ClassVar[frozenset[str]] = frozenset()
    #: Classes of estimators that it trains.
    kinds: ClassVar[tuple[type, ...]] = ()
    #: Parameters with the values that can't be federated -> what to write instead.
    refused: ClassVar[Mapping[str, tuple[Callable[[Any], bool], str]]] = {}
    #: Whether labels are classes; None where any will do.
    wants_classes: bool | None = None
    #: Whether a label may hold several numbers.
    many_outputs: ClassVar[bool] = False
    #: Whether parties agree on first centres before round 1.
    needs_centres: ClassVar[bool] = False

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self.name = type(estimator).__name__
        self._template: Any = None

    def made(self) -> Any:
        """Return a copy of the user's estimator without a fit."""
        return clone(self.estimator)

    def template(self, task: Task) -> Any:
        """Return an estimator that is fitted to a few made-up rows, as a copy.

        It has every attribute that scikit-learn's own methods ask for, and takes over those that
        are weights.
        """
        if self._template is None:
            self._template = self.fit_examples(task)
        return copy.copy(self._template)

    def fit_examples(self, task: Task) -> Any:
        """Return an estimator that is fitted to `task.examples()`."""
        return self.made().fit(*task.examples())

    def check_parameters(self) -> None:
        """Raise ModelError for a parameter with which parties can't train the estimator."""
        parameters = self.estimator.get_params(deep=False)
        for name, (is_refused, hint) in self.refused.items():
            if name in parameters and is_refused(parameters[name]):
                raise ModelError(
                    f"{self.name}({name}={parameters[name]!r}) can't be trained by parties", hint
                )

    def check_lr(self, lr: float | None) -> list[str]:
        """Return notes about the learning rate. Raises ModelError where there is none."""
        if lr is None:
            return []
        raise ModelError(
            f"{option('lr', f'{lr:g}')}: a {self.name} has no learning rate", "leave it out"
        )

    def row_fault(self, low: float | None) -> str:
        """Return why it can't take rows whose lowest number is `low`, or ""; None is not known."""
        return ""

    @abstractmethod
    def notes(self) -> list[str]:
        """Return how it is trained, as sentences for the user."""

    @abstractmethod
    def first_weights(self, task: Task, agreed: Agreed, seed: int) -> Weights:
        """Return the weights before round 1: those of the user's fit where they can be the start.

        seed: for first weights that are drawn
        """

    @abstractmethod
    def learn(
        self, weights: Weights, x: np.ndarray, y: np.ndarray, task: Task, agreed: Agreed, work: Work
    ) -> Learned:
        """Return the weights after a party's training from these weights."""

    @abstractmethod
    def fitted(self, weights: Weights, task: Task, agreed: Agreed) -> Any:
        """Return a fitted estimator with these weights; its classes are `task.classes`."""

    def statistics(self, weights: Weights) -> Weights:
        """Return the entries that are sums over a party's rows; none where weights are numbers."""
        return {}

    def as_weights(self, fitted: Any) -> Weights | None:
        """Return the weights of a fitted estimator, or None where a fit can't be the start."""
        return None


class SummedLearner(Learner):
    """Fits an estimator from statistics that are summed over all parties."""

    weights_kind: ClassVar[WeightsKind] = "statistics"
    fusion: ClassVar[str] = "sum"

    def statistics(self, weights: Weights) -> Weights:
        """Return all entries."""
        return weights


class ExactLearner(SummedLearner):
    """Fits an estimator from sums over all rows: one round gives the fit of all rows together."""

    def notes(self) -> list[str]:
        """Return that one round is enough."""
        return [
            f"exact: parties send sums over their rows, and the {self.name} is that of all rows "
            f"together after one round; more change nothing (--rounds 1)"
        ]

    def first_weights(self, task: Task, agreed: Agreed, seed: int) -> Weights:
        """Return the statistics of no rows."""
        empty = np.zeros((0, task.num_features)), np.zeros((0, *task.shape))
        return self.sums(*empty, task, agreed)

    def learn(
        self, weights: Weights, x: np.ndarray, y: np.ndarray, task: Task, agreed: Agreed, work: Work
    ) -> Learned:
        """Return the statistics of the party's rows."""
        work.gate()
        return Learned(weights | self.sums(x, y, task, agreed), 1)

    @abstractmethod
    def sums(self, x: np.ndarray, y: np.ndarray, task: Task, agreed: Agreed) -> Weights:
        """Return the sums over some rows, which may be none."""
