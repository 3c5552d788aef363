"""Whether the options of a run are right by themselves, without its data and its model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fusion_nb.algorithms import baselines
from fusion_nb.core import registry, seeds
from fusion_nb.core.rounds.schedule import Schedule
from fusion_nb.data.skews.plan import parse as parse_split
from fusion_nb.engines.faults import Stragglers
from fusion_nb.engines.reporting import Reports
from fusion_nb.models import class_weights
from fusion_nb.models.metrics import measures
from fusion_nb.runs import change_text
from fusion_nb.runs.checkpoints.option import CheckpointOption
from fusion_nb.runs.contribution.option import ContributionOption
from fusion_nb.runs.early_stopping import Until
from fusion_nb.runs.round_options import check_lr_schedule, check_sampling, parse_roles
from fusion_nb.runs.spec import RunSpec
from fusion_nb.runs.spec.errors import about, not_registered
from fusion_nb.runs.trackers import option as trackers

#: Options of a spec that name a component, and the registry of each.
COMPONENTS = {
    "fusion": "fusions",
    "engine": "engines",
    "devices": "devices",
    "network": "networks",
    "adversary": "adversaries",
    "split": "splits",
    "privacy": "privacy",
    "personal": "personal",
    "share": "sharing",
    "ensemble": "ensembles",
    "tabular": "tabular",
    "compress": "compressions",
    "secure": "secure",
}
#: Those of them that are made with more than their options, and so only bound at first.
_BOUND = ("split", "privacy", "secure", "personal", "share", "ensemble")
#: Options of a spec with a notation of their own, and the function that reads each.
_NOTATIONS: dict[str, Callable[[str], object]] = {
    "until": Until,
    "report": Reports.parse,
    "straggler": Stragglers.parse,
    "schedule": Schedule.parse,
    "roles": parse_roles,
    "changes": change_text.parse,
    "baseline": baselines.parse,
    "metrics": measures.check_names,
    "class_weights": class_weights.parse,
    "checkpoint": CheckpointOption.parse,
    "seed_of": seeds.apart,
    "log": trackers.check,
    "contribution": ContributionOption.parse,
}


def check_names(spec: RunSpec, namespace: Mapping[str, Any] | None = None) -> None:
    """Raise OptionError or NameNotFoundError for an option that is wrong by itself.

    Neither the data nor the model is needed for that.
    namespace: where a class or a function may be that was not registered
    """
    for name, kind in COMPONENTS.items():
        if text := getattr(spec, name):
            with about(name, text), not_registered(name, text, namespace or {}):
                if name == "split":
                    parse_split(text)
                elif name in _BOUND:
                    registry.bind(kind, text)
                else:
                    registry.create(kind, text)
    for name, check in (("lr_schedule", check_lr_schedule), ("sampling", check_sampling)):
        if (text := getattr(spec, name)) and text not in (namespace or {}):
            with about(name, text):
                check(text)
    for name, read_text in _NOTATIONS.items():
        if text := getattr(spec, name):
            with about(name, text), not_registered(name, text, namespace or {}):
                read_text(text)
