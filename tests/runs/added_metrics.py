"""Parts that tests of added metrics share: data, and scikit-learn's numbers of predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from fusion_nb import Run
from fusion_nb.core import registry
from fusion_nb.core.protocols import Metric, MetricTask

#: Metrics of yes or no, and scikit-learn's functions of labels and the probability of yes.
OF_YES: Mapping[str, Any] = {
    "auc": sk.roc_auc_score,
    "average_precision": sk.average_precision_score,
    "f1": lambda y, p: sk.f1_score(y, p > 0.5, average="macro"),
    "recall_binary": lambda y, p: sk.recall_score(y, p > 0.5),
    "balanced_accuracy": lambda y, p: sk.balanced_accuracy_score(y, p > 0.5),
    "log_loss": sk.log_loss,
    "brier": sk.brier_score_loss,
}
TEXT = "auc,average_precision,f1,recall:average=binary,balanced_accuracy,log_loss,brier"


def yes_or_no(count: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 5)).astype(np.float32)
    return x, (x[:, 0] + rng.normal(size=count) > 1).astype(np.int64)


def one_class_parties(seed: int = 0) -> dict[str, Any]:
    """Parties of which two have rows of one class only, and one very few."""
    x, y = yes_or_no(300, seed)
    no, yes = np.flatnonzero(y == 0), np.flatnonzero(y == 1)
    split = {"none": no[:60], "all": yes[:20], "few": np.r_[no[60:66], yes[20:23]]}
    split["rest"] = np.r_[no[66:], yes[23:]]
    return {name: (x[rows], y[rows]) for name, rows in split.items()}


def is_as_scikit_learn(found: Mapping[str, float], frame: pd.DataFrame, yes: str = "1") -> None:
    """Compare metrics with scikit-learn's of predictions; `yes` is the column of its score."""
    labels = (frame["label"].astype(str) == yes).to_numpy().astype(int)
    scores = frame[yes].to_numpy()
    both, task = np.stack([1 - scores, scores], 1), MetricTask("classes", 2)
    for name, score in OF_YES.items():
        metric: Metric = registry.create("metrics", name.removesuffix("_binary"))
        bound = metric.error(metric.sums(labels, both, task), task)
        assert found[name] == pytest.approx(score(labels, scores), abs=bound + 1e-6), name


def predictions(run: Run, *, personal: bool = False) -> pd.DataFrame:
    frame = run.predictions(personal=personal)
    assert set(frame["label"].astype(str)) <= set(map(str, frame.columns))
    return frame
