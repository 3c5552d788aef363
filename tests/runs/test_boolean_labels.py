"""Labels that are False and True: arrays hold 0 and 1, and reports tell them as they were given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fusion_nb
from fusion_nb.core.schema import DataSchema

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5)).astype(np.float32)
Y = X[:, 0] > 0


def two_outputs() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(5, 2)


def one_output() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 1), nn.Flatten(0))


def trained(data: Any, make: Callable[[], Any] = two_outputs, **options: Any) -> Any:
    return fusion_nb.federate(make(), data, parties=2, rounds=2, lr=0.5, **options)


def as_arrays() -> tuple[Any, dict[str, Any]]:
    return (X, Y), {}


def as_frame() -> tuple[Any, dict[str, Any]]:
    pd = pytest.importorskip("pandas")
    return pd.DataFrame(X, columns=list("abcde")).assign(late=Y), {"label": "late"}


@pytest.mark.parametrize("given", [as_arrays, as_frame])
@pytest.mark.parametrize("make", [two_outputs, one_output])
def test_they_are_told_as_they_were_given(given: Callable[[], Any], make: Any) -> None:
    data, options = given()
    run = trained(data, make, **options)
    frame = run.predictions()
    assert {*frame["label"]} == {"False", "True"}
    assert [*frame.columns][-2:] == ["False", "True"]
    assert "predicted True" in str(run.confusion())
    assert "True" in str(run.report())
    rows = data if isinstance(data, tuple) else (data.drop(columns="late"), Y)
    found = run.predict(rows[0])
    assert found.dtype == bool
    assert (found == Y).mean() > 0.7
    assert [*run.predict(rows[0], scores=True).columns] == [False, True]


@pytest.mark.parametrize("labels", [Y.astype(np.int64), Y.astype(np.float32)])
def test_numbers_stay_numbers(labels: np.ndarray) -> None:
    run = trained((X, labels))
    assert {*run.predictions()["label"]} == {"0", "1"}
    assert run.predict(X).dtype.kind in "if"
    assert "are_bools" not in run.schema.to_json()["labels"]


def test_a_schema_keeps_them_on_its_way_through_json() -> None:
    schema = trained((X, Y)).schema
    assert schema.labels.are_bools
    assert DataSchema.from_json(schema.to_json()) == schema
