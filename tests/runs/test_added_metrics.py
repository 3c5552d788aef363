"""Metrics that a run adds: exact over all parties, on every engine, for every kind of model."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.core.history import to_dict
from fusion_nb.core.protocols import Metric
from fusion_nb.errors import FusionError

pytest.importorskip("sklearn")
from added_metrics import (
    TEXT,
    is_as_scikit_learn,
    one_class_parties,
    predictions,
    yes_or_no,
)
from sklearn import metrics

OPTIONS: dict[str, Any] = {"rounds": 2, "lr": 0.3, "metrics": TEXT}


class TestExactOverParties:
    @pytest.mark.parametrize("engine", ["local", "vectorized"])
    @pytest.mark.parametrize("outputs", [1, 2])
    def test_as_on_all_rows_together(self, net: Any, engine: str, outputs: int) -> None:
        if engine == "vectorized":
            pytest.importorskip("greenlet")
        data = one_class_parties()
        run = fusion_nb.federate(net(5, outputs), data, engine=engine, **OPTIONS)
        is_as_scikit_learn(run.history.last(), predictions(run))

    def test_a_party_of_one_class_has_no_auc(self, net: Any) -> None:
        run = fusion_nb.federate(net(5, 1), one_class_parties(), **OPTIONS)
        assert "auc" not in run.parties["none"].fused
        assert "auc" not in run.parties["none"].local
        assert "auc" in run.parties["rest"].fused
        assert "f1" in run.parties["none"].fused
        for party in ("few", "rest"):
            found = run.parties[party].fused
            if "auc" in found:
                is_as_scikit_learn(found, run.predictions(party))

    @pytest.mark.parametrize("last", ["sigmoid", "softmax", "log_softmax"])
    def test_probabilities_as_well_as_logits(self, net: Any, last: str) -> None:
        from torch import nn

        layer = {"sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(1), "log_softmax": nn.LogSoftmax(1)}
        model = net(5, 1 if last == "sigmoid" else 2, layer[last])
        run = fusion_nb.federate(model, yes_or_no(), parties=3, **OPTIONS)
        frame = predictions(run)
        assert frame[["0", "1"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
        is_as_scikit_learn(run.history.last(), frame)

    def test_a_central_test_set(self, net: Any) -> None:
        x, y = yes_or_no()
        data = {"train": (x[:160], y[:160]), "test": (x[160:], y[160:])}
        run = fusion_nb.federate(net(5, 1), data, parties=2, **OPTIONS)
        frame = predictions(run)
        assert len(frame) == 80
        is_as_scikit_learn(run.history.last(), frame)

    @pytest.mark.parametrize("personal", ["ditto", "finetune", "fedper:layers=2.*"])
    def test_personal_models(self, net: Any, personal: str) -> None:
        options = OPTIONS | {"personal": personal}
        run = fusion_nb.federate(net(5, 1), one_class_parties(), **options)
        last = run.history.last()
        own = {name.removeprefix("personal_"): last[name] for name in last if "personal_" in name}
        is_as_scikit_learn(own, predictions(run, personal=True))

    def test_personal_models_of_parties_that_did_not_train_lately(self, net: Any) -> None:
        options = OPTIONS | {"personal": "ditto", "fraction": 0.5, "rounds": 5}
        run = fusion_nb.federate(net(5, 1), one_class_parties(), **options)
        last = run.history.last()
        own = {name.removeprefix("personal_"): last[name] for name in last if "personal_" in name}
        is_as_scikit_learn(own, predictions(run, personal=True))

    def test_models_that_groups_share(self, net: Any) -> None:
        options = OPTIONS | {"share": "best:groups=2", "metrics": "auc,f1"}
        run = fusion_nb.federate(net(5, 1), yes_or_no(), parties=3, **options)
        assert {"personal_auc", "personal_f1"} <= {*run.history.last()}
        assert all("auc" in party.personal for party in run.parties)

    def test_baselines(self, net: Any) -> None:
        options = OPTIONS | {"baseline": "central,local"}
        run = fusion_nb.federate(net(5, 1), one_class_parties(), **options)
        last = run.history.last()
        assert {"central_auc", "alone_auc", "alone_f1"} <= {*last}
        # Means of the parties' own numbers would be others.
        alone = [party.alone["f1"] for party in run.parties]
        assert last["alone_f1"] != pytest.approx(np.mean(alone), abs=1e-6)

    @pytest.mark.parametrize("ensemble", ["mean", "vote", "stack"])
    def test_ensembles(self, net: Any, ensemble: str) -> None:
        options = {"metrics": TEXT, "lr": 0.3, "ensemble": ensemble}
        run = fusion_nb.federate(net(5, 2), yes_or_no(), parties=3, **options)
        is_as_scikit_learn(run.history.last(), predictions(run))

    def test_numbers(self, net: Any) -> None:
        from sklearn import metrics as sk

        x, _ = yes_or_no()
        options = OPTIONS | {"metrics": "rmse,r2"}
        run = fusion_nb.federate(net(5, 1), (x, 1e4 + x[:, 0]), parties=3, **options | {"lr": 1e-9})
        frame, last = run.predictions(), run.history.last()
        labels, found = frame["label"], frame["predicted"]
        assert last["rmse"] == pytest.approx(sk.root_mean_squared_error(labels, found))
        assert last["r2"] == pytest.approx(sk.r2_score(labels, found))

    def test_classes_of_text_and_several_flags(self, net: Any) -> None:
        from sklearn import metrics as sk

        x, _ = yes_or_no()
        text = np.array(["a b", "a-b", "c"])[np.arange(240) % 3]
        named = OPTIONS | {"metrics": "auc,recall:average=none,top_k:k=2"}
        run = fusion_nb.federate(net(5, 3), (x, text), parties=3, **named)
        frame, last = run.predictions(), run.history.last()
        recall = sk.recall_score(frame["label"], frame["predicted"], average=None)
        assert [last[f"recall_{name}"] for name in ("a_b", "a_b_1", "c")] == pytest.approx(recall)
        flags = (x[:, :3] > 0.5).astype(np.float32)
        run = fusion_nb.federate(
            net(5, 3), (x, flags), parties=3, **OPTIONS | {"metrics": "auc,f1:average=micro"}
        )
        frame, last = run.predictions(), run.history.last()
        columns = [frame[[f"{name}_{i}" for i in range(3)]] for name in ("label", "score")]
        assert last["auc"] == pytest.approx(sk.roc_auc_score(*columns), abs=2e-3)

    def test_of_one_class(self, net: Any) -> None:
        from sklearn import metrics as sk

        x, y = yes_or_no()
        text = np.where(y == 1, "sick", "well")
        chosen = (
            "average_precision,average_precision:of=sick,recall:of=sick,precision:average=binary"
        )
        run = fusion_nb.federate(net(5, 2), (x, text), parties=3, **OPTIONS | {"metrics": chosen})
        frame, last = run.predictions(), run.history.last()
        for name, of in (("average_precision", "well"), ("average_precision_sick", "sick")):
            expected = sk.average_precision_score(frame["label"] == of, frame[of])
            assert last[name] == pytest.approx(expected, abs=5e-3)
        recall = sk.recall_score(frame["label"], frame["predicted"], pos_label="sick")
        assert last["recall_sick"] == pytest.approx(recall)
        told = [note for note in run.notes if "of the class 'well', the second of two" in note]
        assert len(told) == 2

    def test_places_of_masks(self) -> None:
        from sklearn import metrics as sk
        from torch import nn

        rng = np.random.default_rng(0)
        x = rng.normal(size=(30, 1, 4, 4)).astype(np.float32)
        masks = (x[:, 0] > 0.5).astype(np.int64)
        masks[::3, 0] = -100  # these places don't count
        run = fusion_nb.federate(
            nn.Conv2d(1, 2, 1), (x, masks), parties=3, **OPTIONS | {"metrics": "auc,f1"}
        )
        frame, last = run.predictions(), run.history.last()
        assert {*frame["label"]} == {"0", "1"}
        assert last["f1"] == pytest.approx(
            sk.f1_score(frame["label"], frame["predicted"], average="macro")
        )


class TestTheRun:
    def test_is_the_same_without_them(self, net: Any) -> None:
        data, options = yes_or_no(), OPTIONS | {"parties": 3, "personal": "ditto"}
        with_metrics = fusion_nb.federate(net(5, 1), data, **options)
        without = fusion_nb.federate(net(5, 1), data, **options | {"metrics": ""})
        own = without.history.metrics()
        assert {*own} < {*with_metrics.history.metrics()}
        for name in own:
            assert without.history[name] == with_metrics.history[name]

    def test_records_hold_plain_numbers(self, net: Any) -> None:
        run = fusion_nb.federate(net(5, 1), one_class_parties(), **OPTIONS)
        for record in run.history:
            json.dumps(to_dict(record), allow_nan=False)
            everyone = [record.metrics, *record.party_metrics.values()]
            assert {type(value) for found in everyone for value in found.values()} <= {float, int}

    def test_monitor_until_best_and_chart(self, net: Any) -> None:
        options = OPTIONS | {"rounds": 5, "monitor": "auc", "until": "auc >= 0.1"}
        run = fusion_nb.federate(net(5, 1), yes_or_no(), parties=3, **options)
        assert len(run.history) == 1
        assert run.best.metric == "auc"
        assert run.chart_metrics == ("loss", "auc")
        assert "auc" in run.plot().alt
        assert "fused auc" in str(run.summary())

    def test_higher_is_better_where_it_is(self, net: Any) -> None:
        run = fusion_nb.federate(net(5, 1), yes_or_no(), parties=3, **OPTIONS | {"rounds": 4})
        for name in ("auc", "recall_binary"):
            assert run.history.best(name).metrics[name] == max(run.history[name])
        assert run.history.best("brier").metrics["brier"] == min(run.history["brier"])

    def test_the_card_has_them(self, net: Any, tmp_path: Path) -> None:
        run = fusion_nb.federate(net(5, 1), yes_or_no(), parties=3, **OPTIONS)
        run.export(str(tmp_path / "out"))
        card = json.loads((tmp_path / "out" / "card.json").read_text())
        assert card["metrics"]["auc"] == run.history.last()["auc"]
        assert "auc" in (tmp_path / "out" / "CARD.md").read_text().lower()

    def test_some_test_rows_stand_for_all(self, net: Any) -> None:
        options = OPTIONS | {"evaluate_rows": 10, "rounds": 2}
        run = fusion_nb.federate(net(5, 1), yes_or_no(600), parties=3, **options)
        assert all(0 <= value <= 1 for value in run.history["f1"])
        is_as_scikit_learn(run.history.last(), predictions(run))

    def test_a_saved_run_goes_on(self, net: Any, tmp_path: Path) -> None:
        data = one_class_parties()
        options = OPTIONS | {"personal": "ditto", "fraction": 0.5, "metrics": "auc,f1"}
        whole = fusion_nb.federate(net(5, 1), data, **options | {"rounds": 4})
        folder = str(tmp_path / "saved")
        fusion_nb.federate(net(5, 1), data, checkpoint=folder, **options | {"rounds": 2})
        again = fusion_nb.resume(folder, net(5, 1), data).more(2).wait()
        for name in ("auc", "personal_auc", "personal_f1"):
            assert again.history[name] == whole.history[name]

    @pytest.mark.parametrize("given", [["auc", "f1"], ("auc", "f1"), "auc,f1", " auc , f1,"])
    def test_lists_of_names(self, net: Any, given: Any) -> None:
        run = fusion_nb.federate(net(5, 1), yes_or_no(), **OPTIONS | {"metrics": given})
        assert [*run.history.metrics()][-2:] == ["auc", "f1"]

    @pytest.mark.parametrize("given", [3, len, [len]])
    def test_other_objects_are_refused(self, net: Any, given: Any) -> None:
        with pytest.raises(FusionError, match=r"metrics=.* is not allowed"):
            fusion_nb.federate(net(5, 1), yes_or_no(), **OPTIONS | {"metrics": given})


class TestOnesOwn:
    def test_a_function_of_all_rows(self, net: Any) -> None:
        @fusion_nb.metric(higher_is_better=False)
        def missed(labels: Any, scores: Any, *, limit: float = 0.5) -> float:
            assert scores.ndim == 1
            return float(((labels == 1) & (scores < limit)).mean())

        options = OPTIONS | {"metrics": "missed:limit=0.4,auc"}
        run = fusion_nb.federate(net(5, 1), one_class_parties(), **options)
        frame = run.predictions()
        expected = ((frame["label"] == "1") & (frame["1"] < 0.4)).mean()
        assert run.history["missed"][-1] == pytest.approx(expected)
        assert run.history.best("missed").metrics["missed"] == min(run.history["missed"])
        assert any("each party sends labels and scores" in note for note in run.notes)

    def test_a_class_of_sums(self, net: Any) -> None:
        @fusion_nb.metric(name="cost")
        class Cost(Metric):
            higher_is_better = False

            def sums(self, labels: Any, predictions: Any, task: Any) -> Any:
                wrong = predictions.argmax(1) != labels
                return {"cost": np.array(float((wrong * (1 + 9 * labels)).sum()))}

            def values(self, sums: Any, task: Any) -> Any:
                return [float(sums["cost"])]

        run = fusion_nb.federate(net(5, 2), one_class_parties(), **OPTIONS | {"metrics": "cost"})
        frame = run.predictions()
        wrong = frame["label"] != frame["predicted"]
        assert run.history["cost"][-1] == (wrong * np.where(frame["label"] == "1", 10, 1)).sum()

    def test_what_it_raises_is_told_before_training(self, net: Any) -> None:
        @fusion_nb.metric
        def wrong(labels: Any, scores: Any) -> float:
            return labels.no_such_thing

        with pytest.raises(AttributeError, match="no_such_thing"):
            fusion_nb.federate(net(5, 1), yes_or_no(), **OPTIONS | {"metrics": "wrong"})

    @pytest.mark.parametrize(
        ("value", "line"), [("text", "not a number"), ([1, 2], "not a number"), (None, "NoneType")]
    )
    def test_another_value_than_a_number(self, net: Any, value: Any, line: str) -> None:
        fusion_nb.metric(name="odd")(lambda labels, scores: value)
        with pytest.raises(FusionError, match=line):
            fusion_nb.federate(net(5, 1), yes_or_no(), **OPTIONS | {"metrics": "odd"})

    @pytest.mark.parametrize(("outputs", "classes"), [(1, "scores > 0.5"), (2, "scores.argmax")])
    def test_a_function_of_classes_is_told_how_to_get_them(
        self, net: Any, outputs: int, classes: str
    ) -> None:
        fusion_nb.metric(metrics.matthews_corrcoef)
        options = OPTIONS | {"metrics": "matthews_corrcoef"}
        with pytest.raises(FusionError, match="takes 'y_pred', and is given scores") as caught:
            fusion_nb.federate(net(5, outputs), yes_or_no(), **options)
        assert classes in caught.value.hint

        @fusion_nb.metric
        def mine(labels: Any, scores: Any) -> float:
            found = scores > 0.5 if scores.ndim == 1 else scores.argmax(1)
            return float(metrics.accuracy_score(labels, found))

        options = OPTIONS | {"metrics": "mine,accuracy"}
        run = fusion_nb.federate(net(5, outputs), yes_or_no(), **options)
        assert run.history["mine"] == pytest.approx(run.history["accuracy"])

    def test_a_function_of_predicted_numbers_is_given_them(self, net: Any) -> None:
        fusion_nb.metric(metrics.max_error, higher_is_better=False)
        x, _ = yes_or_no()
        options = OPTIONS | {"metrics": "max_error,mae"}
        run = fusion_nb.federate(net(5, 1), (x, x[:, 0]), **options)
        assert run.history["max_error"][-1] > run.history["mae"][-1]

    def test_an_error_of_shapes_says_them(self, net: Any) -> None:
        @fusion_nb.metric
        def shapes(labels: Any, scores: Any) -> float:
            return float((labels == scores.reshape(7, -1)).mean())

        with pytest.raises(ValueError, match="reshape") as caught:
            fusion_nb.federate(net(5, 2), yes_or_no(), **OPTIONS | {"metrics": "shapes"})
        assert "shapes was given labels of shape" in caught.value.__notes__[0]

    def test_a_function_of_another_form(self) -> None:
        with pytest.raises(FusionError, match=r"write it as \(labels, scores\)"):
            fusion_nb.metric(lambda labels: 1.0)


class TestRefused:
    @pytest.mark.parametrize(
        ("metrics", "line"),
        [
            ("auk", "no metric is called 'auk'"),
            ("rmse", "rmse.* measures numbers, and the model predicts classes"),
            ("f1:average=mean", "average=mean is not allowed"),
            ("top_k:k=5", "k = 5 most probable of 2 classes are all of them"),
            ("auc,confusion", "a confusion matrix is a table"),
            ("auc:of=cat", "no class is called 'cat'; there are 0, 1"),
            ("f1:of=2", "no class is called '2'"),
            ("f1:k=2", "has no option 'k'"),
        ],
    )
    def test_before_training(self, net: Any, metrics: str, line: str) -> None:
        with pytest.raises(FusionError, match=line):
            fusion_nb.federate(net(5, 1), yes_or_no(), **OPTIONS | {"metrics": metrics})

    def test_metrics_of_classes_for_numbers(self, net: Any) -> None:
        x, _ = yes_or_no()
        with pytest.raises(FusionError, match=r"measures classes.*and the model predicts numbers"):
            fusion_nb.federate(net(5, 1), (x, x[:, 0]), **OPTIONS | {"metrics": "auc"})

    def test_test_rows_of_one_class(self, net: Any) -> None:
        x, y = yes_or_no()
        data = {"train": (x, y), "test": (x[y == 0], y[y == 0])}
        with pytest.raises(FusionError, match=r"auc.* has no value: all test rows are class 0"):
            fusion_nb.federate(net(5, 1), data, **OPTIONS | {"metrics": "f1,auc"})

    def test_a_loss_of_ones_own_that_alone_knows_the_outputs(self, net: Any) -> None:
        from torch import nn

        class Both(nn.Module):
            def forward(self, x: Any) -> Any:
                return x[:, :3]

        def loss(output: Any, target: Any) -> Any:
            return (output.sum(1) - target.float()).pow(2).mean()

        model = nn.Sequential(nn.Linear(5, 3), Both())
        x, _ = yes_or_no()
        data = (x, x[:, 0])
        with pytest.raises(FusionError, match="outputs whose meaning its loss alone knows"):
            fusion_nb.federate(model, data, loss=loss, **OPTIONS | {"metrics": "rmse"})

    def test_a_doc2vec(self) -> None:
        models = pytest.importorskip("gensim.models.doc2vec")
        texts = [f"word{i % 7} other{i % 3} more{i % 5}" for i in range(24)]
        with pytest.raises(FusionError, match="predicts nothing for a row"):
            fusion_nb.federate(models.Doc2Vec(vector_size=4, min_count=1), texts, metrics="auc")

    def test_predictions_that_are_not_numbers(self, net: Any) -> None:
        from torch import nn

        class Bad(nn.Module):
            def forward(self, x: Any) -> Any:
                return x if self.training else x / (x.abs() < 0)

        with pytest.raises(FusionError, match=r"NaN|inf|finite"):
            fusion_nb.federate(net(5, 1, Bad()), yes_or_no(), **OPTIONS)


def test_no_value_is_never_zero() -> None:
    from fusion_nb.core.counts import Counted, known

    found = known({"auc": Counted(math.nan, {}), "f1": Counted(0.5, {}), "loss": math.nan})
    assert found.keys() == {"f1", "loss"}
