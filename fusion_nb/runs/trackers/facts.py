"""The facts of a run that trackers store: parameters, tags, metrics, and the files at its end."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fusion_nb.core.protocols.tracker import TrackedEnd, TrackedRun
from fusion_nb.core.types import Metrics, RoundRecord
from fusion_nb.errors import FusionError
from fusion_nb.reporting import export
from fusion_nb.version import __version__

#: Options that say where a run is saved or tracked, or hold a whole cell: no parameters of a curve.
_NO_PARAMS = {"code", "checkpoint", "log"}


def begun(run: Any, id: str) -> TrackedRun:
    """Return a run as it is stored at the begin of a training."""
    result = run.result()
    params = {
        name: value
        for name, value in result.spec.items()
        if name not in _NO_PARAMS and value not in ("", None)
    }
    return TrackedRun(
        id=id,
        name=run.name,
        params=params | {name: value for name, value in result.chosen.items() if value is not None},
        tags={
            "fusion_nb.version": __version__,
            "fusion_nb.cell": result.cell,
            "fusion_nb.data": result.schema.describe(),
            "fusion_nb.monitor": result.monitor,
            "fusion_nb.shown": ", ".join(run.chart_metrics),
            "fusion_nb.loss": run.loss_name,
            "python": platform.python_version(),
        },
        round=len(run.records),
    )


def of_round(record: RoundRecord, num_parties: int, most: int) -> Metrics:
    """Return the metrics of a round, and those of each party where there are `most` at most.

    Numbers that are not finite are kept: a loss that diverges is what its reader looks for.
    """
    found: Metrics = dict(record.metrics)
    found |= {
        "seconds": record.seconds,
        "bytes_up": float(record.bytes_up),
        "bytes_down": float(record.bytes_down),
    }
    if record.failures:
        found["failures"] = float(len(record.failures))
    if num_parties <= most:
        found |= {
            f"party/{party}/{name}": value
            for party, metrics in record.party_metrics.items()
            for name, value in metrics.items()
        }
    return found


def ended(run: Any, folder: Path) -> TrackedEnd:
    """Return the end of a training as it is stored, with its files inside a folder."""
    result = run.result()
    metrics: dict[str, float] = dict(result.history.last()) if result.history else {}
    if result.best_round:
        best = result.history[result.best_round - 1].metrics[result.monitor]
        metrics |= {"best_round": float(result.best_round), f"best_{result.monitor}": best}
    files = _written(run, folder / run.name) if result.history else None
    return TrackedEnd(result.status, result.reason, metrics, files, tuple(result.notes))


def _written(run: Any, folder: Path) -> Path:
    """Write the export of a run, without a model that has no format or can't be written."""
    try:
        run.export(str(folder), _formats(run))
    except FusionError:
        result = replace(run.result(), parties=run.parties)
        export.write(
            str(folder), result, run.federation.model, run.weights, len(result.history), [], False
        )
    return folder


def _formats(run: Any) -> list[str]:
    """Return the usual format, and PyTorch's for a whole model: the usual one holds weights alone,
    which nothing can predict with.
    """
    return [*run.formats[:1], *(name for name in run.formats[1:] if name == "whole")]


def finite(metrics: Mapping[str, float]) -> Metrics:
    """Return the metrics that are finite numbers, for places that take no others."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
