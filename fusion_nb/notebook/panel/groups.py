"""The options that most runs leave as they are, under headings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import ipywidgets as widgets

from fusion_nb.notebook.panel import messages
from fusion_nb.notebook.panel.controls import Control

#: Heading -> its options, in the order of the page.
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Data and parties": (
            "data_handler",
            "label",
            "tabular",
            "holdout",
            "min_parties",
            "unseen",
            "roles",
            "sampling",
            "quorum",
        ),
        "Training": (
            "local_steps",
            "loss",
            "class_weights",
            "lr_schedule",
            "schedule",
            "changes",
            "send",
            "precision",
            "keep_optimizer",
        ),
        "Privacy and traffic": ("privacy", "secure", "report", "compress"),
        "Other models, for comparison or in place of one": (
            "personal",
            "share",
            "ensemble",
            "baseline",
            "contribution",
        ),
        "Measuring and stopping": (
            "metrics",
            "monitor",
            "patience",
            "evaluate_every",
            "evaluate_rows",
        ),
        "Simulated faults": ("dropout", "straggler", "adversary"),
        "Simulated time": ("devices", "network", "step_seconds", "deadline", "over_select"),
        "Where it runs, and what is kept": (
            "engine",
            "device",
            "seed_of",
            "checkpoint",
            "log",
            "callbacks",
        ),
    }
)
#: The heading of options that no group names.
_OTHERS = "Other options"


class Groups:
    """The controls of options under their headings; a heading without a control is hidden."""

    def __init__(self, controls: Mapping[str, Control], layout: Mapping[str, str]) -> None:
        self._parts: list[tuple[widgets.VBox, list[Control]]] = []
        for heading, names in by_group(controls).items():
            held = [controls[name] for name in names]
            row = widgets.Box([control.box for control in held], layout=dict(layout))
            part = widgets.VBox([widgets.HTML(messages.heading(heading)), row])
            self._parts.append((part, held))
        self.box = widgets.VBox([part for part, _ in self._parts])

    def fit(self) -> None:
        """Hide the headings under which every control is hidden."""
        for part, held in self._parts:
            is_shown = any(control.box.layout.display != "none" for control in held)
            part.layout.display = "" if is_shown else "none"


def by_group(options: Iterable[str]) -> dict[str, list[str]]:
    """Return headings with those of the options that stand under them, in the order of the page.

    >>> by_group(["deadline", "privacy", "devices"])
    {'Privacy and traffic': ['privacy'], 'Simulated time': ['devices', 'deadline']}
    """
    given = list(options)
    placed = {name for names in GROUPS.values() for name in names}
    groups = {
        heading: [name for name in names if name in given] for heading, names in GROUPS.items()
    }
    groups[_OTHERS] = [name for name in given if name not in placed]
    return {heading: names for heading, names in groups.items() if names}
