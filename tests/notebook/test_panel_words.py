"""A panel's words: what an empty box means, errors, texts to copy, and what stands where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ipywidgets
import pytest
from panels import labelled, page, press, run_to_the_end, settle

from fusion_nb import Panel, Run, RunSpec
from fusion_nb.notebook.panel.labels import when_empty
from fusion_nb.runs import session
from fusion_nb.runs.checks.fusions import ability

pytestmark = pytest.mark.usefixtures("no_runs")


def test_an_empty_box_says_what_it_means(panel: Panel) -> None:
    empty = {
        widget.description: widget.placeholder
        for widget in panel.screen.widgets()
        if isinstance(widget, ipywidgets.Text) and not widget.value and when_empty_of(panel, widget)
    }
    assert empty["stop when"] == "after all rounds"
    assert empty["parties"] == "4, or as the data"
    assert {"quorum", "changes", "label"} <= set(empty)
    for name, control in panel.screen.controls.items():
        if when_empty(name) and isinstance(widget := control.box.children[0], ipywidgets.Text):
            assert when_empty(name) in widget.tooltip


def when_empty_of(panel: Panel, widget: Any) -> bool:
    return any(
        widget is control.box.children[0] and when_empty(name)
        for name, control in panel.screen.controls.items()
    )


def test_what_start_does_stands_above_the_tabs(panel: Panel) -> None:
    run_to_the_end(panel)
    shown = list(panel.screen.visible())

    def place(found: Any) -> int:
        return shown.index(found)

    tabs = place(next(widget for widget in shown if isinstance(widget, ipywidgets.Tab)))
    assert place(panel.screen.buttons["Start"]) < tabs
    texts = [widget for widget in shown if isinstance(widget, ipywidgets.HTML)]
    for words in ("bound to the variable run", "run: finished, round 3 of 3"):
        assert place(next(text for text in texts if words in text.value)) < tabs


def test_an_export_that_is_there_already_says_which_box_to_tick(
    panel: Panel, tmp_path: Path
) -> None:
    run_to_the_end(panel)
    labelled(panel, "folder").value = str(tmp_path / "model")
    for _ in range(2):
        press(panel, "Export")
        settle(panel)
    assert "already exists: tick &#34;replace an earlier export&#34;" in panel.screen.message
    assert "--overwrite" not in panel.screen.message
    labelled(panel, "replace an earlier export").value = True
    press(panel, "Export")
    settle(panel)
    assert panel.screen.message == ""


def test_the_texts_that_repeat_a_run_are_whole_and_can_be_copied(panel: Panel) -> None:
    panel.set(split="dirichlet:alpha=0.3", fusion="fedprox:mu=0.2", until="accuracy >= 0.99")
    run_to_the_end(panel)
    texts = [each for each in panel.screen.widgets() if isinstance(each, ipywidgets.Textarea)]
    repeats = ["as a sweep", "as a file", "as a cell", "as Python", "as YAML"]
    assert [text.description for text in texts] == repeats
    for text in texts[2:]:  # those before are of an experiment, which has none yet
        assert text.rows >= len(text.value.splitlines())
        assert f'aria-label="Copy {text.description}"' in page(panel)


def test_a_new_panel_has_the_options_of_the_run_that_is_under_way(
    namespace: dict[str, Any],
) -> None:
    spec = RunSpec(data="rows", rounds=10**6, lr=0.1, split="dirichlet:alpha=0.3")
    session.remember(Run(spec, namespace).start())
    panel = Panel("model", "rows", namespace=namespace, rounds=3)
    found = panel.spec
    assert (found.rounds, found.lr, found.split) == (spec.rounds, spec.lr, spec.split)
    panel.stop()


def test_of_a_run_whose_model_is_gone_the_controls_keep_their_own(
    namespace: dict[str, Any],
) -> None:
    spec = RunSpec(data="rows", rounds=10**6, lr=0.1, fusion="fedavg")
    session.remember(Run(spec, namespace).start())
    panel = Panel(namespace={}, rounds=3)
    assert panel.run is not None
    panel.stop()


def test_what_is_kept_says_why_there_are_no_controls(ip: Any, net: Any, rows: Any) -> None:
    ip.ns |= {"model": net(), "rows": rows}
    ip.run("import fusion_nb\npanel = fusion_nb.Panel(data='rows', rounds=1)\npanel")
    kept = ip.run("panel.start()\npanel.wait()").outputs[-1]["text/html"]
    assert "Its controls need a kernel: run the cell to use them." in kept
    assert kept.index("Its controls need") < kept.index("run: finished")


@pytest.mark.parametrize(
    ("option", "words"),
    [("summed_loss", "training on documents"), ("mu", "training with a proximal term")],
)
def test_abilities_are_said_in_words(option: str, words: str) -> None:
    assert ability(option) == words
    assert ability("my_own_option") == "my_own_option"
