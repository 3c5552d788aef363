"""Options that are changed while a run is under way: as text, as checked values, and as what a
federation is told.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.federation import Federation
from fusion_nb.core.types import Change
from fusion_nb.errors import OptionError, nearest
from fusion_nb.runs import checks
from fusion_nb.runs.spec import RunSpec

#: The options of a run that may be other from a round on.
CHANGEABLE = ("lr", "epochs", "fraction", "fusion")
_PART = re.compile(r"\s*(\d+)\s*:\s*(\w+)\s*=\s*(.+?)\s*$")
#: Options that make something of the fusion when a run is built, so that it has to stay.
_HOLD_THE_FUSION = ("personal", "ensemble", "straggler", "adversary")


def parse(text: str) -> dict[int, dict[str, str]]:
    """Return round -> option -> value of text such as `5:lr=0.01;8:fusion=fedprox:mu=0.1`. Raises
    OptionError.
    """
    found: dict[int, dict[str, str]] = {}
    for part in filter(str.strip, text.split(";")):
        match = _PART.match(part)
        if match is None or not int(match[1]):
            line = f"--changes can't read {part.strip()!r}"
            raise OptionError(
                line, "write round:option=value, several with ; between: 5:lr=0.01;8:epochs=2"
            )
        found.setdefault(int(match[1]), {})[match[2]] = match[3]
    return found


def written(changes: Mapping[int, Change]) -> str:
    """Return the text that `parse` reads."""
    parts = [
        f"{n}:{name}={value}" for n in sorted(changes) for name, value in changes[n].values.items()
    ]
    return ";".join(parts)


def change(
    spec: RunSpec, federation: Federation, given: Mapping[str, Any]
) -> tuple[RunSpec, Change]:
    """Return the spec as it is with these options, and what a federation is to be told of them.

    Raises OptionError for an option that can't be changed, a value that is not allowed, or what
    does not go together.
    """
    for name in given:
        if name not in CHANGEABLE:
            hint = f"{nearest(name, CHANGEABLE)}those that can are: {', '.join(CHANGEABLE)}"
            raise OptionError(f"{name!r} can't be changed while a run is under way", hint)
    wanted = RunSpec(**spec.model_dump(exclude_unset=True) | dict(given))
    values = {name: getattr(wanted, name) for name in given}
    if missing := [name for name, value in values.items() if value in (None, "")]:
        raise OptionError(
            f"{missing[0]} was given no value", f"give one, or leave {missing[0]} as it is"
        )
    if "epochs" in values and spec.local_steps:
        raise OptionError(
            "a round's work is --local-steps here, so epochs can't be changed",
            "leave epochs as it is",
        )
    if (
        wanted.fraction < 1
        and "central" in spec.baseline
        and "local_steps" not in federation.model.orders
    ):
        line = (
            f"fraction {wanted.fraction:g} with --baseline central: a {federation.model.kind} "
            "trains whole epochs only"
        )
        raise OptionError(line, "leave the fraction as it is")
    if "fusion" not in values:
        fusion = None
    elif holders := [name for name in _HOLD_THE_FUSION if getattr(spec, name)]:
        line = f"the fusion can't be changed in a run with --{holders[0]}, which is built around it"
        raise OptionError(line, "make another run with that fusion")
    else:
        fusion = registry.create("fusions", values["fusion"])
        checks.check_supports(wanted, federation.model, fusion)
    later = copy.copy(federation)
    later.fusion = fusion or federation.fusion
    later.fraction = wanted.fraction
    checks.check_fusion(wanted, later)
    if fusion and (hasattr(fusion, "asks") or hasattr(federation.fusion, "asks")):
        name = values["fusion"] if hasattr(fusion, "asks") else spec.fusion
        line = f"a run can't change to or from {name}, whose parties keep weights of their own"
        raise OptionError(line, "make another run with that fusion")
    return wanted, Change(values, fusion)


def plan(spec: RunSpec, federation: Federation) -> dict[int, Change]:
    """Return what the spec's `changes` come to, each checked on top of those before it."""
    found = {}
    for number, given in sorted(parse(spec.changes).items()):
        spec, found[number] = change(spec, federation, given)
    return found
