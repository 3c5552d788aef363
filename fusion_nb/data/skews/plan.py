"""The text of a split: skews before a split, as `rotation:angle=90+dirichlet:alpha=0.3`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.protocols import Skew
from fusion_nb.errors import SplitError


@dataclass(frozen=True)
class SplitPlan:
    """A split with its options, and the skews before it, by name, in the order of the text.

    name: how messages call the split
    """

    name: str
    function: Callable[..., Any]
    options: dict[str, Any]
    skews: tuple[tuple[str, Skew], ...] = ()


def parse(text: str) -> SplitPlan:
    """Return the plan of a text. Raises OptionError, NameNotFoundError, or SplitError for an order
    that makes no sense.

    >>> plan = parse("rotation:angle=90+quantity:alpha=2")
    >>> plan.name, plan.options, [name for name, _ in plan.skews]
    ('quantity:alpha=2', {'alpha': 2.0}, ['rotation'])
    >>> parse("rotation").name
    'iid'
    """
    *outer, last = registry.chain(text)
    skews: list[tuple[str, Any]] = []
    for part in outer:
        made, options = registry.bind("splits", part)
        if not inspect.isclass(made):
            name = registry.parse(part)[0]
            raise SplitError(
                f"the split {name!r} takes no other one after it",
                f"write it last, as {'+'.join([p for p in (*outer, last) if p != part])}+{part}"
                if inspect.isclass(registry.get("splits", registry.parse(last)[0]))
                else f"use one of them; before it come {', '.join(skew_names())}",
                option="split",
                value=text,
            )
        skews.append((registry.parse(part)[0], made(**options)))
    function, options = registry.bind("splits", last)
    if not inspect.isclass(function):
        return SplitPlan(last, function, options, tuple(skews))
    skews.append((registry.parse(last)[0], function(**options)))
    return SplitPlan("iid", *registry.bind("splits", "iid"), tuple(skews))


def skew_names() -> list[str]:
    """Return the names that may come before a split."""
    return [name for name in registry.names("splits") if registry.is_open("splits", name)]
