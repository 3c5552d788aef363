"""Rows in which numbers are missing: boosted trees take NaN, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tree_samples import FRAMEWORKS, classifier, regressor, trained

from fusion_nb import federate
from fusion_nb.core import registry
from fusion_nb.core.facts import Facts
from fusion_nb.core.schema import DataSchema
from fusion_nb.data.at_party import PartyRows, agreed_schema, reports_of
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import DataError, ModelError
from fusion_nb.models import lookup
from fusion_nb.runs.build import prepare
from fusion_nb.runs.spec import RunSpec

NOTE = "rows: numbers are missing, and the"


def gaps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, which numbers are missing, and labels that are 1 where the second one is."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype(np.float32)
    missing = rng.random(x.shape) < 0.3
    return x, missing, missing[:, 1].astype(np.int64)


def with_nan() -> tuple[np.ndarray, np.ndarray]:
    """Return the rows with NaN for missing numbers, and the labels."""
    x, missing, y = gaps()
    return np.where(missing, np.float32("nan"), x), y


def frame(nullable: bool = False) -> pd.DataFrame:
    """Return the rows as a table, in numpy's types or in pandas' own."""
    x, y = with_nan()
    made = pd.DataFrame(x, columns=list("abcd"))
    return (made.convert_dtypes() if nullable else made).assign(label=y)


class Rows:
    """The rows one at a time, with their labels at hand or not."""

    def __init__(self, has_targets: bool = False) -> None:
        self.x, self.y = with_nan()
        if has_targets:
            self.targets = self.y

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        return self.x[row], int(self.y[row])


FORMS: dict[str, Any] = {
    "array": with_nan,
    "masked": lambda: (np.ma.masked_array(gaps()[0], gaps()[1]), gaps()[2]),
    "None": lambda: (np.where(gaps()[1], None, gaps()[0].astype(object)), gaps()[2]),
    "lists": lambda: (np.where(gaps()[1], None, gaps()[0].astype(object)).tolist(), gaps()[2]),
    "tensors": lambda: tuple(map(torch.tensor, with_nan())),
    "rows": Rows,
    "rows and labels": lambda: Rows(has_targets=True),
    "frame": frame,
    "nullable": lambda: frame(nullable=True),
    "frame and labels": lambda: (frame().drop(columns="label"), gaps()[2]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_gap_is_a_gap_in_every_form(form: str) -> None:
    data = FORMS[form]()
    run = trained(classifier("xgboost"), data, rounds=3, parties=3)
    assert (
        run.history["loss"]
        == trained(classifier("xgboost"), with_nan(), rounds=3, parties=3).history["loss"]
    )
    assert any(note.startswith(NOTE) for note in run.notes)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_trees_learn_from_what_is_missing(framework: str) -> None:
    x, y = with_nan()
    run = trained(classifier(framework), (x, y), rounds=6, parties=3)
    assert run.history["accuracy"][-1] > 0.95
    assert (run.predict(x) == y).mean() == np.mean(run.model.predict(x) == y) > 0.95


def test_a_file_whose_trees_tell_missing_from_present_numbers_is_read(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    x, y = with_nan()
    model = lightgbm.LGBMClassifier(n_estimators=2, min_child_samples=5, verbosity=-1).fit(x, y)
    path = tmp_path / "model.txt"
    model.booster_.save_model(path)
    assert "threshold=inf" in path.read_text()
    read = lookup.find(str(path), {})
    run = trained(read, (x, y), rounds=1)
    assert (run.predict(x) == y).all()
    path.write_text(path.read_text().replace("threshold=inf", "threshold=nan"))
    with pytest.raises(ModelError, match="not finite"):
        lookup.find(str(path), {})


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_new_rows_may_have_gaps_where_those_of_the_training_had_none(framework: str) -> None:
    x, _, y = gaps()
    run = trained(regressor(framework), (x, x[:, 0] + y), rounds=2)
    assert not any(note.startswith(NOTE) for note in run.notes)
    assert np.isfinite(run.predict(with_nan()[0])).all()
    table = trained(classifier(framework), frame(), rounds=2)
    assert len(table.predict(frame().drop(columns="label"))) == len(x)


def test_the_schema_says_so_and_an_export_keeps_it(tmp_path: Path) -> None:
    run = trained(classifier("xgboost"), with_nan(), rounds=1)
    assert run.schema.rows.has_missing
    assert run.schema.rows.kind == "numbers"
    assert DataSchema.from_json(run.schema.to_json()) == run.schema
    x, y = with_nan()
    low, high = float(np.nanmin(x)), float(np.nanmax(x))
    assert (run.schema.rows.low, run.schema.rows.high) == (low, high)
    run.export(tmp_path / "out")
    read = lookup.find(str(tmp_path / "out" / "model.json"), {})
    assert np.mean(read.predict(x) == y) == np.mean(run.predict(x) == y)


def test_a_column_without_any_number_and_one_party_with_gaps() -> None:
    x, y = with_nan()
    x[:100, 2] = np.nan
    data = {"empty": (x[:100], y[:100]), "whole": (np.nan_to_num(x[100:]), y[100:])}
    run = trained(classifier("xgboost"), data, rounds=2)
    assert run.schema.rows.has_missing
    assert Facts.of(np.full((3, 2), np.nan)).low is None


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_infinite_numbers_and_missing_labels_are_refused(framework: str) -> None:
    x, y = with_nan()
    infinite = np.where(np.isnan(x), np.float32("inf"), x)
    with pytest.raises(DataError, match=r"x holds .* infinite values\n.*make them missing first"):
        trained(classifier(framework), (infinite, y), rounds=1)
    one_by_one = Rows()
    one_by_one.x = infinite
    with pytest.raises(DataError, match=r"row \d+ of the data set holds infinite values"):
        trained(classifier(framework), one_by_one, rounds=1)
    labels = np.where(y == 1, np.nan, 0.0)
    with pytest.raises(DataError, match=r"y holds .* NaN or infinite values"):
        trained(regressor(framework), (x, labels), rounds=1)
    run = trained(classifier(framework), (x, y), rounds=1)
    with pytest.raises(DataError, match=r"the array of rows holds .* infinite values"):
        run.predict(infinite)


def test_other_models_refuse_gaps_wherever_rows_are() -> None:
    data = with_nan()
    with pytest.raises(DataError, match=r"x holds .* NaN or infinite values"):
        federate(torch.nn.Linear(4, 2), data, rounds=1)
    with pytest.raises(DataError, match=r"row \d+ of the data set holds NaN or infinite values"):
        federate(torch.nn.Linear(4, 2), Rows(), rounds=1)
    with pytest.raises(DataError, match="missing values, in the columns"):
        federate(torch.nn.Linear(4, 2), frame(), rounds=1)
    # Rows that were read elsewhere, or for another model.
    namespace = {"model": torch.nn.Linear(4, 2), "rows": data}
    spec = RunSpec(data="rows", rounds=1)
    given = {"data": "rows", "data_handler": "", "label": "", "split": "iid"}
    kept = PartitionedData.load(
        namespace, **given, parties=2, holdout=0.2, seed=0, keeps_missing=True
    )
    with pytest.raises(DataError, match=r"hold NaN, and a .* takes no missing numbers"):
        prepare(spec, namespace, kept)
    namespace["model"] = classifier("xgboost")
    assert any(note.startswith(NOTE) for note in prepare(spec, namespace, kept).notes)


@pytest.mark.parametrize("suffix", [".npz", ".csv"])
def test_a_party_far_away_tells_that_numbers_are_missing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    x, y = with_nan()
    if suffix == ".npz":
        np.savez(path, x_train=x, y_train=y)
    else:
        frame().to_csv(path, index=False)
    rows = PartyRows.read("site", str(path))
    schema, _ = agreed_schema(reports_of(rows.facts(), "site"))
    assert schema.rows.has_missing
    train, test = rows.in_form(schema, 0.2, 0)
    assert test is not None
    assert np.isnan(train[0]).any()
    assert len(train[1]) + len(test[1]) == len(y)


def test_a_registered_data_set_may_have_gaps() -> None:
    class WithGaps:
        def get_data(self) -> Any:
            return with_nan(), with_nan()

    registry.register("datasets", "with_gaps", WithGaps)
    spec = RunSpec(data="with_gaps", rounds=1)
    assert any(
        note.startswith(NOTE) for note in prepare(spec, {"model": classifier("xgboost")}).notes
    )
