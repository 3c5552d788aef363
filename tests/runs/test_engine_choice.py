"""The engine of a run that names none, which on a GPU depends on the size of the model."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_nb import RunSpec
from fusion_nb.models.torch.adapter import TorchModel
from fusion_nb.runs.resolve import engine_name


@pytest.mark.parametrize(
    ("on_gpu", "width", "given", "engine"),
    [
        (True, 5, {}, "auto"),
        (False, 5, {}, "local"),
        (True, 300_000, {}, "local"),
        (True, 5, {"engine": "local"}, "local"),
        (True, 5, {"engine": "process"}, "process"),
    ],
)
def test_small_models_on_a_gpu_are_tried_as_one(
    net: Any, on_gpu: bool, width: int, given: dict[str, str], engine: str
) -> None:
    class Placed(TorchModel):
        @property
        def on_gpu(self) -> bool:
            return on_gpu

    assert engine_name(RunSpec(**given), Placed(net(width))) == engine
