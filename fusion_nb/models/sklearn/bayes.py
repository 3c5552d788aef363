"""Naive Bayes from counts, sums and squares over all rows."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB

from fusion_nb.core.types import Weights
from fusion_nb.models.sklearn.learner import Agreed, ExactLearner
from fusion_nb.models.tabular import Task


class Gaussian(ExactLearner):
    """GaussianNB: each class's mean and variance of every feature.

    Sums are taken around the mean of all rows, which parties agree on, so that a variance keeps its
    digits where numbers are far from 0.
    """

    kinds: ClassVar = (GaussianNB,)
    wants_classes = True

    def sums(self, x: np.ndarray, y: np.ndarray, task: Task, agreed: Agreed) -> Weights:
        """Return each class's number of rows, and its features' sums and squares."""
        rows, belongs = x - agreed.means, task.one_hot(y)
        return {"count": belongs.sum(0), "sum": belongs.T @ rows, "squares": belongs.T @ rows**2}

    def fitted(self, weights: Weights, task: Task, agreed: Agreed) -> Any:
        """Return a fitted estimator."""
        made, counts = self.template(task), weights["count"]
        known = np.maximum(counts, 1)[:, None]
        means = weights["sum"] / known
        variances = np.maximum(weights["squares"] / known - means**2, 0)
        total = max(counts.sum(), 1.0)
        overall = weights["squares"].sum(0) / total - (weights["sum"].sum(0) / total) ** 2
        # Before a party trained, there is no variance: scikit-learn divides by it.
        made.epsilon_ = float(made.var_smoothing * overall.max()) or 1e-9
        made.theta_, made.var_ = means + agreed.means, variances + made.epsilon_
        made.class_count_ = counts
        made.class_prior_ = _shares(counts) if made.priors is None else np.asarray(made.priors)
        return made


class Discrete(ExactLearner):
    """MultinomialNB and BernoulliNB: each class's counts of every feature."""

    kinds: ClassVar = (MultinomialNB, BernoulliNB)
    wants_classes = True

    def row_fault(self, low: float | None) -> str:
        """Return that counts are not negative."""
        if isinstance(self.estimator, MultinomialNB) and low is not None and low < 0:
            return f"rows go down to {low:g}, and a MultinomialNB takes counts"
        return ""

    def sums(self, x: np.ndarray, y: np.ndarray, task: Task, agreed: Agreed) -> Weights:
        """Return each class's number of rows, and the sums of its features."""
        threshold = getattr(self.estimator, "binarize", None)
        rows = x if threshold is None else (x > threshold).astype(np.float64)
        belongs = task.one_hot(y)
        return {"count": belongs.sum(0), "sum": belongs.T @ rows}

    def fitted(self, weights: Weights, task: Task, agreed: Agreed) -> Any:
        """Return a fitted estimator."""
        made, counts = self.template(task), weights["count"]
        alpha = np.asarray(made.alpha, np.float64)
        alpha = alpha if made.force_alpha else np.maximum(alpha, 1e-10)
        # Before a party trained, a logarithm of 0 would be no number.
        smooth = np.maximum(weights["sum"] + alpha, 1e-300)
        if isinstance(made, BernoulliNB):
            total = np.maximum(counts + 2 * alpha, 1e-300)[:, None]
        else:
            total = smooth.sum(1, keepdims=True)
        made.feature_count_, made.class_count_ = weights["sum"], counts
        made.feature_log_prob_ = np.log(smooth) - np.log(total)
        made.class_log_prior_ = self._log_prior(made, counts)
        return made

    @staticmethod
    def _log_prior(made: Any, counts: np.ndarray) -> np.ndarray:
        if made.class_prior is not None:
            return np.log(np.asarray(made.class_prior))
        if not made.fit_prior:
            return np.full(len(counts), -np.log(len(counts)))
        return np.log(_shares(counts))


def _shares(counts: np.ndarray) -> np.ndarray:
    """Return the shares of classes; next to none, and not 0, for one that a party lacks."""
    total = counts.sum()
    shares = counts / total if total else np.full(len(counts), 1 / len(counts))
    return np.maximum(shares, 1e-300)
