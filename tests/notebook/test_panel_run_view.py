"""The run in the panel: status, replies, curves, and a table of parties with failures."""

from __future__ import annotations

from typing import Any

import pytest
from panels import run_to_the_end, until

import fusion_nb
from fusion_nb import Panel, RunSpec
from fusion_nb.notebook.live import Throttle
from fusion_nb.notebook.panel import run_view
from fusion_nb.notebook.panel.run_view import RunView

pytestmark = pytest.mark.usefixtures("no_runs")


class TestWatching:
    def test_failures_stand_behind_a_disclosure(self, namespace: dict[str, Any]) -> None:
        panel = run_to_the_end(Panel("model", "rows", namespace=namespace, rounds=5, dropout=0.5))
        failed = panel.run.failures
        table = panel.screen.table
        assert failed
        assert table.count("<details>") == min(len(failed), 20)
        assert sum(f">{n}</td></tr>" in table for n in range(1, 6))

    def test_many_parties_are_not_all_listed(self, namespace: dict[str, Any]) -> None:
        panel = run_to_the_end(Panel("model", "rows", namespace=namespace, rounds=1, parties=30))
        assert panel.screen.table.count('<th scope="row"') == 21
        assert "and 10 more: run.parties" in panel.screen.table

    def test_the_place_of_chart_and_table_is_taken_from_the_start(
        self, namespace: dict[str, Any]
    ) -> None:
        view = RunView()
        view.follow(fusion_nb.Run(RunSpec(data="rows"), namespace))
        assert view.chart == "No round is whole yet"
        assert view.table.count(">party ") == 4

    def test_another_run_takes_the_place(self, namespace: dict[str, Any]) -> None:
        spec = RunSpec(data="rows", rounds=1)
        first, second = (fusion_nb.Run(spec, namespace, name=name) for name in ("a", "b"))
        view = RunView()
        view.follow(first)
        view.follow(second)
        first.start().wait()
        assert "b: ready" in view.status
        second.start().wait()
        assert "b: finished" in view.status

    def test_a_run_that_ends_while_it_is_drawn_the_first_time_is_shown_as_ended(
        self, namespace: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        view, run = RunView(), fusion_nb.Run(RunSpec(data="rows", rounds=2), namespace)
        draw = run_view.parties_html

        def end_and_draw(*args: Any) -> Any:
            drawn = draw(*args)
            if run.status == "ready":
                run.start().wait()
            return drawn

        monkeypatch.setattr(run_view, "parties_html", end_and_draw)
        view.follow(run)
        assert "run: finished" in view.status

    def test_replies_name_the_round(self, namespace: dict[str, Any]) -> None:
        view = RunView(lambda **_: Throttle(pause=0, share=1))
        run = fusion_nb.Run(RunSpec(data="rows", rounds=10**6), namespace)
        view.follow(run)
        seen: list[str] = []
        replies = next(w for w in view.box.children if w.layout.min_height)
        replies.observe(lambda change: seen.append(change["new"]), "value")
        run.start()
        until(lambda: "round 2: 3 of 4 parties answered" in seen)
        run.stop()
        until(lambda: view.replies == "")
