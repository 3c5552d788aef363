"""Asynchronous rounds in real time: the order of replies is a script's, and nothing is timed."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from scripted_engine import Scripted

import fusion_nb
from fusion_nb.algorithms.fusions.fedbuff import FedBuff
from fusion_nb.core import arithmetic, registry
from fusion_nb.core.protocols import Asynchronous
from fusion_nb.errors import ContractError, FusionError, OptionError, PartyError

A, B, C, D = (f"party {i}" for i in range(1, 5))


@pytest.fixture
def engine() -> type[Scripted]:
    class Own(Scripted):
        script: ClassVar[list[Any]] = []
        log: ClassVar[list[Any]] = []
        gone: ClassVar[set[str]] = set()

    registry.register("engines", "scripted", Own)
    return Own


def run(net: Any, rows: Any, fusion: str = "fedbuff:buffer=2", **options: Any) -> Any:
    given = {"parties": 4, "lr": 0.1, "rounds": 2, "engine": "scripted", **options}
    return fusion_nb.federate(net(5, 3), rows, fusion=fusion, **given)


def versions(found: Any) -> list[dict[str, int]]:
    return [{p: trip.version for p, trip in record.trips.items()} for record in found.history]


def test_a_round_ends_with_the_buffer_and_others_stay_under_way(
    engine: Any, net: Any, rows: Any
) -> None:
    engine.script[:] = [C, A, B, A]
    found = run(net, rows)
    assert [record.cohort for record in found.history] == [(A, C), (A, B)]
    assert versions(found) == [{A: 0, C: 0}, {A: 1, B: 0}]
    asked = [entry for entry in engine.log if isinstance(entry[0], int)]
    assert sorted(asked[:4]) == [(1, A), (1, B), (1, C), (1, D)]
    assert sorted(asked[4:]) == [(2, A), (2, C)]
    assert not any(metric.startswith("virtual") for metric in found.history[0].metrics)


def test_another_party_is_asked_as_soon_as_one_has_replied(
    engine: Any, net: Any, rows: Any
) -> None:
    found = run(net, rows, "fedbuff:buffer=3,concurrency=1", rounds=1)
    assert len(found.history[0].cohort) == 3
    asked = [entry for entry in engine.log if isinstance(entry[0], int)]
    assert len({party for _, party in asked}) == 3 == len(asked)


def test_in_one_order_it_is_fedavg(engine: Any, net: Any, rows: Any) -> None:
    real = run(net, rows, "fedbuff:buffer=4", rounds=3)
    other = run(net, rows, "fedavg", engine="local", rounds=3)
    assert real.history["loss"] == other.history["loss"]
    assert arithmetic.equal(real.weights, other.weights)


def test_a_stale_update_is_weighed_by_its_staleness_from_the_weights_that_it_had(
    engine: Any, net: Any, rows: Any
) -> None:
    seen: list[tuple[str, int]] = []
    starts: dict[str, Any] = {}

    class Seeing(FedBuff):
        def mix(self, weights: Any, arrivals: Any, trained: Any) -> Any:
            arrivals = list(arrivals)
            for arrival in arrivals:
                seen.append((arrival.update.party, arrival.staleness))
                if arrival.update.party == D:
                    starts["start"], starts["sent"] = arrival.start, arrival.update.weights
                    starts["before"] = weights
            return super().mix(weights, iter(arrivals), trained)

    registry.register("fusions", "seeing", Seeing)
    engine.script[:] = [A, B, C, D]
    found = run(net, rows, "seeing:buffer=1,staleness=polynomial,a=1", rounds=4)
    assert seen == [(A, 0), (B, 1), (C, 2), (D, 3)]
    first = run(net, rows, rounds=1).federation.network.initial_weights
    assert arithmetic.equal(starts["start"], first)
    for name, now in found.weights.items():
        step = (starts["sent"][name] - starts["start"][name].astype(np.float64)) / 4
        np.testing.assert_allclose(now, starts["before"][name] + step, rtol=1e-5, atol=1e-7)


def test_a_party_that_fails_is_replaced_and_takes_part_again(
    engine: Any, net: Any, rows: Any
) -> None:
    engine.script[:] = [A, f"!{B}", C, B, A]
    found = run(net, rows, "fedbuff:buffer=2,concurrency=3")
    first, second = found.history
    assert first.cohort == (A, B, C)
    assert [failure.party for failure in first.failures] == [B]
    assert second.cohort == (A, B)
    assert not second.failures


def test_a_quorum_ends_a_run_in_which_too_many_fail(engine: Any, net: Any, rows: Any) -> None:
    engine.script[:] = [f"!{A}", f"!{B}", C, D]
    with pytest.raises(PartyError, match="2 of 4 parties failed in round 1"):
        run(net, rows, quorum=0.8)


def test_where_all_fail_the_run_says_so(engine: Any, net: Any, rows: Any) -> None:
    engine.script[:] = [f"!{name}" for name in (A, B, C, D)]
    with pytest.raises(PartyError, match="4 of 4 parties failed in round 1"):
        run(net, rows)


def test_only_parties_at_hand_are_measured_and_all_at_the_end(
    engine: Any, net: Any, rows: Any
) -> None:
    engine.script[:] = [C, A, B, A]
    found = run(net, rows)
    first, *_, last = [entry for entry in engine.log if entry[0] == "evaluate"]
    assert first == ("evaluate", A, C)
    assert last == ("evaluate", A, B, C, D)
    assert engine.log.index(("gave up", C, D)) < engine.log.index(last)
    assert set(found.history[-1].party_metrics) == {A, B, C, D}


def test_a_party_that_is_gone_when_it_is_measured_does_not_end_the_run(
    engine: Any, net: Any, rows: Any
) -> None:
    """It may be the only one at hand: the round has no metrics of the fused model then."""

    class Leaving(engine):
        def run(self, request: Any, cohort: Any) -> Any:
            if list(cohort) == [C]:
                engine.gone.add(C)
            return super().run(request, cohort)

    registry.register("engines", "leaving", Leaving)
    engine.script[:] = [C, A, lambda: engine.gone.clear()]
    found = run(net, rows, "fedbuff:buffer=1", rounds=3, engine="leaving")
    first, second, _ = found.history
    assert [failure.party for failure in first.failures] == [C]
    assert "loss" not in first.metrics
    assert second.metrics["loss"] > 0
    assert {"loss", "accuracy"} <= found.history[-1].metrics.keys()


def test_a_stop_gives_up_and_more_goes_on(engine: Any, net: Any, rows: Any) -> None:
    made: list[Any] = []
    engine.script[:] = [C, A, B, lambda: made[0].stop()]
    spec = fusion_nb.RunSpec(
        data="data", fusion="fedbuff:buffer=2", engine="scripted", parties=4, rounds=3, lr=0.1
    )
    made.append(fusion_nb.Run(spec, {"model": net(5, 3), "data": rows}))
    made[0].start().wait()
    assert made[0].status == "stopped"
    assert len(made[0].records) == 1
    assert engine.log[-1][0] == "gave up"
    made[0].more(2).wait()
    assert [record.round for record in made[0].records] == [1, 2, 3]
    assert versions(made[0])[1] == dict.fromkeys(made[0].records[1].cohort, 1)


def test_a_change_holds_from_the_next_round_on(engine: Any, net: Any, rows: Any) -> None:
    found = run(net, rows, changes="2:epochs=3", rounds=3)
    assert [record.changes for record in found.history] == [{}, {"epochs": 3}, {}]


def test_it_is_resumed_from_a_folder(engine: Any, net: Any, rows: Any, tmp_path: Any) -> None:
    folder = str(tmp_path / "saved")
    engine.script[:] = [C, A]
    first = run(net, rows, rounds=1, checkpoint=folder)
    resumed = fusion_nb.resume(folder, model=net(), data=rows)
    resumed.more(2).wait()
    assert resumed.history[0].cohort == first.history[0].cohort
    assert versions(resumed)[1] == dict.fromkeys(resumed.history[1].cohort, 1)
    assert all(
        trip.asked >= resumed.history[0].seconds for trip in resumed.history[1].trips.values()
    )


def test_reports_are_kept_back(engine: Any, net: Any, rows: Any) -> None:
    found = run(net, (rows, (rows[0][:30], rows[1][:30])), report="none")
    assert all(not found for record in found.history for found in record.party_metrics.values())
    assert "train_loss" not in found.history[0].metrics


@pytest.mark.parametrize(
    "fusion", ["fedasync", "fedasync:buffer=2,mu=0.1", "fedbuff:concurrency=2"]
)
def test_each_rule_learns(engine: Any, net: Any, rows: Any, fusion: str) -> None:
    found = run(net, rows, fusion, rounds=8, epochs=3)
    assert found.history[-1].metrics["loss"] < found.history[0].metrics["loss"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "line"),
        [
            ({"engine": "local", "fusion": "fedbuff:time=real"}, "order of simulated time"),
            ({"engine": "process", "fusion": "fedasync:time=real"}, "order of simulated time"),
            ({"engine": "vectorized", "fusion": "fedasync:time=real"}, "order of simulated time"),
            ({"fusion": "fedbuff:time=real", "devices": "phones"}, "simulated devices or lines"),
            ({"fusion": "fedbuff", "dropout": 0.2}, "drop out by themselves"),
            ({"fusion": "fedbuff:time=wall"}, "time=wall is not allowed"),
            ({"fusion": "fedbuff", "until": "virtual_seconds >= 5"}, "virtual_seconds"),
        ],
    )
    def test_what_does_not_go_together(
        self, engine: Any, net: Any, rows: Any, options: Any, line: str
    ) -> None:
        with pytest.raises(OptionError, match=line):
            run(net, rows, **options)

    def test_an_engine_that_answers_for_others(self, net: Any, rows: Any) -> None:
        class Wrong(Scripted):
            def run_open(self, round: Any) -> Any:
                round.next()
                yield self._parties["party 4"].answer(round.next()[1], self._model)
                yield self._parties["party 4"].answer(round.next()[1], self._model)

        registry.register("engines", "scripted", Wrong)
        with pytest.raises(ContractError, match="which was not asked"):
            run(net, rows, "fedbuff:buffer=4", fraction=0.5)

    def test_an_engine_without_it(self, net: Any, rows: Any) -> None:
        class Claims(Scripted):
            run_open = fusion_nb.core.protocols.Engine.run_open

        registry.register("engines", "scripted", Claims)
        with pytest.raises(ContractError, match="order of a cohort only"):
            run(net, rows)


def test_simulated_time_is_had_by_its_name(engine: Any, net: Any, rows: Any) -> None:
    by_name = run(net, rows, "fedbuff:buffer=2,time=simulated", rounds=3)
    local = run(net, rows, "fedbuff:buffer=2", engine="local", rounds=3)
    assert by_name.history["loss"] == local.history["loss"]
    assert "virtual_seconds" in by_name.history[0].metrics
    with_devices = run(net, rows, devices="half_normal", step_seconds=0.1)
    assert "virtual_seconds" in with_devices.history[0].metrics


def test_notes_say_what_real_time_is(engine: Any, net: Any, rows: Any) -> None:
    notes = " ".join(run(net, rows, rounds=1).notes)
    assert "fedbuff:time=simulated does" in notes
    assert "parties that do not train at its end" in notes
    assert "each batch takes a second" not in notes
    assert isinstance(FedBuff(), Asynchronous)
    with pytest.raises(FusionError):
        FedBuff(time="later")


def test_report_and_picture_say_that_time_was_real(engine: Any, net: Any, rows: Any) -> None:
    from fusion_nb.reporting.charts.gantt import gantt
    from fusion_nb.reporting.simulated_time import simulated_time

    engine.script[:] = [C, A, B, A]
    found = run(net, rows)
    (line,) = simulated_time(found.history)
    assert line.startswith("real time: updates were fused as they came")
    assert line.endswith("0.2 rounds old on average")
    assert "on the real clock: 2 parties" in gantt(found.history[1]).alt
