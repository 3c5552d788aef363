"""The answers of a run about test rows: predictions, confusion matrix, report, the worst party."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from markupsafe import escape

import fusion_nb
from fusion_nb.errors import FusionError, NameNotFoundError, RunError

sk = pytest.importorskip("sklearn.metrics")


@pytest.fixture
def named(rows: Any) -> Any:
    x, y = rows
    return x, np.array(["ash", "oak", "yew"])[y]


class TestPredictions:
    def test_all_test_rows_with_names_of_classes(self, net: Any, named: Any) -> None:
        run = fusion_nb.federate(net(), named, rounds=2, lr=0.3)
        frame = run.predictions()
        assert [*frame.columns] == ["party", "row", "label", "predicted", "ash", "oak", "yew"]
        assert len(frame) == sum(party.num_test for party in run.parties)
        scores = frame[["ash", "oak", "yew"]]
        assert scores.sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
        assert [*scores.idxmax(axis=1)] == [*frame["predicted"]]
        accuracy = (frame["label"] == frame["predicted"]).mean()
        assert accuracy == pytest.approx(run.history["accuracy"][-1])

    def test_of_one_party(self, net: Any, named: Any) -> None:
        run = fusion_nb.federate(net(), named, rounds=2, lr=0.3)
        frame = run.predictions("party 2")
        assert {*frame["party"]} == {"party 2"}
        assert [*frame["row"]] == [*range(run.parties["party 2"].num_test)]
        accuracy = (frame["label"] == frame["predicted"]).mean()
        assert accuracy == pytest.approx(run.parties["party 2"].fused["accuracy"])

    def test_by_the_parties_own_models(self, net: Any, named: Any) -> None:
        run = fusion_nb.federate(net(), named, rounds=2, lr=0.3, personal="ditto")
        for party in run.parties:
            frame = run.predictions(party.id, personal=True)
            accuracy = (frame["label"] == frame["predicted"]).mean()
            assert accuracy == pytest.approx(party.personal["accuracy"])

    def test_the_model_stays_as_it_is(self, net: Any, named: Any) -> None:
        run = fusion_nb.federate(net(), named, rounds=2, lr=0.3, personal="ditto")
        before = {name: array.copy() for name, array in run.weights.items()}
        run.predictions(personal=True)
        run.more(1).wait()
        again = fusion_nb.federate(net(), named, rounds=2, lr=0.3, personal="ditto").more(1).wait()
        assert run.history["loss"] == again.history["loss"]
        assert before.keys() == run.weights.keys()

    def test_numbers(self, net: Any, rows: Any) -> None:
        x, _ = rows
        run = fusion_nb.federate(net(5, 1), (x, x[:, 0]), rounds=1, lr=0.1)
        frame = run.predictions()
        assert [*frame.columns] == ["party", "row", "label", "predicted"]
        error = ((frame["label"] - frame["predicted"]) ** 2).mean()
        assert error == pytest.approx(run.history["loss"][-1], rel=1e-4)

    def test_columns_that_classes_are_called(self, net: Any, rows: Any) -> None:
        x, y = rows
        data = x, np.array(["label", "party", "score"])[y]
        frame = fusion_nb.federate(net(), data, rounds=1).predictions()
        assert {"party", "label", "score_label", "score_party", "score"} <= {*frame.columns}

    def test_mistakes_are_told(self, net: Any, rows: Any) -> None:
        run = fusion_nb.federate(net(), rows, rounds=1)
        with pytest.raises(NameNotFoundError, match="did you mean 'party 1'"):
            run.predictions("party1")
        with pytest.raises(RunError, match="has no model of its own"):
            run.predictions(personal=True)
        with pytest.raises(RunError, match="no whole round yet"):
            fusion_nb.Run(
                fusion_nb.RunSpec(data="data"), {"model": net(), "data": rows}
            ).predictions()

    def test_a_party_without_test_rows(self, net: Any, rows: Any) -> None:
        x, y = rows
        data = {"train": (x, y), "test": (x[:30], y[:30])}
        run = fusion_nb.federate(net(), data, rounds=1, holdout=0)
        assert {*run.predictions()["party"]} == {"central test set"}
        with pytest.raises(RunError, match="party 1 has no test rows of its own"):
            run.predictions("party 1")

    def test_a_model_that_predicts_nothing(self) -> None:
        models = pytest.importorskip("gensim.models.doc2vec")
        texts = [f"word{i % 7} other{i % 3} more{i % 5}" for i in range(24)]
        run = fusion_nb.federate(models.Doc2Vec(vector_size=4, min_count=1), texts, rounds=1)
        for ask in (run.predictions, run.confusion, run.report):
            with pytest.raises(FusionError, match="predicts nothing for a row"):
                ask()


class TestConfusionAndReport:
    def test_as_scikit_learn_has_them(self, net: Any, named: Any) -> None:
        run = fusion_nb.federate(net(), named, rounds=2, lr=0.3)
        frame, found = run.predictions(), run.confusion()
        expected = sk.confusion_matrix(frame["label"], frame["predicted"])
        assert np.array_equal(found.matrix, expected)
        assert np.array_equal(found.to_frame().to_numpy(), expected)
        assert found.classes == ("ash", "oak", "yew")
        report = run.report().to_frame()
        whole = sk.classification_report(frame["label"], frame["predicted"], output_dict=True)
        for name in ("ash", "oak", "yew"):
            for column, sklearns in (("f1", "f1-score"), ("precision", "precision")):
                assert report.loc[name, column] == pytest.approx(whole[name][sklearns])
            assert report.loc[name, "support"] == whole[name]["support"]
        assert report.loc["macro average", "recall"] == pytest.approx(whole["macro avg"]["recall"])

    def test_each_party_and_all_together(self, net: Any, named: Any) -> None:
        run = fusion_nb.federate(net(), named, rounds=2, lr=0.3)
        parties = run.report().parties.to_frame()
        for party in run.parties:
            assert parties.loc[party.id, "accuracy"] == pytest.approx(party.fused["accuracy"])
        assert parties.loc["all parties", "accuracy"] == pytest.approx(run.history["accuracy"][-1])

    def test_numbers_have_no_confusion(self, net: Any, rows: Any) -> None:
        x, _ = rows
        run = fusion_nb.federate(net(5, 1), (x, x[:, 0]), rounds=1, lr=0.1)
        with pytest.raises(RunError, match="the labels are numbers"):
            run.confusion()
        frame = run.predictions()
        r2 = run.report().to_frame().loc["all parties", "r2"]
        assert r2 == pytest.approx(sk.r2_score(frame["label"], frame["predicted"]))

    def test_they_are_shown(self, net: Any, named: Any) -> None:
        run = fusion_nb.federate(net(), named, rounds=2, lr=0.3)
        found = run.confusion("party 1")
        assert "party 1: " in repr(found)
        assert "predicted oak" in repr(found)
        assert "<table" in found._repr_html_()
        assert "<img" in found._repr_html_()
        chart = found.plot()
        assert chart.png.startswith(b"\x89PNG")
        assert "right of each class: ash" in chart.alt
        assert "macro average" in repr(run.report())
        assert run.report()._repr_html_().count("<table") == 2

    def test_names_of_classes_are_shown_as_they_are(self, net: Any, rows: Any) -> None:
        x, y = rows
        data = x, np.array(["<b>bold</b>", "$a$", "_under" * 20])[y]
        run = fusion_nb.federate(net(), data, rounds=1)
        assert "<b>bold" not in run.confusion()._repr_html_()
        assert "<b>bold" not in run.report()._repr_html_()
        assert run.confusion().plot().png


class TestWorst:
    def test_by_the_monitored_metric_or_another(self, net: Any, named: Any) -> None:
        run = fusion_nb.federate(net(), named, rounds=2, lr=0.1, split="dirichlet:alpha=0.3")
        by_accuracy = {party.id: party.fused["accuracy"] for party in run.parties}
        assert by_accuracy[run.parties.worst().id] == min(by_accuracy.values())
        by_loss = {party.id: party.fused["loss"] for party in run.parties}
        assert by_loss[run.parties.worst("loss").id] == max(by_loss.values())
        local = {party.id: party.local["loss"] for party in run.parties}
        assert local[run.parties.worst("loss", "local").id] == max(local.values())

    @pytest.mark.parametrize(("metric", "kind"), [("auk", ""), ("loss", "personal"), ("loss", "x")])
    def test_mistakes_are_told(self, net: Any, rows: Any, metric: str, kind: str) -> None:
        run = fusion_nb.federate(net(), rows, rounds=1)
        with pytest.raises(NameNotFoundError, match="no party has the metric"):
            run.parties.worst(metric, kind)


class TestCompared:
    def test_losses_that_are_not_the_same(self, net: Any, rows: Any) -> None:
        from torch import nn

        from fusion_nb.runs.session import compare

        one = fusion_nb.federate(net(), rows, rounds=1)
        same = fusion_nb.federate(net(), rows, rounds=1, lr=0.5)
        other = fusion_nb.federate(net(5, 3, nn.LogSoftmax(1)), rows, rounds=1)
        assert compare({"one": one, "same": same}).note == ""
        chart = compare({"one": one, "same": same, "other": other})
        assert "cross_entropy of one, same; nll of other" in chart.note
        shown = chart._repr_mimebundle_()
        assert escape(chart.note) in shown["text/html"]
        assert chart.note in shown["text/plain"]

    def test_runs_with_and_without_added_metrics(self, net: Any, rows: Any) -> None:
        from fusion_nb.runs.session import compare

        one = fusion_nb.federate(net(), rows, rounds=2, metrics="auc")
        other = fusion_nb.federate(net(), rows, rounds=2)
        assert "accuracy" in compare({"one": one, "other": other}).alt


@pytest.mark.parametrize(
    "options",
    [
        {"fraction": 0.3},
        {"fraction": 0.3, "over_select": 1.5, "devices": "half_normal"},
        {"fraction": 0.3, "sampling": "tiers", "devices": "half_normal"},
        {"sampling": "poisson:q=0.3"},
    ],
)
def test_parties_that_never_trained_are_predicted_as_they_are_measured(
    options: dict[str, Any], net: Any, rows: Any
) -> None:
    layer = next(reversed(net().state_dict()))
    personal = f"fedper:{layer}"
    run = fusion_nb.federate(net(), rows, parties=4, rounds=1, personal=personal, **options)
    frame = run.predictions()
    right = (frame["label"] == frame["predicted"]).mean()
    assert right == pytest.approx(run.history["accuracy"][-1])
    assert run.report()
    assert run.confusion()
    with pytest.raises(RunError, match="has not trained yet"):
        run.predictions(personal=True)
