"""Runs on tables: encoded once by training rows, kept in schema, checkpoint, card and export."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import fusion_nb
from fusion_nb import Run
from fusion_nb.core.types.table import TableSchema
from fusion_nb.errors import DataError, FusionError, ModelError, OptionError, RunError
from fusion_nb.runs.checkpoints.folder import CheckpointFolder

OPTIONS = {"label": "sick", "split": "by_key:hospital", "tabular": "auto", "lr": 0.5}
WIDTH = 10


def table(count: int = 240, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age, smoker = rng.normal(50, 12, count), rng.random(count) < 0.3
    frame = pd.DataFrame(
        {
            "name": [f"patient {i}" for i in range(count)],
            "age": age,
            "visits": pd.array(rng.integers(0, 9, count), dtype="Int64"),
            "city": pd.Categorical(rng.choice(["Oslo", "Rome", "Bonn"], count)),
            "smoker": smoker,
            "joined": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(rng.integers(0, 900, count), "D"),
            "hospital": rng.choice(["east", "north", "west"], count),
            "sick": np.where((age + 25 * smoker) > 58, "yes", "no"),
        }
    )
    frame.loc[::7, "age"] = np.nan
    frame.loc[::11, "visits"] = pd.NA
    frame.loc[::13, "city"] = None
    return frame


FRAME = table()
NEW = table(40, seed=1)


def linear(outputs: int = 2, width: int = WIDTH) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(width, outputs))


def run_on(frame: Any = FRAME, model: Any = None, **options: Any) -> Run:
    return fusion_nb.federate(
        linear() if model is None else model, frame, **{"rounds": 3, **OPTIONS, **options}
    )


def curve(run: Run) -> list[dict[str, float]]:
    return [dict(record.metrics) for record in run.history]


def forget_rounds(folder: Path, kept: int) -> None:
    """Remove the latest rounds of a folder of checkpoints."""
    for path in CheckpointFolder(folder).rounds()[kept:]:
        shutil.rmtree(path)


@pytest.fixture(scope="module")
def run() -> Run:
    return run_on()


class TestFitting:
    def test_the_statistics_are_those_of_training_rows_alone(self, run: Run) -> None:
        assert isinstance(run.tabular, TableSchema)
        assert run.tabular is run.schema.table
        assert len(run.tabular.inputs) == WIDTH
        age = run.tabular["age"]
        num_training = sum(party.num_examples for party in run.parties)
        assert age.count + age.num_missing == num_training < len(FRAME)
        x = np.concatenate([party.train[0] for party in run.federation.parties])
        assert x.dtype == np.float32
        at = run.tabular.inputs.index("age")
        there = x[:, at + 1] == 0
        assert x[there, at].mean(dtype=float) == pytest.approx(0, abs=1e-6)
        assert x[there, at].std(dtype=float) == pytest.approx(1, abs=1e-6)
        assert (x[~there, at] == 0).all()

    def test_neither_label_nor_hospital_nor_names_are_inputs(self, run: Run) -> None:
        assert run.tabular is not None
        assert run.tabular.names == ("age", "visits", "city", "smoker", "joined")
        assert [name for name, _ in run.tabular.left_out] == ["name"]
        with pytest.raises(KeyError, match="name"):
            _ = run.tabular["name"]
        assert [party.id for party in run.parties] == ["east", "north", "west"]
        assert run.classes == ("no", "yes")
        notes = " ".join(run.notes)
        assert f"5 columns become {WIDTH} inputs" in notes
        assert "warning: columns of the table are left out: name (" in notes

    def test_test_rows_do_not_change_it(self) -> None:
        frame = FRAME.drop(columns="hospital")
        parties = {"a": frame[:100], "b": frame[100:200]}
        test = frame[200:].assign(age=1e6, city="Lima")
        free = {**OPTIONS, "split": "iid"}
        one = fusion_nb.federate(linear(), (parties, test), rounds=1, holdout=0.0, **free)
        other = fusion_nb.federate(linear(), (parties, frame[200:]), rounds=1, holdout=0.0, **free)
        assert one.tabular == other.tabular
        assert one.history.last()["loss"] > 100 * other.history.last()["loss"]
        assert "city (1)" in " ".join(one.notes)

    def test_parties_frames_may_have_columns_in_another_order(self) -> None:
        frame = FRAME.drop(columns="hospital")
        halves = [frame[:120], frame[120:]]
        turned = [halves[0], halves[1][frame.columns[::-1]]]
        free = {**OPTIONS, "split": "iid"}
        assert curve(run_on(turned, **free)) == curve(run_on(halves, **free))

    def test_a_column_that_one_party_lacks(self) -> None:
        halves = [
            FRAME[:120].drop(columns="hospital"),
            FRAME[120:].drop(columns=["age", "hospital"]),
        ]
        free = {**OPTIONS, "split": "iid"}
        with pytest.raises(DataError, match="party 2 lacks age") as caught:
            run_on(halves, **free)
        assert "reindex(columns=...)" in caught.value.hint
        halves[1] = halves[1].reindex(columns=halves[0].columns)
        made = run_on(halves, **free)
        assert made.tabular is not None
        assert made.tabular["age"].mean is not None

    def test_the_order_of_a_categorical_label_is_that_of_the_classes(self) -> None:
        order = ["never", "low", "high", "unused"]
        frame = FRAME.assign(sick=pd.Categorical(np.tile(order[:3], 80), order, ordered=True))
        assert run_on(frame, linear(3)).classes == ("never", "low", "high")
        numbers = pd.DataFrame({"a": np.arange(60.0), "label": frame["sick"][:60]})
        plain = fusion_nb.federate(linear(3, 1), numbers, rounds=1, parties=2)
        assert plain.classes == ("never", "low", "high")
        by_name = FRAME.assign(sick=pd.Categorical(FRAME["sick"]))
        assert curve(run_on(by_name)) == curve(run_on())

    def test_orders_of_categories_that_differ_are_told(self) -> None:
        def labelled(*order: str) -> pd.DataFrame:
            words = pd.Categorical(np.tile(["low", "high", "none"], 20), order)
            return pd.DataFrame({"a": np.arange(60.0), "label": words})

        halves = [labelled("none", "low", "high"), labelled("high", "none", "low")]
        run = fusion_nb.federate(linear(3, 1), halves, rounds=1)
        assert run.classes == ("none", "low", "high")
        assert "of party 2 have another order than those of party 1" in " ".join(run.notes)
        same = fusion_nb.federate(linear(3, 1), [halves[0]] * 2, rounds=1)
        assert "another order" not in " ".join(same.notes)

    def test_frames_of_a_data_handler_are_encoded_too(self) -> None:
        class Clinic:
            def get_data(self) -> Any:
                x = FRAME.drop(columns=["sick", "hospital"])
                return (x[:200], FRAME["sick"][:200]), (x[200:], FRAME["sick"][200:])

        run = fusion_nb.federate(
            linear(), data_handler=Clinic, tabular="auto", rounds=1, parties=2, lr=0.1
        )
        assert len(run.predict(NEW)) == len(NEW)

    @pytest.mark.slow
    def test_every_engine_has_the_same_curve(self, run: Run) -> None:
        assert curve(run_on(engine="process:workers=2")) == curve(run)

    def test_rows_for_distillation_are_encoded_too(self) -> None:
        made = Run(
            fusion_nb.RunSpec(
                model="net",
                data="frame",
                ensemble="distill:data=more,epochs=1",
                **OPTIONS,
            ),
            {"net": linear(), "frame": FRAME, "more": NEW},
        )
        assert len(made.start().wait().predict(NEW)) == len(NEW)


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"tabular": ""}, "name (text), city (categories), joined (dates); and missing values"),
            ({"tabular": "auto:impute=mode"}, "impute is one of: mean, median"),
            ({"tabular": "auto:min_parties=9"}, "but there are 3"),
            ({"tabular": "onehot"}, "there are: auto"),
        ],
    )
    def test_one_line_names_the_columns_or_the_option(
        self, options: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(FusionError) as caught:
            run_on(**options)
        assert said in str(caught.value)

    def test_arrays_are_no_table(self) -> None:
        with pytest.raises(DataError, match="tabular='auto' encodes tables"):
            fusion_nb.federate(linear(), (np.zeros((9, 2)), np.zeros(9)), tabular="auto")

    def test_a_party_that_has_arrays(self) -> None:
        halves = [FRAME, (np.zeros((9, 2)), np.array(["yes", "no", "no"] * 3))]
        with pytest.raises(DataError, match="a table, and those of the other are numbers"):
            fusion_nb.federate(linear(), halves, tabular="auto", label="sick")

    def test_a_model_of_another_width_is_told_the_inputs(self) -> None:
        with pytest.raises(ModelError) as caught:
            run_on(model=linear(width=5))
        assert f"5 columns become {WIDTH} inputs" in caught.value.hint


class TestKeeping:
    def test_it_is_in_the_checkpoint(self, tmp_path: Path) -> None:
        first = run_on(rounds=1, checkpoint=str(tmp_path))
        saved = CheckpointFolder(tmp_path).latest()
        assert first.tabular is not None
        assert saved.schema["table"] == json.loads(json.dumps(first.tabular.to_json()))

    def test_a_run_that_is_resumed_is_the_same_and_encodes_other_rows_as_before(
        self, tmp_path: Path
    ) -> None:
        whole = run_on(rounds=4, checkpoint=f"{tmp_path}:keep=9")
        forget_rounds(tmp_path, 2)
        again = fusion_nb.resume(tmp_path, linear(), FRAME)
        assert curve(again) == curve(whole)
        assert again.tabular == whole.tabular
        forget_rounds(tmp_path, 2)
        other = FRAME.assign(age=FRAME["age"] * 3, visits=2)
        with pytest.raises(RunError, match="the rows of east"):
            fusion_nb.resume(tmp_path, linear(), other)
        taken = fusion_nb.resume(tmp_path, linear(), other, allow_other_rows=True)
        assert taken.tabular == whole.tabular
        assert len(taken.history) == 4

    def test_card_and_schema_tell_it(self, run: Run, tmp_path: Path) -> None:
        run.export(str(tmp_path / "out"))
        told = json.loads((tmp_path / "out" / "schema.json").read_text())["table"]
        assert TableSchema.from_json(told) == run.tabular
        card = (tmp_path / "out" / "CARD.md").read_text()
        data = card[card.index("## Data") : card.index("## Parties")]
        assert "| age | number |" in data
        assert "Bonn, Oslo, Rome" in data
        run.export(str(tmp_path / "out"), overwrite=True)


class TestPrediction:
    def test_it_takes_the_users_own_columns(self, run: Run) -> None:
        labels = run.predict(NEW)
        assert set(labels) <= {"yes", "no"}
        assert (labels == NEW["sick"]).mean() > 0.6
        shuffled = NEW[["joined", "smoker", "city", "visits", "age"]].assign(more=1)
        assert np.array_equal(run.predict(shuffled), labels)
        scores = run.predict(NEW[5:9], scores=True)
        assert list(scores.columns) == ["no", "yes"]
        assert list(scores.index) == [5, 6, 7, 8]
        assert np.allclose(scores.sum(axis=1), 1)
        assert np.array_equal(scores.idxmax(axis=1), labels[5:9])

    def test_polars_and_one_row_and_integers_for_flags(self, run: Run) -> None:
        polars = pytest.importorskip("polars")
        pytest.importorskip("pyarrow")
        assert np.array_equal(run.predict(polars.from_pandas(NEW)), run.predict(NEW))
        assert np.array_equal(run.predict(NEW[:1]), run.predict(NEW)[:1])
        flags = NEW.assign(smoker=NEW["smoker"].astype(int))
        assert np.array_equal(run.predict(flags), run.predict(NEW))

    def test_an_unseen_category_is_told(self, run: Run) -> None:
        with pytest.warns(UserWarning, match="read as other: city \\('Lima'\\)"):
            assert len(run.predict(NEW.assign(city="Lima"))) == len(NEW)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda f: f.drop(columns="age"), "no column 'age'"),
            (lambda f: f.rename(columns={"age": "Age"}), "did you mean 'Age'"),
            (lambda f: f.assign(age="old"), "'age' holds categories, and .* numbers"),
            (lambda f: f.assign(smoker="yes"), "'smoker' holds categories"),
            (lambda f: f.assign(smoker=2), "'smoker' holds numbers"),
            (lambda f: f.assign(city=1), "'city' holds numbers"),
            (lambda f: f.assign(joined="2020-01-01"), "'joined' holds categories"),
            (lambda f: f.assign(age=np.inf), "infinite"),
            (lambda f: f.to_numpy(), "is ndarray, and the model was trained on a table"),
        ],
    )
    def test_another_form_is_one_line(self, run: Run, change: Any, said: str) -> None:
        with pytest.raises(DataError) as caught:
            run.predict(change(NEW))
        assert re.search(said, str(caught.value))

    def test_before_the_first_round_there_is_none(self) -> None:
        made = Run(
            fusion_nb.RunSpec(model="net", data="frame", **OPTIONS),
            {"net": linear(), "frame": FRAME},
        )
        with pytest.raises(RunError, match="no whole round yet"):
            made.outcome.predict(NEW, False)

    def test_a_kind_of_personal_model_that_only_parties_have(self) -> None:
        net = nn.Sequential(nn.Linear(WIDTH, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
        made = run_on(model=net, personal="fedbn", rounds=1)
        with pytest.raises(RunError, match="only the parties"):
            made.predict(NEW)


def test_the_encoding_travels_with_the_model(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    run.export(str(folder))
    encoding = fusion_nb.load_encoding(folder)
    assert run.tabular is not None
    assert encoding.columns == run.tabular.names
    assert encoding.inputs == run.tabular.inputs
    x = torch.from_numpy(encoding.transform(NEW))
    outputs = run.model(x).argmax(1)
    assert np.array_equal(np.array(encoding.classes)[outputs], run.predict(NEW))
    assert fusion_nb.load_encoding(folder / "encoding.json") == encoding
    with pytest.raises(DataError, match="there is no encoding"):
        fusion_nb.load_encoding(tmp_path)
    (tmp_path / "encoding.json").write_text('{"format": 9}')
    with pytest.raises(DataError, match="has the format 9"):
        fusion_nb.load_encoding(tmp_path)


def test_the_option_is_one_of_a_yaml_file_and_a_cell() -> None:
    spec = fusion_nb.RunSpec(tabular="auto:impute=median,min_count=3")
    assert fusion_nb.RunSpec.from_yaml(spec.to_yaml()) == spec
    assert "--tabular auto:impute=median,min_count=3" in spec.to_cell()
    with pytest.raises(OptionError, match="auto:min_count=0 is not allowed"):
        Run(fusion_nb.RunSpec(tabular="auto:min_count=0"), {})
