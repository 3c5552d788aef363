"""scikit-learn's estimators and boosted trees of five parties, beside one model that has all rows
and beside a party alone, on scikit-learn's own data: no MNIST is needed.

There is no paper with this set-up. The figures of the column "published" are those of a plain loop
over the same libraries, without this package, on another random split: accuracy on digits (1,347
training rows and 450 test rows, 5 parties) and the area under the ROC curve on breast cancer (5
parties, 20 rounds). For estimators that follow exactly from sums, the figure is the largest
difference from the fit to all rows together.

    python -m benchmarks.papers.estimators [CASE ...] [--seed N]
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.papers.common import Arrays, Case, Figure, Row, Setup, rows, table
from fusion_nb import federate
from fusion_nb.runs.run import Run

PARTIES = 5
#: Test rows of digits, and share of the rows of breast cancer.
NUM_TEST, TEST_SHARE = 450, 0.25
#: Rounds of estimators that are trained step by step, and steps of k-means.
STEPS, LLOYD = 20, 10


def divided(x: np.ndarray, y: np.ndarray, num_test: int, seed: int) -> tuple[Arrays, Arrays]:
    """Return training and test rows in a random order."""
    order = np.random.default_rng(seed).permutation(len(y))
    train, test = order[num_test:], order[:num_test]
    return (x[train], y[train]), (x[test], y[test])


def digits(seed: int) -> tuple[Arrays, Arrays]:
    """Return scikit-learn's digits, pixels from 0 to 1."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return divided(x / 16, y, NUM_TEST, seed)


def cancer(seed: int) -> tuple[Arrays, Arrays]:
    """Return scikit-learn's breast cancer data."""
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return divided(x, y, int(TEST_SHARE * len(y)), seed)


def classifier(name: str) -> Any:
    """Return an estimator as a user makes it."""
    if name == "xgboost":
        from xgboost import XGBClassifier

        return XGBClassifier()
    if name == "lightgbm":
        from lightgbm import LGBMClassifier

        return LGBMClassifier(verbosity=-1)
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.neural_network import MLPClassifier

    made: dict[str, Callable[[], Any]] = {
        "sgd": SGDClassifier,
        "mlp": lambda: MLPClassifier(64),
        "logistic": LogisticRegression,
    }
    return made[name]()


def trained(model: Any, data: tuple[Arrays, Arrays], setup: Setup, **options: Any) -> Run:
    """Return the run of a model, each party alone and one model on all rows beside it."""
    if setup.quick:
        options["rounds"] = 2
    return federate(model, data, parties=PARTIES, seed=setup.seed, holdout=0, **options)


def in_words(options: dict[str, Any]) -> str:
    """Return options as a cell has them."""
    return " ".join(f"{option}={value}" for option, value in options.items())


def accuracy(
    name: str, options: dict[str, Any], known: tuple[float, float], accepted: tuple[float, float],
    setup: Setup,
) -> Row:  # fmt: skip
    """Return the accuracy on digits.

    known: of a plain loop, and of one model that has all rows, in that loop
    """
    chosen = {"baseline": "central,local", **options}
    run = trained(classifier(name), digits(setup.seed), setup, **chosen)
    last = run.history[-1].metrics
    found, (low, high) = last["accuracy"], accepted
    return Row(
        f"{name} on digits, {in_words(options)}: accuracy",
        f"{known[0]:.3f} (central {known[1]:.3f})",
        (
            Figure(found, ".3f"),
            Figure(last["central_accuracy"], ".3f", name="central "),
            Figure(last["alone_accuracy"], ".3f", name="alone "),
        ),
        f"{low} to {high}",
        low <= found <= high,
    )


def area(name: str, options: dict[str, Any], known: str, setup: Setup) -> Row:
    """Return the area under the ROC curve on breast cancer."""
    from sklearn.metrics import roc_auc_score

    data = cancer(setup.seed)
    run = trained(classifier(name), data, setup, **options)
    (x, y), (x_test, y_test) = data
    found = roc_auc_score(y_test, run.model.predict_proba(x_test)[:, 1])
    central = classifier(name).set_params(n_estimators=100).fit(x, y)
    best = roc_auc_score(y_test, central.predict_proba(x_test)[:, 1])
    return Row(
        f"{name} on breast cancer, {in_words(options)}: AUC",
        known,
        (Figure(found, ".3f"), Figure(best, ".3f", name="central, 100 rounds, ")),
        "0.96 to 1",
        found >= 0.96,
    )


def exact(name: str, setup: Setup) -> Row:
    """Return the largest difference between an estimator of the parties and that of all rows."""
    from sklearn.cluster import KMeans
    from sklearn.linear_model import Ridge
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = digits(setup.seed)
    (x, y), _ = data
    first = x[:10]
    models: dict[str, Any] = {
        "naive_bayes": GaussianNB(),
        "ridge": Ridge(),
        "kmeans": KMeans(10, init=first, n_init=1, max_iter=LLOYD, tol=0),
        "pipeline": make_pipeline(StandardScaler(), GaussianNB()),
    }
    model, num_rounds = models[name], LLOYD if name == "kmeans" else 1
    run = federate(model, data, parties=PARTIES, seed=setup.seed, holdout=0, rounds=num_rounds)
    expected = models[name].fit(x, y)
    attributes = {
        "naive_bayes": ("theta_", "var_", "class_prior_"),
        "ridge": ("coef_", "intercept_"),
        "kmeans": ("cluster_centers_",),
        "pipeline": ("theta_", "var_"),
    }[name]
    mine, theirs = (run.model[-1], expected[-1]) if name == "pipeline" else (run.model, expected)
    if name == "kmeans":
        theirs = _Lloyd(x, first, LLOYD)
    found = max(float(np.abs(getattr(mine, a) - getattr(theirs, a)).max()) for a in attributes)
    return Row(
        f"{name} on digits, {num_rounds} round(s): largest difference from all rows together",
        "0",
        (Figure(found, ".1e"),),
        "at most 1e-10",
        found <= 1e-10,
    )


class _Lloyd:
    """Lloyd's algorithm as its author has it: scikit-learn's own may stop earlier."""

    def __init__(self, x: np.ndarray, centres: np.ndarray, steps: int) -> None:
        for _ in range(steps):
            nearest = ((x[:, None] - centres) ** 2).sum(-1).argmin(1)
            centres = np.stack([x[nearest == k].mean(0) for k in range(len(centres))])
        self.cluster_centers_ = centres


_BOOSTED = {"rounds": 10}
CASES: dict[str, Case] = {
    "xgboost_bagging": functools.partial(
        accuracy, "xgboost", _BOOSTED, (0.960, 0.933), (0.91, 0.98)
    ),
    "xgboost_sum": functools.partial(
        accuracy, "xgboost", {**_BOOSTED, "fusion": "bagging:eta=0"}, (0.960, 0.933), (0.91, 0.98)
    ),
    "xgboost_cyclic": functools.partial(
        accuracy, "xgboost", {**_BOOSTED, "fusion": "cyclic"}, (0.960, 0.933), (0.88, 0.98)
    ),
    "lightgbm_bagging": functools.partial(
        accuracy, "lightgbm", _BOOSTED, (0.960, 0.933), (0.90, 0.98)
    ),
    "cancer": functools.partial(
        area, "xgboost", {"rounds": 20}, "0.980 (central 0.985, alone 0.964)"
    ),
    "sgd": functools.partial(accuracy, "sgd", {"rounds": STEPS}, (0.951, 0.969), (0.92, 0.98)),
    "mlp": functools.partial(
        accuracy, "mlp", {"rounds": STEPS, "epochs": 5}, (0.964, 0.969), (0.92, 0.99)
    ),
    "logistic": functools.partial(
        accuracy, "logistic", {"rounds": STEPS}, (0.940, 0.964), (0.91, 0.98)
    ),
    **{
        name: functools.partial(exact, name)
        for name in ("naive_bayes", "ridge", "kmeans", "pipeline")
    },
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    nothing = np.empty(0), np.empty(0)
    setup = Setup(nothing, nothing, seed=given.seed)
    print(f"\n{table(rows(setup, CASES, given.cases or None))}")
