"""Notes at the end of a run: a model of no use, or worse than alone, and no false alarm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.core.history import History
from fusion_nb.core.schema import LabelSchema
from fusion_nb.core.types import RoundRecord
from fusion_nb.reporting.parties import Parties, PartyReport
from fusion_nb.runs.quality.doubts import Ended, TestLabels, doubts

RARE = TestLabels(500, "classes", 0.91, "no")
EVEN = TestLabels(500, "classes", 0.5, "no")


def history(**columns: Sequence[float]) -> History:
    count = len(next(iter(columns.values())))
    return History(
        RoundRecord(i + 1, {n: v[i] for n, v in columns.items()}, {}, ("party 1",), 0.1, 0, 0)
        for i in range(count)
    )


def ended(test: TestLabels, parties: Parties | None = None, **options: Any) -> Ended:
    columns = {n: v for n, v in options.items() if isinstance(v, list)}
    others = {n: v for n, v in options.items() if n not in columns}
    metrics = others.pop("metrics", tuple(columns))
    monitor = others.pop("monitor", metrics[0])
    found = others.pop("spec", {})
    return Ended(history(**columns), metrics, monitor, parties or Parties(), test, found, **others)


def reports(alone: Sequence[float], fused: Sequence[float], num_test: int = 100) -> Parties:
    return Parties(
        PartyReport(f"party {i}", 10, num_test, {}, alone={"accuracy": a}, fused={"accuracy": b})
        for i, (a, b) in enumerate(zip(alone, fused, strict=True))
    )


class TestConstant:
    @pytest.mark.parametrize("accuracy", [0.3, 0.905, 0.91])
    def test_no_better_than_the_commonest_class(self, accuracy: float) -> None:
        (note,) = doubts(ended(RARE, accuracy=[accuracy], loss=[0.3]))
        assert f"{accuracy:.3f} is no better than always saying 'no'" in note
        assert "0.910 of the 500 test rows" in note
        assert "--class-weights balanced" in note

    def test_hardly_better(self) -> None:
        (note,) = doubts(ended(RARE, accuracy=[0.914], loss=[0.3]))
        assert "hardly better" in note

    def test_with_an_auc_that_tells_classes_apart(self) -> None:
        (note,) = doubts(ended(RARE, accuracy=[0.91], auc=[0.86], loss=[0.3]))
        assert "AUC 0.860" in note
        assert "another threshold" in note

    @pytest.mark.parametrize("auc", [0.3, 0.5, 0.53])
    def test_an_auc_of_guessing(self, auc: float) -> None:
        (note,) = doubts(ended(EVEN, accuracy=[0.6], auc=[auc], loss=[0.3]))
        compared = "no better" if auc <= 0.5 else "hardly better"
        assert f"AUC {auc:.3f} is {compared} than guessing" in note

    @pytest.mark.parametrize("r2", [-3.0, 0.0])
    def test_an_r2_that_the_mean_has(self, r2: float) -> None:
        numbers = TestLabels(200, "numbers", variance=2.0)
        (note,) = doubts(ended(numbers, loss=[2 * (1 - r2)], mae=[1.0]))
        assert "always predicting the mean" in note
        assert f"R2 {r2:.3f}" in note
        assert not doubts(ended(numbers, loss=[1.0], mae=[1.0]))

    @pytest.mark.parametrize(
        ("test", "said"),
        [
            (TestLabels(100, "classes", 1.0, "no"), "are of the class 'no'"),
            (TestLabels(100, "flags", 1.0), "have the same label"),
            (TestLabels(100, "numbers", variance=0.0), "have the same label"),
        ],
    )
    def test_labels_that_are_all_the_same(self, test: TestLabels, said: str) -> None:
        metric = "loss" if test.kind == "numbers" else "accuracy"
        (note,) = doubts(ended(test, **{"loss": [0.3], metric: [1.0]}))
        assert f"all 100 test rows {said}" in note
        assert f"so the {metric} 1" in note

    def test_errors_beside_another_loss(self) -> None:
        numbers = TestLabels(200, "numbers", variance=2.0)
        assert doubts(ended(numbers, loss=[0.1], mse=[2.5], mae=[1.0]))
        assert not doubts(ended(numbers, loss=[9.0], mse=[0.5], mae=[1.0]))

    @pytest.mark.parametrize(
        "run",
        [
            ended(RARE, accuracy=[0.95], loss=[0.3]),
            ended(EVEN, accuracy=[0.56], loss=[0.3]),
            ended(EVEN, accuracy=[0.8], auc=[0.9], loss=[0.3]),
            ended(TestLabels(8, "classes", 0.9, "no"), accuracy=[0.5], loss=[0.3]),
            ended(RARE, accuracy=[0.7], loss=[0.3], spec={"class_weights": "balanced"}),
            ended(RARE, loss=[0.3]),
            ended(TestLabels(0, "none"), accuracy=[0.1], loss=[0.3]),
        ],
        ids=[
            "better", "better of two", "good AUC", "few rows", "weighed",
            "no accuracy", "no labels",
        ],
    )  # fmt: skip
    def test_no_false_alarm(self, run: Ended) -> None:
        assert doubts(run) == []


class TestFirstRound:
    def test_no_round_was_better(self) -> None:
        run = ended(EVEN, accuracy=[0.8, 0.7, 0.75, 0.7], loss=[0.3, 0.4, 0.5, 0.6])
        (note,) = doubts(run)
        assert "no round was better than the first: accuracy 0.800" in note
        assert "0.700 in round 4" in note

    @pytest.mark.parametrize(
        "run",
        [
            ended(EVEN, accuracy=[0.8], loss=[0.3]),
            ended(EVEN, accuracy=[0.8, 0.7], loss=[0.3, 0.4]),
            ended(EVEN, accuracy=[1.0, 1.0, 1.0, 1.0], loss=[0.1, 0.2, 0.2, 0.2]),
            ended(EVEN, accuracy=[0.8, 0.8, 0.8, 0.8], loss=[0.4, 0.3, 0.2, 0.1]),
            ended(EVEN, accuracy=[0.8, 0.9, 0.7, 0.7], loss=[0.1, 0.2, 0.3, 0.4]),
            ended(EVEN, accuracy=[0.8] * 4, loss=[0.3, 0.4, 0.5, 0.6], is_interrupted=True),
        ],
        ids=["one round", "two rounds", "saturated", "loss falls", "a better round", "stopped"],
    )
    def test_no_false_alarm(self, run: Ended) -> None:
        assert doubts(run) == []


class TestAlone:
    def test_parties_that_are_worse_off(self) -> None:
        parties = reports([0.9, 0.9, 0.8, 0.8], [0.7, 0.7, 0.6, 0.9])
        (note,) = doubts(ended(EVEN, parties, accuracy=[0.8], loss=[0.3]))
        assert "3 of 4 parties are clearly worse off with the fused model than alone" in note
        assert "--personal ditto" in note

    def test_one_of_them_is_named(self) -> None:
        parties = reports([0.9, 0.8], [0.7, 0.9])
        (note,) = doubts(ended(EVEN, parties, accuracy=[0.8], loss=[0.3]))
        assert "1 of 2 parties is clearly worse off" in note
        assert "party 0" in note

    @pytest.mark.parametrize(
        "parties",
        [
            reports([0.8, 0.8], [0.8, 0.9]),
            reports([0.82, 0.8], [0.8, 0.9]),  # 2 of 100 rows
            reports([1.0, 0.5], [0.5, 0.5], num_test=4),
            Parties([PartyReport("party 1", 10, 100, {}, fused={"accuracy": 0.1})]),
        ],
        ids=["better", "within noise", "few test rows", "no baseline"],
    )
    def test_no_false_alarm(self, parties: Parties) -> None:
        assert doubts(ended(EVEN, parties, accuracy=[0.8], loss=[0.3])) == []


class TestLabelsOfTestRows:
    def test_the_commonest_class_without_ignored_places(self) -> None:
        schema = LabelSchema("classes", classes=("cat", "dog"))
        parts = [np.array([1, 1, -100]), np.array([0, 1, -100, -100, -100])]
        found = TestLabels.of(parts, schema, -100)
        assert (found.share, found.common, found.num) == (0.75, "dog", 8)

    def test_flags_and_numbers(self) -> None:
        flags = TestLabels.of(
            [np.array([[1, 0], [1, 1], [1, 0], [0, 0]])], LabelSchema("flags"), None
        )
        assert flags.share == 0.75
        numbers = TestLabels.of([np.array([1.0, 3.0])], LabelSchema("numbers"), None)
        assert numbers.variance == 1.0


class TestOfRuns:
    @pytest.mark.parametrize("labels", ["classes", "text", "numbers"])
    def test_a_model_that_learned_nothing(self, net: Any, labels: str) -> None:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(400, 5)).astype(np.float32)
        rare = rng.random(400) < 0.1
        y = {"classes": rare.astype(int), "text": np.where(rare, "yes", "no")}.get(
            labels, 100 + rng.normal(size=400)
        )
        run = fusion_nb.federate(net(5, 1), (x, y), rounds=2, lr=1e-6)
        (note,) = [note for note in run.notes if note.startswith("warning")]
        assert "no better than always" in note
        assert note in str(run.summary())
        assert note in run.result().mimebundle()["text/html"].replace("&#39;", "'")

    def test_none_while_it_runs_or_where_it_learns(self, net: Any, rows: Any) -> None:
        run = fusion_nb.federate(net(), rows, rounds=1, lr=1e-9)
        assert any("no better than always" in note for note in run.notes)
        run.more(12).wait()
        assert any("no better than always" in note for note in run.notes)
        good = fusion_nb.federate(net(), rows, rounds=12, lr=0.3, baseline="local", metrics="auc")
        assert not [note for note in good.notes if note.startswith("warning")]

    def test_a_central_test_set_and_personal_models(self, net: Any, rows: Any) -> None:
        x, y = rows
        data = {"train": (x, y), "test": (x[:60], np.zeros(60, int))}
        run = fusion_nb.federate(net(), data, rounds=1, lr=1e-9)
        assert not [note for note in run.notes if "no better" in note]  # one class says nothing
        personal = fusion_nb.federate(net(), rows, rounds=12, lr=0.3, personal="ditto")
        assert not [note for note in personal.notes if note.startswith("warning")]


def test_labels_that_clusters_never_read_raise_no_doubt() -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    rows = np.random.default_rng(0).normal(size=(300, 4))
    for labels in (np.zeros(300, int), np.arange(300) % 2, rows):
        run = fusion_nb.federate(cluster.KMeans(3), (rows, labels), rounds=2, parties=2)
        assert not [note for note in run.notes if note.startswith("warning:")]
