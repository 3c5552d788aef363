"""Rules about faults that are simulated: stragglers and hostile parties."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.core import registry
from fusion_nb.runs.resolve import Resolved


def check_stragglers(resolved: Resolved) -> Sequence[str]:
    """Check that a straggler whose partial work is used can do less than the others."""
    rule, spec = resolved.rule, resolved.spec
    if (
        resolved.faults.stragglers is not None
        and rule is not None
        and rule.requires.uses_partial_work
    ):
        name = "local_steps" if spec.local_steps else "epochs"
        resolved.faults.stragglers.check(spec.local_steps or spec.epochs, name)
    return ()


def note_hostile_parties(resolved: Resolved) -> Sequence[str]:
    """Note which parties are hostile."""
    hostile = resolved.hostile
    if not hostile:
        return ()
    who = " and ".join(filter(None, (", ".join(hostile[:-1]), hostile[-1])))
    name = registry.parse(resolved.spec.adversary)[0]
    return [f"simulated: {who} {'is' if len(hostile) == 1 else 'are'} hostile ({name})"]
