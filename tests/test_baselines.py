"""What a federation is compared with: baselines."""

from __future__ import annotations

from typing import Any

from fusion_nb import Run, RunSpec
from fusion_nb.core.federation import Federation
from fusion_nb.runs.build import build

BOTH = {"baseline": "central,local"}


def made(rows: Any, model: Any, **options: Any) -> Run:
    spec = RunSpec(data="data", **{"lr": 0.1, "rounds": 3} | options)
    return Run(spec, {"model": model, "data": rows})


def trained(rows: Any, model: Any, **options: Any) -> Run:
    return made(rows, model, **options).start().wait()


def federation_of(rows: Any, model: Any, **options: Any) -> Federation:
    return build(RunSpec(data="data", **{"lr": 0.1} | options), {"model": model, "data": rows})
