"""The options that most runs leave as they are: under headings, folded away, in words of their
own."""

from __future__ import annotations

from collections import Counter
from typing import Any

import ipywidgets
import pytest
from panels import labelled, page, press

from fusion_nb import Panel, RunSpec
from fusion_nb.errors import OptionError
from fusion_nb.notebook.panel.groups import GROUPS, Groups, by_group
from fusion_nb.notebook.panel.labels import label

pytestmark = pytest.mark.usefixtures("no_runs")
GROUPED = [name for names in GROUPS.values() for name in names]
#: The options that are on the first screen.
FIRST = [
    "model", "data", "parties", "split", "fusion", "rounds", "epochs", "lr", "optimizer",
    "batch_size", "fraction", "seed", "until",
]  # fmt: skip


def test_every_option_stands_in_one_place() -> None:
    assert sorted([*FIRST, *GROUPED]) == sorted(set(RunSpec.model_fields) - {"code"})


def test_the_first_screen_has_the_options_that_most_runs_decide(panel: Panel) -> None:
    visible = set(panel.screen.visible())
    shown = [name for name, control in panel.screen.controls.items() if control.box in visible]
    assert [name for name in shown if name in GROUPED] == []
    assert shown == FIRST


def test_the_others_open_under_their_headings(panel: Panel) -> None:
    for heading in GROUPS:
        assert f">{heading}</div>" not in page(panel)
    press(panel, "More options")
    shown = list(panel.screen.visible())
    place = {widget: number for number, widget in enumerate(shown)}
    boxes = {name: panel.screen.controls[name].box for name in GROUPED}
    assert len(set(boxes.values()) - set(place)) < 3, "a network has nearly all of them"
    order: list[int] = []
    for heading, names in GROUPS.items():
        order += [
            place[widget]
            for widget in shown
            if isinstance(widget, ipywidgets.HTML) and f">{heading}</div>" in widget.value
        ]
        order += [place[boxes[name]] for name in names if boxes[name] in place]
    assert order == sorted(order)
    assert len(order) == len(GROUPS) + len(set(boxes.values()) & set(place))


def test_a_heading_without_an_option_is_hidden() -> None:
    controls = Panel(namespace={}).screen.controls
    groups = Groups({name: controls[name] for name in ("privacy", "devices")}, {})
    controls["devices"].box.layout.display = "none"
    groups.fit()
    assert [part.layout.display for part in groups.box.children] == ["", "none"]
    controls["devices"].box.layout.display = ""
    groups.fit()
    assert [part.layout.display for part in groups.box.children] == ["", ""]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("privacy", "central:clip=1,noise=1"),
        ("secure", "masks"),
        ("devices", "phones"),
        ("deadline", 30.0),
        ("log", "tensorboard"),
        ("seed_of", "split=3"),
        ("unseen", 2),
    ],
)
def test_one_that_is_set_opens_them(panel: Panel, option: str, value: Any) -> None:
    panel.set(**{option: value})
    assert panel.screen.controls[option].box in set(panel.screen.visible())
    assert panel.spec == panel.spec.model_copy(update={option: value})


def test_no_two_have_the_same_label_and_none_is_cut_off() -> None:
    labels = [label(name) for name in (*FIRST, *GROUPED) if name != "keep_optimizer"]
    assert [text for text, count in Counter(labels).items() if count > 1] == []
    assert [text for text in labels if len(text) > 13] == []


def test_an_option_that_a_choice_needs_says_so() -> None:
    panel = Panel(namespace={})
    labelled(panel, "privacy").value = "local"
    assert labelled(panel, "clip").placeholder == "needed"
    assert labelled(panel, "noise").placeholder == "needed"
    with pytest.raises(OptionError, match="clip"):
        _ = panel.spec


def test_a_new_option_is_not_lost() -> None:
    assert by_group(["brand_new", "privacy"])["Other options"] == ["brand_new"]


def test_each_says_how_it_is_written_in_a_cell() -> None:
    for name, control in Panel(namespace={}).screen.controls.items():
        assert f"(--{name.replace('_', '-')})" in control.box.children[0].tooltip
