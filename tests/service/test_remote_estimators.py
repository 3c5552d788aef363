"""Estimators of scikit-learn and boosted trees on a service: the same curve, model and files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving import Server
from upload_files import assert_refused

from fusion_nb import Run, RunSpec
from fusion_nb.service.remote_run import RemoteRun

#: They start processes that import each of these frameworks.
pytestmark = pytest.mark.slow


def rows() -> Any:
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = rng.normal(size=(120, 4)) + 2 * np.eye(3, 4)[y]
    return (x, y), (x[:30], y[:30])


def made(name: str) -> Any:
    if name == "xgboost":
        module = pytest.importorskip("xgboost")
        return module.XGBClassifier(max_depth=2, learning_rate=0.2)
    if name == "lightgbm":
        module = pytest.importorskip("lightgbm")
        return module.LGBMClassifier(num_leaves=3, min_child_samples=5, verbosity=-1)
    pytest.importorskip("skops")
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    last = GaussianNB() if name == "bayes" else LogisticRegression(C=0.5)
    return make_pipeline(StandardScaler(), last)


@pytest.mark.parametrize(
    "name",
    ["logistic", "bayes", "xgboost", "lightgbm"],
)
def test_the_curve_equals_that_of_a_run_in_the_kernel(
    server: Server, name: str, tmp_path: Path
) -> None:
    names = {"model": made(name), "rows": rows()}
    spec = RunSpec(data="rows", rounds=2, parties=2)
    here = Run(spec, names).start().wait()
    there = RemoteRun(spec, names, url=server.url).start().wait()
    assert there.history["loss"] == here.history["loss"]
    x = rows()[0][0]
    np.testing.assert_allclose(there.model.predict_proba(x), here.model.predict_proba(x))
    written = {path.name for path in there.export(str(tmp_path / "fused"))}
    assert written & {"model.skops", "model.json", "model.txt"}


def test_rows_in_which_numbers_are_missing_are_trained_on_by_trees(server: Server) -> None:
    (x, y), (x_test, y_test) = rows()
    rng = np.random.default_rng(1)
    for each in (x, x_test):
        each[rng.random(each.shape) < 0.2] = np.nan
    names = {"model": made("xgboost"), "rows": ((x, y), (x_test, y_test))}
    spec = RunSpec(data="rows", rounds=2, parties=2)
    there = RemoteRun(spec, names, url=server.url).start().wait()
    assert there.history["loss"] == Run(spec, names).start().wait().history["loss"]


TREES = {"xgboost": b'{"learner": {}}', "lightgbm": b"tree\nversion=v4\n\nend of trees\n"}


@pytest.mark.parametrize("model_type", ["sklearn", "xgboost", "lightgbm"])
@pytest.mark.parametrize("content", ["a pickle", "an archive", "trees"])
def test_other_files_are_refused(server: Server, model_type: str, content: str) -> None:
    pytest.importorskip("skops" if model_type == "sklearn" else model_type)
    files = {
        "a pickle": pickle.dumps({"a": 1}),
        "an archive": b"PK\x05\x06" + bytes(18),
        "trees": TREES.get(model_type, b"{}"),
    }
    answer = server.start_aggregator(
        files[content], model_type=model_type, fusion_algorithm="", rounds=1
    )
    assert_refused(answer, server)
