"""MLflow: its own database, or a tracking server."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from fusion_nb.core.protocols.tracker import StoredRun, TrackedEnd, TrackedRun, Tracker
from fusion_nb.core.types import Metrics
from fusion_nb.errors import OptionError, option
from fusion_nb.runs.redaction import without_secrets
from fusion_nb.runs.trackers.common import DEFAULT_PARTIES, MostParties

#: The tag by which a run is found again.
_ID = "fusion_nb.id"
#: Characters that the names of metrics may have, and the most of them.
_NO_NAME, _MAX_NAME = re.compile(r"[^A-Za-z0-9_\-. :/]"), 250
#: Characters of a parameter's and of a tag's value, and parameters in a request, at most.
_MAX_PARAM, _MAX_TAG, _MAX_BATCH = 6000, 5000, 100
_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
#: Loggers that tell each table of a new database.
_TALKATIVE = ("mlflow.store.db.utils", "alembic.runtime.migration")


class MLflow(Tracker):
    """A run of MLflow, in its database or on a server; artifacts are the export and a model."""

    packages: ClassVar[tuple[str, ...]] = ("mlflow", "sqlalchemy")

    def __init__(
        self,
        *,
        uri: Annotated[
            str,
            Field(
                description="a database as sqlite:///mlflow.db, or a server as https://host:5000 "
                "(default: MLFLOW_TRACKING_URI, or that database)"
            ),
        ] = "",
        experiment: Annotated[str, Field(min_length=1, description="the experiment")] = "fusion_nb",
        parties: MostParties = DEFAULT_PARTIES,
    ) -> None:
        self._uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "") or "sqlite:///mlflow.db"
        if "://" not in self._uri and not self._uri.startswith("databricks"):
            raise OptionError(
                f"{option('log')}: mlflow's uri {self._uri!r} is a folder, which MLflow 3 refuses",
                f"name a database in it: mlflow:uri=sqlite:///{self._uri.rstrip('/')}/mlflow.db",
                option="log",
            )
        # The current folder may be another one when the thread begins to write.
        if found := re.fullmatch(r"sqlite:///(?!/)(.+)", self._uri):
            self._uri = f"sqlite:///{Path(found[1]).expanduser().absolute()}"
        self._experiment, self.parties = experiment, parties
        self._client: Any = None
        self._run_id = ""
        self._notes: list[str] = []

    @property
    def notes(self) -> list[str]:
        """Where the run is found."""
        return self._notes

    def start(self, run: TrackedRun) -> None:
        """Create the run, or find the one of this id."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        if self._uri.startswith("sqlite:////"):
            Path(self._uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        client = self._client = MlflowClient(tracking_uri=self._uri)
        experiment = self._experiment_id()
        found = client.search_runs([experiment], f"tags.`{_ID}` = '{run.id}'", max_results=1)
        tags = {name: value[:_MAX_TAG] for name, value in run.tags.items()}
        if found:
            self._run_id, known = found[0].info.run_id, found[0].data.params
            client.update_run(self._run_id, status="RUNNING")
            for name, value in tags.items():  # the cell has more rounds now
                client.set_tag(self._run_id, name, value)
        else:
            made = client.create_run(experiment, run_name=run.name, tags={_ID: run.id, **tags})
            self._run_id, known = made.info.run_id, {}
        params = [
            Param(name, str(value)[:_MAX_PARAM])
            for name, value in run.params.items()
            if name not in known  # MLflow refuses another value, as rounds that were added
        ]
        for start in range(0, len(params), _MAX_BATCH):
            client.log_batch(self._run_id, params=params[start : start + _MAX_BATCH])
        where = without_secrets(self._uri)
        self._notes = [
            f"mlflow: run {self._run_id} of the experiment {self._experiment!r}; "
            f"mlflow ui --backend-store-uri {where}"
        ]

    def log(self, round: int, metrics: Metrics) -> None:
        """Log the metrics, with the round as their step."""
        self._log(metrics, round)

    def end(self, ending: TrackedEnd) -> None:
        """Log results and files, and set the status."""
        summary = {
            name: value for name, value in ending.metrics.items() if name.startswith("best_")
        }
        self._log(summary, int(ending.metrics.get("best_round", 0)))
        self._client.set_tag(self._run_id, "fusion_nb.reason", ending.reason)
        self._client.set_tag(self._run_id, "mlflow.note.content", "\n\n".join(ending.notes))
        if ending.folder is not None:
            self._client.log_artifacts(self._run_id, str(ending.folder), "fused")
            self._log_model(ending.folder)
        self._client.set_terminated(self._run_id, _STATUS.get(ending.status, "FINISHED"))

    def stored(self) -> list[StoredRun]:
        """Return the runs of the experiment."""
        from fusion_nb.runs.trackers.mlflow_reading import stored_runs

        return stored_runs(self._uri, self._experiment, _ID)

    def _log(self, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [
            Metric(_NO_NAME.sub("_", name)[:_MAX_NAME], float(value), now, step)
            for name, value in metrics.items()
        ]
        for start in range(0, len(found), 1000):
            self._client.log_batch(self._run_id, metrics=found[start : start + 1000])

    def _log_model(self, folder: Path) -> None:
        """Log the exported model as one of MLflow, where its file can be read on its own."""
        from fusion_nb.runs.trackers import mlflow_model

        made = folder.parent / "mlflow_model"
        if problem := mlflow_model.save(folder, made):
            self._notes.append(
                f"mlflow: no MLflow model, since {problem}; the files are in 'fused'"
            )
            return
        self._client.log_artifacts(self._run_id, str(made), "model")

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        if found is None:
            return str(self._client.create_experiment(self._experiment))
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
