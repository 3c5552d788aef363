"""The panel in a cell's output: how it is made, and what the saved notebook keeps."""

from __future__ import annotations

from typing import Any

import pytest
from panels import AFTER_THE_END, enabled, press, run_to_the_end, settle, until

from fusion_nb import Panel, RunSpec
from fusion_nb.errors import OptionError
from fusion_nb.reporting.result import Result


def panel_line(ip: Any) -> str:
    return str(ip.ns["run"].result().headline())


class TestInANotebook:
    def test_the_magic_makes_one(self, ip: Any, net: Any, rows: Any) -> None:
        ip.ns |= {"model": net(), "rows": rows}
        seen = ip.run("%fusion panel --data rows --rounds 2 --lr 0.1")
        assert seen.error is None
        panel = seen.result
        assert panel.spec == RunSpec(data="rows", rounds=2, lr=0.1)
        assert [sorted(output) for output in seen.outputs] == [["text/html", "text/plain"]], (
            "nobody draws widgets here"
        )
        assert "no run has ended" in seen.outputs[0]["text/plain"]
        assert ip.run("panel = _\npanel.start(); panel.wait()").error is None
        assert ip.ns["run"].status == "finished"

    def test_what_stays(self, ip: Any, net: Any, rows: Any) -> None:
        ip.ns |= {"model": net(), "rows": rows}
        shown = ip.run(
            "import fusion_nb\npanel = fusion_nb.Panel(data='rows', rounds=2)\npanel"
        ).outputs
        assert [output["text/plain"] for output in shown] == [
            "A panel of fusion_nb, in which no run has ended. Run the cell to use it."
        ]
        kept = ip.run("panel.start()\npanel.wait()").outputs
        assert {output["text/plain"] for output in kept} == {panel_line(ip)}, (
            "the panel is not shown a second time"
        )
        assert sorted(kept[-1]) == ["image/png", "text/html", "text/plain"]
        assert '<img alt="Loss from' in kept[-1]["text/html"]
        assert (
            "%fusion run --data rows --parties 4 --split iid --fusion fedavg --rounds 2"
            in kept[-1]["text/html"]
        )
        assert ">party 4</th>" in kept[-1]["text/html"]
        assert "<style" not in kept[-1]["text/html"]

    @pytest.mark.parametrize(
        "line", ["--rounds 0", "--speed 3", "--split dirichlet:beta=3", "--name mine"]
    )
    def test_the_magic_refuses_in_one_line(self, ip: Any, line: str) -> None:
        assert isinstance(ip.run(f"%fusion panel {line}").error, OptionError)

    def test_the_repr_says_where_it_stands(self, panel: Panel) -> None:
        assert repr(panel) == "<Panel: idle>"
        run_to_the_end(panel)
        assert repr(panel).startswith("<Panel: run: finished, 3 of 3 rounds")


def test_the_result_of_a_run_that_has_ended_is_drawn_once(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_to_the_end(panel)
    until(lambda: enabled(panel) == AFTER_THE_END)
    drawn: list[int] = []
    draw = Result.mimebundle

    def count(result: Result) -> dict[str, Any]:
        drawn.append(len(result.history))
        return draw(result)

    monkeypatch.setattr(Result, "mimebundle", count)
    press(panel, "Preview")
    settle(panel)
    assert drawn == []
    panel.more(1)
    panel.wait()
    until(lambda: enabled(panel) == AFTER_THE_END)
    assert drawn == [4]
