"""Added metrics and weights of classes of a run that a service trains."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from serving import Server
from torch import nn

import fusion_nb
from fusion_nb import Run, RunSpec
from fusion_nb.errors import OptionError, RunError
from fusion_nb.service.remote_run import RemoteRun


def namespace() -> dict[str, Any]:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 4)).astype(np.float32)
    y = (x[:, 0] + rng.normal(size=120) > 1).astype(np.int64)
    return {"model": nn.Sequential(nn.Linear(4, 2)), "data": (x, y)}


def test_records_and_parties_have_them_and_rows_stay(server: Server) -> None:
    options = {"rounds": 2, "lr": 0.3, "parties": 3, "data": "data", "until": "auc >= 0.99"}
    spec = RunSpec(**options, metrics="auc,f1:average=micro", class_weights="balanced")
    here = Run(spec, namespace()).start().wait()
    there = RemoteRun(spec, namespace(), url=server.url).start().wait()
    assert {"auc", "f1_micro"} <= {*there.history.metrics()}
    assert [r.metrics for r in there.history] == [r.metrics for r in here.history]
    assert [p.fused for p in there.parties] == [p.fused for p in here.parties]
    for ask in (there.predictions, there.confusion, there.report):
        with pytest.raises(RunError, match="no prediction for a row"):
            ask()


def test_a_metric_of_the_notebook_is_refused(server: Server) -> None:
    @fusion_nb.metric
    def own(labels: Any, scores: Any) -> float:
        return 0.0

    spec = RunSpec(data="data", metrics="auc,own")
    with pytest.raises(OptionError, match="own is a metric of this notebook"):
        RemoteRun(spec, namespace(), url=server.url)
