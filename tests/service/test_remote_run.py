"""Runs that a service trains, from Python and from a cell."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serving import ENDLESS, Server, serving, wait_for
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.errors import ModelError, OptionError, RunError, ServiceError
from fusion_nb.runs.session import RUNS
from fusion_nb.service.client import Client
from fusion_nb.service.remote_run import RemoteRun


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.ReLU(), nn.Linear(16, 10))


class Unknown(nn.Sequential):
    """A class that the service does not have."""


#: Options of runs whose curve on the service is compared too, where there is time.
OTHER_OPTIONS: list[dict[str, Any]] = [
    {"split": "dirichlet:alpha=0.5", "parties": 3, "fraction": 0.7},
    {"fusion": "scaffold", "batch_size": 16, "holdout": 0.0},
    {"fusion": "fedadam", "dropout": 0.3, "seed": 5},
    {"changes": "2:lr=0.01", "monitor": "loss"},
]


class TestRemoteRun:
    """A cell's federation on the service: the same curve, chart, model and files as in the
    kernel."""

    def both(self, server: Server, namespace: dict[str, Any], **options: Any) -> tuple[Run, Run]:
        spec = RunSpec(**options)
        here = Run(spec, namespace).start().wait()
        there = RemoteRun(spec, namespace, url=server.url).start().wait()
        return here, there

    @pytest.mark.parametrize(
        "options",
        [
            {
                "baseline": "local",
                "adversary": "label_flip:1",
                "fusion": "median",
                "personal": "finetune",
            },
            *(pytest.param(options, marks=pytest.mark.slow) for options in OTHER_OPTIONS),
        ],
        ids=str,
    )
    def test_the_curve_equals_that_of_a_run_in_the_kernel(
        self, server: Server, options: dict[str, Any]
    ) -> None:
        here, there = self.both(
            server, {"model": network()}, **({"rounds": 3, "lr": 0.1} | options)
        )
        assert there.status == "finished"
        assert [record.metrics for record in there.history] == [
            record.metrics for record in here.history
        ]
        for ours, theirs in zip(here.model.parameters(), there.model.parameters(), strict=True):
            assert torch.equal(ours, theirs)
        assert there.best.round == here.best.round
        assert there.spec == here.spec

    def test_the_export_has_the_files_of_a_run_in_the_kernel(
        self, server: Server, tmp_path: Path
    ) -> None:
        _, there = self.both(server, {"model": network()}, rounds=2, lr=0.1)
        names = {path.name for path in there.export(str(tmp_path / "fused"))}
        assert {"model.pt", "card.json", "history.csv", "chart.png"} <= names

    @pytest.mark.slow
    def test_until_ends_it_on_the_service(self, server: Server) -> None:
        spec = RunSpec(rounds=50, until="loss <= 100")
        run = RemoteRun(spec, {"model": network()}, url=server.url).start().wait()
        assert len(run.history) == 1
        assert run.reason.startswith("loss")
        assert run.spec.until == "loss <= 100"

    @pytest.mark.slow
    def test_another_client_ends_it(self, server: Server) -> None:
        run = RemoteRun(RunSpec(rounds=ENDLESS), {"model": network()}, url=server.url).start()
        wait_for(lambda: len(run.records) >= 2)
        with Client(server.url) as client:
            client.stop(client.aggregators()[-1]["aggregator_id"])
        run.wait()
        assert run.reason == "it was ended at the service"
        assert len(run.history) >= 2

    @pytest.mark.slow
    def test_keras(self, server: Server) -> None:
        keras = pytest.importorskip("keras")
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Input((1, 28, 28)), keras.layers.Flatten(), keras.layers.Dense(10)]
        here, there = self.both(
            server, {"model": keras.Sequential(layers)}, rounds=2, optimizer="adam"
        )
        assert there.history["accuracy"] == pytest.approx(here.history["accuracy"])
        for ours, theirs in zip(here.model.get_weights(), there.model.get_weights(), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6)

    @pytest.mark.slow
    def test_doc2vec(self, server: Server) -> None:
        gensim = pytest.importorskip("gensim.models.doc2vec")
        words = ["one", "two", "three", "four", "five", "six", "seven", "eight"] * 3
        texts = [f"number {word} likes {word} and apples" for word in words]
        tagged = [gensim.TaggedDocument(text.split(), [f"t{i}"]) for i, text in enumerate(texts)]
        made = {
            "model": gensim.Doc2Vec(vector_size=8, min_count=1, epochs=5, workers=1, seed=1),
            "docs": tagged,
        }
        here, there = self.both(server, made, data="docs", rounds=2, parties=2)
        assert there.history["loss"] == here.history["loss"]
        np.testing.assert_array_equal(there.model.wv["apples"], here.model.wv["apples"])
        assert [tag for tag, *_ in there.similar("apples")] == [
            tag for tag, *_ in here.similar("apples")
        ]

    def test_stop_keeps_the_last_whole_round(self, server: Server) -> None:
        run = RemoteRun(RunSpec(rounds=ENDLESS), {"model": network()}, url=server.url).start()
        wait_for(lambda: len(run.records) >= 3)
        run.stop()
        assert run.status == "stopped"
        assert len(run.history) >= 3
        assert run.model is not None
        wait_for(lambda: all(thread.name != "fusion_nb rounds" for thread in threading.enumerate()))
        with Client(server.url) as client:
            found = client.aggregators()[-1]
        assert (found["state"], found["round"]) == ("stopped", len(run.history))

    @pytest.mark.slow
    def test_a_service_that_goes_away(self, tmp_path: Path) -> None:
        with serving(tmp_path / "state") as server:
            run = RemoteRun(RunSpec(rounds=ENDLESS), {"model": network()}, url=server.url).start()
            wait_for(lambda: len(run.records) >= 2)
            server.kill()
            with pytest.raises(ServiceError, match="can't be reached"):
                run.wait()
            assert run.status == "failed"
            assert not run.history  # no rounds without what they led to
            hint = run.error.hint  # type: ignore[union-attr]
            server.start()
            with Client(server.url) as client:
                aggregator_id = client.aggregators()[-1]["aggregator_id"]
                assert aggregator_id in hint
                assert client.weights(aggregator_id)

    def test_unsupported_methods_say_so(self, server: Server) -> None:
        run = RemoteRun(RunSpec(rounds=1), {"model": network()}, url=server.url)
        for refused in (run.pause, run.step, run.more, run.change):
            with pytest.raises(RunError, match="is not for a run that a service trains"):
                refused()
        personal = RemoteRun(
            RunSpec(rounds=1, personal="finetune"), {"model": network()}, url=server.url
        )
        personal.start().wait()
        with pytest.raises(RunError, match="gives out no party's model"):
            _ = personal.parties[0].model

    def test_objects_that_cannot_be_sent_are_refused(self, server: Server) -> None:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(784, 10)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x.flatten(1))

        def made(**options: Any) -> RemoteRun:
            names = {
                "model": network(),
                "own": Net(),
                "other": Unknown(*network()),
                "my_loss": nn.CrossEntropyLoss(),
            }
            return RemoteRun(RunSpec(rounds=1, **options), names, url=server.url)

        with pytest.raises(OptionError, match="--loss my_loss is an object of this notebook"):
            made(loss="my_loss")
        with pytest.raises(OptionError, match="--ensemble"):
            made(ensemble="mean")
        with pytest.raises(ModelError, match="can't be sent"):
            made(model="own").start().wait()
        with pytest.raises(ServiceError, match="Unknown"):
            made(model="other").start().wait()


def test_a_cell_that_is_trained_by_a_service(server: Server, ip: Any) -> None:
    body = "from torch import nn\nmodel = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))"
    seen = ip.run(f"%%fusion --rounds 2 --lr 0.1 --service {server.url} --name far\n{body}")
    assert seen.error is None
    far = ip.ns["far"]
    assert isinstance(far, RemoteRun)
    assert len(far.history) == 2
    assert RUNS["far"] is far
    assert "finished" in str(seen.outputs[0])
    seen = ip.run("%fusion run --rounds 1 --service http://127.0.0.1:9")
    assert isinstance(seen.error, ServiceError)
    assert "can't be reached" in str(seen.error)
    assert "takes no --service" in str(ip.run("%fusion split --service http://127.0.0.1:9").error)
