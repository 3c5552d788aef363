"""A model that an app of a party's own trains: only its weights are known here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fusion_nb.core import seeds
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import Metrics, TrainingResult, Weights
from fusion_nb.errors import ModelError, option
from fusion_nb.models.base import Model

#: The prefixes of the metrics of a training, and of an evaluation.
_OF_TRAINING, _OF_EVALUATION = ("train_", "train-"), ("eval_", "eval-", "test_", "test-")
#: Seed of the trial before a run, which counts for nothing.
_TRIAL_SEED = 0


class AppRows(Protocol):
    """The rows of a party that an app alone reads."""

    def ask(
        self, weights: Weights, config: Mapping[str, Any], state: dict[str, Any] | None = None
    ) -> tuple[Weights, Metrics]:
        """Return the weights and the metrics of the app's reply."""

    def try_evaluation(self, weights: Weights, config: Mapping[str, Any]) -> Metrics:
        """Return the metrics of the app's evaluation, which leaves no trace."""


class ArraysModel(Model):
    """Plain named arrays: the first weights of an app whose model is in no framework.

    A list of arrays gets the names 0, 1, ...; `run.model` is a dict of arrays, or a list again.
    """

    kind = "set of arrays"
    base_class = "builtins.dict"
    formats: Mapping[str, str] = {"npz": "model.npz"}

    def __init__(self, arrays: Any) -> None:
        self._is_list = not isinstance(arrays, Mapping)
        items = enumerate(arrays) if self._is_list else arrays.items()
        self._arrays = {str(name): np.array(array) for name, array in items}

    @classmethod
    def takes(cls, value: Any) -> bool:
        """Return whether a value is a list or a dict of arrays, and not empty."""
        parts = list(value.values()) if isinstance(value, Mapping) else value
        return (
            isinstance(parts, list | tuple)
            and bool(parts)
            and all(isinstance(part, np.ndarray) for part in parts)
        )

    def clone(self) -> ArraysModel:
        """Return an independent copy."""
        return ArraysModel(self.native(self._arrays))

    def check(
        self, rows: Any, schema: DataSchema, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Return no notes: an app trains the arrays."""
        return []

    def get_weights(self) -> Weights:
        """Return a copy of the arrays."""
        return {name: array.copy() for name, array in self._arrays.items()}

    def set_weights(self, weights: Weights) -> None:
        """Take over arrays."""
        self._arrays = {name: np.array(array) for name, array in weights.items()}

    def fit(self, data: Any, **options: Any) -> TrainingResult:
        """Raise ModelError: arrays alone can't be trained."""
        raise ModelError("plain arrays can't be trained here", "let the party's app train them")

    def evaluate(self, data: Any) -> Metrics:
        """Raise ModelError: arrays alone can't be measured."""
        raise ModelError("plain arrays can't be measured here", "let the party's app do it")

    def native(self, weights: Weights) -> Any:
        """Return the arrays in the form that they were given in."""
        copies = {name: array.copy() for name, array in weights.items()}
        return list(copies.values()) if self._is_list else copies

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the arrays as a .npz file."""
        with path.open("wb") as file:
            np.savez(file, **weights)  # type: ignore[arg-type]


class AppModel(Model):
    """The weights of a model, which each party's app trains and evaluates by itself.

    inner: the adapter of the model, which reads, writes and exports its weights
    names: of the options epochs, lr and batch_size in the app's own configuration
    seeded: fixes the random state of the app's framework; None for that of `inner`
    """

    kind = "model of a Flower ClientApp"
    base_class = ""
    metrics: tuple[str, ...] = ("loss",)
    supported_options = frozenset({"batch_size"})

    def __init__(
        self,
        inner: Model,
        names: Mapping[str, Sequence[str]],
        seeded: Callable[[int], AbstractContextManager[Any]] | None = None,
    ) -> None:
        self._inner, self._names = inner, names
        self._seeded = seeded or inner.seeded
        self.packages = (*inner.packages, "flwr")
        self.formats, self.whole_format = inner.formats, inner.whole_format
        self.download_formats = inner.download_formats

    @property
    def trains_epochs(self) -> bool:
        """Whether the app has an option that says how many epochs it trains."""
        return bool(self._names["epochs"])

    def clone(self) -> AppModel:
        """Return an independent copy."""
        other = AppModel(self._inner.clone(), self._names, self._seeded)
        other.metrics, other.gate = self.metrics, self.gate
        return other

    def check(
        self, rows: AppRows, schema: DataSchema, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Ask the first party's app for one evaluation, and return its metrics in a sentence.

        Raises ModelError where it can't evaluate the first weights.
        """
        try:
            found = self._measured(rows.try_evaluation)
        except Exception as error:
            line = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            raise ModelError(
                f"the first party's app could not evaluate the first weights: {line}",
                "give the app a function under @app.evaluate(), and check that "
                f"{option('model')} is the model that it expects",
            ) from error
        if not found:
            raise ModelError(
                "the app's reply to 'evaluate' has no metric beside 'num-examples'",
                'add one, such as "eval_loss", to its MetricRecord',
            )
        last = [name for name in ("loss",) if name in found]
        first = [name for name in ("accuracy",) if name in found]
        others = [name for name in found if name not in (*first, *last)]
        self.metrics = (*first, *others, *last)
        return [
            f"the app measures {', '.join(self.metrics)} on rows that it holds; a stop waits until "
            "the app that trains has answered"
        ]

    def get_weights(self) -> Weights:
        """Return a copy of every entry of the model's state."""
        return self._inner.get_weights()

    def set_weights(self, weights: Weights) -> None:
        """Take over weights."""
        self._inner.set_weights(weights)

    def trained_names(self) -> frozenset[str]:
        """Return the names of the entries that gradients train."""
        return self._inner.trained_names()

    def batch_norm_names(self) -> frozenset[str]:
        """Return the names of the entries of batch normalization layers."""
        return self._inner.batch_norm_names()

    def fit(
        self,
        data: AppRows,
        *,
        epochs: int,
        batch_size: int,
        lr: float | None,
        optimizer: Any,
        seed: int,
        state: dict[str, Any] | None = None,
        **client_options: Any,
    ) -> TrainingResult:
        """Let the app train, with the generators of Python, numpy and the framework seeded."""
        self.check_client_options(client_options)
        self.gate()
        options = {"epochs": epochs, "lr": lr, "batch_size": batch_size}
        config = {name: options[option] for option in options for name in self._names[option]}
        config["lr"] = lr
        with seeds.SeededGlobalRandomness(seed, exclusive=True), self._seeded(seed):
            sent = self.get_weights()
            weights, metrics = data.ask(sent, config, {} if state is None else state)
        if problem := self.check_weights(weights, sent):
            raise ModelError(f"the arrays in the app's reply: {problem}", "look at the app's code")
        self.set_weights(weights)
        told = _named(metrics, _OF_TRAINING)
        return TrainingResult(weights, told, 1, float("nan"), tells_loss="loss" in told)

    def evaluate(self, data: AppRows) -> Metrics:
        """Let the app evaluate the weights."""
        self.gate()
        return self._measured(lambda weights, config: data.ask(weights, config)[1])

    def native(self, weights: Weights) -> Any:
        """Return the framework's own model with these weights."""
        return self._inner.native(weights)

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights."""
        self._inner.save(path, weights, format)

    def _measured(self, ask: Callable[[Weights, Mapping[str, Any]], Metrics]) -> Metrics:
        randomness = seeds.SeededGlobalRandomness(_TRIAL_SEED, exclusive=True)
        with randomness, self._seeded(_TRIAL_SEED):
            found = ask(self.get_weights(), {})
        return _named(found, _OF_EVALUATION)


def _named(metrics: Metrics, prefixes: tuple[str, ...]) -> Metrics:
    """Return an app's metrics under the names of this package: `eval_acc` is `accuracy`.

    >>> _named({"eval_loss": 0.5, "eval_acc": 0.9, "f1": 0.7}, ("eval_",))
    {'loss': 0.5, 'accuracy': 0.9, 'f1': 0.7}
    """
    found: Metrics = {}
    for name, value in metrics.items():
        short = name
        for prefix in prefixes:
            short = short.removeprefix(prefix)
        short = "accuracy" if short == "acc" else short
        found[name if short in found else short] = value
    return found
