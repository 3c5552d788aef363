"""Least squares from sums of products over all rows: LinearRegression and Ridge."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge

from fusion_nb.core.types import Weights
from fusion_nb.models.sklearn.learner import Agreed, ExactLearner
from fusion_nb.models.tabular import Task

#: Eigenvalues below this share of the largest one are taken for 0.
_TINY = 1e-13


class LeastSquares(ExactLearner):
    """LinearRegression and Ridge: the solution of the normal equations of all rows.

    Products are taken around the means of all rows and labels, which parties agree on.
    """

    kinds: ClassVar = (LinearRegression, Ridge)
    wants_classes = False
    many_outputs: ClassVar = True
    refused: ClassVar = {"positive": (bool, "leave it out: it has no closed form")}

    def sums(self, x: np.ndarray, y: np.ndarray, task: Task, agreed: Agreed) -> Weights:
        """Return the number of rows, the sums, and the products of features and labels."""
        middle, label_middle = self._middle(agreed)
        rows, targets = x - middle, y.reshape(len(y), len(label_middle)) - label_middle
        return {
            "count": np.array(float(len(y))),
            "sum": rows.sum(0),
            "label_sum": targets.sum(0),
            "products": rows.T @ rows,
            "label_products": rows.T @ targets,
        }

    def fitted(self, weights: Weights, task: Task, agreed: Agreed) -> Any:
        """Return a fitted estimator."""
        made = self.template(task)
        count = max(float(weights["count"]), 1.0)
        gram, products = weights["products"], weights["label_products"]
        rows, targets = weights["sum"] / count, weights["label_sum"] / count
        if made.fit_intercept:
            gram = gram - count * np.outer(rows, rows)
            products = products - count * np.outer(rows, targets)
        alpha = np.broadcast_to(getattr(made, "alpha", 0.0), products.shape[1])
        found = np.stack(
            [_solved(gram, product, a) for product, a in zip(products.T, alpha, strict=True)]
        )
        middle, label_middle = self._middle(agreed)
        intercept = label_middle + targets - found @ (middle + rows)
        made.coef_ = found if task.shape else found[0]
        made.intercept_ = intercept if task.shape else float(intercept[0])
        if not made.fit_intercept:
            made.intercept_ = 0.0
        return made

    def _middle(self, agreed: Agreed) -> tuple[np.ndarray, np.ndarray]:
        """Return the means around which products are taken: 0 for a model without intercept."""
        used = float(self.estimator.fit_intercept)
        return agreed.means * used, agreed.label_means.reshape(-1) * used


def _solved(gram: np.ndarray, product: np.ndarray, alpha: float) -> np.ndarray:
    """Return the solution of the normal equations, the shortest one where there are several."""
    penalised = gram + alpha * np.eye(len(gram))
    # Features of different sizes: with ones on the diagonal, fewer digits are lost.
    sizes = np.sqrt(np.maximum(np.diag(penalised), 0))
    if sizes.all():
        scaled = penalised / np.outer(sizes, sizes)
        values, vectors = np.linalg.eigh(scaled)
        if values[0] > _TINY * values[-1]:
            return np.asarray((vectors @ ((vectors.T @ (product / sizes)) / values)) / sizes)
    return np.asarray(np.linalg.pinv(penalised, rcond=_TINY, hermitian=True) @ product)
