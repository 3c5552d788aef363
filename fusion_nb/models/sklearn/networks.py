"""Multi-layer perceptrons, trained by `partial_fit` with the run's batches."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.neural_network import MLPClassifier, MLPRegressor

from fusion_nb.core.types import Weights
from fusion_nb.errors import option
from fusion_nb.models.sklearn.learner import Agreed, Learned, Learner, Work
from fusion_nb.models.tabular import Task


class Perceptrons(Learner):
    """MLPClassifier and MLPRegressor, with a fresh optimizer in each round."""

    kinds: ClassVar = (MLPClassifier, MLPRegressor)
    takes: ClassVar = frozenset({"batch_size"})
    many_outputs: ClassVar = True
    refused: ClassVar = {
        "solver": (lambda value: value == "lbfgs", 'use solver="adam" or solver="sgd"'),
        "loss": (lambda value: value == "poisson", 'use loss="squared_error"'),
        "early_stopping": (bool, f"leave it out; {option('patience')} stops a run early"),
    }

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        self.wants_classes = bool(is_classifier(estimator))

    def check_lr(self, lr: float | None) -> list[str]:
        """Return the learning rate that holds."""
        return [] if lr is None else [f"lr: {lr:g}, in place of learning_rate_init"]

    def notes(self) -> list[str]:
        """Return how it is trained."""
        made = self.estimator
        notes = [f"training: {self.name}.partial_fit with {made.solver}, begun anew in each round"]
        if made.batch_size != "auto":
            notes.append(f"batches: --batch-size, and not the estimator's {made.batch_size}")
        return notes

    def first_weights(self, task: Task, agreed: Agreed, seed: int) -> Weights:
        """Return the weights that scikit-learn draws."""
        made = self.made()
        if made.random_state is None:
            made.random_state = seed
        return self.as_weights(self._touched(made, task))

    def learn(
        self, weights: Weights, x: np.ndarray, y: np.ndarray, task: Task, agreed: Agreed, work: Work
    ) -> Learned:
        """Return the weights after that many passes."""
        made = self.fitted(weights, task, agreed)
        made.random_state = work.random_state
        made.batch_size = min(work.batch_size, len(y))
        if work.lr is not None:
            made.learning_rate_init = work.lr
        vars(made).pop("_optimizer", None)  # or it would go on from the made-up rows
        for _ in range(work.epochs):
            work.gate()
            made.partial_fit(x, y)
        return Learned(self.as_weights(made), work.epochs * -(-len(y) // made.batch_size))

    def fit_examples(self, task: Task) -> Any:
        """Return an estimator that is hardly trained on a few made-up rows."""
        return self._touched(self.made(), task)

    def _touched(self, made: Any, task: Task) -> Any:
        """Return an estimator with all its attributes, whose first weights are as they were drawn.

        The step is so small that it changes no number.
        """
        rate, size = made.learning_rate_init, made.batch_size
        x, y = task.examples()
        made.set_params(learning_rate_init=1e-300, batch_size=len(y))
        options = {"classes": task.classes} if self.wants_classes else {}
        made.partial_fit(x, y, **options)
        return made.set_params(learning_rate_init=rate, batch_size=size)

    def fitted(self, weights: Weights, task: Task, agreed: Agreed) -> Any:
        """Return a fitted estimator."""
        made = self.template(task)
        made.coefs_, made.intercepts_ = (
            [np.array(weights[f"{part}.{i}"], order="C") for i in range(len(weights) // 2)]
            for part in ("coef", "intercept")
        )
        return made

    def as_weights(self, fitted: Any) -> Weights:
        """Return the coefficients and intercepts of all layers, in the layers' order."""
        return {
            f"{part}.{i}": np.array(arrays[i], np.float64)
            for i in range(len(fitted.coefs_))
            for part, arrays in (("coef", fitted.coefs_), ("intercept", fitted.intercepts_))
        }
