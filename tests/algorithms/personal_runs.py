"""Runs whose parties have models of their own, and linear layers to follow by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.core.federation import Federation
from fusion_nb.runs.build import build

#: One method of each kind that gives parties models of their own, for the small network of `net`.
METHODS: dict[str, dict[str, Any]] = {
    "finetune": {"personal": "finetune"},
    "ditto": {"personal": "ditto"},
    "apfl": {"personal": "apfl"},
    "fedper": {"personal": "fedper:layers=2.*"},
    "ifca": {"personal": "ifca"},
    "share": {"share": "best"},
}


#: With one step for each epoch no order of rows matters, and a step can be computed by hand.
WHOLE = {"batch_size": 1000}


def made(rows: Any, model: Any, variables: Mapping[str, Any] | None = None, **options: Any) -> Run:
    spec = RunSpec(data="data", **{"lr": 0.1, "rounds": 3} | options)
    return Run(spec, {"model": model, "data": rows, **(variables or {})})


def trained(
    rows: Any, model: Any, variables: Mapping[str, Any] | None = None, **options: Any
) -> Run:
    return made(rows, model, variables, **options).start().wait()


def federation_of(rows: Any, model: Any, **options: Any) -> Federation:
    return build(RunSpec(data="data", **{"lr": 0.1} | options), {"model": model, "data": rows})


def linear(outputs: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(5, outputs)


def normalizing() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def arrays(model: nn.Module) -> dict[str, np.ndarray]:
    return {
        name: tensor.detach().numpy().astype(np.float64)
        for name, tensor in model.state_dict().items()
    }


def same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray], tolerance: float = 0.0) -> bool:
    return a.keys() == b.keys() and all(np.allclose(a[n], b[n], rtol=0, atol=tolerance) for n in a)


def gradient(w: Mapping[str, np.ndarray], rows: Any) -> dict[str, np.ndarray]:
    """Return the gradient of the mean cross-entropy of a linear layer, by hand."""
    x, y = rows[0].astype(np.float64), rows[1]
    scores = x @ w["weight"].T + w["bias"]
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(y)), y] -= 1
    return {"weight": p.T @ x / len(y), "bias": p.mean(0)}


def accuracy(w: Mapping[str, np.ndarray], rows: Any) -> float:
    return float(((rows[0] @ w["weight"].T + w["bias"]).argmax(1) == rows[1]).mean())


def mixed(
    alpha: float, a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    return {name: alpha * a[name] + (1 - alpha) * b[name] for name in a}


def measured(model: nn.Module, rows: Any) -> dict[str, float]:
    with torch.no_grad():
        output = model(torch.tensor(rows[0]))
    target = torch.tensor(rows[1])
    loss = nn.functional.cross_entropy(output, target).item()
    return {"accuracy": (output.argmax(1) == target).double().mean().item(), "loss": loss}


def kept(party: Any) -> dict[str, np.ndarray]:
    """Return the weights that a party holds for itself."""
    found = party.state.get("fusion", {})
    return dict(found.get("personal") or found.get("layers") or {})


def two_groups(rows: Any) -> dict[str, Any]:
    """Three parties, and three others for which every class has the number of the next."""
    x, y = rows
    parts = [slice(40 * i, 40 * i + 40) for i in range(6)]
    return {
        f"{'ab'[i // 3]}{i % 3 + 1}": (x[part], y[part] if i < 3 else (y[part] + 1) % 3)
        for i, part in enumerate(parts)
    }


class Interrupting(nn.Module):
    """A linear layer that calls a function at one of its training batches, in whichever
    copy it lives."""

    seen, at = 0, 0
    act: Callable[[], Any] = staticmethod(lambda: None)

    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            Interrupting.seen += 1
            if Interrupting.seen == Interrupting.at:
                Interrupting.act()
        return self.layer(x)


def reset_interruption() -> None:
    Interrupting.seen = Interrupting.at = 0


def interrupted(rows: Any, share: float, **options: Any) -> Run:
    """A run that is stopped once it has trained this share of its batches."""
    Interrupting.seen = Interrupting.at = 0
    trained(rows, Interrupting(), **options)
    Interrupting.seen, Interrupting.at = 0, int(share * Interrupting.seen)
    run = made(rows, Interrupting(), **options)
    Interrupting.act = lambda: run.stop(wait=False)
    return run.start().wait()
