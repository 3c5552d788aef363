"""Runs with simulated devices and lines: what they tell, and that their curves stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import fusion_nb
from fusion_nb.core.history import from_dict, to_dict
from fusion_nb.core.snapshot import record_from_json, record_to_json
from fusion_nb.errors import FusionError, OptionError
from fusion_nb.runs.spec import RunSpec

TIME = {"devices": "lognormal:sigma=1", "network": "4g", "step_seconds": 0.01}


def run(net: Any, rows: Any, **options: Any) -> Any:
    return fusion_nb.federate(net(), rows, **{"lr": 0.1, "parties": 8, "rounds": 3, **options})


class TestRecords:
    def test_without_it_nothing_is_told(self, rows: Any, net: Any) -> None:
        record = run(net, rows).history[0]
        assert "virtual_seconds" not in record.metrics
        assert "trips" not in to_dict(record)
        assert "trips" not in record_to_json(record)

    @pytest.mark.parametrize("fusion", ["fedavg", "scaffold", "dynamic:threshold=0", "krum:f=1"])
    def test_the_curve_stays(self, rows: Any, net: Any, fusion: str) -> None:
        plain, timed = run(net, rows, fusion=fusion), run(net, rows, fusion=fusion, **TIME)
        assert plain.history["loss"] == timed.history["loss"]
        assert [r.bytes_up for r in plain.history] == [r.bytes_up for r in timed.history]

    def test_a_round_ends_with_its_slowest_party(self, rows: Any, net: Any) -> None:
        history = run(net, rows, fraction=0.5, **TIME).history
        now = 0.0
        for record in history:
            assert {*record.trips} == {*record.cohort}
            assert all(trip.asked == now for trip in record.trips.values())
            now = max(trip.end for trip in record.trips.values())
            assert record.metrics["virtual_seconds"] == now

    def test_times_are_of_the_bytes_that_were_sent(self, rows: Any, net: Any) -> None:
        network = "own:down=0.008,up=0.004"
        record = run(net, rows, rounds=1, network=network, step_seconds=1).history[0]
        size = record.bytes_up / 8
        trip = record.trips["party 1"]
        assert (trip.down, trip.up) == pytest.approx((size / 1000, size / 500))
        assert trip.train == 1.0  # 24 rows are a batch

    def test_extras_take_time_too(self, rows: Any, net: Any) -> None:
        network = "own:down=0.008,up=0.004"
        plain = run(net, rows, rounds=2, network=network, step_seconds=1)
        more = run(net, rows, rounds=2, network=network, step_seconds=1, fusion="scaffold")
        assert more.history[1].trips["party 1"].up > 1.5 * plain.history[1].trips["party 1"].up

    def test_energy_is_told_where_it_is_known(self, rows: Any, net: Any) -> None:
        found = run(net, rows, devices="same:factor=2,watts=5", step_seconds=0.1)
        assert found.history["virtual_joules"] == pytest.approx([8.0, 16.0, 24.0])
        for options in ({"network": "4g"}, {"devices": "phones"}):
            assert "virtual_joules" not in run(net, rows, **options).history.metrics()
        with pytest.raises(FusionError, match="virtual_joules"):
            run(net, rows, devices="phones", until="virtual_joules >= 1")

    def test_records_survive_json(self, rows: Any, net: Any) -> None:
        for record in run(net, rows, **TIME).history:
            assert from_dict(to_dict(record)) == record
            assert record_from_json(record_to_json(record)) == record

    def test_stopped_and_continued_it_is_the_same_time(self, rows: Any, net: Any) -> None:
        options = {"fraction": 0.5, "over_select": 1.5, "deadline": 0.2, **TIME}
        whole, parts = run(net, rows, rounds=5, **options), run(net, rows, rounds=2, **options)
        parts.more(3).wait()
        assert whole.history["virtual_seconds"] == parts.history["virtual_seconds"]
        assert whole.history["loss"] == parts.history["loss"]

    def test_it_goes_on_after_a_resume(self, rows: Any, net: Any, tmp_path: Path) -> None:
        folder = str(tmp_path / "saved")
        whole = run(net, rows, rounds=4, **TIME)
        run(net, rows, rounds=2, checkpoint=folder, **TIME)
        resumed = fusion_nb.resume(folder, model=net(), data=rows).more(2).wait()
        assert [r.trips for r in whole.history] == [r.trips for r in resumed.history]


class TestLate:
    def test_a_deadline_leaves_out_who_is_late(self, rows: Any, net: Any) -> None:
        history = run(net, rows, deadline=0.13, **TIME).history
        assert any(record.failures for record in history)
        for record in history:
            late = {failure.party for failure in record.failures}
            for party, trip in record.trips.items():
                assert (party in late) == (trip.seconds > 0.13)
        assert history[0].metrics["virtual_seconds"] == pytest.approx(0.13)

    def test_more_are_asked_than_awaited(self, rows: Any, net: Any) -> None:
        history = run(net, rows, fraction=0.5, over_select=1.5, **TIME).history
        for record in history:
            assert len(record.cohort) == 6
            assert len(record.failures) == 2
            ends = sorted(trip.seconds for trip in record.trips.values())
            late = [record.trips[failure.party].seconds for failure in record.failures]
            assert sorted(late) == ends[4:]

    def test_the_spare_ones_stand_in_for_those_that_drop_out(self, rows: Any, net: Any) -> None:
        options = {"fraction": 0.5, "over_select": 2, "dropout": 0.2, "rounds": 6, **TIME}
        for record in run(net, rows, **options).history:
            dropped = [f for f in record.failures if "dropped out" in f.error]
            assert len(record.cohort) - len(record.failures) == min(4, 8 - len(dropped))

    @pytest.mark.parametrize("fusion", ["fedprox:mu=0.1", "fednova"])
    def test_partial_work_is_in_time(self, rows: Any, net: Any, fusion: str) -> None:
        options = {"devices": "lognormal:sigma=1", "step_seconds": 1, "epochs": 8, "rounds": 2}
        found = run(net, rows, fusion=fusion, deadline=4.0, **options)
        for record in found.history:
            assert not record.failures
            trains = [trip.train for trip in record.trips.values()]
            assert max(trains) <= 4.0
            assert record.metrics["virtual_seconds"] <= 4.0 * record.round
        whole = run(net, rows, fusion=fusion, **options)
        assert max(t.train for t in whole.history[0].trips.values()) > 4.0
        assert found.history["loss"] != whole.history["loss"]
        # A rule without use for partial work leaves the same parties out.
        assert run(net, rows, deadline=4.0, **options).history[0].failures

    def test_a_deadline_that_nobody_makes_waits_for_the_fastest(self, rows: Any, net: Any) -> None:
        (record,) = run(net, rows, rounds=1, deadline=1e-6, **TIME).history
        assert len(record.failures) == 7
        fastest = min(trip.end for trip in record.trips.values())
        assert record.metrics["virtual_seconds"] == fastest


class TestOptions:
    def test_until_and_monitor_may_name_it(self, rows: Any, net: Any) -> None:
        found = run(net, rows, rounds=50, until="virtual_seconds >= 1", **TIME)
        assert len(found.history) < 50
        seconds = found.history["virtual_seconds"]
        assert seconds[-1] >= 1 > seconds[-2]
        with pytest.raises(OptionError, match="virtual_seconds"):
            run(net, rows, until="virtual_seconds >= 1")

    def test_the_time_of_a_batch_is_measured_once_and_kept(self, rows: Any, net: Any) -> None:
        found = run(net, rows, devices="same")
        seconds = found.spec.step_seconds
        assert 0 < seconds < 60
        assert found.history[0].metrics["virtual_seconds"] == seconds
        assert f"--step-seconds {seconds}" in found.spec.to_cell()
        assert any("--step-seconds" in note for note in found.notes)
        again = fusion_nb.federate(net(), rows, **found.spec.model_dump(exclude={"model", "data"}))
        assert again.history["virtual_seconds"] == found.history["virtual_seconds"]

    def test_measuring_does_not_choose_another_engine(self, rows: Any, net: Any) -> None:
        plain, timed = run(net, rows), run(net, rows, devices="same")
        assert plain.history["loss"] == timed.history["loss"]
        assert [n for n in plain.notes if "engine" in n] == [
            n for n in timed.notes if "engine" in n
        ]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"deadline": 5.0}, "no devices or lines are simulated"),
            ({"over_select": 1.3, "fraction": 0.5}, "no devices or lines are simulated"),
            ({"step_seconds": 0.1}, "no devices or lines are simulated"),
            ({"devices": "phones", "over_select": 1.3}, "all parties are asked"),
            (
                {
                    "devices": "phones",
                    "over_select": 1.3,
                    "fraction": 0.5,
                    "sampling": "named:party 1",
                },
                "",
            ),
            (
                {"devices": "phones", "over_select": 1.3, "fraction": 0.5, "quorum": 0.9},
                "some are always too late",
            ),
            ({"devices": "phones", "straggler": "0.2:epochs=1", "epochs": 3}, "devices say who"),
            ({"devices": "phone"}, "phones"),
            ({"network": "6g"}, "there are: 3g, 4g, 5g"),
            ({"network": "own:down=5"}, "up"),
            ({"network": "4g:loss=1"}, "loss"),
            ({"devices": "classes:0.5x1/0.2x3"}, "add up to 1"),
            ({"devices": "classes:onex1"}, "share x factor"),
            ({"devices": "half_normal:per=round"}, "party or trip"),
            ({"devices": "trace:nowhere.csv"}, "nowhere.csv"),
            ({"devices": "same:factor=0"}, "factor"),
        ],
    )
    def test_bad_input_is_refused(self, rows: Any, net: Any, options: Any, words: str) -> None:
        with pytest.raises(FusionError) as seen:
            run(net, rows, **options)
        assert words in str(seen.value)

    @pytest.mark.parametrize(
        "text", ["classes:0.25x1/0.75x4x3", "pareto:alpha=3", "phones", "half_normal:per=trip"]
    )
    def test_devices_by_name(self, rows: Any, net: Any, text: str) -> None:
        found = run(net, rows, devices=text, step_seconds=0.5)
        seconds = found.history["virtual_seconds"]
        assert 0 < seconds[0] < seconds[1] < seconds[2]
        assert RunSpec.from_yaml(found.spec.to_yaml()).devices == text


class TestTrace:
    def write(self, tmp_path: Path, text: str) -> str:
        path = tmp_path / "awake.csv"
        path.write_text(text)
        return f"trace:{path}"

    def test_who_sleeps_begins_later(self, rows: Any, net: Any, tmp_path: Path) -> None:
        text = "device,begin,end,factor\\nday,0,60,1\\nnight,40,100,2\\n".replace("\\n", "\n")
        found = run(net, rows, parties=2, devices=self.write(tmp_path, text), step_seconds=1)
        day, night = (found.history[0].trips[f"party {i}"] for i in (1, 2))
        assert (day.waited, day.train, night.waited, night.train) == (0, 3, 40, 6)
        # At 46 both are awake; the next rounds take as long as the slower one trains.
        assert found.history["virtual_seconds"] == [46, 52, 58]

    def test_it_begins_anew(self, rows: Any, net: Any, tmp_path: Path) -> None:
        text = "device,begin,end\nA,0,5\nA,8,10\n"
        found = run(net, rows, parties=2, devices=self.write(tmp_path, text), step_seconds=1)
        # 0-3, 3-6 (awake when asked), asked at 6: awake from 8 to 11, asked at 11: awake at once.
        assert found.history["virtual_seconds"] == [3, 6, 11]
        assert found.more(1).wait().history["virtual_seconds"][-1] == 14

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("device,begin\nA,0\n", "end"),
            ("device,begin,end\n", "no row"),
            ("device,begin,end\nA,5,5\n", "line 2"),
            ("device,begin,end\nA,0,9\nA,zero,9\n", "line 3"),
            ("device,begin,end,factor\nA,0,9,-1\n", "line 2"),
        ],
    )
    def test_other_files_are_refused(
        self, rows: Any, net: Any, tmp_path: Path, text: str, words: str
    ) -> None:
        with pytest.raises(OptionError) as seen:
            run(net, rows, devices=self.write(tmp_path, text))
        assert words in str(seen.value)
        assert "device,begin,end" in str(seen.value)
