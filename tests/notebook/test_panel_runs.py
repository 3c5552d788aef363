"""Runs of the panel: begun, paused, continued and stopped by its buttons."""

from __future__ import annotations

from typing import Any

import pytest
from panels import enabled, labelled, page, press, run_to_the_end, until

import fusion_nb
from fusion_nb import Panel
from fusion_nb.errors import RunError
from fusion_nb.runs.session import RUNS


class TestLaunching:
    def test_start_returns_at_once_and_binds_the_run(
        self, panel: Panel, namespace: dict[str, Any]
    ) -> None:
        press(panel, "Start")
        assert panel.status in ("preparing", "running", "finished")
        panel.wait()
        assert panel.status == "finished"
        assert namespace["run"] is panel.run
        assert RUNS["run"] is panel.run
        assert "bound to the variable run" in page(panel)
        assert "run: finished, round 3 of 3, loss" in page(panel)
        press(panel, "Start")
        panel.wait()
        assert namespace["run_2"] is panel.run
        assert namespace["run"].history["loss"] == namespace["run_2"].history["loss"]

    def test_it_shows_what_the_run_does(self, panel: Panel) -> None:
        panel.set(rounds=10**6)
        panel.start()
        until(lambda: panel.run is not None and len(panel.run.records) > 3)
        until(lambda: "about" in page(panel))
        until(lambda: "parties answered" in page(panel))
        until(lambda: "Loss from" in panel.screen.chart)
        assert all(f">party {i}</th>" in page(panel) for i in range(1, 5))
        assert "0.1 MB" not in page(panel)
        assert enabled(panel) == {"Pause", "Stop", "More rounds"}
        panel.stop()
        panel.wait()
        assert panel.status == "stopped"

    def test_objects_are_taken_too(self, namespace: dict[str, Any]) -> None:
        panel = Panel(namespace["model"], namespace["rows"], namespace=namespace, rounds=1)
        assert (panel.spec.model, panel.spec.data) == ("model", "rows")
        panel = run_to_the_end(Panel(namespace["model"], namespace["rows"], namespace={}, rounds=1))
        assert (panel.spec.model, panel.spec.data) == ("given_model", "given_data")
        assert panel.status == "finished"

    def test_the_same_as_a_cell(self, panel: Panel, namespace: dict[str, Any]) -> None:
        panel.set(split="dirichlet:alpha=0.3", seed=5)
        run_to_the_end(panel)
        run = fusion_nb.Run(panel.spec, namespace).start().wait()
        assert panel.run is not None
        assert run.history["loss"] == panel.run.history["loss"]


class TestSteering:
    def test_each_button_in_each_state(self, panel: Panel) -> None:
        assert panel.status == "idle"
        assert enabled(panel) == {"Start"}
        panel.set(rounds=10**6)
        press(panel, "Start")
        until(lambda: panel.status == "running")
        until(lambda: enabled(panel) == {"Pause", "Stop", "More rounds"})
        press(panel, "Pause")
        assert panel.status == "paused"
        assert enabled(panel) == {"Resume", "Step one round", "Stop", "More rounds"}
        rounds = len(panel.run.records)
        press(panel, "Step one round")
        # The buttons of before may be there for a moment: the run itself must be held.
        until(lambda: len(panel.run.records) > rounds and panel.status == "paused")
        until(lambda: "Resume" in enabled(panel))
        assert len(panel.run.records) == rounds + 1
        press(panel, "Resume")
        until(lambda: len(panel.run.records) > rounds + 2)
        press(panel, "Stop")
        until(lambda: panel.status == "stopped")
        until(lambda: enabled(panel) == {"Start", "Step one round", "More rounds"})
        kept = len(panel.run.records)
        labelled(panel, "rounds to add").value = 2
        press(panel, "More rounds")
        panel.wait()
        assert len(panel.run.records) == kept + 2
        assert panel.status == "finished"

    def test_more_rounds_for_one_that_is_going(self, panel: Panel) -> None:
        panel.set(rounds=10**6)
        panel.start()
        until(lambda: "More rounds" in enabled(panel))
        panel.more(7)
        until(lambda: panel.run.planned == 10**6 + 7)
        panel.stop()
        panel.wait()

    def test_more_rounds_in_a_pause_are_seen_at_once(self, long_panel: Panel) -> None:
        long_panel.start()
        until(lambda: long_panel.run is not None and long_panel.run.records)
        long_panel.pause()
        until(lambda: "paused" in long_panel.screen.status)
        long_panel.more(7)
        until(lambda: f"of {10**6 + 7}" in long_panel.screen.status)
        assert long_panel.status == "paused"
        long_panel.stop()
        long_panel.wait()

    def test_without_a_run_there_is_nothing_to_steer(self, panel: Panel) -> None:
        for action in (panel.pause, panel.resume, panel.step, panel.more, panel.export):
            with pytest.raises(RunError, match="no run yet"):
                action()
        panel.stop()
        panel.wait()
        assert panel.status == "idle"
