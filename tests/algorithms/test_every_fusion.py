"""Promises of every registered fusion. A new one is held to them without a new test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import cloudpickle
import numpy as np
import pytest
from linear_parties import info_of
from small_models import MAKERS, MODEL_OF_FUSION

from fusion_nb.core import arithmetic, registry
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import (
    FederationInfo,
    LocalContext,
    Reply,
    Request,
    TrainingResult,
    Update,
    Weights,
)
from fusion_nb.engines.local import LocalEngine
from fusion_nb.errors import OptionError
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


#: Rules that need another one after them, with one.
AROUND = {"bucketing": "bucketing:s=2+median"}


def make(name: str) -> Fusion:
    made: Fusion = registry.create("fusions", AROUND.get(name, name))
    return made


#: Rules for weights that can be averaged; those for others have tests of their own, and the last
#: promises below.
OF_NUMBERS = [name for name in registry.names("fusions") if "numbers" in make(name).fuses]


def enough(name: str) -> int:
    """How many parties a fusion is given: three, or as many as it needs."""
    return max(3, make(name).requires.min_updates)


def updates(count: int) -> list[Update]:
    return [Update(f"party {i}", some_weights(i), 10 * i) for i in range(1, count + 1)]


def info(num_parties: int) -> FederationInfo:
    found = info_of(some_weights(0), num_parties, statistics=["norm.mean"])
    return replace(found, parties=tuple(f"party {i}" for i in range(1, num_parties + 1)))


def answer(fusion: Fusion, update: Update, broadcast: Any) -> Any:
    """The answer of a party whose training, in 5 steps of 0.1, leads to the weights of an
    update."""

    def train(weights: Weights, name: str = "", **options: Any) -> TrainingResult:
        return TrainingResult(update.weights, {"loss": 1.0}, 5, 0.5)

    def evaluate(weights: Weights, rows: slice = slice(None)) -> dict[str, float]:
        return {"loss": 1.0}

    context = LocalContext(
        party=update.party,
        round=1,
        weights=some_weights(0),
        broadcast=broadcast,
        state={},
        num_examples=update.num_examples,
        num_test=0,
        info=info(3),
        train=train,
        evaluate_train=evaluate,
        evaluate_test=evaluate,
    )
    return fusion.local_update(context)


def fuse(name: str, given: list[Update], fusion: Fusion | None = None) -> Weights:
    """The weights that a fusion makes of parties that trained to the weights of the updates."""
    fusion, start = fusion or make(name), some_weights(0)
    state = fusion.init(start, info(len(given)))
    replies = [answer(fusion, update, fusion.broadcast(state)) for update in given]
    if rule := fusion.synchronising:
        senders, state = rule.select_senders(replies, state)
        replies = [next(update for update in given if update.party == party) for party in senders]
    return fusion.aggregate(start, iter(sent(replies)), state)[0]


def sent(replies: Sequence[Any]) -> list[Update]:
    """The answers that hold an update."""
    return [reply for reply in replies if isinstance(reply, Update)]


def same(a: Weights, b: Weights, tolerance: float = 0.0) -> bool:
    return a.keys() == b.keys() and all(
        np.allclose(a[n], b[n], rtol=tolerance, atol=tolerance) for n in a
    )


def assert_plain(state: Any) -> None:
    """Fail for anything but dicts, lists and tuples of arrays, numbers and text."""
    if isinstance(state, dict):
        assert all(type(name) is str for name in state)
        for entry in state.values():
            assert_plain(entry)
    elif isinstance(state, list | tuple):
        for entry in state:
            assert_plain(entry)
    else:
        plain = (np.ndarray, np.generic, bool, int, float, str)
        assert state is None or isinstance(state, plain), type(state)


class Poisoned(LocalEngine):
    """An engine on which one party sends NaN."""

    party = "party 2"

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        for reply in super().run(request, cohort):
            if isinstance(reply, Update) and reply.party == self.party:
                floating = {
                    n: a for n, a in reply.weights.items() if np.issubdtype(a.dtype, np.floating)
                }
                lost = arithmetic.tree_map(lambda a: a * a.dtype.type(np.nan), floating)
                reply = replace(reply, weights=reply.weights | lost)
            yield reply


@pytest.mark.parametrize("name", OF_NUMBERS)
class TestEveryFusion:
    def test_weights_that_no_party_changed_stay(self, name: str) -> None:
        unchanged = [Update(f"party {i}", some_weights(0), 3 * i + 1) for i in range(enough(name))]
        assert same(fuse(name, unchanged), some_weights(0), 1e-15)

    def test_the_order_of_updates_does_not_matter(self, name: str) -> None:
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

    def test_a_nan_is_refused_by_name_and_the_round_goes_on(
        self, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = {
            **{"dynamic": ":threshold=0", "fda": ":theta=0"},
            # All four parties arrive in the round.
            **{"fedasync": ":buffer=4", "fedbuff": ":buffer=4"},
        }.get(name, "")
        native, x, y = MAKERS[MODEL_OF_FUSION.get(name, "torch")]()
        # Of a rule that lets one party train, it is the first one's turn.
        poisoned = "party 1" if name == "cyclic" else "party 2"
        monkeypatch.setattr(Poisoned, "party", poisoned)
        spec = RunSpec(
            data="data",
            fusion=AROUND.get(name, name) + options,
            parties=enough(name) + 1,
            quorum=0.5,
            holdout=0,
            engine="poisoned",
        )
        registry.register("engines", "poisoned", Poisoned)
        federation = build(spec, {"model": native, "data": ((x, y), (x, y))})
        (record,) = federation.rounds(1)
        (failure,) = record.failures
        assert failure.party == poisoned
        assert f"update of {poisoned} in round 1 is refused" in failure.error
        assert "not finite" in failure.error
        assert np.isfinite(arithmetic.norm(federation.weights))

    def test_state_is_plain_data(self, name: str) -> None:
        """A checkpoint writes it without pickle."""
        fusion, start = make(name), some_weights(0)
        given = updates(enough(name))
        state = fusion.init(start, info(len(given)))
        assert_plain(state)
        replies = [answer(fusion, update, fusion.broadcast(state)) for update in given]
        if rule := fusion.synchronising:
            _, state = rule.select_senders(replies, state)
            replies = given
        _, state = fusion.aggregate(start, iter(sent(replies)), state)
        assert_plain(state)

    def test_init_and_aggregate_keep_nothing_on_the_rule(self, name: str) -> None:
        fusion = make(name)
        before = cloudpickle.dumps(fusion)
        fuse(name, updates(enough(name)), fusion)
        assert cloudpickle.dumps(fusion) == before


#: Rules that move in the direction of the parties' weights by a step of their own.
STEPS = {"fedasync", "doc2vec", "feddyn", "fedadagrad", "fedadam", "fedyogi", "qfedavg"}


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_weights_that_all_parties_send_are_the_result(name: str) -> None:
    start, agreed = some_weights(0), some_weights(7)
    fused = fuse(name, [Update(f"party {i}", agreed, 3 * i + 1) for i in range(enough(name))])
    if name in STEPS:
        assert all(
            np.vdot(fused[n] - start[n], agreed[n] - start[n]) > 0
            for n in ("layer.weight", "layer.bias")
        )
    else:
        assert same(fused, agreed, 1e-6)


@pytest.mark.parametrize("name", registry.names("fusions"))
class TestEveryKindOfWeights:
    def test_is_a_fusion_for_some_kind(self, name: str) -> None:
        assert isinstance(make(name), Fusion)
        assert make(name).fuses <= {"numbers", "statistics", "trees"}
        assert make(name).fuses

    def test_other_kinds_are_refused_by_name(self, name: str) -> None:
        kinds = {"numbers": "sklearn", "statistics": "naive_bayes", "trees": "xgboost"}
        for kind, model in kinds.items():
            if kind not in make(name).fuses:
                native, x, y = MAKERS[model]()
                spec = RunSpec(data="data", fusion=AROUND.get(name, name), parties=enough(name) + 1)
                with pytest.raises(OptionError, match="and those of a"):
                    build(spec, {"model": native, "data": (x, y)})

    def test_its_own_kind_is_trained(self, name: str) -> None:
        native, x, y = MAKERS[MODEL_OF_FUSION.get(name, "torch")]()
        spec = RunSpec(
            data="data", fusion=AROUND.get(name, name), parties=enough(name) + 1, holdout=0
        )
        federation = build(spec, {"model": native, "data": ((x, y), (x, y))})
        records = list(federation.rounds(2))
        assert np.isfinite(records[-1].metrics["loss"])
        assert_plain(federation.state.fusion_state if federation.state else None)
