"""The contract between a federation and a model, whatever framework the model is written in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core import arithmetic
from fusion_nb.core.process.machine import num_cores
from fusion_nb.core.protocols import BatchTrainable, NeedsAgreement
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import Metrics, TrainingResult, Weights
from fusion_nb.errors import ModelError
from fusion_nb.models.kind import ModelKind, setting_names
from fusion_nb.models.metrics.added import AddedMetrics

__all__ = ["BatchTrainable", "Model", "NeedsAgreement", "setting_names"]


class Model(AddedMetrics, ModelKind):
    """An adapter: it trains, evaluates and writes the models of one framework for a federation.

    It never changes the user's own object: it works on a copy, and hands out copies. Rows come as a
    tuple of arrays (x, y), or as an object with `__len__` and `__getitem__`.

    Class attributes that an adapter sets where the default does not fit:
    base_class:      `module.Class` of the framework's models, which are recognised by this name
    suffixes:        endings of the files that `load` reads, the usual one first
    kind:            the name of this kind of model in messages
    metrics:         names that `evaluate` returns; a run monitors the first unless it names another
    train_metrics, costly_metrics: those of `metrics` that `evaluate_train` and `evaluate_costly`
                     return in its place
    formats:         export format -> file name;  whole_format: the one that `load` reads again
    data_kind:       "numbers" or "documents", the rows that it is trained on
    takes_missing:   whether numbers of its rows may be missing (NaN)
    supported_options: those of batch_size, optimizer and local_steps that `fit` takes
    supported_client_options: options of fusions that `fit` honours, such as FedProx's `mu`
    has_lr_schedule: whether `fit` takes `progress=(from, to)`
    defaults:        the fusion and the optimizer of a run that names none
    min_rows:        training rows that every party must have
    packages:        packages whose versions belong on the card
    A run sets two more on each copy: `gate()`, to be called between two batches, which blocks
    during a pause and raises Stopped for a stop, and `num_cores`, the cores that `evaluate` may
    use.

    A complete framework in one file, with the line that registers it:

    >>> class Line:
    ...     '''A model of this framework: it predicts x @ w.'''
    ...     def __init__(self, num_inputs):
    ...         self.w = np.zeros(num_inputs)

    >>> from fusion_nb.models.lookup import model_adapter, wrap
    >>> @model_adapter(name="line")
    ... class LineModel(Model):
    ...     base_class = f"{Line.__module__}.Line"  # how its models are recognised
    ...     suffixes = (".line",)  # the files that `load` reads
    ...     kind, metrics, formats = "Line", ("loss",), {"line": "model.line"}
    ...     supported_options = frozenset({"batch_size"})
    ...
    ...     def __init__(self, line):
    ...         self.w = line.w.copy()
    ...     def clone(self):
    ...         return LineModel(self)
    ...     def check(self, rows, schema, *, lr, optimizer):
    ...         if schema.labels.shape:
    ...             raise ModelError("a Line predicts one number", "give one label for each row")
    ...         return ["loss: mean squared error"]
    ...     def get_weights(self):
    ...         return {"w": self.w.copy()}
    ...     def set_weights(self, weights):
    ...         self.w = weights["w"].copy()
    ...     def fit(self, data, *, epochs, batch_size, lr, optimizer, seed, state=None, **options):
    ...         self.check_client_options(options)
    ...         order = np.random.default_rng(seed)
    ...         num_steps = 0
    ...         for _ in range(epochs):
    ...             rows = order.permutation(len(data[1]))
    ...             for batch in np.split(rows, range(batch_size, len(rows), batch_size)):
    ...                 self.gate()  # a pause waits here, a stop is raised here
    ...                 x, y = data[0][batch], data[1][batch]
    ...                 self.w -= lr * x.T @ (x @ self.w - y) / len(batch)
    ...                 num_steps += 1
    ...         return TrainingResult(
    ...             self.get_weights(), self.evaluate(data), num_steps, num_steps * lr
    ...         )
    ...     def evaluate(self, data):
    ...         return {"loss": float(np.mean((data[0] @ self.w - data[1]) ** 2))}
    ...     def native(self, weights):
    ...         line = Line(0)
    ...         line.w = weights["w"].copy()
    ...         return line
    ...     def save(self, path, weights, format):
    ...         np.savetxt(path, weights["w"])

    >>> model = wrap(Line(2), "model")  # `%%fusion` does this with the notebook's variable
    >>> x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> result = model.fit(
    ...     (x, x @ [2, 3]), epochs=200, batch_size=2, lr=0.5, optimizer="sgd", seed=0
    ... )
    >>> result.weights["w"].round(3), result.num_steps
    (array([2., 3.]), 400)

    One that this package brings is registered by one line in `core/builtin.py` instead. An adapter
    derives from further base classes where it has more to offer: `PredictsRows`, if it predicts
    rows in a form that metrics, reports and ensembles understand; `NeedsAgreement`, if parties must
    agree on something before round 1 (a vocabulary, say); and `BatchTrainable`, if several parties'
    models can be trained as one.
    """

    #: Called between two batches: it blocks during a pause, and raises Stopped for a stop.
    gate: Callable[[], None] = staticmethod(lambda: None)
    #: Cores that `evaluate` may use.
    num_cores: int = num_cores()
    #: The metrics of `evaluate`; a run monitors the first one unless it names another.
    metrics: tuple[str, ...] = ("accuracy", "loss")
    #: Those of `metrics` that `evaluate_train` measures, on a party's own training rows and state.
    train_metrics: tuple[str, ...] = ()
    #: Those of `metrics` that `evaluate_costly` measures, every few rounds and in the last.
    costly_metrics: tuple[str, ...] = ()
    #: The parties' agreement before round 1, as sentences for the user.
    notes: tuple[str, ...] = ()
    #: The label that marks places to leave out of loss and metrics, which `check` sets, or None.
    ignored_label: int | None = None
    #: Training rows that every party must have at least.
    min_rows: int = 1

    @abstractmethod
    def clone(self) -> Model:
        """Return an independent copy, for a worker."""

    @abstractmethod
    def check(
        self, rows: Any, schema: DataSchema, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Try a few rows, and look at the schema; return the conclusions as sentences.

        schema: what rows and labels are at all parties. Numbers of rows are divided by
                `schema.rows.scale`, and those of labels by `schema.labels.scale`, at every party
                alike; nothing is decided by one array, batch or party.
        Raises ModelError where model, rows, labels and optimizer don't go together.
        """

    # How it is run

    @property
    def single_model(self) -> Model:
        """The adapter of the model that one party trains: itself, unless it holds several."""
        return self

    @property
    def thread_safe(self) -> bool:
        """Whether copies of it may be trained at the same time, each in its own thread."""
        return False

    @property
    def products_per_row(self) -> int:
        """Products that a forward pass takes for one row, known after `check`; 0: not known."""
        return 0

    def default_lr(self, optimizer: Any) -> float | None:
        """Return the learning rate of a run that names none; None leaves it to the optimizer."""
        return 0.01

    # Its weights

    @abstractmethod
    def get_weights(self) -> Weights:
        """Return a copy of every entry of the model's state."""

    def frozen_weights(self) -> Weights:
        """Return the weights that do not travel since no training changes them; by default none.

        `get_weights` leaves them out, and every copy of the model holds them.
        """
        return {}

    @abstractmethod
    def set_weights(self, weights: Weights) -> None:
        """Take over weights that `check_weights` accepts."""

    def check_weights(self, found: Weights, expected: Weights, *, partial: bool = False) -> str:
        """Return an error text where `found` can't take the place of `expected`, or "".

        partial: some of the entries are enough
        By default names, shapes and dtypes must be equal, and numbers finite. A model that grows
        from round to round, such as one of trees, accepts other shapes.
        """
        return arithmetic.misfit(found, expected, partial=partial)

    def trained_names(self) -> frozenset[str]:
        """Return the names of the entries that gradients train; others are statistics."""
        return frozenset(
            name
            for name, array in self.get_weights().items()
            if np.issubdtype(array.dtype, np.inexact)
        )

    def batch_norm_names(self) -> frozenset[str]:
        """Return the names of the entries of batch normalization layers."""
        return frozenset()

    # Training and evaluation

    @abstractmethod
    def fit(
        self,
        data: Any,
        *,
        epochs: int,
        batch_size: int,
        lr: float | None,
        optimizer: Any,
        seed: int,
        state: dict[str, Any] | None = None,
        steps: int = 0,
        **client_options: Any,
    ) -> TrainingResult:
        """Train on the rows; return the new weights, and `loss`, the mean over the last pass.

        seed:  fixes the order of rows and everything random in the model
        state: entries that this party keeps from one round to the next. They are replaced and never
               changed in place, since a round that fails is trained again from the old ones.
        steps: train this number of batches, in place of `epochs`; only for models with
               "local_steps" among their `supported_options`
        client_options: those of `supported_client_options` that a fusion asks for. Every framework
               gives these the same meaning:
               mu, anchor: add mu / 2 times the squared distance from the anchor to the loss (mu *
               (w - anchor) to the gradient); without an anchor, the distance from the weights that
               the training starts from
               shift: named arrays that are added to the gradient of the parameters of these names
               mix: train a second set of weights, `own`, on the same batches. Its loss is that of
                    the mixture `alpha` * own + (1 - alpha) * these weights. The result's `extras`
                    hold the second set as `own` and the mixture as `mixed`.
        """

    @abstractmethod
    def evaluate(self, data: Any) -> Metrics:
        """Return the metrics over the rows.

        The mean over data sets, weighted by their sizes, is the metric of their union; with an
        `ignored_label`, it is weighted by their labels beside that one.
        """

    def evaluate_train(self, data: Any, state: Mapping[str, Any]) -> Metrics:
        """Return the metrics `train_metrics` of a party's own training rows and its state."""
        return {}

    def evaluate_costly(self, data: Any) -> Metrics:
        """Return those of the metrics `costly_metrics` that these rows allow."""
        return {}

    # Results for the user

    def personal(self, weights: Weights, data: Any) -> Any:
        """Return the framework's own model with these weights and a party's own part.

        data: the party's training rows
        Raises ModelError for a kind of model that is the same at every party.
        """
        raise ModelError(
            f"a {self.kind} holds nothing of a party's own", "run.model is the same for every party"
        )

    @abstractmethod
    def native(self, weights: Weights) -> Any:
        """Return the framework's own model with these weights, ready for prediction, as a copy."""

    @abstractmethod
    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights to `path` in one of `formats`."""
