"""The values that the panel offers for an option: those that go together with the chosen model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_nb.core import registry
from fusion_nb.data import handlers, loading
from fusion_nb.errors import FusionError
from fusion_nb.models.base import Model
from fusion_nb.notebook import complete
from fusion_nb.runs.checks import fusions as fusion_checks


def values(option: str, namespace: Mapping[str, Any], model: type[Model] | None) -> list[str]:
    """Return the values that an option can be given now.

    model: the adapter of the chosen model, or None where it is not known
    """
    offered = complete.values(option, "", namespace)
    if option == "data":
        # Variables of the user stand before data sets.
        offered = sorted(
            (n for n in offered if not _needs_file(n)), key=lambda n: n not in namespace
        )
    if model is None:
        return offered
    if option == "data":
        return [name for name in offered if kind_of_data(name, namespace) in ("", model.data_kind)]
    if option == "fusion":
        return [name for name in offered if not missing_abilities(model, name)]
    return offered


def kind_of_data(name: str, namespace: Mapping[str, Any]) -> str:
    """Return the kind of a variable or a data set: documents, numbers, or "" for either."""
    value = namespace.get(name)
    if value is None:
        return handlers.kind_of(registry.get("datasets", name))
    return loading.kind_of(value)


def missing_abilities(model: type[Model], fusion: str) -> list[str]:
    """Return the options of parties that a fusion needs and a kind of model does not support."""
    try:
        made = registry.create("fusions", fusion)
    except FusionError:  # it needs another fusion after it, or an option that has no default
        return []
    return fusion_checks.unsupported(model, made)


def description(model: type[Model]) -> str:
    """Return a sentence on what the lists leave out: other kinds of data, and some fusions."""
    refused = {
        name: missing
        for name in registry.names("fusions")
        if (missing := missing_abilities(model, name))
    }
    sentence = f"The lists leave out what does not fit: a {model.kind} takes {model.data_kind}"
    if refused:
        asked = sorted(
            {fusion_checks.ability(each) for missing in refused.values() for each in missing}
        )
        *before, last = refused
        who = f"the fusions {', '.join(before)} and {last} need" if before else f"{last} needs"
        sentence += f", and {who} {' or '.join(asked)}"
    return f"{sentence}."


def _needs_file(name: str) -> bool:
    """Whether a name is a data set that is made around a file."""
    return name in registry.names("datasets") and registry.takes_another(
        registry.get("datasets", name)
    )
