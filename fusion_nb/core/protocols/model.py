"""The contract of a model: of any framework, as parties, the loop and the engines use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from fusion_nb.core.types import Metrics, TrainingResult, Weights, WeightsKind


class TrainableModel(Protocol):
    """A model that is lent to a party for one request: it is loaded, trained and measured."""

    @property
    def kind(self) -> str:
        """The word for a model of this kind in messages."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics that a run measures; the first is monitored by default."""

    @property
    def train_metrics(self) -> tuple[str, ...]:
        """Those of `metrics` that a party measures on its own training rows and state."""

    @property
    def costly_metrics(self) -> tuple[str, ...]:
        """Those of `metrics` that are measured every few rounds, and in the last."""

    @property
    def added_metrics(self) -> tuple[str, ...]:
        """Those of `metrics` that the run added to the model's own; see `Metric`."""

    @property
    def ignored_label(self) -> int | None:
        """The label that marks places which count neither in the loss nor in metrics, or None."""

    def set_weights(self, weights: Weights) -> None:
        """Load weights."""

    def check_weights(self, found: Weights, expected: Weights, *, partial: bool = False) -> str:
        """Return what is wrong with weights of a party or a fusion, or an empty string.

        expected: the weights that were sent out;  partial: some of the entries are enough
        A model whose weights grow from round to round decides here what it accepts.
        """

    def fit(self, data: Any, *args: Any, **options: Any) -> TrainingResult:
        """Train on the rows. `fusion_nb.models.base.Model.fit` has the options, all by name."""

    def evaluate(self, data: Any) -> Metrics:
        """Return the metrics over the rows."""

    def evaluate_train(self, data: Any, state: Mapping[str, Any]) -> Metrics:
        """Return the metrics `train_metrics` of a party's training rows with its state."""

    def evaluate_costly(self, data: Any) -> Metrics:
        """Return those of the metrics `costly_metrics` that these rows allow."""

    def evaluate_added(self, data: Any) -> Metrics:
        """Return the metrics `added_metrics` over the rows, with the sums behind them."""

    def join_added(self, name: str, values: Sequence[Any]) -> float:
        """Return one of `added_metrics` over all rows of several values with sums."""


class Model(TrainableModel, Protocol):
    """A model of any framework, as the loop, the engines and the algorithms use it.

    `fusion_nb.models.base.Model` is the base class of adapters. It satisfies this protocol, and
    shows a complete toy.
    """

    #: Called between two batches: it may block (pause) or raise Stopped.
    gate: Callable[[], None]
    #: Cores that `evaluate` may use.
    num_cores: int
    #: Packages that it needs.
    packages: tuple[str, ...]

    @property
    def weights_kind(self) -> WeightsKind:
        """The kind of its weights: numbers can be averaged, statistics and trees can't."""

    @property
    def supported_options(self) -> frozenset[str]:
        """Options of a run that `fit` takes and that not every kind of model has."""

    @property
    def supported_client_options(self) -> frozenset[str]:
        """Options of fusions that `fit` honours."""

    @property
    def has_lr_schedule(self) -> bool:
        """Whether `fit` takes `progress=(from, to)`, the part of a run (0 to 1) that it trains."""

    @property
    def products_per_row(self) -> int:
        """Products that a forward pass takes for one row; 0 where that is not known."""

    @property
    def min_rows(self) -> int:
        """Training rows that every party must have."""

    @property
    def single_model(self) -> Model:
        """The model that one party trains: itself, unless it holds several."""

    @property
    def thread_safe(self) -> bool:
        """Whether copies may train at the same time, each in a thread of its own."""

    def single_threaded(self) -> AbstractContextManager[Any]:
        """Return a context in which the work of a thread stays on one core."""

    def clone(self) -> Model:
        """Return an independent copy, for a worker."""

    def get_weights(self) -> Weights:
        """Return a copy of every entry of the model's state."""

    def frozen_weights(self) -> Weights:
        """Return the weights that do not travel, since no training changes them."""

    def trained_names(self) -> frozenset[str]:
        """Return the names of the entries that gradients train."""

    def batch_norm_names(self) -> frozenset[str]:
        """Return the names of the entries of batch normalization layers."""
