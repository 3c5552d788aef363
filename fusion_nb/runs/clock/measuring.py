"""The time of a batch on this machine, which is measured once and kept in the spec."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

from fusion_nb.core.clock.steps import num_steps
from fusion_nb.reporting.simulated_time import span
from fusion_nb.runs.checks.ordered import check_engine
from fusion_nb.runs.clock.building import devices_of, has_clock, is_real_time
from fusion_nb.runs.resolve import Resolved

#: Trainings that are timed; the median of them counts.
_TRIED = 5
#: Batches of a timed training, where the model can train a number of them.
_BATCHES = 4


def with_step_seconds(resolved: Resolved) -> Resolved:
    """Return a run whose spec says how long a batch takes, where simulated time asks for it."""
    spec = resolved.spec
    if not has_clock(spec) or spec.step_seconds is not None:
        return resolved
    seconds = float(f"{step_seconds(resolved):.3g}")
    measured = replace(resolved, spec=spec.model_copy(update={"step_seconds": seconds}))
    check_engine(measured)  # it is made anew, and chooses how to train as before
    return measured


def step_seconds(resolved: Resolved) -> float:
    """Return how long a copy of the model trains for a batch of a party, on one core."""
    model = resolved.joined[0].single_model.clone()
    party = next(party for party in resolved.data.parties if party.trains)
    options = {**resolved.train_options, "seed": resolved.spec.seed}
    if "local_steps" in model.supported_options:
        options["steps"] = _BATCHES
    else:
        options["epochs"] = 1
    steps = num_steps(party.num_examples, options, model.min_rows)

    def timed() -> float:
        started = time.perf_counter()
        model.fit(party.train, **options)
        return (time.perf_counter() - started) / steps

    with model.single_threaded():
        timed()  # the first one includes what is set up once
        return max(statistics.median(timed() for _ in range(_TRIED)), 1e-9)


def clock_notes(resolved: Resolved) -> Sequence[str]:
    """Return what a user must know of a run's simulated time, as sentences."""
    spec, rule = resolved.spec, resolved.rule
    if has_clock(spec):
        notes = [
            f"simulated time: a batch takes {span(spec.step_seconds or 1.0)} here, times "
            f"each device's factor; --step-seconds {spec.step_seconds:g} repeats the run elsewhere"
        ]
        if spec.devices and not devices_of(spec).has_watts:
            notes.append(
                "energy is not counted: no power of these devices is known; a profile's watts, "
                "watts=4 say, counts it"
            )
        return notes
    if rule is not None and rule.asynchronous is not None and not is_real_time(resolved):
        return [
            "simulated time: each batch takes a second on each device, and sending takes none; "
            "say otherwise with --devices and --network"
        ]
    return []
