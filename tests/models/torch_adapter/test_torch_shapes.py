"""The outputs of common operations without values: those that PyTorch itself finds."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fusion_nb.models import torch_shapes

IMAGES = (2, 3, 8, 8)
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "dense": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 3)),
        IMAGES,
    ),
    "convolutional": (
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(nn.Dropout2d(0.2), nn.Flatten(), nn.Linear(36, 3), nn.Softmax(1)),
        ),
        IMAGES,
    ),
    "activations": (
        lambda: nn.Sequential(
            *(nn.Linear(5, 4), nn.GELU(), nn.BatchNorm1d(4), nn.Tanh(), nn.SiLU(), nn.ELU()),
            *(nn.LeakyReLU(), nn.ReLU6(), nn.Sigmoid(), nn.Dropout(0.5), nn.LogSoftmax(1)),
        ),
        (6, 5),
    ),
    "recurrent": (lambda: nn.GRU(5, 4, batch_first=True), (2, 3, 5)),
    "attention": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
}


class Noting(TorchDispatchMode):
    """Notes the outputs of all operations; `uses_ours`: those that we know are not PyTorch's."""

    def __init__(self, *, uses_ours: bool) -> None:
        super().__init__()
        self.uses_ours, self.num_ours, self.seen = uses_ours, 0, []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = torch_shapes.outputs(func, args, kwargs or {}) if self.uses_ours else None
        self.num_ours += known is not None
        found = func(*args, **(kwargs or {})) if known is None else known
        forms = [(each.shape, each.stride(), each.dtype) for each in tree_leaves(found)]
        self.seen.append((str(func), forms))
        return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("name", MODULES)
def test_a_pass_has_the_outputs_that_it_has_by_pytorch(
    name: str, is_training: bool, dtype: torch.dtype
) -> None:
    make, shape = MODULES[name]
    module = make().to(dtype).train(is_training).to("meta")
    notes = [Noting(uses_ours=True), Noting(uses_ours=False)]
    for noting in notes:
        with torch.set_grad_enabled(is_training), noting:
            copy.deepcopy(module)(torch.empty(shape, dtype=dtype, device="meta"))
    assert notes[0].num_ours > 0
    assert notes[0].seen == notes[1].seen


ADD, ADDMM = torch.ops.aten.add.Tensor, torch.ops.aten.addmm.default


def bare(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


@pytest.mark.parametrize(
    ("operation", "args"),
    [
        (ADD, (torch.ones(2), torch.ones(2))),
        (ADD, (bare(2), bare(3))),
        (ADD, (bare(2), bare(2, dtype=torch.float64))),
        (ADD, (bare(2, dtype=torch.int64), bare(2, dtype=torch.int64))),
        (ADD, (bare(2), 1j)),
        (torch.ops.aten.add_.Tensor, (bare(2), bare(3, 2))),
        (ADDMM, (bare(3), bare(4, 5), bare(6, 3))),
        (ADDMM, (bare(2), bare(4, 5), bare(5, 3))),
        (torch.ops.aten._softmax.default, (bare(2), 0, True)),
        (torch.ops.aten.nonzero.default, (bare(2),)),
    ],
)
def test_others_are_left_to_pytorch(operation: Any, args: Any) -> None:
    assert torch_shapes.outputs(operation, args, {}) is None
