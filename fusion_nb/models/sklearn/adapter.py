"""scikit-learn's estimators: parties train them by steps, or fit them from sums over all rows."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import clone
from threadpoolctl import ThreadpoolController

from fusion_nb.core.schema import DataSchema
from fusion_nb.core.seeds import SeededGlobalRandomness
from fusion_nb.core.types import Metrics, TrainingResult, Update, Weights
from fusion_nb.errors import ModelError
from fusion_nb.models.base import Model, NeedsAgreement
from fusion_nb.models.identity.texts import Identity, of_parameters
from fusion_nb.models.predicting import PredictsRows
from fusion_nb.models.sklearn import agreement, files, scores
from fusion_nb.models.sklearn.agreed_estimator import AgreedEstimator, kept_weights
from fusion_nb.models.sklearn.agreement import ENTRY, Agreement
from fusion_nb.models.sklearn.checking import check_parameters, size_notes
from fusion_nb.models.sklearn.ensembling import SklearnEnsembling
from fusion_nb.models.sklearn.learner import Work
from fusion_nb.models.sklearn.starts import is_fitted, last_of, start_of, task_of_fitted
from fusion_nb.models.tabular import Tabular, Task, named_weights, task_of


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


class SklearnModel(NeedsAgreement, Model, PredictsRows):
    """An estimator of scikit-learn, or a Pipeline of scalers and an estimator.

    Estimators with `partial_fit`, and LogisticRegression, are trained step by step under any fusion
    that averages. Others follow exactly from sums over all rows, which the fusion `sum` adds up.
    Before round 1, parties agree on the number of rows, and on the moments that scalers need; this
    agreement travels with the weights, in the entry `agreed`.
    """

    base_class = "sklearn.base.BaseEstimator"
    suffixes = (".skops",)
    kind = "scikit-learn model"
    skips_numbers = True
    no_ensembling = "predicts nothing that could be joined"
    packages = ("sklearn", "skops")
    formats: Mapping[str, str] = files.FORMATS
    whole_format = "skops"
    download_formats = ("skops",)
    upload_hint = "send the file that skops.io.dump(model, 'model.skops') wrote"

    def __init__(self, model: Any) -> None:
        self._fitted = model
        self._estimator = AgreedEstimator(model)
        learner = self._estimator.learner
        self.kind = learner.name
        self.weights_kind = learner.weights_kind
        self.supported_options = learner.takes
        is_exact = learner.weights_kind == "statistics"
        self.supported_client_options = frozenset({"statistics"} if is_exact else ())
        self.defaults = {"fusion": learner.fusion, "optimizer": ""}
        self._task: Task | None = None
        self._data = Tabular()
        self._seed = 0
        self._start: Weights | None = None
        self._weights: Weights = {}

    @property
    def _known(self) -> Task:
        assert self._task is not None, "check comes first"
        return self._task

    def clone(self) -> SklearnModel:
        """Return an independent copy."""
        other = copy.copy(self)
        other._estimator = self._estimator.copied()
        other._weights = dict(self._weights)
        return other

    def default_lr(self, optimizer: Any) -> None:
        """Return None: an estimator has a learning rate of its own, or none."""

    @classmethod
    def load(cls, path: Path) -> Any:
        """Return the estimator in a file of skops.

        Raises ModelError for a file that holds anything but an estimator that parties can train.
        """
        return files.load(path)

    @classmethod
    def from_checkpoint(cls, model: Any) -> Self:
        """Return the adapter of a fitted estimator that `native` returned."""
        made = cls(model)
        made._task = task_of_fitted(model, made._estimator.parts)
        made._weights = kept_weights(model)
        if is_fitted(model):
            made._weights |= made._estimator.learner.as_weights(last_of(model)) or {}
        return made

    @classmethod
    def seeded(cls, seed: int) -> AbstractContextManager[Any]:
        """Return a context in which first weights depend on the seed alone."""
        return SeededGlobalRandomness(seed, exclusive=False)

    def check(
        self, rows: Any, schema: DataSchema, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Look at the agreed rows and labels, and return how the estimator is trained."""
        learner = self._estimator.learner
        self._data = Tabular.of(rows, schema, self.kind)
        self._task = task_of(
            schema,
            self._data.num_features,
            self.kind,
            wants_classes=learner.wants_classes,
            many_outputs=learner.many_outputs,
            regressor=self.kind.replace("Classifier", "Regressor"),
        )
        if fault := learner.row_fault(schema.rows.low):
            raise ModelError(fault, "use GaussianNB, or numbers from 0 on")
        # Drawn from the state that `seeded` fixes.
        self._seed = int(np.random.randint(2**31 - 1))
        self.metrics = scores.metric_names(learner.estimator, self._task)
        self._start, start_notes = start_of(self._fitted, self._estimator.parts, self._task)
        if isinstance(weights := learner.estimator.get_params().get("class_weight"), dict):
            learner.estimator.class_weight = named_weights(weights, self._task)
        check_parameters(learner, self._task)
        return [
            scores.loss_note(learner.estimator, self._task),
            *learner.notes(),
            *learner.check_lr(lr),
            *self._data.notes,
            *start_notes,
            *size_notes(self._estimator.parts, schema),
        ]

    def identity(self, *, lr: float | None, optimizer: Any) -> Identity:
        """Return the estimator's parameters as text, those of a Pipeline's steps included."""
        return {"model": of_parameters(self._estimator.model)}

    # Round 0

    def collect(self, data: Any) -> dict[str, Any]:
        """Return the number of a party's rows, and the moments that scalers need."""
        x, y = self._data.arrays(data)
        return agreement.collect(self._estimator.parts, x, y, self._known, self._seed)

    def agree(self, updates: Sequence[Update]) -> Agreement:
        """Return the number of all parties' rows, and the moments over all of them."""
        agreed = agreement.agree(self._estimator.parts, updates, self._seed)
        self._begin(agreed)
        return agreed

    def prepare(self, data: Any, state: dict[str, Any], agreed: Agreement) -> None:
        """Take over what was agreed on; it comes with the weights as well."""
        self._begin(agreed)

    def _begin(self, agreed: Agreement) -> None:
        self._weights = self._estimator.first_weights(agreed, self._start, self._known, self._seed)

    # Its weights

    def get_weights(self) -> Weights:
        """Return a copy of the weights; empty before parties agreed."""
        return {name: array.copy() for name, array in self._weights.items()}

    def set_weights(self, weights: Weights) -> None:
        """Take over weights."""
        self._weights = {name: np.array(array) for name, array in weights.items()}

    def check_weights(self, found: Weights, expected: Weights, *, partial: bool = False) -> str:
        """Return an error text for weights of another form, or with another agreement."""
        problem = super().check_weights(found, expected, partial=partial)
        is_exact = self.weights_kind == "statistics"
        if not problem and is_exact and (missing := expected.keys() - {ENTRY} - found.keys()):
            return f"it lacks the statistics {', '.join(sorted(missing))}"
        if problem or ENTRY not in found:
            return problem
        is_equal = np.array_equal(found[ENTRY], expected[ENTRY])
        return "" if is_equal else "it changes what the parties agreed on before round 1"

    def trained_names(self) -> frozenset[str]:
        """Return the names of coefficients and intercepts; statistics are summed."""
        if self.weights_kind == "statistics":
            return frozenset()
        return super().trained_names()

    # Training and evaluation

    def fit(
        self,
        data: Any,
        *,
        epochs: int,
        lr: float | None,
        seed: int,
        batch_size: int = 32,
        optimizer: Any = "",
        state: dict[str, Any] | None = None,
        steps: int = 0,
        statistics: bool = False,
        **client_options: Any,
    ) -> TrainingResult:
        """Train on a party's rows; `loss` is that over them after the training.

        batch_size: for estimators with batches;  optimizer, state, steps: have no meaning here
        statistics: return the sums over the party's rows as an extra
        """
        self.check_client_options(client_options)
        work = Work(epochs, batch_size, lr, seed, self.gate)
        with _threads().limit(limits=1):
            x, y = self._data.arrays(data)
            rows = self._estimator.scaled(self._weights, x)
            learned = self._estimator.learn(self._weights, rows, y, self._known, work)
            self._weights = {ENTRY: self._weights[ENTRY], **learned.weights}
            metrics = self._evaluate(rows, y)
        extras = {}
        if statistics:
            extras["statistics"] = self._estimator.learner.statistics(learned.weights)
        return TrainingResult(
            self.get_weights(), metrics, learned.num_steps, learned.step_size, extras
        )

    def evaluate(self, data: Any) -> Metrics:
        """Return the metrics over the rows."""
        with _threads().limit(limits=1):
            x, y = self._data.arrays(data)
            return self._evaluate(self._estimator.scaled(self._weights, x), y)

    def _evaluate(self, rows: np.ndarray, y: np.ndarray) -> Metrics:
        fitted = self._estimator.fitted(self._weights, self._known)
        return scores.evaluate(fitted, rows, y, self._known)

    # Predictions

    @property
    def task(self) -> str:
        """Classes or numbers; own where there is nothing to predict."""
        if self._known.predicts_classes:
            return "classes"
        return "own" if self._estimator.learner.wants_classes is None else "numbers"

    def predict(self, data: Any) -> np.ndarray:
        """Return the predictions for all rows in order."""
        with _threads().limit(limits=1):
            x, _ = self._data.arrays(data)
            fitted = self._estimator.fitted(self._weights, self._known)
            return scores.predictions(fitted, self._estimator.scaled(self._weights, x), self._known)

    @property
    def ensembling(self) -> SklearnEnsembling | None:
        """Its part in ensembles; None where there is nothing to predict."""
        if self.task == "own":
            return None
        return SklearnEnsembling(self._estimator, self._known, self._data)

    # Results for the user

    def native(self, weights: Weights) -> Any:
        """Return a fitted estimator, or pipeline, with these weights and the user's own labels."""
        if ENTRY not in weights:
            return clone(self._estimator.model)
        return self._estimator.native(weights, replace(self._known, classes=self._known.names))

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights."""
        files.save(self.native(weights), path, format)
