"""From the options of simulated time to a clock."""

from __future__ import annotations

from fusion_nb.core import registry
from fusion_nb.core.clock.profiles import Devices, Network, NoLimit, SameDevices
from fusion_nb.core.clock.virtual_clock import VirtualClock
from fusion_nb.core.history import History
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import RunError, option
from fusion_nb.runs.resolve import Resolved
from fusion_nb.runs.spec import RunSpec


def has_clock(spec: RunSpec) -> bool:
    """Return whether a run has simulated devices or lines."""
    return bool(spec.devices or spec.network)


def leaves_late(spec: RunSpec) -> bool:
    """Return whether updates of a run may come too late."""
    return bool(spec.deadline or spec.over_select)


def devices_of(spec: RunSpec) -> Devices:
    """Return the devices that a spec names, or such as this machine. Raises OptionError."""
    if not spec.devices:
        return SameDevices()
    found: Devices = registry.create("devices", spec.devices)
    return found


def network_of(spec: RunSpec) -> Network:
    """Return the lines that a spec names, or such without a limit. Raises OptionError."""
    if not spec.network:
        return NoLimit()
    found: Network = registry.create("networks", spec.network)
    return found


def clock_of(resolved: Resolved) -> VirtualClock | None:
    """Return the clock of a run, or None where no time is simulated."""
    spec = resolved.spec
    if not has_clock(spec):
        return None
    return VirtualClock(
        devices_of(spec),
        network_of(spec),
        [party.id for party in resolved.data.parties],
        seed=spec.seed,
        step_seconds=spec.step_seconds or 1.0,
        deadline=spec.deadline or 0.0,
        over_select=spec.over_select or 1.0,
    )


def is_real_time(resolved: Resolved) -> bool:
    """Return whether the updates of an asynchronous fusion are taken as they come.

    They are where it asks for that, or the engine can do it and no time is simulated.
    """
    rule = resolved.rule.asynchronous if resolved.rule is not None else None
    if rule is None or rule.time == "simulated":
        return False
    return rule.time == "real" or (resolved.engine.has_real_time and not has_clock(resolved.spec))


def round_of(records: History, number: int) -> RoundRecord:
    """Return a round of a run with simulated time; 0 for the last. Raises RunError."""
    if not 0 <= number <= len(records) or not records:
        there = f"there are rounds 1 to {len(records)}" if records else "no round is whole yet"
        raise RunError(f"there is no round {number} to draw", there)
    record: RoundRecord = records[number - 1]
    if not record.trips:
        why = "had no party" if "virtual_seconds" in record.metrics else "has no simulated time"
        raise RunError(
            f"round {record.round} {why}",
            f"simulate slow devices or lines, as {option('devices', 'phones')} or "
            f"{option('network', '4g')}",
        )
    return record
