"""The gradient steps of a run, which compare methods of different local work."""

from __future__ import annotations

import math
from collections.abc import Callable

from fusion_nb.core.types import RoundRecord
from fusion_nb.runs.run import Run


def per_round(run: Run) -> tuple[int, ...] | None:
    """Return the gradient steps of all parties in each round; None where they can't be counted."""
    count = counter(run)
    if count is None or any(record.changes for record in run.records):
        return None
    return tuple(map(count, run.records))


def counter(run: Run) -> Callable[[RoundRecord], int] | None:
    """Return a function that counts the gradient steps of a round, or None where none can.

    They can't be counted where the model has no batches, where options change on the way, where
    stragglers do less, or where parties train models of their own as well.
    """
    resolved = run.prepared.resolved
    options, spec = resolved.train_options, resolved.spec
    counts = "batch_size" in resolved.model.supported_options
    others = (spec.changes, spec.straggler, spec.ensemble, spec.personal, spec.share)
    if not counts or any(others):
        return None
    batch_size = options["batch_size"]
    of_party = {
        party.id: options.get("steps")
        or options["epochs"] * math.ceil(party.num_examples / batch_size)
        for party in run.federation.parties
    }

    def count(record: RoundRecord) -> int:
        failed = sum(of_party.get(failure.party, 0) for failure in record.failures)
        return sum(of_party[party] for party in record.cohort) - failed

    return count
