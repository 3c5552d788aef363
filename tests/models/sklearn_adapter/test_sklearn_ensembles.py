"""scikit-learn's estimators of several parties, which predict together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_samples import classes, measurements, parties, trained

from fusion_nb.errors import OptionError
from fusion_nb.models import lookup

MODELS = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    "network": make_pipeline(StandardScaler(), MLPClassifier(6, learning_rate_init=0.05)),
    "hinge": make_pipeline(StandardScaler(), SGDClassifier()),
    "bayes": GaussianNB(),
}


@pytest.mark.parametrize("rule", ["mean", "vote"])
@pytest.mark.parametrize("name", MODELS)
def test_members_predict_together(name: str, rule: str, tmp_path: Path) -> None:
    x, y = classes()
    labels = np.array(["ant", "bee", "cow"])[y]
    run = trained(MODELS[name], parties((x, labels)), ensemble=rule, rounds=1, epochs=8)
    assert len(run.model.estimators_) == 4
    right = np.mean(run.model.predict(x) == labels)
    assert right > 0.8
    is_soft = rule == "mean" and name != "hinge"
    assert run.history["accuracy"][-1] == pytest.approx(right, abs=1e-9 if is_soft else 0.05)


def test_numbers_are_averaged() -> None:
    x, y = measurements()
    run = trained(Ridge(), parties((x, y)), ensemble="mean", rounds=1)
    assert run.history["loss"][-1] == pytest.approx(np.mean((run.model.predict(x) - y) ** 2))


@pytest.mark.slow
def test_processes_give_the_same(tmp_path: Path) -> None:
    pytest.importorskip("cloudpickle")
    runs = [
        trained(MODELS["logistic"], parties(classes()), ensemble="mean", rounds=1, engine=engine)
        for engine in ("local", "process:workers=2")
    ]
    assert runs[0].history["loss"] == runs[1].history["loss"]


@pytest.mark.parametrize("method", ["stack", "distill:data=digits"])
def test_methods_that_it_has_not_are_refused(method: str) -> None:
    with pytest.raises(OptionError, match="ensemble"):
        trained(GaussianNB(), parties(classes()), ensemble=method, rounds=1)


def test_an_ensemble_is_written(tmp_path: Path) -> None:
    x, y = classes()
    run = trained(MODELS["logistic"], parties((x, y)), ensemble="mean", rounds=1)
    run.export(str(tmp_path / "out"))
    skops: Any = pytest.importorskip("skops.io")
    path = tmp_path / "out" / "model.skops"
    found = skops.load(path, trusted=skops.get_untrusted_types(file=path))
    np.testing.assert_allclose(found.predict_proba(x), run.model.predict_proba(x))
    with pytest.raises(Exception, match="VotingClassifier"):
        lookup.find(str(path), {})
