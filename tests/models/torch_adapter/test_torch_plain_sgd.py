"""SGD without options: the numbers of PyTorch's own, and no compiler imported for it."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fusion_nb.errors import OptionError
from fusion_nb.models.torch import optimizers
from fusion_nb.models.torch.plain_sgd import PlainSgd


def unused() -> nn.Module:
    module = nn.ModuleDict({"used": nn.Linear(4, 3), "other": nn.Linear(2, 2)})
    module.forward = lambda x: module["used"](x.float())
    return module


MODULES: dict[str, Callable[[], nn.Module]] = {
    "dense": lambda: nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)),
    "float64": lambda: nn.Linear(4, 3).double(),
    "sparse": lambda: nn.EmbeddingBag(9, 3, sparse=True),
    "unused parameters": unused,
}


@pytest.mark.parametrize("name", MODULES)
def test_a_step_is_that_of_torch_to_the_last_digit(name: str) -> None:
    torch.manual_seed(0)
    own = MODULES[name]()
    theirs = copy.deepcopy(own) if name != "unused parameters" else unused()
    theirs.load_state_dict(own.state_dict())
    x = torch.arange(20).reshape(5, 4) % 9
    x = x.double() if name == "float64" else x.float() if name == "dense" else x
    steppers = [
        optimizers.make("sgd", own.parameters(), 0.3),
        torch.optim.SGD(theirs.parameters(), lr=0.3),
    ]
    assert isinstance(steppers[0], PlainSgd)
    for _ in range(3):
        for module, stepper in zip((own, theirs), steppers, strict=True):
            stepper.zero_grad(set_to_none=True)
            module(x).pow(2).sum().backward()
            stepper.step()
    assert all(map(torch.equal, own.state_dict().values(), theirs.state_dict().values()))


@pytest.mark.parametrize("choice", ["sgd:momentum=0.9", "adam", torch.optim.Adam])
def test_others_are_torchs_own(choice: Any) -> None:
    found = optimizers.make(choice, nn.Linear(2, 2).parameters(), 0.1)
    assert isinstance(found, torch.optim.Optimizer)


@pytest.mark.parametrize("choice", ["sgd", "SGD", torch.optim.SGD])
def test_it_says_what_torch_says_of_a_wrong_rate(choice: Any) -> None:
    assert optimizers.is_bare_sgd(optimizers.make(choice, nn.Linear(2, 2).parameters(), 0.1))
    with pytest.raises(OptionError, match="learning rate"):
        optimizers.make(choice, nn.Linear(2, 2).parameters(), -0.1)


def test_it_continues_from_what_torchs_remembered() -> None:
    parameters = list(nn.Linear(2, 2).parameters())
    remembered = torch.optim.SGD(parameters, lr=0.1).state_dict()
    found = optimizers.make("sgd", parameters, 0.2)
    found.load_state_dict(remembered)
    assert found.param_groups[0]["lr"] == 0.2


SCRIPT = """
import sys
import numpy as np
import torch
from torch import nn
import fusion_nb

y = np.arange(120) % 3
x = np.random.default_rng(0).normal(size=(120, 5)).astype("float32")
def net(*between):
    return nn.Sequential(nn.Linear(5, 8), *between, nn.ReLU(), nn.Linear(8, 3))
for model, parties in ((net(), 3), (net(), 9), (net(nn.Dropout(0.2), nn.BatchNorm1d(8)), 3)):
    fusion_nb.federate(model, (x, y), parties=parties, rounds=1, lr=0.1)
torch.save(model, "model.pt")
fusion_nb.federate("model.pt", (x, y), parties=3, rounds=1, lr=0.1)
assert "torch" in sys.modules
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules])
"""


def test_a_run_with_the_default_optimizer_imports_no_compiler(tmp_path: Path) -> None:
    line = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(
        line, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=240
    )
    assert done.stdout.splitlines()[-1] == "[]"
