"""The encoding of parties' tables is that of scikit-learn and pandas on all rows in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from clinic_tables import clinic, fitted, shares

from fusion_nb.core.types.table import TableSchema
from fusion_nb.errors import DataError, OptionError


@pytest.mark.parametrize("impute", ["mean", "median"])
@pytest.mark.parametrize("scale", ["standard", "minmax", "none"])
def test_it_is_that_of_scikit_learn_on_all_rows(impute: str, scale: str) -> None:
    impute_of = pytest.importorskip("sklearn.impute").SimpleImputer
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    frame = clinic()
    frame["age"] = frame["age"].round()  # the median of whole numbers is exact
    schema, x = fitted(shares(frame), impute=impute, scale=scale)
    numbers = frame[["age", "visits"]].astype(float).to_numpy()
    scalers = {
        "standard": "StandardScaler",
        "minmax": "MinMaxScaler",
        "none": "FunctionTransformer",
    }
    scaler = getattr(preprocessing, scalers[scale])()
    central = impute_of(strategy=impute).fit_transform(scaler.fit_transform(numbers))
    for i, name in enumerate(("age", "visits")):
        at = schema.inputs.index(name)
        np.testing.assert_allclose(x[:, at], central[:, i], rtol=1e-10, atol=1e-10)
        assert np.array_equal(x[:, at + 1], np.isnan(numbers[:, i]))
    cities = pd.get_dummies(frame["city"], dummy_na=True).to_numpy(float)
    at = schema.inputs.index("city=Bonn")
    assert np.array_equal(x[:, at : at + 4], cities)
    assert np.array_equal(x[:, schema.inputs.index("smoker")], frame["smoker"])


def test_rare_categories_are_one_and_their_names_are_not_told() -> None:
    cities = ["Oslo"] * 40 + ["Rome"] * 40 + ["Vik"] * 4 + ["Lom"] * 10
    frame = pd.DataFrame({"city": cities, "n": np.arange(94.0)})
    halves = [frame[0:94:2], frame[1:94:2]]
    halves[0] = pd.concat([halves[0], halves[1][-5:]])
    halves[1] = halves[1][:-5]  # Lom is at one party alone
    schema, x = fitted(halves)
    assert schema["city"].inputs == ("city=Oslo", "city=Rome", "city (other)")
    assert x[:, 2].sum() == 14
    told = str(schema.to_json()) + str(schema.notes())
    assert "Vik" not in told
    assert "Lom" not in told
    assert "city (2)" in "".join(schema.notes())
    assert fitted(halves, min_parties=1, min_count=1)[0]["city"].inputs[-1] == "city=Vik"
    one, _ = fitted(halves, max_categories=1)
    assert one["city"].inputs == ("city=Oslo", "city (other)")
    alone, _ = fitted([frame])  # nobody else could have its categories
    assert alone["city"].categories == ("Lom", "Oslo", "Rome")


def test_categories_keep_the_order_of_the_user_and_unused_ones_have_no_input() -> None:
    sizes = pd.Categorical(["small", "large", "medium"] * 20, ["small", "medium", "large", "huge"])
    schema, _ = fitted(shares(pd.DataFrame({"size": sizes})))
    assert schema["size"].categories == ("small", "medium", "large")
    numbers = pd.DataFrame({"ward": ["10", "9", "1"] * 20})
    assert fitted(shares(numbers))[0]["ward"].categories == ("1", "9", "10")


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (np.ones(60), "the same in all training rows"),
        (["a"] * 60, "the same in all training rows"),
        ([f"id {i}" for i in range(60)], "60 categories, none of which is common"),
        (np.full(60, np.nan), "no value in any row"),
        ([None] * 60, "no value in any row"),
        ([True] * 60, "the same in all training rows"),
        (pd.Series([pd.NaT] * 60), "no value in any row"),
    ],
)
def test_a_column_of_no_use_is_left_out_and_named(column: Any, reason: str) -> None:
    frame = pd.DataFrame({"n": np.arange(60.0), "other": column})
    schema, x = fitted(shares(frame))
    assert schema.left_out == (("other", reason),)
    assert x.shape == (60, 1)
    assert f"other ({reason})" in schema.notes()[-1]
    with pytest.raises(DataError, match="no column of the table is of use"):
        fitted(shares(frame[["other"]]))


def test_numbers_that_are_huge_and_close_are_standardised_well() -> None:
    values = 1e12 + np.arange(300.0)
    _, x = fitted(shares(pd.DataFrame({"n": values})))
    expected = (np.arange(300.0) - 149.5) / np.arange(300.0).std()
    np.testing.assert_allclose(x[:, 0], expected, atol=1e-10)


def test_what_one_party_lacks_is_filled_from_the_others() -> None:
    frame = pd.DataFrame({"n": np.arange(60.0), "c": ["a", "b"] * 30, "flag": [True, False] * 30})
    empty = frame[:20].assign(n=np.nan, c=None, flag=pd.array([pd.NA] * 20, dtype="boolean"))
    schema, x = fitted([empty, frame[20:40], frame[40:]])
    assert schema["n"].mean == np.arange(20.0, 60).mean()
    assert (x[:20, 0] == 0).all()
    assert (x[:20, schema.inputs.index("c (missing)")] == 1).all()
    assert (x[:20, schema.inputs.index("flag")] == 0.5).all()


@pytest.mark.parametrize(
    ("value", "row"),
    [("Oslo", [0, 1, 0, 0]), ("Lima", [0, 0, 0, 0]), (None, [0, 0, 0, 1])],
)
def test_a_category_that_no_training_row_had_is_none_of_those_known(
    value: Any, row: list[int]
) -> None:
    schema, _ = fitted(shares(clinic()))
    assert schema["city"].encode(np.array([value], object)).tolist() == [row]
    assert schema["city"].unseen(np.array([value], object)) == (["Lima"] if row == [0] * 4 else [])


def test_it_is_the_same_after_a_way_through_json() -> None:
    import json

    schema, _ = fitted(shares(clinic()), impute="median", max_categories=2)
    assert TableSchema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"impute": "mode"}, "mean, median"),
        ({"scale": "standart"}, "did you mean 'standard'"),
        ({"min_parties": 4}, "but there are 3"),
    ],
)
def test_options_that_are_not_allowed(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError) as caught:
        fitted(shares(clinic()), **options)
    assert said in str(caught.value)
    assert caught.value.option == "tabular"
