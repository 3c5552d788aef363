"""Asynchronous fusions: equal to fedavg with equal times, exact about what is stale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.algorithms.fusions.asynchronous_mixing import between, weigher
from fusion_nb.algorithms.fusions.fedasync import FedAsync
from fusion_nb.algorithms.fusions.fedbuff import FedBuff
from fusion_nb.core import arithmetic
from fusion_nb.core.protocols import Arrival, Asynchronous
from fusion_nb.core.types import Update, Weights
from fusion_nb.errors import OptionError

SLOW = {"devices": "half_normal", "network": "own:down=1,up=1,latency=5", "step_seconds": 0.01}
BUFFERED = {"fusion": "fedbuff:buffer=2", **SLOW}


def run(net: Any, rows: Any, *last: Any, **options: Any) -> Any:
    return fusion_nb.federate(net(5, 3, *last), rows, **{"lr": 0.1, "parties": 8, **options})


def same(a: Any, b: Any) -> None:
    assert a.history["loss"] == b.history["loss"]
    assert a.history["accuracy"] == b.history["accuracy"]
    assert [r.cohort for r in a.history] == [r.cohort for r in b.history]
    assert arithmetic.equal(a.weights, b.weights)


class TestItIsFedAvg:
    @pytest.mark.parametrize(
        ("options", "fusion"),
        [
            ({"parties": 4}, "fedbuff:buffer=4"),
            ({"fraction": 0.5}, "fedbuff:buffer=4"),
            (
                {"fraction": 0.25, "devices": "same:factor=3", "step_seconds": 0.1},
                "fedbuff:buffer=2",
            ),
            (
                {"fraction": 0.25, "engine": "local", "network": "4g", "step_seconds": 1},
                "fedbuff:2",
            ),
            ({"parties": 4}, "fedbuff:buffer=4,staleness=hinge"),
        ],
    )
    def test_with_equal_times_and_a_buffer_of_the_cohort(
        self, rows: Any, net: Any, options: Any, fusion: str
    ) -> None:
        options = {"rounds": 3, **options}
        same(run(net, rows, fusion=fusion, **options), run(net, rows, **options))

    def test_with_statistics_of_batch_normalization(self, rows: Any, net: Any) -> None:
        import torch
        from torch import nn

        def make(*_: Any) -> nn.Module:
            torch.manual_seed(0)
            return nn.Sequential(net(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))

        options = {"rounds": 2, "fraction": 0.5}
        same(run(make, rows, fusion="fedbuff:buffer=4", **options), run(make, rows, **options))

    def test_one_party_of_whole_share(self, rows: Any, net: Any) -> None:
        options = {"rounds": 3, "fraction": 0.125}
        same(run(net, rows, fusion="fedasync:alpha=1", **options), run(net, rows, **options))


class TestTheSameCurve:
    def test_stopped_and_continued(self, rows: Any, net: Any) -> None:
        whole = run(net, rows, rounds=7, **BUFFERED)
        parts = run(net, rows, rounds=3, **BUFFERED).more(4).wait()
        same(whole, parts)
        assert whole.history["virtual_seconds"] == parts.history["virtual_seconds"]
        assert {trip.version for record in whole.history for trip in record.trips.values()} > {0}

    def test_resumed_from_a_folder(self, rows: Any, net: Any, tmp_path: Any) -> None:
        folder = str(tmp_path / "saved")
        whole = run(net, rows, rounds=7, **BUFFERED)
        run(net, rows, rounds=4, checkpoint=folder, **BUFFERED)
        resumed = fusion_nb.resume(folder, model=net(), data=rows).more(3).wait()
        same(whole, resumed)
        assert [r.trips for r in whole.history] == [r.trips for r in resumed.history]

    def test_with_a_change_after_a_stop(self, rows: Any, net: Any, tmp_path: Any) -> None:
        """A change holds from the next round on, also where who comes next was known before."""
        folder = str(tmp_path / "saved")
        found = run(net, rows, rounds=3, checkpoint=folder, **BUFFERED)
        found.federation.cohort(9)
        found.change(epochs=4)
        found.more(4).wait()
        resumed = fusion_nb.resume(folder, model=net(), data=rows).more(2).wait()
        found.more(2).wait()
        same(found, resumed)
        planned = run(net, rows, rounds=9, changes="4:epochs=4", **BUFFERED)
        same(found, planned)
        assert found.history[-1].trips != run(net, rows, rounds=9, **BUFFERED).history[-1].trips

    @pytest.mark.slow
    def test_in_processes(self, rows: Any, net: Any) -> None:
        options = {"rounds": 5, **BUFFERED}
        same(run(net, rows, engine="local", **options), run(net, rows, engine="process", **options))

    @pytest.mark.parametrize("fusion", ["fedbuff:buffer=2", "fedasync:staleness=hinge,a=10"])
    def test_for_any_number_of_workers(self, rows: Any, net: Any, fusion: str) -> None:
        options = {"rounds": 4, **SLOW, "fusion": fusion}
        same(
            run(net, rows, engine="local:workers=1", **options),
            run(net, rows, engine="local:workers=2", **options),
        )

    def test_with_parties_that_drop_out(self, rows: Any, net: Any) -> None:
        options = {"rounds": 5, "dropout": 0.3, **BUFFERED}
        found = run(net, rows, **options)
        same(found, run(net, rows, **options))
        assert any(record.failures for record in found.history)

    def test_the_scale_of_devices_alone_does_not_matter(self, rows: Any, net: Any) -> None:
        options = {"rounds": 5, "fusion": "fedbuff:buffer=2", "devices": "lognormal"}
        same(run(net, rows, step_seconds=1, **options), run(net, rows, step_seconds=8, **options))


def arrival(value: float, start: float, staleness: int, rows: int = 10) -> Arrival:
    def weights(number: float) -> Weights:
        return {
            "w": np.array([number]),
            "mean": np.array([number]),
            "count": np.array([int(number)]),
        }

    return Arrival(Update("a", weights(value), rows), weights(start), staleness)


def mixed(rule: Asynchronous, *arrivals: Arrival, now: float = 10.0) -> Weights:
    weights = {"w": np.array([now]), "mean": np.array([now]), "count": np.array([int(now)])}
    return rule.mix(weights, iter(arrivals), frozenset({"w"}))


class TestStaleness:
    @pytest.mark.parametrize(
        ("kind", "weights"),
        [
            ("constant", [1, 1, 1, 1]),
            ("polynomial", [1, 2**-0.5, 3**-0.5, 6**-0.5]),
            ("hinge", [1, 1, 1, 1 / 1.5]),
        ],
    )
    def test_weights(self, kind: str, weights: list[float]) -> None:
        weigh = weigher(kind, 0.5, 4)
        assert [weigh(staleness) for staleness in (0, 1, 2, 5)] == pytest.approx(weights)

    def test_fedbuff_adds_changes_and_not_weights(self) -> None:
        found = mixed(FedBuff(), arrival(3.0, 1.0, 3), arrival(12.0, 10.0, 0, rows=30))
        assert found["w"] == pytest.approx(10 + (10 * 0.5 * 2 + 30 * 2) / 40)
        # A statistic is mixed, so that a variance stays positive.
        assert found["mean"] == pytest.approx((10 * (0.5 * 3 + 0.5 * 10) + 30 * 12) / 40)
        assert found["count"].dtype.kind == "i"

    def test_fedbuff_has_a_rate(self) -> None:
        assert mixed(FedBuff(lr=0.5), arrival(12.0, 10.0, 0))["w"] == pytest.approx(11.0)
        assert mixed(FedBuff(lr=2.0), arrival(12.0, 10.0, 0))["w"] == pytest.approx(14.0)

    def test_fedasync_mixes_weights(self) -> None:
        found = mixed(FedAsync(alpha=0.6), arrival(4.0, 1.0, 3))
        assert found["w"] == pytest.approx(10 + 0.3 * (4 - 10))
        twice = mixed(FedAsync(alpha=0.5), arrival(4.0, 10.0, 0), arrival(7.0, 10.0, 0))
        assert twice["w"] == pytest.approx((7.0 + 8.5) / 2)

    def test_a_mixture_keeps_dtypes(self) -> None:
        old = {"a": np.float16([1, 2]), "b": np.array([True, False]), "c": np.array(2**60 + 1)}
        new = {"a": np.float16([3, 2]), "b": np.array([True, True]), "c": np.array(2**60 + 3)}
        for share in (0.5, 1.0, 1.5):
            found = between(old, new, share)
            assert {name: array.dtype for name, array in found.items()} == {
                name: array.dtype for name, array in old.items()
            }
        assert between(old, new, 0.5)["c"] == 2**60 + 2

    def test_records_tell_how_stale_updates_were(self, rows: Any, net: Any) -> None:
        found = run(net, rows, rounds=8, fusion="fedbuff:buffer=1,concurrency=4", **SLOW)
        late = [r.round - 1 - t.version for r in found.history for t in r.trips.values()]
        assert max(late) > 0
        assert min(late) >= 0


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"fusion": "fedbuff:buffer=9"}, "buffer=9, and there are 8"),
            ({"fusion": "fedasync:concurrency=20"}, "concurrency=20, and there are 8"),
            ({"deadline": 1.0, "devices": "phones"}, "deadline"),
            ({"over_select": 1.3, "fraction": 0.5, "devices": "phones"}, "over_select"),
            ({"sampling": "poisson:q=0.5"}, "sampling"),
            ({"personal": "ditto"}, "personal"),
            ({"personal": "fedbn"}, "personal"),
            ({"personal": "finetune", "sampling": "poisson:q=0.5"}, "sampling"),
            ({"straggler": "0.5:epochs=1", "epochs": 3}, "straggler"),
            ({"adversary": "sign_flip:1"}, "adversary"),
            ({"fusion": "bucketing:s=2+fedbuff"}, "asynchronous"),
            ({"fusion": "fedasync:alpha=2"}, "alpha"),
            ({"fusion": "fedbuff:staleness=exponential"}, "polynomial"),
            ({"changes": "2:fusion=fedavg"}, "can't change"),
        ],
    )
    def test_before_any_training(self, rows: Any, net: Any, options: Any, words: str) -> None:
        with pytest.raises(OptionError) as seen:
            run(net, rows, **{"fusion": "fedbuff:buffer=2", "rounds": 3, **options})
        assert words in str(seen.value)

    def test_a_run_does_not_become_asynchronous(self, rows: Any, net: Any) -> None:
        found = run(net, rows, rounds=1)
        with pytest.raises(OptionError, match="can't change to or from fedbuff"):
            found.change(fusion="fedbuff:buffer=2")

    def test_labels_may_be_flipped_and_models_finetuned(self, rows: Any, net: Any) -> None:
        options = {"rounds": 2, **BUFFERED}
        run(net, rows, adversary="label_flip:1", **options)
        assert "personal_loss" in run(net, rows, personal="finetune", **options).history.last()
