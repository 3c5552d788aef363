"""Unmodified ClientApps of Flower as parties: all fusions, faults and checkpoints drive them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extras import needs

import fusion_nb
from fusion_nb.engines.flower.names import NAMES, flower
from fusion_nb.errors import FusionError
from fusion_nb.runs.run import Run

needs("flwr")

APPS = Path(__file__).parent / "flower_apps"


@pytest.fixture(autouse=True)
def _in_the_folder_of_the_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(APPS))


@pytest.fixture
def net() -> Any:
    import torch
    from quickstart_torch import Net

    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Net()


def arrays_app(**reply: Any) -> Any:
    """Return an app whose reply to 'train' has other records, where they are given."""
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp

    app = ClientApp()

    @app.train()
    def train(msg: Any, context: Any) -> Any:
        sent = msg.content["arrays"].to_numpy_ndarrays()
        records = {
            "arrays": ArrayRecord([array + 1 for array in sent]),
            "metrics": MetricRecord({"loss": 0.5, "num-examples": 3}),
        }
        changed = {name: make() for name, make in reply.items()}
        return Message(content=RecordDict(records | changed), reply_to=msg)

    @app.evaluate()
    def evaluate(msg: Any, context: Any) -> Any:
        mean = float(msg.content["arrays"].to_numpy_ndarrays()[0].mean())
        metrics = MetricRecord({"loss": mean, "num-examples": 2})
        return Message(content=RecordDict({"metrics": metrics}), reply_to=msg)

    return app


def trained(model: Any, app: Any, **options: Any) -> Run:
    return fusion_nb.federate(model, app, **{"parties": 3, "rounds": 2, **options})


@pytest.mark.parametrize("name", NAMES)
def test_flower_has_every_name(name: str) -> None:
    assert flower(name) is not None


class TestTemplates:
    @pytest.mark.parametrize("fusion", ["fedavg", "median", "fedadam", "krum", "cyclic"])
    def test_the_app_for_pytorch_learns(self, net: Any, fusion: str) -> None:
        run = trained(net, "flower_app:quickstart_torch:app", fusion=fusion, parties=5, rounds=4)
        losses = [record.metrics["loss"] for record in run.records if "loss" in record.metrics]
        assert losses[-1] < losses[0]
        assert run.records[-1].metrics["accuracy"] > 0.3

    def test_the_weights_are_a_model_again(self, net: Any) -> None:
        run = trained(net, "flower_app:quickstart_torch:app")
        assert type(run.model) is type(net)
        assert [party.num_examples for party in run.federation.parties] == [64, 64, 64]
        assert [party.num_test for party in run.federation.parties] == [16, 16, 16]

    def test_options_are_those_of_the_apps_own_file(self, net: Any) -> None:
        run = trained(net, "flower_app:quickstart_torch:app")
        assert (run.spec.epochs, run.spec.lr, run.spec.batch_size) == (1, 0.1, 16)

    @pytest.mark.parametrize("option", [{"epochs": 3}, {"lr": 0.2}, {"batch_size": 48}])
    def test_options_of_the_run_reach_the_app(self, net: Any, option: dict[str, Any]) -> None:
        plain = trained(net, "flower_app:quickstart_torch:app", rounds=1)
        other = trained(net, "flower_app:quickstart_torch:app", rounds=1, **option)
        assert other.records[0].metrics != plain.records[0].metrics

    def test_the_app_for_numpy_is_mapped_by_position(self) -> None:
        run = trained([np.zeros((2, 3))], "flower_app:quickstart_numpy:app", rounds=1)
        assert run.model[0].shape == (2, 3)
        assert 1 < run.model[0].mean() < 2  # the mean of partition-id, and a random share of 1
        assert "train_loss" not in run.records[0].metrics
        assert run.records[0].metrics["largest"] == run.model[0].max()

    def test_a_seed_repeats_the_curve(self) -> None:
        first, second = (
            trained([np.zeros((2, 3))], "flower_app:quickstart_numpy:app") for _ in range(2)
        )
        assert np.array_equal(first.model[0], second.model[0])

    def test_it_can_be_stopped_and_resumed(self, net: Any, tmp_path: Path) -> None:
        whole = trained(net, "flower_app:quickstart_torch:app", rounds=3)
        folder = str(tmp_path / "kept")
        trained(net, "flower_app:quickstart_torch:app", rounds=2, checkpoint=folder)
        again = fusion_nb.resume(folder, model=net, data="flower_app:quickstart_torch:app")
        again.more(rounds=1).wait()
        assert [r.metrics for r in again.records] == [r.metrics for r in whole.records]


class TestReplies:
    def test_rows_count_as_the_app_says(self) -> None:
        run = trained({"w": np.zeros(2, np.float32)}, arrays_app())
        assert run.model["w"].tolist() == [2.0, 2.0]
        assert run.model["w"].dtype == np.float32
        assert {p.num_examples for p in run.federation.parties} == {3}

    def test_a_training_without_a_loss_is_one(self) -> None:
        from flwr.app import MetricRecord

        app = arrays_app(metrics=lambda: MetricRecord({"num-examples": 3}))
        run = trained([np.zeros(2)], app, rounds=1)
        assert "train_loss" not in run.records[0].metrics
        assert run.records[0].metrics["loss"] == 1.0

    def test_metrics_in_a_list_are_told_one_by_one(self) -> None:
        from flwr.app import MetricRecord

        found = {"loss": 0.5, "f1": [0.25, 0.75], "num-examples": 3}
        run = trained([np.zeros(2)], arrays_app(metrics=lambda: MetricRecord(found)), rounds=1)
        metrics = run.records[0].party_metrics["party 1"]
        assert (metrics["train_f1_0"], metrics["train_f1_1"]) == (0.25, 0.75)

    def test_the_context_is_kept_from_round_to_round(self) -> None:
        from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

        app = arrays_app()
        other = type(app)()

        @other.evaluate()
        def evaluate(msg: Any, context: Any) -> Any:
            return app(msg, context)

        @other.train()
        def train(msg: Any, context: Any) -> Any:
            count = int(context.state["count"]["n"]) + 1 if "count" in context.state else 1
            context.state["count"] = MetricRecord({"n": count})
            content = {
                "arrays": ArrayRecord([np.full(2, float(count))]),
                "metrics": MetricRecord({"loss": 0.1, "num-examples": 1}),
            }
            return Message(content=RecordDict(content), reply_to=msg)

        assert trained([np.zeros(2)], other, rounds=3).model[0].tolist() == [3.0, 3.0]

    @pytest.mark.parametrize(
        ("record", "make", "line"),
        [
            ("metrics", lambda metric, array: metric({"loss": 1.0}), "no 'num-examples'"),
            ("metrics", lambda metric, array: metric({"num-examples": 0}), "is 0"),
            ("metrics", lambda metric, array: metric({"num-examples": -2}), "is -2"),
            ("arrays", lambda metric, array: array([]), "0 arrays, and it was sent 1"),
            ("arrays", lambda metric, array: array([np.zeros(3)]), "has shape"),
            ("arrays", lambda metric, array: array([np.zeros(2, np.int64)]), "is int64"),
            ("arrays", lambda metric, array: array([np.full(2, np.nan)]), "not finite"),
            ("more", lambda metric, array: array([np.zeros(2)]), "2 ArrayRecords"),
        ],
    )
    def test_a_wrong_reply_is_one_clear_line(
        self, record: str, make: Callable[[Any, Any], Any], line: str
    ) -> None:
        from flwr.app import ArrayRecord, MetricRecord

        app = arrays_app(**{record: lambda: make(MetricRecord, ArrayRecord)})
        with pytest.raises(FusionError, match=line):
            trained([np.zeros(2)], app, rounds=1)

    def test_a_party_that_raises_is_a_failure_of_that_party(self) -> None:
        app = arrays_app()
        other = type(app)()

        @other.train()
        def train(msg: Any, context: Any) -> Any:
            if context.node_config["partition-id"] == 1:
                raise OSError("the disk is gone")
            return app(msg, context)

        @other.evaluate()
        def evaluate(msg: Any, context: Any) -> Any:
            return app(msg, context)

        run = trained([np.zeros(2)], other, rounds=1, quorum=0.5)
        assert [f.party for f in run.records[0].failures] == ["party 2"]
        assert "the disk is gone" in run.records[0].failures[0].error


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "line"),
        [
            ({"fusion": "scaffold"}, "steps of the parties' optimizers"),
            ({"fusion": "fednova"}, "steps of the parties' optimizers"),
            ({"fusion": "fedprox"}, "proximal term"),
            ({"fusion": "feddyn"}, "corrected gradients"),
            ({"personal": "ditto"}, "proximal term"),
            ({"baseline": "local"}, "trains by itself"),
            ({"ensemble": "vote"}, "trains by itself"),
            ({"adversary": "label_flip"}, "labels included"),
            ({"straggler": "0.5"}, "local-epochs"),
            ({"split": "shards"}, "divides its own rows"),
            ({"tabular": "auto"}, "divides its own rows"),
            ({"engine": "process"}, "runs in this process"),
            ({"optimizer": "adam"}, "no such option"),
            ({"loss": "mse"}, "no such option"),
            ({"metrics": "auc"}, "predicts nothing"),
        ],
    )
    def test_what_an_app_cannot_give_is_refused_before_training(
        self, options: dict[str, Any], line: str
    ) -> None:
        with pytest.raises(FusionError, match=line):
            trained([np.zeros(2)], arrays_app(), **options)

    @pytest.mark.parametrize(
        ("data", "line"),
        [
            ("flower_app:", "does not say where the app is"),
            ("flower_app:quickstart_torch", "does not say where the app is"),
            ("flower_app:no_such_module:app", "there is no module no_such_module"),
            ("flower_app:quickstart_torch:other", "has no ClientApp 'other'"),
            ("flower_app:quickstart_torch:Net", "it has app"),
        ],
    )
    def test_an_app_that_is_not_there_is_one_line(self, data: str, line: str) -> None:
        with pytest.raises(FusionError) as caught:
            trained([np.zeros(2)], data)
        assert line in str(caught.value)

    def test_an_app_that_cannot_evaluate_is_refused(self) -> None:
        from flwr.clientapp import ClientApp

        with pytest.raises(FusionError, match="could not evaluate the first weights"):
            trained([np.zeros(2)], ClientApp())

    def test_dropout_and_hostile_parties_are_simulated(self) -> None:
        run = trained(
            [np.zeros(2)], arrays_app(), parties=5, adversary="sign_flip:num=1", fusion="median"
        )
        assert run.model[0].tolist() == [2.0, 2.0]
        assert trained([np.zeros(2)], arrays_app(), dropout=0.5, rounds=3, seed=1).status
