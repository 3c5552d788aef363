"""Parties whose training a few lines of numpy can follow, and what those lines compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusion_nb.core import registry
from fusion_nb.core import rows as rows_of
from fusion_nb.core.federation import Federation
from fusion_nb.core.party import Party
from fusion_nb.core.protocols import Engine
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.settings import FederationConfig
from fusion_nb.core.types import (
    FederationInfo,
    LocalContext,
    Reply,
    Request,
    RoundRequest,
    TrainingResult,
    Update,
    Weights,
)
from fusion_nb.engines.local import LocalEngine
from fusion_nb.models.torch.adapter import TorchModel
from fusion_nb.runs.build import build
from fusion_nb.runs.spec import RunSpec

Rows = tuple[np.ndarray, np.ndarray]
START = np.array([0.5, -0.25, 0.1])


def some_rows(seed: int, count: int, optimum: list[float], scale: list[float]) -> Rows:
    """Rows of a linear regression whose loss has its minimum near an optimum, and is steep along a
    scale."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 2)) * scale
    return x, x @ optimum + 0.1 * rng.normal(size=count)


#: Three parties of different sizes that want different things.
UNLIKE = [
    some_rows(1, 12, [1.0, -2.0], [1.0, 0.3]),
    some_rows(2, 20, [-1.0, 0.5], [0.4, 1.0]),
    some_rows(3, 8, [3.0, 1.0], [0.8, 0.8]),
]
SIZES = np.array([len(y) for _, y in UNLIKE])
#: Two parties that want opposite things in unlike ways: the mean of their optima is not the best
#: for both.
OPPOSED = [some_rows(5, 20, [2.0, 0.0], [1.5, 0.3]), some_rows(6, 20, [-1.0, 1.0], [0.3, 1.0])]


class Sum(nn.Module):
    """A model that is the loss: its gradient is the mean of the rows wherever it is."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5, -0.25], dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight


#: Parties of `Sum`, whose loss has the mean row for its gradient: two pull against each other, two
#: stand still.
STANDING: list[Rows] = [(np.array([[g, 0.0]] * 4), np.zeros(4)) for g in (1.0, -1.0, 0.0, 0.0)]


def mean_output(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return output.mean()


def linear(start: np.ndarray = START) -> nn.Module:
    """A linear model in float64, so that it can be followed to the last digits."""
    module = nn.Linear(2, 1).double()
    with torch.no_grad():
        module.weight.copy_(torch.tensor(start[None, :2]))
        module.bias.copy_(torch.tensor(start[2:]))
    return module


def federation(
    fusion: str,
    rows: Sequence[Rows] = UNLIKE,
    module: Any = None,
    engine: Engine | None = None,
    **options: Any,
) -> Federation:
    """A federation whose parties train on all their rows at once, so that an epoch is one step."""
    training = {"epochs": 3, "batch_size": 10_000, "lr": 0.1, "optimizer": "sgd"}
    training |= {name: options.pop(name) for name in [*training, "steps"] if name in options}
    objective = mean_output if isinstance(module, Sum) else ""
    model = TorchModel(
        module or linear(), loss=objective, keep_optimizer=options.pop("keep_optimizer", False)
    )
    schema = DataSchema.of(rows_of.concat(rows))
    model.check(rows[0], schema, lr=training["lr"], optimizer=training["optimizer"])
    parties = [Party(f"p{i}", own, own) for i, own in enumerate(rows)]
    rule = registry.create("fusions", fusion)
    config = FederationConfig(training, evaluate_every=1000, **options)
    return Federation(parties, model, rule, engine or LocalEngine(), config)


def built(rows: Any, model: Any, **options: Any) -> Federation:
    """The federation of a spec, with a learning rate and epochs that suit small networks."""
    defaults: dict[str, Any] = {"lr": 0.1, "epochs": 2}
    return build(RunSpec(data="data", **defaults | options), {"model": model, "data": rows})


def remade(made: Federation, engine: Engine | None = None, **parts: Any) -> Federation:
    """A federation with the parts of another one (but no central test set), except those given."""
    return Federation(
        made.parties, made.model, made.fusion, engine or made.network.engine, made.config, **parts
    )


def after(num_rounds: int, made: Federation) -> np.ndarray:
    """The weights of a federation after that many more rounds, as a vector."""
    list(made.rounds(num_rounds))
    return flat(made.weights)


def fusion_state(made: Federation) -> Any:
    """The state of a federation's rule."""
    assert made.state is not None
    return made.state.fusion_state


def flat(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in weights.values()])


def named(vector: Any) -> Weights:
    return {"w": np.asarray(vector, dtype=np.float64)}


def info_of(weights: Weights, num_parties: int = 1, statistics: Sequence[str] = ()) -> Any:
    """The facts about parties that train these entries, except statistics."""
    trained = frozenset(weights) - frozenset(statistics)
    return FederationInfo(num_parties, tuple(weights), trained)


def context_of(
    weights: Weights,
    state: dict[str, Any],
    round: int = 1,
    trained: Weights | None = None,
    info: FederationInfo | None = None,
) -> LocalContext:
    """A party's view of a round in which training leads to given weights."""

    def train(start: Weights, name: str = "", **options: Any) -> TrainingResult:
        return TrainingResult(trained or start, {"loss": 1.0}, 1, 0.1)

    def evaluate(weights: Weights, rows: slice = slice(None)) -> dict[str, float]:
        return {}

    return LocalContext(
        party="p",
        round=round,
        weights=weights,
        broadcast={},
        state=state,
        num_examples=10,
        num_test=0,
        info=info or info_of(weights),
        train=train,
        evaluate_train=evaluate,
        evaluate_test=evaluate,
    )


def gradient(w: np.ndarray, rows: Rows) -> np.ndarray:
    x = np.column_stack([rows[0], np.ones(len(rows[1]))])
    return 2 / len(x) * x.T @ (x @ w - rows[1])


def loss(w: np.ndarray, rows: Rows) -> float:
    return float(np.mean((rows[0] @ w[:2] + w[2] - rows[1]) ** 2))


def descend(
    w: np.ndarray,
    rows: Rows,
    steps: int = 3,
    momentum: float = 0.0,
    extra: Callable[..., Any] = lambda w: 0.0,
) -> np.ndarray:
    """SGD with lr 0.1 on all rows; `extra` is added to the gradient."""
    velocity = np.zeros_like(w)
    for _ in range(steps):
        velocity = momentum * velocity + gradient(w, rows) + extra(w)
        w = w - 0.1 * velocity
    return w


def best_for_all(rows: Sequence[Rows]) -> np.ndarray:
    """Where the mean of the parties' losses is smallest."""
    hessian = sum(
        2 / len(y) * np.column_stack([x, np.ones(len(y))]).T @ np.column_stack([x, np.ones(len(y))])
        for x, y in rows
    )
    return np.linalg.solve(hessian, -sum(gradient(np.zeros(3), own) for own in rows))


def close_to(expected: np.ndarray) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=1e-12)


def curve(records: Any) -> list[Any]:
    return [(record.metrics, record.party_metrics, record.silent) for record in records]


class Uneven(LocalEngine):
    """An engine on which each party takes its own number of steps."""

    def __init__(self, steps: Sequence[int]) -> None:
        super().__init__()
        self._steps = {f"p{i}": {"steps": count} for i, count in enumerate(steps)}

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        if isinstance(request, RoundRequest):
            request = replace(request, party_options=self._steps)
        return super().run(request, cohort)


class Recording(LocalEngine):
    """An engine that keeps the replies of rounds."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds: list[list[Reply]] = []

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        if not isinstance(request, RoundRequest) or not request.round:
            return super().run(request, cohort)
        replies: list[Reply] = []
        self.rounds.append(replies)
        return self._recorded(super().run(request, cohort), replies)

    def _recorded(self, found: Iterator[Reply], replies: list[Reply]) -> Iterator[Reply]:
        for reply in found:
            replies.append(reply)
            yield reply

    @property
    def updates(self) -> list[Update]:
        """The updates of the last round."""
        return [reply for reply in self.rounds[-1] if isinstance(reply, Update)]
