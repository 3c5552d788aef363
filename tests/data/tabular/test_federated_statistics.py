"""Statistics that are sums over parties are those of all rows in one place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from clinic_tables import clinic, fitted, shares

from fusion_nb.core.types.table import ColumnSchema
from fusion_nb.data.tabular import sums
from fusion_nb.data.tabular.sums import NumberFacts, PartyTable

RNG = np.random.default_rng(1)
#: Numbers that a sum of squares, or a mean of means, gets wrong.
HARD = {
    "normal": RNG.normal(3, 2, 500),
    "huge and close": 1e12 + RNG.normal(0, 1, 500),
    "tiny": RNG.normal(0, 1e-200, 500),
    "large": RNG.normal(0, 1e140, 500),
    "skewed": RNG.lognormal(0, 3, 500),
    "one outlier": np.r_[RNG.normal(0, 1, 499), 1e9],
    "two values": np.r_[np.zeros(499), 1.0],
    "negative": -RNG.lognormal(5, 1, 500),
}


def parties(values: np.ndarray) -> list[PartyTable]:
    """Parties of 1, 199 and 300 rows."""
    return [PartyTable({"x": part}) for part in np.split(values, [1, 200])]


def facts(values: np.ndarray) -> NumberFacts:
    return NumberFacts.union([party.numbers("x") for party in parties(values)])


@pytest.mark.parametrize("name", HARD)
def test_mean_and_deviation_are_those_of_all_rows(name: str) -> None:
    values = HARD[name]
    found = sums.spread(parties(values), "x", facts(values))
    exact = values.astype(np.longdouble)
    mean = exact.mean()
    sd = np.sqrt(((exact - mean) ** 2).mean())
    assert found.mean == pytest.approx(float(mean), rel=1e-10, abs=1e-10 * float(sd))
    assert found.sd == pytest.approx(float(sd), rel=1e-10, abs=0)


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.25, 0.5, 0.9, 1.0])
def test_a_quantile_is_within_its_stated_error(name: str, share: float) -> None:
    values = HARD[name]
    found = sums.quantile(parties(values), "x", facts(values), share)
    span = values.max() - values.min()
    assert found.error <= span / sums.NUM_BINS**2 + 2 * np.spacing(np.abs(values).max())
    assert abs(found.value - np.quantile(values, share)) <= found.error + 1e-12 * span


@pytest.mark.parametrize("count", [1, 2, 99, 100])
def test_quantiles_of_whole_numbers_are_exact(count: int) -> None:
    values = np.r_[RNG.integers(0, 100, count), [0, 100]].astype(float)
    for share in (0.25, 0.5, 0.75):
        found = sums.quantile(parties(values), "x", facts(values), share)
        assert (found.value, found.error) == (np.quantile(values, share), 0.0)


def test_missing_values_and_parties_without_rows_count_for_nothing() -> None:
    values = np.r_[np.nan, HARD["normal"][:199], np.full(300, np.nan)]
    found = facts(values)
    assert (found.count, found.missing) == (199, 301)
    assert sums.spread(parties(values), "x", found).sd == pytest.approx(
        np.nanstd(values), rel=1e-12
    )
    nothing = facts(np.full(5, np.nan))
    assert nothing.count == 0
    assert np.isnan(sums.quantile(parties(np.full(5, np.nan)), "x", nothing, 0.5).value)


def test_the_schema_has_the_statistics_of_pandas() -> None:
    frame = clinic()
    schema, _ = fitted(shares(frame))
    for name in ("age", "visits"):
        column, central = schema[name], frame[name].astype(float)
        assert column.count == central.count()
        assert column.num_missing == central.isna().sum()
        assert column.mean == pytest.approx(central.mean(), rel=1e-10)
        assert column.sd == pytest.approx(central.std(ddof=0), rel=1e-10)
    days = (frame["joined"] - pd.Timestamp(0)) / pd.Timedelta(days=1)
    assert schema["joined"].mean == pytest.approx(days.mean(), rel=1e-10)
    assert schema["smoker"].mean == pytest.approx(frame["smoker"].mean(), rel=1e-10)
    counts = frame["city"].value_counts()
    assert schema["city"].categories == tuple(sorted(counts.index))
    assert schema["city"].count == counts.sum()


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_the_order_of_parties_has_no_part_in_them(order: list[int]) -> None:
    parts = shares(clinic())
    first, _ = fitted(parts, impute="median")
    other, _ = fitted([parts[i] for i in order], impute="median")

    def close(a: ColumnSchema, b: ColumnSchema) -> bool:
        numbers = (a.mean, a.sd, a.fill), (b.mean, b.sd, b.fill)
        if None in numbers[0]:
            return a == b
        return bool(np.allclose(*np.array(numbers, float), rtol=1e-12))

    assert all(map(close, first, other))
