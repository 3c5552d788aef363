"""Reads runs back from MLflow by its own client."""

from __future__ import annotations

import math
import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusion_nb.core.protocols.tracker import StoredRun
from fusion_nb.errors import RunError, option
from fusion_nb.runs.redaction import without_secrets
from fusion_nb.runs.trackers.rounds_read import by_round

_DATABASE = "sqlite:///"
#: The variable with the number of times that the client asks a server again.
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
#: Letters of an error of the client, at most.
_MOST_LETTERS = 160


def stored_runs(uri: str, experiment: str, id_tag: str) -> list[StoredRun]:
    """Return the runs of an experiment that this package stored.

    Raises RunError for a database that is not there, or an experiment that is not in it.
    """
    where = without_secrets(uri)
    if uri.startswith(_DATABASE) and not Path(uri.removeprefix(_DATABASE)).is_file():
        # The client would make an empty one.
        raise RunError(f"there is no database {where}", f"name the one that {option('log')} named")
    from mlflow.tracking import MlflowClient

    with _told_in_one_line(where):
        client = MlflowClient(tracking_uri=uri)
        found = client.get_experiment_by_name(experiment)
        if found is None:
            known = ", ".join(each.name for each in client.search_experiments())
            raise RunError(f"{where} has no experiment {experiment!r}", f"there are: {known}")
        return [
            _of_run(client, run)
            for run in _runs(client, found.experiment_id)
            if id_tag in run.data.tags
        ]


@contextmanager
def _told_in_one_line(where: str) -> Iterator[None]:
    """Try a server only a few times, and raise RunError where it or a database can't be read.

    By itself the client asks a server that is not there for minutes.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    is_set = _RETRIES in os.environ
    os.environ.setdefault(_RETRIES, "1")
    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        why = textwrap.shorten(without_secrets(str(error)), _MOST_LETTERS, placeholder=" ...")
        hint = "see whether it is MLflow's, and whether its server is up"
        raise RunError(f"{where} can't be read: {why}", hint) from None
    finally:
        if not is_set:
            del os.environ[_RETRIES]


def _runs(client: Any, experiment_id: str) -> Iterator[Any]:
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], order_by=["attributes.start_time ASC"], page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _of_run(client: Any, run: Any) -> StoredRun:
    values = {
        name: {
            metric.step: _number(metric.value)
            for metric in client.get_metric_history(run.info.run_id, name)
        }
        for name in run.data.metrics
        if not name.startswith("best_")
    }
    return StoredRun(run.info.run_name, run.data.params, run.data.tags, by_round(values))


def _number(value: float) -> float:
    """Return a number as it was logged: databases have the largest one in place of infinity."""
    return math.copysign(math.inf, value) if abs(value) >= sys.float_info.max else value
