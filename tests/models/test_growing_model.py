"""A model whose weights change shape from round to round: regression by boosted stumps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_nb import federate, fusion
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import TrainingResult, Update, Weights
from fusion_nb.errors import ContractError
from fusion_nb.models.base import Model
from fusion_nb.models.lookup import model_adapter


class Stumps:
    """Adds up stumps, each of which is a row (feature, threshold, value below, value above)."""

    def __init__(self) -> None:
        self.stumps = np.zeros((0, 4))

    def predict(self, x: np.ndarray) -> np.ndarray:
        found = np.zeros(len(x))
        for feature, threshold, below, above in self.stumps:
            found += np.where(x[:, int(feature)] < threshold, below, above)
        return found


class StumpsModel(Model):
    base_class = f"{__name__}.Stumps"
    kind = "sum of stumps"
    metrics = ("loss",)
    formats = {"npy": "stumps.npy"}  # noqa: RUF012
    supported_options = frozenset()

    def __init__(self, model: Stumps) -> None:
        self.model = Stumps()
        self.model.stumps = model.stumps.copy()

    def clone(self) -> Model:
        return StumpsModel(self.model)

    def check(self, rows: Any, schema: DataSchema, **options: Any) -> list[str]:
        return ["loss: mean squared error"]

    def get_weights(self) -> Weights:
        return {"stumps": self.model.stumps.copy()}

    def set_weights(self, weights: Weights) -> None:
        self.model.stumps = weights["stumps"].copy()

    def check_weights(self, found: Weights, expected: Weights, *, partial: bool = False) -> str:
        """Accept more stumps than were sent out, and refuse fewer or broken ones."""
        old, new = expected["stumps"], found["stumps"]
        if new.ndim != 2 or new.shape[1] != 4 or len(new) < len(old):
            return f"its stumps have shape {new.shape} after {old.shape}"
        return "" if np.isfinite(new).all() else "its stumps are not finite"

    def fit(self, data: Any, *, lr: float | None, seed: int, **options: Any) -> TrainingResult:
        x, y = data
        rest = y - self.model.predict(x)
        feature = int(np.random.default_rng(seed).integers(x.shape[1]))
        threshold = float(np.median(x[:, feature]))
        below = x[:, feature] < threshold
        values = [float(rest[part].mean()) if part.any() else 0.0 for part in (below, ~below)]
        stump = np.array([[feature, threshold, *values]])
        self.model.stumps = np.concatenate([self.model.stumps, stump])
        return TrainingResult(self.get_weights(), self.evaluate(data), 1, float("nan"))

    def evaluate(self, data: Any) -> dict[str, float]:
        x, y = data
        return {"loss": float(((self.model.predict(x) - y) ** 2).mean())}

    def native(self, weights: Weights) -> Stumps:
        found = Stumps()
        found.stumps = weights["stumps"].copy()
        return found

    def save(self, path: Path, weights: Weights, format: str) -> None:
        np.save(path, weights["stumps"])


class Bagging(Fusion):
    """Append the parties' new stumps, each with its share of the sum."""

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        old = weights["stumps"]
        new = [update.weights["stumps"][len(old) :] for update in updates]
        scaled = [stumps * [1, 1, 1 / len(new), 1 / len(new)] for stumps in new]
        return {"stumps": np.concatenate([old, *scaled])}, state


class Forgetting(Fusion):
    """Return fewer stumps than there were."""

    def aggregate(
        self, weights: Weights, updates: Iterator[Update], state: Any
    ) -> tuple[Weights, Any]:
        list(updates)
        return {"stumps": np.zeros((0, 5))}, state


@pytest.fixture(autouse=True)
def _registered() -> None:
    model_adapter(name="stumps")(StumpsModel)
    fusion(name="stump_bagging")(Bagging)
    fusion(name="forgetting")(Forgetting)


@pytest.fixture
def numbers() -> tuple[np.ndarray, np.ndarray]:
    """Rows whose labels jump with each feature."""
    x = np.random.default_rng(0).normal(size=(200, 3))
    return x, (x > 0) @ np.array([3.0, 2.0, 1.0])


@pytest.mark.parametrize("engine", ["local", "process"])
def test_a_federation_trains_it_to_the_end(numbers: Any, engine: str, tmp_path: Path) -> None:
    if engine == "process":
        pytest.importorskip("cloudpickle")
    run = federate(
        Stumps(), (numbers, numbers), fusion="stump_bagging", parties=4, rounds=6, engine=engine
    )
    assert run.status == "finished"
    assert run.model.stumps.shape == (4 * 6, 4), "each party adds a stump in each round"
    assert run.history["loss"][-1] < run.history["loss"][0] / 2
    run.export(str(tmp_path / "out"))
    assert np.array_equal(np.load(tmp_path / "out" / "stumps.npy"), run.model.stumps)


def test_traffic_grows_with_it(numbers: Any) -> None:
    run = federate(Stumps(), numbers, fusion="stump_bagging", parties=2, rounds=3)
    sent = [record.bytes_up for record in run.records]
    assert sent[0] < sent[1] < sent[2]


def test_weights_that_it_does_not_accept_end_the_round(numbers: Any) -> None:
    with pytest.raises(ContractError, match=r"its stumps have shape \(0, 5\)"):
        federate(Stumps(), numbers, fusion="forgetting", parties=2, rounds=2)
