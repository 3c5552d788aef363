"""The metrics files that IBM's parties write: a list with an entry for each round, as JSON."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fusion_nb.core.files.file_names import fault_of
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import ExportError


def entries(history: Sequence[RoundRecord], party: str) -> list[dict[str, Any]]:
    """Return a party's entries, as IBM's `MetricsRecorder` has them.

    `eval:` metrics before a training are those of the fused weights of the round before, and after
    it those of the party's own. Times (`ts`, in seconds) are counted back from now, since rounds
    keep how long they took.
    """
    found: list[dict[str, Any]] = []
    ends = time.time() - sum(record.seconds for record in history)
    fused: dict[str, float] = {}
    for record in history:
        begins, ends = ends, ends + record.seconds
        metrics = record.party_metrics.get(party, {})
        if party in record.cohort:
            train = _named(metrics, "train_", "train:")
            own = _named(metrics, "local_", "eval:")
            found.append(
                {
                    "round_no": record.round,
                    "pre_train": {"ts": begins, **fused},
                    "post_train": {"ts": ends, **train, **own},
                    "pre_update": {"ts": ends},
                    "post_update": {"ts": ends},
                }
            )
        plain = {name: value for name, value in metrics.items() if "_" not in name}
        fused = _named(plain, "", "eval:") or fused
    return found


def write(run: Any, folder: str) -> list[Path]:
    """Write the metrics file of each party of a run into a folder, and return the files.

    They are called `metrics_PARTY.json`. Raises ExportError where one can't be written.
    """
    target, made = Path(folder).expanduser(), []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for party in run.federation.parties:
            name = "".join(c if c.isalnum() or c in "-_." else "_" for c in party.id)
            path = target / f"metrics_{name}.json"
            if fault := fault_of(path):
                raise ExportError(f"{path} can't be written: {fault}", "rename that party")
            path.write_text(json.dumps(entries(run.records, party.id)), encoding="utf-8")
            made.append(path)
    except OSError as error:
        raise ExportError(
            f"{folder!r} can't be written ({error.strerror or error})", "choose another folder"
        ) from None
    return made


def _named(metrics: Any, prefix: str, written: str) -> dict[str, float]:
    return {
        f"{written}{name.removeprefix(prefix)}": value
        for name, value in metrics.items()
        if name.startswith(prefix) and math.isfinite(value)
    }
