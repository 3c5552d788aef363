"""A table is encoded in the notebook before its rows are sent; the service itself takes numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from serving import Server
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.service.errors import FieldError
from fusion_nb.service.remote_run import RemoteRun
from fusion_nb.service.request_fields import read_options

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "age": RNG.normal(50, 10, 60),
        "city": RNG.choice(["Oslo", "Rome"], 60),
        "sick": RNG.choice(["no", "yes"], 60),
    }
)
FRAME.loc[::9, "age"] = np.nan


@pytest.mark.slow
def test_a_run_on_a_table_has_the_same_curve_there(server: Server) -> None:
    torch.manual_seed(0)
    namespace: dict[str, Any] = {"model": nn.Sequential(nn.Linear(4, 2)), "people": FRAME}
    spec = RunSpec(data="people", label="sick", tabular="auto", parties=2, rounds=2, lr=0.1)
    here = Run(spec, namespace).start().wait()
    there = RemoteRun(spec, namespace, url=server.url).start().wait()
    assert [record.metrics for record in here.history] == [r.metrics for r in there.history]
    assert here.tabular == there.tabular
    assert np.array_equal(here.predict(FRAME), there.predict(FRAME))


def test_the_service_refuses_the_option_by_its_name() -> None:
    fields = {"model_type": "pytorch", "num_parties": "2", "tabular": "auto"}
    with pytest.raises(FieldError, match="tabular is not for a service") as caught:
        read_options(fields)
    assert "load_encoding(folder)" in caught.value.hint
