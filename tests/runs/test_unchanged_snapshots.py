"""The state of a whole round stays as it was while the next rounds are trained, so that it may be
written meanwhile: for every registered component, model and engine."""

from __future__ import annotations

import pickle

import pytest
from saved_runs import Case
from test_resumed_curves import CASES, LONG

from fusion_nb import Run
from fusion_nb.core.files.tree import Flattener
from fusion_nb.core.snapshot import Snapshot

#: Cases whose states are like those of `median`, `fedadam` or `privacy`.
ALIKE = {
    f"fusion {name}"
    for name in (
        *("iter_avg", "trimmed_mean", "krum", "multikrum", "bulyan", "geometric_median"),
        *("fedyogi", "fedadagrad"),
    )
} | {"privacy of secret cohorts"}


def content(tree: object) -> tuple[str, dict[str, bytes]]:
    """Return a tree with its arrays as bytes."""
    found = Flattener()
    node = found.flatten(tree, "state")
    return str(node), {name: array.tobytes() for name, array in found.arrays.items()}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=name, marks=pytest.mark.slow if name in LONG | ALIKE else ())
        for name, case in CASES.items()
    ],
)
def test_a_state_is_replaced_and_not_changed(case: Case) -> None:
    run = Run(case.spec, case.namespace())
    taken: list[tuple[object, object]] = []

    def take(run: Run) -> None:
        federation = run.federation
        tree = {
            "federation": Snapshot.of(federation).to_tree(),
            "baselines": {other.name: other.persistent_state for other in federation.baselines},
        }
        pickle.dumps([Snapshot.of(federation).parties, tree["baselines"]])  # as workers get them
        taken.append((tree, content(tree)))

    run.subscribe(take)
    run.start().wait()
    assert len(taken) >= len(run.records) > 0
    for tree, before in taken:
        assert content(tree) == before
