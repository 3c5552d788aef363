"""What every registered fusion, split, engine and model promises. A new one is held to it without a
new test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_models import MAKERS

from fusion_nb.core import arithmetic, registry
from fusion_nb.core.types import Engine, Fusion, Reply, Trained, Turn, Update, Weights
from fusion_nb.engines.local import LocalEngine
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


#: Rules that need another one after them, written so that they are of use.
AROUND = {"bucketing": "bucketing:s=2+median"}


def make(name: str) -> Any:
    return registry.create("fusions", AROUND.get(name, name))


def enough(name: str) -> int:
    """Return how many parties a fusion is given: three, or as many as it needs."""
    return max(3, getattr(make(name), "min_updates", 1))


def updates(count: int) -> list[Update]:
    return [Update(f"party {i}", some_weights(i), 10 * i) for i in range(1, count + 1)]


def answer(fusion: Any, update: Update, received: Any) -> Any:
    """Return what a party sends whose training, in 5 steps of 0.1, leads to the weights of an
    update."""

    def train(weights: Weights, name: str = "", **options: Any) -> Trained:
        return Trained(update.weights, {"loss": 1.0}, 5, 0.5)

    def measure(weights: Weights, rows: Any = None) -> dict[str, float]:
        return {"loss": 1.0}

    turn = Turn(
        update.party,
        1,
        some_weights(0),
        received,
        {},
        update.num_examples,
        0,
        train,
        measure,
        measure,
    )
    return fusion.train(turn) if hasattr(fusion, "train") else update


def fuse(name: str, given: list[Update]) -> Weights:
    """Return what a fusion makes of parties that trained to the weights of the updates."""
    fusion, start = make(name), some_weights(0)
    if hasattr(fusion, "meet"):
        fusion.meet(num_parties=len(given), trained=frozenset(start) - {"norm.mean"}, model=None)
    state = fusion.init(start)
    replies = [
        answer(fusion, update, fusion.send(state) if hasattr(fusion, "send") else {})
        for update in given
    ]
    if hasattr(fusion, "asks"):
        asked, state = fusion.asks(replies, state)
        replies = [next(update for update in given if update.party == party) for party in asked]
    return fusion.fuse(start, iter(replies), state)[0]


def same(a: Weights, b: Weights, tolerance: float = 0.0) -> bool:
    return a.keys() == b.keys() and all(
        np.allclose(a[n], b[n], rtol=tolerance, atol=tolerance) for n in a
    )


class Poisoned(LocalEngine):
    """An engine on which what party 2 sends is NaN."""

    def run(self, verb: Any, cohort: Any, **orders: Any) -> Iterator[Reply]:
        for reply in super().run(verb, cohort, **orders):
            if isinstance(reply, Update) and reply.party == "party 2":
                floating = {
                    n: a for n, a in reply.weights.items() if np.issubdtype(a.dtype, np.floating)
                }
                lost = arithmetic.tree_map(lambda a: a * a.dtype.type(np.nan), floating)
                reply = replace(reply, weights=reply.weights | lost)
            yield reply


@pytest.mark.parametrize("name", registry.names("fusions"))
class TestEveryFusion:
    def test_is_a_fusion(self, name: str) -> None:
        assert isinstance(make(name), Fusion)

    def test_what_nobody_changed_stays(self, name: str) -> None:
        unchanged = [Update(f"party {i}", some_weights(0), 3 * i + 1) for i in range(enough(name))]
        assert same(fuse(name, unchanged), some_weights(0), 1e-15)

    def test_order_of_arrival_is_irrelevant(self, name: str) -> None:
        given = updates(enough(name))
        assert same(fuse(name, given), fuse(name, given[::-1]), 1e-7)

    def test_names_shapes_and_dtypes_survive(self, name: str) -> None:
        assert not arithmetic.misfit(fuse(name, updates(enough(name))), some_weights(0))

    def test_inputs_are_untouched(self, name: str) -> None:
        given = updates(enough(name))
        fuse(name, given)
        fresh = updates(enough(name))
        assert all(
            same(update.weights, other.weights) for update, other in zip(given, fresh, strict=True)
        )

    def test_a_nan_is_refused_by_name_and_the_round_goes_on(self, name: str) -> None:
        options = {"dynamic": ":threshold=0", "fda": ":theta=0"}.get(name, "")
        native, x, y = MAKERS["doc2vec" if name == "doc2vec" else "torch"]()
        spec = RunSpec(
            data="data",
            fusion=AROUND.get(name, name) + options,
            parties=enough(name) + 1,
            quorum=0.5,
            holdout=0,
        )
        federation = build(spec, {"model": native, "data": ((x, y), (x, y))})
        federation.engine = Poisoned()
        (record,) = federation.rounds(1)
        (failure,) = record.failures
        assert failure.party == "party 2"
        assert "update of party 2 in round 1 is refused" in failure.error
        assert "not finite" in failure.error
        assert np.isfinite(arithmetic.norm(federation.weights))

    def test_explains_itself(self, name: str) -> None:
        assert "Source:" in (registry.get("fusions", name).__doc__ or "")


#: Rules that do not go where all parties are, but a step of their own that way.
STEPS = {"doc2vec", "feddyn", "fedadagrad", "fedadam", "fedyogi", "qfedavg"}


@pytest.mark.parametrize("name", registry.names("fusions"))
def test_what_all_agree_on_is_where_it_goes(name: str) -> None:
    start, agreed = some_weights(0), some_weights(7)
    fused = fuse(name, [Update(f"party {i}", agreed, 3 * i + 1) for i in range(enough(name))])
    if name in STEPS:
        assert all(
            np.vdot(fused[n] - start[n], agreed[n] - start[n]) > 0
            for n in ("layer.weight", "layer.bias")
        )
    else:
        assert same(fused, agreed, 1e-6)


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
