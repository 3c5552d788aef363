"""What every registered fusion, split, engine and model promises. A new one is held to it without a
new test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusion_nb.core import registry
from fusion_nb.core.types import Engine, Weights
from fusion_nb.errors import SplitError
from fusion_nb.runs.build import build
from fusion_nb.runs.spec import RunSpec


def some_weights(seed: int) -> Weights:
    rng = np.random.default_rng(seed)
    return {
        "layer.weight": rng.normal(size=(3, 2)).astype(np.float32),
        "layer.bias": rng.normal(size=2),
        "norm.mean": rng.normal(size=4).astype(np.float16),
        "norm.num_batches_tracked": np.array(10 * seed + 2**60, dtype=np.int64),
        "mask": rng.random(3) > 0.5,
        "scale": np.array(rng.normal(), dtype=np.float32),
    }


def same(a: Weights, b: Weights, tolerance: float = 0.0) -> bool:
    return a.keys() == b.keys() and all(
        np.allclose(a[n], b[n], rtol=tolerance, atol=tolerance) for n in a
    )


def some_labels() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 10, 500)


def divide(name: str, seed: int, num_parties: int = 5) -> list[np.ndarray]:
    split, options = registry.bind("splits", name + (":key=k" if name == "by_key" else ""))
    if name == "by_key":
        options["key"] = np.random.default_rng(2).integers(0, 7, 500)
    return split(some_labels(), num_parties, np.random.default_rng(seed), **options)


@pytest.mark.parametrize("name", registry.names("splits"))
class TestEverySplit:
    def test_gives_every_row_once(self, name: str) -> None:
        parts = divide(name, 0)
        assert len(parts) == 5
        assert sorted(np.concatenate(parts)) == list(range(500))

    def test_same_seed_same_split(self, name: str) -> None:
        assert all(
            np.array_equal(a, b) for a, b in zip(divide(name, 3), divide(name, 3), strict=True)
        )

    def test_one_party_gets_everything(self, name: str) -> None:
        assert [len(part) for part in divide(name, 0, num_parties=1)] == [500]

    def test_explains_itself(self, name: str) -> None:
        assert registry.get("splits", name).__doc__


@pytest.mark.parametrize("name", registry.names("engines"))
class TestEveryEngine:
    def test_gives_the_curve(self, name: str, rows: Any, net: Any) -> None:
        namespace = {"model": net(), "data": rows}

        def curve(engine: str) -> list[dict[str, float]]:
            spec = RunSpec(
                data="data",
                engine=engine,
                parties=6,
                fraction=0.5,
                lr=0.1,
                split="dirichlet:alpha=1",
            )
            return [dict(record.metrics) for record in build(spec, namespace).rounds(3)]

        exact = curve("local")
        if name in ("auto", "vectorized"):  # their sums are rounded in another order
            exact = [pytest.approx(metrics, rel=1e-4, abs=1e-6) for metrics in exact]
        assert curve(name) == exact

    def test_is_an_engine(self, name: str) -> None:
        engine = registry.create("engines", name)
        assert isinstance(engine, Engine)
        engine.close()
        engine.close()


@pytest.mark.parametrize(
    "name",
    sorted({"digits", "mnist", "mnist_keras", "mnist_pytorch"} & set(registry.names("datasets"))),
)
def test_every_shipped_or_cached_set_is_two_pairs(
    name: str, request: pytest.FixtureRequest
) -> None:
    if name != "digits":
        request.getfixturevalue("mnist")
    for x, y in registry.get("datasets", name)().get_data():
        assert len(x) == len(y) > 0


def test_a_split_refuses_measurements_where_it_needs_classes() -> None:
    split, options = registry.bind("splits", "dirichlet")
    with pytest.raises(SplitError, match="measurements"):
        split(np.linspace(0, 1, 50), 3, np.random.default_rng(0), **options)
