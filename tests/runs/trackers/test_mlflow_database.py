"""MLflow's database, read back by MLflow's own client. Its first use takes many seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tracked import ROWS, federate, model

import fusion_nb

pytest.importorskip("mlflow")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@dataclass
class Tracked:
    """A run with two rounds more, and what MLflow knows of it."""

    run: fusion_nb.Run
    client: Any
    found: Any
    uri: str


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    from mlflow.tracking import MlflowClient

    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # MLflow puts artifacts into the current folder
        run = federate(log=f"mlflow:uri={uri},experiment=small", lr=0.25)
        run.more(2).wait()
        saved = {"checkpoint": "saved", "log": f"mlflow:uri={uri},experiment=resumed"}
        federate(**saved, rounds=4, callbacks=lambda run, record: run.stop())
        fusion_nb.resume("saved", model(), ROWS, callbacks=lambda *_: None)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("small")
    (found,) = client.search_runs([experiment.experiment_id])
    return Tracked(run, client, found, uri)


def test_parameters_tags_and_status(tracked: Tracked) -> None:
    found = tracked.found
    assert found.info.status == "FINISHED"
    assert found.info.run_name == tracked.run.name
    assert (found.data.params["lr"], found.data.params["fusion"]) == ("0.25", "fedavg")
    assert "--rounds 5" in found.data.tags["fusion_nb.cell"], "the tag follows further rounds"
    assert found.data.tags["fusion_nb.version"] == fusion_nb.__version__


@pytest.mark.parametrize("name", ["loss", "accuracy", "train_loss"])
def test_metrics_by_round(name: str, tracked: Tracked) -> None:
    history = tracked.client.get_metric_history(tracked.found.info.run_id, name)
    values = {metric.step: metric.value for metric in history}
    assert values == dict(enumerate(tracked.run.history[name], start=1))


def test_metrics_by_party_and_best(tracked: Tracked) -> None:
    last = tracked.found.data.metrics
    expected = tracked.run.history.party("party 1", "accuracy")[-1]
    assert last["party/party 1/accuracy"] == expected
    assert last["best_accuracy"] == max(tracked.run.history["accuracy"])


def test_files(tracked: Tracked) -> None:
    listed = tracked.client.list_artifacts(tracked.found.info.run_id, "fused")
    names = {item.path.rpartition("/")[2] for item in listed}
    assert {"CARD.md", "card.json", "chart.png", "history.csv", "model.pt"} <= names


def test_the_model_loads_and_predicts_with_its_signature(tracked: Tracked) -> None:
    import mlflow

    path = mlflow.artifacts.download_artifacts(
        run_id=tracked.found.info.run_id, artifact_path="model", tracking_uri=tracked.uri
    )
    found = mlflow.pyfunc.load_model(path)
    (rows,) = found.metadata.signature.inputs.inputs
    assert (rows.type, rows.shape) == (np.dtype("float32"), (-1, 3))
    predictions = found.predict(ROWS[0])
    assert np.array_equal(predictions, tracked.run.predict(ROWS[0]))
    assert not list(Path(path).rglob("*.pkl"))


def test_a_resumed_run_goes_on_in_the_same_run(tracked: Tracked) -> None:
    experiment = tracked.client.get_experiment_by_name("resumed")
    (found,) = tracked.client.search_runs([experiment.experiment_id])
    history = tracked.client.get_metric_history(found.info.run_id, "loss")
    assert [metric.step for metric in history] == [1, 2, 3, 4]
    assert found.info.status == "FINISHED"


def test_names_of_parties_are_made_fit(tracked: Tracked, tmp_path: Path) -> None:
    x, y = ROWS
    parties = {"clinic #5 é": (x[:40], y[:40]), "b/c": (x[40:], y[40:])}
    log = f"mlflow:uri={tracked.uri},experiment=names"
    run = fusion_nb.federate(model(), parties, rounds=1, log=log)
    assert not any("went on without" in note for note in run.notes), run.notes
    experiment = tracked.client.get_experiment_by_name("names")
    (found,) = tracked.client.search_runs([experiment.experiment_id])
    assert "party/clinic _5 _/accuracy" in found.data.metrics
