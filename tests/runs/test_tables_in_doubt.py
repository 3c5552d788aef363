"""Tables and labels that are probably not as meant: each is told, and none is silently taken."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import fusion_nb
from fusion_nb import Run
from fusion_nb.errors import DataError, ModelError

OPTIONS: dict[str, Any] = {"label": "sick", "tabular": "auto", "rounds": 1, "lr": 0.1}


def table(count: int = 90) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.normal(50, 12, count),
            "city": rng.choice(["Oslo", "Rome"], count),
            "smoker": np.arange(count) % 2 == 0,
            "sick": np.where(rng.random(count) < 0.4, "yes", "no"),
        }
    )


def run_on(data: Any, outputs: int = 2, **options: Any) -> Run:
    torch.manual_seed(0)
    model = nn.Sequential(nn.LazyLinear(outputs))
    return fusion_nb.federate(model, data, **{"parties": 2, **OPTIONS, **options})


def told(run: Run) -> str:
    return " ".join(run.notes)


class TestGapsThatNoTrainingRowHas:
    def test_in_test_rows(self) -> None:
        frame = table()
        test = frame[60:].copy()
        test.loc[60:64, "age"] = np.nan
        test.loc[60:62, "city"] = None
        assert "missing in test rows only: age (5 rows), city (3 rows)" in told(
            run_on((frame[:60], test))
        )
        assert "missing in test rows" not in told(run_on((frame[:60], frame[60:])))

    def test_in_rows_to_predict(self) -> None:
        frame = table()
        run = run_on(frame)
        for column in ("age", "city", "smoker"):
            gaps = frame.astype({column: object})
            gaps.loc[:3, column] = None
            with pytest.warns(UserWarning, match=f"no training row lacked: {column} \\(4 rows\\)"):
                run.predict(gaps)
        frame.loc[::5, "age"] = np.nan
        learned = run_on(frame)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            learned.predict(frame)


class TestLabelsThatAreAlike:
    @pytest.mark.parametrize("change", [str.upper, lambda text: f" {text} "])
    def test_before_training_and_as_a_note(self, change: Any) -> None:
        frame = table()
        frame["sick"] = [change(name) if i % 5 == 0 else name for i, name in enumerate(frame.sick)]
        with pytest.raises(ModelError, match="labels run from 0 to 3") as caught:
            run_on(frame)
        assert "differ in spaces or case only" in caught.value.hint
        assert "give the model 4 outputs, for the classes" in caught.value.hint
        assert "each text is a class of its own, but" in told(run_on(frame, 4))

    def test_blank_text(self) -> None:
        frame = table()
        frame.loc[::9, "sick"] = ""
        assert "'' is blank" in told(run_on(frame, 3))
        assert "is blank" not in told(run_on(table()))


@pytest.mark.parametrize("tabular", ["auto", ""])
def test_no_rows_to_predict_are_one_line(tabular: str) -> None:
    frame = table()[["age", "sick"]]
    run = run_on(frame, tabular=tabular)
    with pytest.raises(DataError, match="there is nothing to predict"):
        run.predict(frame[:0])


@pytest.mark.parametrize("value", [None, np.nan, "old"])
def test_a_frame_of_other_columns_is_not_told_of_an_option_of_predict(value: Any) -> None:
    frame = table()[["age", "sick"]]
    run = run_on(frame, tabular="")
    with pytest.raises(DataError, match="age") as caught:
        run.predict(frame.assign(age=value))
    assert "the numbers that the model was trained on, without gaps" in caught.value.hint
    assert not caught.value.hint.startswith("add")


def test_a_party_that_only_evaluates_counts_in_the_statistics_and_is_told() -> None:
    run = run_on(table(), roles="party 2=evaluate")
    assert run.tabular is not None
    assert run.tabular["age"].count == sum(party.num_examples for party in run.parties)
    assert "training rows only count in the table's statistics" in told(run)


def test_categories_that_one_party_has_are_not_called_rare_alone() -> None:
    frame = table()
    frame["hospital"] = np.where(frame.index % 2 == 0, "east", "west")
    frame["ward"] = frame["city"] + " " + frame["hospital"]
    run = run_on(frame, split="by_key:hospital", parties=None)
    assert "none of which has 5 rows or more and is at 2 parties or more" in told(run)
    frame.loc[::4, "city"] = "Bonn"  # rows of the east alone
    run = run_on(frame.drop(columns="ward"), split="by_key:hospital", parties=None)
    assert "that are rare or that too few parties have are read as one" in told(run)
