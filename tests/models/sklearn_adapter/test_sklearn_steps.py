"""Estimators that parties train step by step, under any fusion for numbers."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Perceptron, SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn_samples import by_class, classes, measurements, parties, trained

from fusion_nb.core import arithmetic

CLASSIFIERS: dict[str, Any] = {
    "hinge": SGDClassifier(),
    "log loss": SGDClassifier(loss="log_loss"),
    "huber": SGDClassifier(loss="modified_huber", penalty="l1"),
    "squared hinge": SGDClassifier(loss="squared_hinge", learning_rate="constant", eta0=0.01),
    "perceptron": Perceptron(),
    "logistic": LogisticRegression(),
    "saga": LogisticRegression(solver="saga"),
    "newton": LogisticRegression(solver="newton-cholesky"),
    "network": MLPClassifier(8, learning_rate_init=0.02),
    "network by sgd": MLPClassifier((6, 4), solver="sgd", learning_rate_init=0.1),
}
REGRESSORS: dict[str, Any] = {
    "squared": SGDRegressor(),
    "huber": SGDRegressor(loss="huber", epsilon=1.0),
    "insensitive": SGDRegressor(loss="epsilon_insensitive"),
    "squared insensitive": SGDRegressor(loss="squared_epsilon_insensitive"),
    "network": MLPRegressor(hidden_layer_sizes=8, learning_rate_init=0.02),
}


def scaled(model: Any) -> Any:
    return make_pipeline(StandardScaler(), clone(model))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_learns(name: str) -> None:
    run = trained(scaled(CLASSIFIERS[name]), parties(classes()), rounds=8)
    assert run.history["accuracy"][-1] > 0.9
    assert run.history["loss"][-1] < run.history["loss"][0]
    x, y = classes()
    assert np.mean(run.model.predict(x) == y) > 0.9


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_learns(name: str) -> None:
    x, y = measurements()
    run = trained(scaled(REGRESSORS[name]), parties((x, (y - y.mean()) / y.std())), rounds=12)
    assert run.history["loss"][-1] < 0.5 * run.history["loss"][0]
    assert "mae" in run.history[-1].metrics


@pytest.mark.parametrize("name", ["hinge", "perceptron", "logistic", "saga", "newton", "network"])
def test_parties_of_one_class_each_get_all_classes(name: str) -> None:
    run = trained(scaled(CLASSIFIERS[name]), by_class(classes()))
    assert run.model.classes_.tolist() == [0, 1, 2]
    assert run.status == "finished"


@pytest.mark.parametrize(
    "fusion", ["fedavg", "iter_avg", "median", "fedadam", "krum:f=0", "fednova", "cyclic", "fda"]
)
def test_any_fusion_for_numbers_will_do(fusion: str) -> None:
    options = {"lr": 0.01} if fusion == "fednova" else {}
    model = scaled(SGDClassifier(loss="log_loss"))
    run = trained(model, parties(classes()), fusion=fusion, **options)
    assert run.history["loss"][-1] < np.log(3)


@pytest.mark.parametrize("name", ["hinge", "perceptron", "saga", "network"])
def test_the_seed_decides_the_curve(name: str) -> None:
    model = scaled(CLASSIFIERS[name])
    runs = [trained(model, parties(classes()), rounds=2, seed=seed) for seed in (3, 3)]
    assert runs[0].history["loss"] == runs[1].history["loss"]
    assert arithmetic.digest(runs[0].weights) == arithmetic.digest(runs[1].weights)


@pytest.mark.parametrize("name", ["hinge", "network"])
def test_another_seed_is_another_curve(name: str) -> None:
    model = scaled(CLASSIFIERS[name])
    runs = [trained(model, parties(classes()), seed=seed) for seed in (3, 4)]
    assert runs[0].history["loss"] != runs[1].history["loss"]


def test_numbers_that_are_drawn_elsewhere_do_not_count() -> None:
    losses = []
    for _ in range(2):
        np.random.rand()
        losses.append(trained(MLPClassifier(4), parties(classes())).history["loss"])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", ["log loss", pytest.param("network", marks=pytest.mark.slow)])
def test_processes_and_workers_give_the_same_curve(name: str) -> None:
    pytest.importorskip("cloudpickle")
    model, data = scaled(CLASSIFIERS[name]), parties(classes())
    engines = ("local", "local:workers=3", "process:workers=2")
    curves = [trained(model, data, engine=engine, rounds=2).history["loss"] for engine in engines]
    assert curves[0] == curves[1] == curves[2]


@pytest.mark.parametrize("name", ["hinge", "logistic", "network"])
def test_the_users_own_object_stays_as_it_is(name: str) -> None:
    model = scaled(CLASSIFIERS[name])
    before = copy.deepcopy(model).get_params()
    trained(model, parties(classes()), rounds=1)
    assert {key: str(value) for key, value in model.get_params().items()} == {
        key: str(value) for key, value in before.items()
    }
    assert not hasattr(model[-1], "coef_")
    assert not hasattr(model[-1], "coefs_")


class TestLabels:
    @pytest.mark.parametrize(
        ("names", "model"),
        [
            (["ant", "bee", "cow"], LogisticRegression()),
            (["ant", "bee", "cow"], MLPClassifier(4, learning_rate_init=0.05)),
            (["ant", "bee", "cow"], SGDClassifier()),
            ([2, 5, 9], LogisticRegression()),
            ([2, 5, 9], MLPClassifier(4, learning_rate_init=0.05)),
            ([-1, 0, 1], SGDClassifier(loss="log_loss")),
        ],
    )
    def test_predictions_are_the_users_own_labels(self, names: list[Any], model: Any) -> None:
        x, y = classes()
        labels = np.array(names)[y]
        run = trained(scaled(model), parties((x, labels)), rounds=15)
        assert run.model.classes_.tolist() == names
        assert np.mean(run.model.predict(x) == labels) > 0.8
        assert run.history["accuracy"][-1] == pytest.approx(np.mean(run.model.predict(x) == labels))

    def test_two_classes_have_one_row_of_coefficients(self) -> None:
        x, y = classes()
        for model in (SGDClassifier(), LogisticRegression(), Perceptron()):
            run = trained(scaled(model), parties((x, y % 2)))
            assert run.weights["coef"].shape == (1, 5)
            assert set(run.model.predict(x)) <= {0, 1}

    @pytest.mark.parametrize("model", [SGDClassifier(), LogisticRegression()])
    def test_class_weights_are_by_the_users_labels(self, model: Any) -> None:
        x, y = classes()
        labels = np.array(["no", "yes"])[(y == 0).astype(int)]
        weighted = clone(model).set_params(class_weight={"yes": 20.0, "no": 1.0})
        found = [
            np.mean(trained(scaled(each), parties((x, labels))).model.predict(x) == "yes")
            for each in (model, weighted)
        ]
        assert found[1] > found[0]


class TestMetrics:
    @pytest.mark.parametrize("name", ["log loss", "logistic", "network"])
    def test_the_loss_is_the_log_loss(self, name: str) -> None:
        metrics = pytest.importorskip("sklearn.metrics")
        x, y = classes()
        run = trained(scaled(CLASSIFIERS[name]), parties((x, y)))
        expected = metrics.log_loss(y, run.model.predict_proba(x))
        assert run.history["loss"][-1] == pytest.approx(expected, rel=1e-6)

    def test_the_loss_of_two_classes_is_the_hinge_loss(self) -> None:
        metrics = pytest.importorskip("sklearn.metrics")
        x, y = classes()
        run = trained(scaled(SGDClassifier()), parties((x, y % 2)))
        expected = metrics.hinge_loss(y % 2, run.model.decision_function(x))
        assert run.history["loss"][-1] == pytest.approx(expected)

    def test_the_loss_of_numbers_is_the_squared_error(self) -> None:
        x, y = measurements()
        y = (y - y.mean()) / y.std()
        run = trained(scaled(SGDRegressor()), parties((x, y)))
        errors = run.model.predict(x) - y
        assert run.history["loss"][-1] == pytest.approx(np.mean(errors**2))
        assert run.history["mae"][-1] == pytest.approx(np.mean(np.abs(errors)))


class TestOneParty:
    """A federation of one party is the estimator itself."""

    def test_passes_are_those_of_partial_fit(self) -> None:
        x, y = classes()
        run = trained(SGDClassifier(shuffle=False), parties((x, y), (240,)), rounds=4)
        own = SGDClassifier(shuffle=False)
        for _ in range(4):
            own.partial_fit(x, y, classes=[0, 1, 2])
        np.testing.assert_allclose(run.model.coef_, own.coef_)
        assert run.model.t_ == own.t_

    def test_iterations_end_at_the_fit_of_all_rows(self) -> None:
        x, y = classes()
        model = LogisticRegression(C=0.5)
        run = trained(scaled(model), parties((x, y), (240,)), rounds=8, epochs=40)
        expected = scaled(model).fit(x, y)
        np.testing.assert_allclose(run.model[-1].coef_, expected[-1].coef_, atol=2e-3)

    def test_a_learning_rate_is_honoured(self) -> None:
        data = parties(classes())
        curves = [trained(scaled(SGDClassifier()), data, lr=lr).history["loss"] for lr in (0.1, 1)]
        assert curves[0] != curves[1]

    def test_batches_are_honoured(self) -> None:
        data = parties(classes())
        curves = [
            trained(MLPClassifier(4), data, batch_size=size).history["loss"] for size in (8, 64)
        ]
        assert curves[0] != curves[1]


def test_a_penalty_counts_the_rows_of_all_parties() -> None:
    """The fused coefficients come close to those of all rows, whatever the number of parties."""
    x, y = classes()
    x = StandardScaler().fit_transform(x)
    expected = LogisticRegression(C=0.01).fit(x, y)
    run = trained(LogisticRegression(C=0.01), parties((x, y), (48,) * 4), rounds=20)
    size = np.abs(run.model.coef_).max() / np.abs(expected.coef_).max()
    assert 0.9 < size < 1.1


def test_images_are_flattened_and_scaled() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = (rng.integers(0, 120, (60, 8, 8)) + 100 * y[:, None, None]).astype(np.uint8)
    run = trained(LogisticRegression(), ((x, y), (x, y)), parties=3)
    assert any("flattened to 64 numbers" in note for note in run.notes)
    assert run.weights["coef"].shape == (1, 64)


def test_columns_have_the_names_of_a_frame() -> None:
    pandas = pytest.importorskip("pandas")
    x, y = classes()
    frame = pandas.DataFrame(x, columns=list("abcde")).assign(label=y)
    run = trained(scaled(SGDClassifier()), frame, label="label", parties=3)
    assert run.model.feature_names_in_.tolist() == list("abcde")
    assert len(run.model.predict(frame[list("abcde")])) == 240
