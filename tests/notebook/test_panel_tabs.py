"""The tabs of the panel: preview, change, compare, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import numpy as np
import pytest
from panels import labelled, marked, page, press, run_to_the_end, settle, until

import fusion_nb
from fusion_nb import Panel, RunSpec
from fusion_nb.errors import ExportError, RunError
from fusion_nb.notebook.chart import RunChart
from fusion_nb.runs.session import RUNS


def open_tab(panel: Panel, title: str) -> None:
    """Open another tab and then this one, as a person does who wants to see it anew."""
    tabs = next(w for w in panel.screen.widgets() if isinstance(w, ipywidgets.Tab))
    tabs.selected_index = 0
    tabs.selected_index = tabs.titles.index(title)


class TestPreviewTab:
    def test_the_split_and_the_cost(self, panel: Panel) -> None:
        press(panel, "Preview")
        panel.wait()
        shown = panel.screen.preview
        assert "rows to train on in" in shown
        assert "each party sends" in shown
        assert '<img alt="4 parties' in shown
        assert panel.run is None
        found = panel.preview()
        assert found.cost.steps

    def test_what_does_not_fit_is_said(self, panel: Panel) -> None:
        panel.set(parties=999)
        press(panel, "Preview")
        settle(panel)
        assert "only 240 rows" in panel.screen.message
        assert marked(panel) == ["parties"]


class TestChangeTab:
    def test_a_change_is_marked_and_kept(self, panel: Panel) -> None:
        run_to_the_end(panel)
        controls = panel.screen.change_controls
        controls["lr"].set("0.05")
        controls["fusion"].set("fedprox")
        press(panel, "Change from the next round on")
        settle(panel)
        assert "from the next round on: learning rate 0.05, fusion fedprox" in page(panel)
        assert controls["lr"].text == ""
        panel.more(1)
        panel.wait()
        assert panel.run.history[-1].changes == {"lr": 0.05, "fusion": "fedprox"}
        assert "--changes" in panel.run.spec.to_cell()

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({}, "give one or several of learning rate, epochs"),
            ({"lr": -1}, "give a number &gt; 0"),
        ],
    )
    def test_a_change_that_is_none_is_refused(
        self, panel: Panel, given: dict[str, Any], says: str
    ) -> None:
        run_to_the_end(panel)
        for name, value in given.items():
            panel.screen.change_controls[name].set(str(value))
        press(panel, "Change from the next round on")
        settle(panel)
        assert says in panel.screen.message


class TestCompareTab:
    def test_ticked_runs_are_drawn_over_each_other(self, panel: Panel) -> None:
        run_to_the_end(panel)
        panel.set(lr=0.01)
        run_to_the_end(panel)
        ticks = panel.screen.run_ticks
        assert [tick.description.partition(":")[0] for tick in ticks.values()] == ["run", "run_2"]
        for tick in ticks.values():
            tick.value = True
        assert "run: Loss from" in panel.screen.comparison
        assert "run_2: Loss from" in panel.screen.comparison
        for tick in ticks.values():
            tick.value = False
        assert panel.screen.comparison == ""

    def test_a_page_that_draws_charts_draws_them_too(
        self, panel: Panel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(RunChart, "was_answered", True)
        compared: list[list[str]] = []
        monkeypatch.setattr(
            RunChart, "compare", lambda chart, runs, metrics, steps: compared.append(list(runs))
        )
        run_to_the_end(panel)
        run_to_the_end(panel)
        for tick in panel.screen.run_ticks.values():
            tick.value = True
        assert panel.screen.comparison == ""
        assert compared == [["run"], ["run", "run_2"]]
        open_tab(panel, "Compare")
        assert len(compared) == 2, "what the reader chose in the chart is kept"

    def test_runs_of_cells_are_there_too_and_load_back(
        self, panel: Panel, namespace: dict[str, Any]
    ) -> None:
        options = {
            "rounds": 2,
            "split": "shards:per_party=1",
            "fusion": "fedprox:mu=0.5",
            "keep_optimizer": True,
        }
        fusion_nb.federate(namespace["model"], namespace["rows"], name="mine", **options)
        open_tab(panel, "Compare")
        namespace |= {"given_model": namespace["model"], "given_data": namespace["rows"]}
        press(panel, "Load its options")
        assert panel.spec == RUNS["mine"].outcome.specs.asked()
        assert panel.spec.lr is None, "what was left open stays open for another model"
        assert "the options of mine are in the controls" in page(panel)

    def test_runs_of_other_metrics_are_not_drawn_together(
        self, panel: Panel, namespace: dict[str, Any], net: Any
    ) -> None:
        run_to_the_end(panel)
        x, y = namespace["rows"]
        fusion_nb.federate(net(5, 1), (x, y.astype(np.float32) + 0.5), rounds=1, name="measured")
        open_tab(panel, "Compare")
        for tick in panel.screen.run_ticks.values():
            tick.value = True
        assert "compare runs of the same metrics" in panel.screen.comparison

    def test_load_without_runs(self, panel: Panel) -> None:
        press(panel, "Load its options")
        assert "no run" in panel.screen.message


class TestExportTab:
    def test_export_lists_the_files(self, panel: Panel, tmp_path: Path) -> None:
        run_to_the_end(panel)
        labelled(panel, "folder").value = str(tmp_path / "model")
        assert list(labelled(panel, "format").options) == panel.run.formats
        press(panel, "Export")
        panel.wait()
        assert {path.name for path in (tmp_path / "model").iterdir()} >= {
            "model.pt",
            "card.json",
            "CARD.md",
        }
        assert "model.pt" in panel.screen.files
        press(panel, "Export")
        with pytest.raises(ExportError):
            panel.wait()
        assert "exists" in panel.screen.message
        labelled(panel, "replace an earlier export").value = True
        labelled(panel, "weights of").value = "best"
        labelled(panel, "format").value = "safetensors"
        press(panel, "Export")
        panel.wait()
        assert (tmp_path / "model" / "model.safetensors").is_file()

    def test_not_while_it_is_going(self, panel: Panel, tmp_path: Path) -> None:
        panel.set(rounds=10**6)
        panel.start()
        until(lambda: panel.run is not None and len(panel.run.records) > 1)
        assert panel.screen.buttons["Export"].disabled
        with pytest.raises(RunError, match="pause or stop it first"):
            panel.export(str(tmp_path / "model"))
        panel.pause()
        assert not panel.screen.buttons["Export"].disabled
        assert panel.export(str(tmp_path / "model"))

    def test_the_text_repeats_the_run(self, panel: Panel, namespace: dict[str, Any]) -> None:
        panel.set(split="dirichlet:alpha=0.2", fraction=0.5)
        run_to_the_end(panel)
        panel.more(2)
        panel.wait()
        panel.more(10**6)
        until(lambda: len(panel.run.records) > 11)
        panel.stop()
        panel.wait()
        cell, python, yaml = (
            labelled(panel, f"as {kind}").value for kind in ("a cell", "Python", "YAML")
        )
        assert f"--rounds {len(panel.run.records)} " in cell
        assert cell == panel.run.completed_spec.to_cell() == panel.run.result().cell
        assert RunSpec.from_yaml(yaml) == panel.run.completed_spec
        again = dict(namespace)
        exec(python, again)
        assert again["run"].history["loss"] == panel.run.history["loss"]
