"""Estimators from sums over rows: after one round they are those of all rows together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, StandardScaler
from sklearn_samples import by_class, classes, counts, measurements, parties, trained

#: An estimator, its rows, and the attributes that the fit to all rows has.
FITS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "gaussian": (GaussianNB(), classes(), ("theta_", "var_", "class_prior_", "class_count_")),
    "priors": (GaussianNB(priors=[0.5, 0.3, 0.2]), classes(), ("theta_", "var_", "class_prior_")),
    "smoothing": (GaussianNB(var_smoothing=0.1), classes(), ("theta_", "var_", "epsilon_")),
    "multinomial": (MultinomialNB(), counts(), ("feature_log_prob_", "class_log_prior_")),
    "alpha": (MultinomialNB(alpha=0.3, fit_prior=False), counts(), ("feature_log_prob_",)),
    "prior": (
        MultinomialNB(class_prior=[0.2, 0.3, 0.5]),
        counts(),
        ("feature_log_prob_", "class_log_prior_"),
    ),
    "bernoulli": (BernoulliNB(binarize=2.0), counts(), ("feature_log_prob_", "class_log_prior_")),
    "least squares": (LinearRegression(), measurements(), ("coef_", "intercept_")),
    "no intercept": (LinearRegression(fit_intercept=False), measurements(), ("coef_",)),
    "ridge": (Ridge(alpha=3.0), measurements(), ("coef_", "intercept_")),
    "ridge, no intercept": (Ridge(fit_intercept=False), measurements(), ("coef_", "intercept_")),
    "standard": (StandardScaler(), classes(), ("mean_", "var_", "scale_", "n_samples_seen_")),
    "without mean": (StandardScaler(with_mean=False), classes(), ("var_", "scale_")),
    "without deviation": (StandardScaler(with_std=False), classes(), ("mean_",)),
    "range": (MinMaxScaler((-1, 2)), classes(), ("data_min_", "data_max_", "scale_", "min_")),
    "largest": (MaxAbsScaler(), classes(), ("max_abs_", "scale_")),
}


def central(model: Any, data: Any) -> Any:
    return clone(model).fit(*data)


def assert_close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", FITS)
def test_one_round_gives_the_fit_to_all_rows(name: str) -> None:
    model, data, attributes = FITS[name]
    found = trained(model, parties(data), rounds=1).model
    for attribute in attributes:
        assert_close(getattr(found, attribute), getattr(central(model, data), attribute))


@pytest.mark.parametrize("name", FITS)
def test_predictions_are_those_of_the_fit_to_all_rows(name: str) -> None:
    model, data, _ = FITS[name]
    found, expected = trained(model, parties(data), rounds=1).model, central(model, data)
    method = next(
        each for each in ("predict_proba", "predict", "transform") if hasattr(expected, each)
    )
    assert_close(getattr(found, method)(data[0]), getattr(expected, method)(data[0]))


@pytest.mark.parametrize("name", ["gaussian", "multinomial", "bernoulli"])
def test_parties_of_one_class_each_give_it_as_well(name: str) -> None:
    model, data, attributes = FITS[name]
    found = trained(model, by_class(data), rounds=1).model
    for attribute in attributes:
        assert_close(getattr(found, attribute), getattr(central(model, data), attribute))


@pytest.mark.parametrize(
    "scalers",
    [
        (StandardScaler(),),
        (MinMaxScaler(),),
        (MaxAbsScaler(),),
        (StandardScaler(), MinMaxScaler((1, 3))),
        (MinMaxScaler(), StandardScaler(with_std=False)),
    ],
    ids=lambda scalers: " ".join(type(each).__name__ for each in scalers),
)
@pytest.mark.parametrize("last", [GaussianNB(), Ridge(), "nothing"], ids=str)
def test_a_pipeline_is_that_of_all_rows(scalers: Any, last: Any) -> None:
    data = measurements() if isinstance(last, Ridge) else classes()
    model = make_pipeline(*scalers, *([] if last == "nothing" else [last]))
    found, expected = trained(model, parties(data), rounds=1).model, central(model, data)
    for own, other in zip(found, expected, strict=True):
        assert type(own) is type(other)
    method = "transform" if last == "nothing" else "predict"
    assert_close(getattr(found, method)(data[0]), getattr(expected, method)(data[0]))


def test_more_rounds_change_nothing() -> None:
    run = trained(GaussianNB(), parties(classes()), rounds=3)
    assert len(set(run.history["loss"])) == 1
    assert any("exact" in note for note in run.notes)


def test_means_far_from_zero_cost_no_digits() -> None:
    x, y = classes()
    run = trained(GaussianNB(), parties((x + 1e6, y)), rounds=1)
    np.testing.assert_allclose(run.model.var_, GaussianNB().fit(x + 1e6, y).var_, rtol=1e-7)


def test_several_labels_a_row() -> None:
    x, y = measurements()
    both = np.stack([y, 2 * x[:, 0] - 1], axis=1)
    run = trained(Ridge(), parties((x, both)), rounds=1)
    expected = Ridge().fit(x, both)
    assert_close(run.model.coef_, expected.coef_)
    assert_close(run.model.predict(x), expected.predict(x))


def test_features_that_repeat_each_other_have_the_shortest_solution() -> None:
    x, y = measurements()
    x = np.concatenate([x, x[:, :1]], axis=1)
    found = trained(LinearRegression(), parties((x, y)), rounds=1).model
    expected = LinearRegression().fit(x, y)
    np.testing.assert_allclose(found.predict(x), expected.predict(x), rtol=1e-7)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-5, atol=1e-6)


class TestKMeans:
    def test_a_round_is_a_step_of_lloyds_algorithm(self) -> None:
        x, y = classes()
        x = StandardScaler().fit_transform(x)
        first = x[[0, 1, 2]]
        for rounds in (1, 2, 6):
            run = trained(KMeans(3, init=first), parties((x, y)), rounds=rounds)
            assert_close(run.model.cluster_centers_, lloyd(x, first, rounds))

    def test_it_ends_at_scikit_learns_own_centres(self) -> None:
        x, y = classes()
        x = StandardScaler().fit_transform(x)
        first = x[[0, 1, 2]]
        run = trained(KMeans(3, init=first), parties((x, y)), rounds=25)
        expected = KMeans(3, init=first, n_init=1, tol=0).fit(x)
        assert_close(run.model.cluster_centers_, expected.cluster_centers_)
        assert np.array_equal(run.model.predict(x), expected.predict(x))
        assert run.history["loss"][-1] == pytest.approx(expected.inertia_ / len(x))

    def test_first_centres_are_found_by_the_parties(self) -> None:
        data = classes()
        model = make_pipeline(StandardScaler(), KMeans(3, random_state=0))
        run = trained(model, by_class(data), rounds=8)
        assert run.history["loss"][-1] <= run.history["loss"][0]
        best = make_pipeline(StandardScaler(), KMeans(3, n_init=20, random_state=0)).fit(data[0])
        assert run.history["loss"][-1] <= 1.05 * best[-1].inertia_ / len(data[1])

    def test_a_cluster_without_rows_keeps_its_centre(self) -> None:
        x, y = classes()
        first = np.concatenate([x[:2], [[1e6] * 5]])
        run = trained(KMeans(3, init=first), parties((x, y)), rounds=3)
        np.testing.assert_allclose(run.model.cluster_centers_[2], first[2])

    def test_the_seed_decides_the_first_centres(self) -> None:
        data = classes()
        runs = [trained(KMeans(4), parties(data), seed=seed) for seed in (0, 0, 1)]
        found = [run.model.cluster_centers_.tolist() for run in runs]
        assert found[0] == found[1] != found[2]


def lloyd(x: np.ndarray, centres: np.ndarray, steps: int) -> np.ndarray:
    """Lloyd's algorithm, as its author has it."""
    for _ in range(steps):
        nearest = ((x[:, None] - centres) ** 2).sum(-1).argmin(1)
        centres = np.stack([x[nearest == k].mean(0) for k in range(len(centres))])
    return centres


def test_what_travels_is_sums_and_no_row() -> None:
    x, y = classes()
    run = trained(GaussianNB(), parties((x, y)), rounds=1)
    sizes = {name: array.size for name, array in run.weights.items()}
    assert sizes.pop("agreed") < 1500
    assert sizes == {"count": 3, "sum": 15, "squares": 15}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found.pop("sum"), "it lacks the statistics sum"),
        (lambda found: found.update(sum=np.zeros(3)), "shape"),
        (lambda found: found.update(sum=found["sum"] * np.nan), "not finite"),
        (lambda found: found.update(agreed=found["agreed"][::-1]), "agreed on before"),
    ],
    ids=["missing", "shape", "not a number", "another agreement"],
)
def test_statistics_that_are_not_whole_are_refused(change: Any, said: str) -> None:
    run = trained(GaussianNB(), parties(classes()), rounds=1)
    found = dict(run.weights)
    change(found)
    assert said in run.federation.model.check_weights(found, dict(run.weights), partial=True)


def test_a_scaler_scales_the_rows_of_a_model_in_steps() -> None:
    data = classes()
    scaled = trained(make_pipeline(StandardScaler(), LogisticRegression()), parties(data), rounds=8)
    x = StandardScaler().fit_transform(data[0])
    before = trained(LogisticRegression(), parties((x, data[1])), rounds=8)
    assert_close(scaled.history["loss"], before.history["loss"])
    assert_close(scaled.model[-1].coef_, before.model.coef_)
