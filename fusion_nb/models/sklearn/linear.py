"""Linear models that parties train step by step: SGD, Perceptron, logistic regression."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import (
    LogisticRegression,
    Perceptron,
    SGDClassifier,
    SGDRegressor,
)

from fusion_nb.core.types import Weights
from fusion_nb.errors import option
from fusion_nb.models.sklearn import scores
from fusion_nb.models.sklearn.learner import Agreed, Learned, Learner, Work
from fusion_nb.models.tabular import Task


def _passive_aggressive() -> tuple[type, ...]:
    """Return the classes of passive-aggressive models, which later versions no longer have."""
    import sklearn.linear_model as module

    names = ("PassiveAggressiveClassifier", "PassiveAggressiveRegressor")
    return tuple(vars(module)[name] for name in names if name in vars(module))


_PASSIVE_AGGRESSIVE = _passive_aggressive()
_BALANCED = "give the weights as a dict {class: weight}, the same at every party"


class Online(Learner):
    """SGDClassifier, SGDRegressor, Perceptron, PassiveAggressive*: `partial_fit` for each pass.

    Every row is a step. The entry `steps` counts them, since the estimator's learning rate falls
    with it.
    """

    kinds: ClassVar = (SGDClassifier, SGDRegressor, Perceptron, *_PASSIVE_AGGRESSIVE)
    refused: ClassVar = {
        "early_stopping": (bool, f"leave it out; {option('patience')} stops a run early"),
        "average": (bool, "leave it out: parties' weights are averaged by the fusion"),
        "class_weight": (lambda value: value == "balanced", _BALANCED),
    }

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator)
        self.wants_classes = bool(is_classifier(estimator))
        self._has_lr = not isinstance(estimator, _PASSIVE_AGGRESSIVE)

    def check_parameters(self) -> None:
        """Raise ModelError for a loss or an option that parties can't train with."""
        super().check_parameters()
        scores.check_loss(self.estimator, is_classifier=bool(self.wants_classes))

    def check_lr(self, lr: float | None) -> list[str]:
        """Return the learning rate that holds."""
        if lr is None or not self._has_lr:
            return super().check_lr(lr)
        return [f"lr: {lr:g} throughout, in place of the schedule of the {self.name}"]

    def notes(self) -> list[str]:
        """Return how it is trained."""
        return [f"training: {self.name}.partial_fit, a step for each row"]

    def first_weights(self, task: Task, agreed: Agreed, seed: int) -> Weights:
        """Return zeros."""
        count = len(task.classes) if len(task.classes) > 2 else 1
        shape = (count, task.num_features) if self.wants_classes else (task.num_features,)
        return {
            "coef": np.zeros(shape),
            "intercept": np.zeros(count),
            "steps": np.array(1, np.int64),
        }

    def learn(
        self, weights: Weights, x: np.ndarray, y: np.ndarray, task: Task, agreed: Agreed, work: Work
    ) -> Learned:
        """Return the weights after that many passes."""
        made = self._with(weights, task)
        made.random_state = work.random_state
        if work.lr is not None and self._has_lr:
            made.eta0 = work.lr
            if not isinstance(made, Perceptron):
                made.learning_rate = "constant"
        options = {"classes": task.classes} if self.wants_classes else {}
        for _ in range(work.epochs):
            work.gate()
            made.partial_fit(x, y, **options)
        num_steps = work.epochs * len(y)
        size = float("nan") if work.lr is None else work.lr * num_steps
        return Learned(self.as_weights(made), num_steps, size)

    def fitted(self, weights: Weights, task: Task, agreed: Agreed) -> Any:
        """Return a fitted estimator."""
        return self._with(weights, task)

    def as_weights(self, fitted: Any) -> Weights:
        """Return coefficients, intercept and steps."""
        return {
            "coef": np.array(fitted.coef_, np.float64),
            "intercept": np.array(fitted.intercept_, np.float64),
            "steps": np.array(round(float(fitted.t_)), np.int64),
        }

    def fit_examples(self, task: Task) -> Any:
        """Return an estimator that made one pass over a few made-up rows."""
        options = {"classes": task.classes} if self.wants_classes else {}
        return self.made().partial_fit(*task.examples(), **options)

    def _with(self, weights: Weights, task: Task) -> Any:
        made = self.template(task)
        made.coef_ = np.array(weights["coef"], order="C")
        made.intercept_ = np.array(weights["intercept"])
        made.t_ = float(weights["steps"])
        return made


class Logistic(Learner):
    """LogisticRegression with a warm start: an epoch is one iteration of its solver.

    `C` weighs the sum of the losses against the penalty. A party's is divided by its share of all
    rows, so that the parties' objectives add up to that of all rows together.
    """

    kinds: ClassVar = (LogisticRegression,)
    wants_classes = True
    refused: ClassVar = {
        "solver": (lambda value: value == "liblinear", 'use solver="lbfgs"'),
        "class_weight": (lambda value: value == "balanced", _BALANCED),
    }

    def notes(self) -> list[str]:
        """Return how it is trained."""
        return [
            f"training: an epoch is an iteration of the solver {self.estimator.solver}, from the "
            "fused weights; C counts the rows of all parties"
        ]

    def first_weights(self, task: Task, agreed: Agreed, seed: int) -> Weights:
        """Return zeros."""
        count = len(task.classes) if len(task.classes) > 2 else 1
        return {"coef": np.zeros((count, task.num_features)), "intercept": np.zeros(count)}

    def learn(
        self, weights: Weights, x: np.ndarray, y: np.ndarray, task: Task, agreed: Agreed, work: Work
    ) -> Learned:
        """Return the weights after that many iterations."""
        work.gate()
        made = self.fitted(weights, task, agreed)
        share = len(y) / max(agreed.num_rows, 1)
        made.set_params(
            warm_start=True,
            max_iter=work.epochs,
            C=self.estimator.C / share,
            random_state=work.random_state,
        )
        # A row of each class without a weight: scikit-learn takes the classes from the labels.
        others, labels = task.examples()
        counts = np.concatenate([np.ones(len(y)), np.zeros(len(labels))])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # few iterations are the plan
            made.fit(np.concatenate([x, others]), np.concatenate([y, labels]), counts)
        return Learned(self.as_weights(made), work.epochs)

    def fitted(self, weights: Weights, task: Task, agreed: Agreed) -> Any:
        """Return a fitted estimator."""
        made = self.template(task)
        made.coef_ = np.array(weights["coef"], order="C")
        made.intercept_ = np.array(weights["intercept"])
        return made

    def fit_examples(self, task: Task) -> Any:
        """Return an estimator that is fitted to a few made-up rows."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().fit_examples(task)

    def as_weights(self, fitted: Any) -> Weights:
        """Return coefficients and intercept."""
        count = len(fitted.coef_)
        return {
            "coef": np.array(fitted.coef_, np.float64),
            "intercept": np.broadcast_to(fitted.intercept_, count).astype(np.float64),
        }
