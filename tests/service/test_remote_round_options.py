"""Options about rounds and about what travels, in runs that a service trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from serving import Server
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.errors import FusionError, OptionError
from fusion_nb.service.remote_run import RemoteRun


def half_frozen() -> nn.Module:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 10))
    model[1].requires_grad_(requires_grad=False)
    return model


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(
            {"send": "trained", "lr_schedule": "cosine", "sampling": "poisson:q=0.5"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"privacy": "central:clip=1,noise=auto:epsilon=6", "report": "noised:noise=5"},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"roles": "party 2=evaluate", "sampling": "named:party 1|party 3"},
            marks=pytest.mark.slow,
        ),
        {
            **{"fusion": "fedbuff:buffer=2", "devices": "phones", "network": "4g"},
            **{"step_seconds": 0.01, "parties": 4},
        },
    ],
    ids=str,
)
def test_the_curve_equals_that_of_a_run_in_the_kernel(
    server: Server, options: dict[str, Any]
) -> None:
    spec = RunSpec(rounds=3, lr=0.1, **options)
    here = Run(spec, {"model": half_frozen()}).start().wait()
    there = RemoteRun(spec, {"model": half_frozen()}, url=server.url).start().wait()
    for ours, theirs in zip(here.history, there.history, strict=True):
        assert (ours.metrics, ours.cohort) == (theirs.metrics, theirs.cohort)
        assert (ours.bytes_up, ours.bytes_down) == (theirs.bytes_up, theirs.bytes_down)
        assert ours.trips == theirs.trips
    for ours, theirs in zip(here.model.parameters(), there.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_party_that_only_trains_is_refused(server: Server) -> None:
    spec = RunSpec(rounds=2, lr=0.1, roles="party 2=train")
    with pytest.raises(OptionError, match="only trains"):
        RemoteRun(spec, {"model": half_frozen()}, url=server.url)


def test_a_function_of_this_notebook_is_refused(server: Server) -> None:
    spec = RunSpec(rounds=2, lr=0.1, lr_schedule="mine")
    namespace = {"model": half_frozen(), "mine": lambda number: 1 / number}
    with pytest.raises(FusionError, match="mine"):
        RemoteRun(spec, namespace, url=server.url).start().wait()
