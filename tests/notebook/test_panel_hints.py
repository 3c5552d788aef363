"""A panel's tooltips, and the place of its messages: near the control that they are about."""

from __future__ import annotations

from typing import Any

import ipywidgets
import pytest
from panels import labelled, press, run_to_the_end, settle

from fusion_nb import Panel

pytestmark = pytest.mark.usefixtures("no_runs")

#: Controls with a label, over which a browser does not show a tooltip of their own.
SILENT = (ipywidgets.Text, ipywidgets.Dropdown, ipywidgets.Checkbox)
#: Those whose label a browser gives the tooltip "null" where they have none.
NUMBERS = (ipywidgets.IntText, ipywidgets.FloatText, ipywidgets.BoundedIntText)


def around(widget: Any, box: Any) -> list[Any]:
    """Return the boxes around a widget, the outermost first; [] where it is not inside."""
    for child in getattr(box, "children", ()):
        if child is widget:
            return [box]
        if found := around(widget, child):
            return [box, *found]
    return []


def test_every_control_stands_in_a_box_whose_tooltip_a_browser_shows(panel: Panel) -> None:
    panel.set(split="dirichlet", fusion="bucketing:s=2+median")
    run_to_the_end(panel)
    root = next(iter(panel.screen.visible()))
    controls = [
        widget
        for widget in panel.screen.widgets()
        if isinstance(widget, (*SILENT, *NUMBERS))
        and widget.description
        and widget.description[:3] != "run"
    ]
    assert len(controls) > 40
    for control in controls:
        hints = [box.tooltip for box in around(control, root) if box.tooltip]
        assert hints, control.description
    for widget in panel.screen.widgets():
        if isinstance(widget, NUMBERS):
            assert widget.tooltip is not None, widget.description
        if isinstance(widget, ipywidgets.Box) and widget.tooltip:
            assert widget.get_state("description") == {"description": ""}, widget.tooltip


@pytest.mark.parametrize(
    ("options", "label", "value", "sentence"),
    [
        ({"split": "dirichlet"}, "alpha", -1.0, "alpha -1.0 is not allowed: give a number &gt; 0"),
        ({"fusion": "fedprox"}, "mu", -2.0, "mu -2.0 is not allowed: give a number &gt;= 0"),
        ({"sampling": "poisson:q=0.5"}, "q", 3.0, "q 3.0 is not allowed: give a number"),
        ({"fusion": "bucketing:s=2+trimmed_mean"}, "beta", 0.7, "beta 0.7 is not allowed: give"),
    ],
)
def test_an_option_of_a_component_has_its_error_by_its_own_name(
    panel: Panel, options: dict[str, str], label: str, value: float, sentence: str
) -> None:
    panel.set(**options)
    entry = labelled(panel, label)
    before, entry.value = entry.value, value
    box = around(entry, next(iter(panel.screen.visible())))[-1]
    assert sentence in box.children[1].value
    press(panel, "Start")
    settle(panel)
    assert sentence in panel.screen.message
    assert ":" not in panel.screen.message.split("is not allowed")[0].split(">")[-1]
    assert panel.run is None
    entry.value = before
    assert box.children[1].value == ""


def is_in_a_tab(panel: Panel, words: str) -> bool:
    """Return whether words stand in a tab, and not above the tabs."""
    shown = list(panel.screen.visible())
    tabs = next(at for at, widget in enumerate(shown) if isinstance(widget, ipywidgets.Tab))
    places = [
        at
        for at, widget in enumerate(shown)
        if isinstance(widget, ipywidgets.HTML) and words in widget.value
    ]
    assert len(places) == 1, "once"
    return places[0] > tabs


def test_messages_stand_beside_the_button_that_was_pressed(panel: Panel) -> None:
    run_to_the_end(panel)
    assert not is_in_a_tab(panel, "bound to the variable run")
    press(panel, "Change from the next round on")
    settle(panel)
    assert is_in_a_tab(panel, "no option was given that could change")
    panel.screen.change_controls["lr"].set("0.05")
    press(panel, "Change from the next round on")
    settle(panel)
    assert is_in_a_tab(panel, "from the next round on: learning rate 0.05")
    press(panel, "Load its options")
    assert is_in_a_tab(panel, "the options of run are in the controls")
    press(panel, "Go on")
    settle(panel)
    assert is_in_a_tab(panel, "there is no experiment to go on with")
    run_to_the_end(panel)
    assert not is_in_a_tab(panel, "bound to the variable run_2")
    assert "no experiment" not in panel.screen.message


def test_a_mistake_in_configure_is_told_where_preview_was_pressed(panel: Panel) -> None:
    panel.screen.controls["lr"].set("fast")
    press(panel, "Preview")
    settle(panel)
    alerts = [
        widget
        for widget in panel.screen.visible()
        if isinstance(widget, ipywidgets.HTML) and "learning rate fast is not" in widget.value
    ]
    assert len(alerts) == 2, "under the control, and in the tab"


def test_the_options_that_vary_have_the_panel_s_names(panel: Panel) -> None:
    names = dict(labelled(panel, "vary").options)
    assert names["learning rate"] == "lr"
    assert names["batch size"] == "batch_size"
    assert "lr" not in names
