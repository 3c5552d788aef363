"""Statistics of tables per party and together: those of pandas, and small counts are hidden."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import fusion_nb
from fusion_nb.data.tabular.hiding import hidden
from fusion_nb.errors import FusionError

RNG = np.random.default_rng(3)
COUNT = 200
FRAME = pd.DataFrame(
    {
        "age": RNG.normal(50, 10, COUNT),
        "visits": RNG.integers(0, 9, COUNT),
        "city": RNG.choice(["Oslo", "Rome"], COUNT),
        "smoker": RNG.random(COUNT) < 0.3,
        "joined": pd.Timestamp("2020-01-01")
        + pd.to_timedelta(RNG.integers(0, 99, COUNT), unit="D"),
        "site": np.repeat(["a", "b"], COUNT // 2),
        "sick": RNG.choice(["no", "yes"], COUNT),
    }
)
FRAME.loc[::10, "age"] = np.nan
OPTIONS: dict[str, Any] = {"label": "sick", "split": "by_key:site"}


def test_they_are_those_of_pandas_at_each_party_and_together() -> None:
    found = fusion_nb.stats(FRAME, **OPTIONS)
    groups = {"a": FRAME[:100], "b": FRAME[100:], "together": FRAME}
    for party, rows in groups.items():
        for name in ("age", "visits", "smoker"):
            column, row = rows[name].astype(float), found.numbers.loc[name, party]
            assert row["rows"] == len(rows)
            assert row["missing"] == column.isna().sum()
            assert row["mean"] == pytest.approx(column.mean(), rel=1e-10)
            assert row["sd"] == pytest.approx(column.std(ddof=0), rel=1e-10)
            error = (FRAME[name].max() * 1.0 - FRAME[name].min()) / 2**20
            assert row["25%"] == pytest.approx(column.quantile(0.25), abs=error)
            assert row["median"] == pytest.approx(column.median(), abs=error)
            assert row["75%"] == pytest.approx(column.quantile(0.75), abs=error)
        median = rows["joined"].median()
        assert abs(found.dates.loc["joined", party]["median"] - median) < pd.Timedelta("1min")
        counts = rows["city"].value_counts()
        assert found.categories.loc["city"][party].to_dict() == counts.sort_index().to_dict()
        labels = rows["sick"].value_counts()
        assert found.categories.loc["sick"][party].to_dict() == labels.sort_index().to_dict()
    assert "site" not in found.categories.index


def test_small_counts_and_what_gives_them_away_are_hidden() -> None:
    frame = FRAME.assign(site=np.repeat(["a", "b", "c", "d"], [90, 60, 47, 3]))
    frame.loc[:2, "city"] = "Vik"
    frame.loc[100:101, "age"] = np.nan
    found = fusion_nb.stats(frame, **OPTIONS)
    city = found.categories.loc["city"]
    assert "Vik" not in repr(found)
    assert city.loc["(rare)"].tolist() == ["<5", 0, 0, 0, "<5"]
    assert city["d"].isin(["<5", 0, "hidden"]).all()
    assert (city.loc[["Oslo", "Rome"]] == "hidden").any(axis=None)
    assert np.isnan(found.numbers.loc["visits", "d"]["mean"])
    assert found.numbers.loc["visits", "d"]["rows"] == "<5"
    assert found.numbers.loc["visits", "c"]["rows"] == "hidden"  # 200 - 90 - 60 - 47 are 3
    assert np.isnan(found.numbers.loc["visits", "c"]["mean"])
    assert "counts below 5 are not shown" in repr(found)
    every = fusion_nb.stats(frame, min_count=1, **OPTIONS)
    assert every.categories.loc["city", "Vik"].tolist() == [3, 0, 0, 0, 3]
    assert every.numbers.loc["visits", "d"]["rows"] == 3


@pytest.mark.parametrize("seed", range(20))
def test_no_hidden_count_stands_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.poisson(6, (4, 3)) * rng.integers(0, 2, (4, 3))
    whole = np.concatenate([counts, counts.sum(1, keepdims=True)], axis=1)
    mask = hidden(whole, 5)
    assert mask[(whole > 0) & (whole < 5)].all()
    for line, at in [*zip(whole, mask, strict=True), *zip(whole.T, mask.T, strict=True)]:
        alone = at.sum() == 1
        assert not alone or (line[~at] == 0).all()


def test_no_label_is_needed_and_measurements_are_numbers() -> None:
    found = fusion_nb.stats(FRAME, parties=2)
    assert found.categories.loc["sick"]["together"].sum() == COUNT
    assert found.numbers.loc["age", "party 1"]["rows"] == COUNT // 2
    whole = FRAME.dropna()
    measured = fusion_nb.stats([whole[:80], whole[80:]], label="age")
    mean = measured.numbers.loc["age", "together"]["mean"]
    assert mean == pytest.approx(whole["age"].mean(), rel=1e-10)
    with pytest.raises(FusionError, match="plainly the label"):
        fusion_nb.stats(FRAME, split="dirichlet:0.5")


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ((np.zeros((4, 2)), np.zeros(4)), {}, "is no table"),
        ("digits", {}, "is no table"),
        (FRAME, {"min_count": 0}, "min_count=0 is not allowed"),
        (FRAME, {"min_count": "few"}, "min_count='few' is not allowed"),
        (FRAME, {"label": "sik"}, "did you mean 'sick'"),
    ],
)
def test_what_is_not_possible_is_one_line(data: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(FusionError) as caught:
        fusion_nb.stats(data, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\0b", "a\u202eb"])
def test_names_of_columns_do_not_steer_a_terminal(name: str) -> None:
    found = fusion_nb.stats(FRAME.rename(columns={"city": name}), **OPTIONS)
    assert all(line.isprintable() for line in repr(found).splitlines())
    assert name in found.categories.index.get_level_values(0)
