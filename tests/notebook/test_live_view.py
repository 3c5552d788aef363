"""The live view of a run in a cell's output, and the static result that replaces it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fusion_nb import RunSpec
from fusion_nb.notebook import live
from fusion_nb.notebook.live import LiveView, Throttle, status_html, status_text
from fusion_nb.runs.run import Run


class TestLiveView:
    def test_drawing_takes_its_share_of_the_time(self) -> None:
        now, drawn = [0.0], []
        throttle = Throttle(share=0.05, pause=0.1, clock=lambda: now[0])

        def draw() -> None:
            drawn.append(now[0])
            now[0] += 0.1

        while now[0] < 100:
            throttle(draw)
            now[0] += 0.01
        assert 0.04 < len(drawn) * 0.1 / 100 <= 0.05

    def test_widgets_while_it_trains_and_a_static_result_after(
        self, ip: Any, rows: Any, net: Any, monkeypatch: Any
    ) -> None:
        shown: list[dict[str, Any]] = []

        class Handle:
            def update(self, bundle: dict[str, Any], raw: bool) -> None:
                shown.append(bundle)

        def display(bundle: dict[str, Any], **kwargs: Any) -> Handle:
            shown.append(bundle)
            return Handle()

        monkeypatch.setattr(live, "display", display)
        run = Run(RunSpec(data="data", lr=0.1, rounds=3), {"model": net(), "data": rows})
        view = LiveView(run, widgets=True, throttle=lambda **_: Throttle(share=1, pause=0))
        states: list[str] = []
        view.box.children[0].observe(lambda change: states.append(change["new"]), "value")
        run.start().wait()
        assert "application/vnd.jupyter.widget-view+json" in shown[0]
        assert set(shown[-1]) == {"text/html", "image/png", "text/plain"}
        assert len(shown) == 2
        assert any("round 2 of 3" in state and "left" in state for state in states)
        assert view.chart.alt.startswith("Loss from")

    def test_the_status_is_announced(self, rows: Any, net: Any) -> None:
        run = Run(RunSpec(data="data", lr=0.1), {"model": net(), "data": rows})
        text = status_html(run)
        assert '<div role="status" aria-live="polite">' in text
        assert "run: ready, round 0 of 10" in text
        assert "loss: cross_entropy" in text


@pytest.mark.parametrize(("loss", "told"), [(1.19e29, "1.19e+29"), (0.00002, "2e-05")])
def test_the_status_tells_large_and_small_metrics(
    net: Any, rows: Any, loss: float, told: str
) -> None:
    run = Run(RunSpec(data="data", lr=0.1, rounds=1), {"model": net(), "data": rows}).start().wait()
    last = run.federation.history[-1]
    run.federation.history[-1] = replace(last, metrics={**last.metrics, "loss": loss})
    assert f"loss {told}, accuracy 0." in status_text(run)
    assert f"loss {told}, accuracy 0." in run.summary()


def test_a_thousand_parties_fit_a_chart_and_a_table(net: Any) -> None:
    rng = np.random.default_rng(0)
    data = (rng.normal(size=(3000, 5)).astype(np.float32), rng.integers(0, 3, 3000))
    run = (
        Run(
            RunSpec(data="data", parties=1000, fraction=0.02, rounds=2),
            {"model": net(), "data": data},
        )
        .start()
        .wait()
    )
    bundle = run._repr_mimebundle_()
    assert "and 990 more" in bundle["text/html"]
    assert len(run.summary().splitlines()) < 20
    assert len(run.parties.to_frame()) == 1000
