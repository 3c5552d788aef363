"""Masks and privacy over a running federation: no plain update reaches the aggregator's process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("flwr")
pytest.importorskip("cryptography")
pytest.importorskip("dp_accounting")
from engine_runs import seeded, wait_until
from federation import Federation, federation, rows_of
from leaked_keys import PublicKeys, in_bodies, in_process, private_keys
from torch import nn

import fusion_nb
from fusion_nb import RunSpec
from fusion_nb.core.files.tree_file import unpack_tree
from fusion_nb.data.at_party import PartyRows
from fusion_nb.engines.flower.link import Link
from fusion_nb.engines.remote import session
from fusion_nb.errors import FusionError
from fusion_nb.runs.party.journal import Journal
from fusion_nb.runs.party.policy import Policy
from fusion_nb.runs.party.program import PartyProgram
from fusion_nb.runs.run import Run

pytestmark = pytest.mark.slow

NAMES = ["clinic 1", "clinic 2", "clinic 3"]
CENTRAL = "central:clip=0.5,noise=0.01"


def net() -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)))


def started(made: Federation, **options: Any) -> Run:
    given = {"parties": 3, "rounds": 2, "lr": 0.1, "batch_size": 8, **options}
    spec = RunSpec(engine=f"flower:superlink={made.address},insecure=true", **given)
    return Run(spec, {"model": net()}).start()


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("three")) as made:
        for i, name in enumerate(NAMES):
            made.join(name, i + 1, "--require-secure")
        wait_until(lambda: all(made.joined(name) for name in NAMES))
        yield made


class Wire:
    """All that the aggregator's process received, and what it asked each node."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.received: list[bytes] = []
        self.asked: list[tuple[str, Any]] = []
        #: Values of a key's length that the process held, whenever nodes were asked.
        self.held: set[bytes] = set()
        pull, ask = Link.pull, session.Session.ask

        def spied_pull(link: Link, ids: Any) -> Any:
            found = pull(link, ids)
            self.received += [answer.body for answer in found.values()]
            return found

        def spied_ask(made: Any, contents: Any) -> Any:
            self.held |= in_process()

            def kept() -> Iterator[Any]:
                for name, tree in contents:
                    self.asked.append((name, tree))
                    yield name, tree

            return ask(made, kept())

        monkeypatch.setattr(Link, "pull", spied_pull)
        monkeypatch.setattr(session.Session, "ask", spied_ask)

    def arrays(self) -> list[np.ndarray]:
        """Every array that came, also each update's arrays as one row, as signed numbers."""
        found: list[np.ndarray] = []
        for body in self.received:
            _collect(unpack_tree(body, "it"), found)
        return [
            np.where(a >= 2**31, a - 2.0**32, a)
            for a in (a.astype(np.float64).ravel() for a in found if a.dtype.kind in "uif")
        ]

    def true_updates(self, folder: Path) -> list[tuple[str, int, np.ndarray]]:
        """Party, round and clipped change of every training, computed again by the same rows."""
        found = []
        for i, name in enumerate(NAMES):
            rows = PartyRows.read(name, str(folder / f"{i + 1}.npz"))
            program = PartyProgram(rows, Policy(), Journal(None, lambda line: None), lambda: None)
            for asked, tree in self.asked:
                if asked != name or tree.get("request") == "StepRequest":
                    continue
                fields = dict(tree.get("fields", {}))
                if tree.get("request") == "RoundRequest":
                    inner = fields["local_update"]["rule"]["state"]["inner"]
                    fields["local_update"] = {"rule": inner, "method": "local_update"}
                    tree = {**tree, "fields": fields}
                from fusion_nb.core.files.tree_file import pack_tree

                reply: Any = unpack_tree(program.answer(pack_tree(tree, "it")), "it")
                if tree.get("request") == "RoundRequest":
                    new = reply["fields"]["weights"]
                    change = [(new[e] - old).ravel() for e, old in fields["weights"].items()]
                    found.append((name, fields["round"], np.concatenate(change)))
        return found


def _collect(tree: Any, found: list[np.ndarray]) -> None:
    if isinstance(tree, np.ndarray):
        found.append(tree)
    elif isinstance(tree, dict):
        parts = [value for value in tree.values() if isinstance(value, np.ndarray)]
        if parts and len(parts) == len(tree):
            found.append(np.concatenate([part.ravel() for part in parts]))
        for value in tree.values():
            _collect(value, found)
    elif isinstance(tree, list | tuple):
        for value in tree:
            _collect(value, found)


def test_no_plain_update_reaches_the_aggregator(
    three: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, public = Wire(monkeypatch), PublicKeys(monkeypatch)
    run = started(three, secure="masks", privacy=CENTRAL).wait()
    assert run.history["epsilon"][-1] > 0
    assert len(public.found) == 2 * 3 * 2, "two keys of each party and round"
    held = wire.held | in_process()
    assert public.found <= held, "the search sees what the aggregator holds"
    assert not private_keys(held, public.found)
    assert not in_bodies(wire.received, public.found)
    updates = wire.true_updates(three.folder)
    assert [(name, round) for name, round, _ in updates] == [
        (name, round) for name in NAMES for round in (1, 2)
    ]
    rows = wire.arrays()
    size = len(updates[0][2])
    masked = [row for row in rows if len(row) == size]
    assert len(masked) >= 6, "one row of each party and round"
    for _, _, change in updates:
        assert np.linalg.norm(change) > 0.1
        for row in masked:
            assert abs(np.corrcoef(row, change)[0, 1]) < 0.6  # of 75 numbers, by chance below
        numbers = change[np.abs(change) > 1e-4]
        assert not any(np.isclose(row[:, None], numbers, rtol=1e-4).any() for row in rows)
    # The updates that were computed again are the true ones: their mean is in the first round.
    weights = [tree["fields"]["weights"] for name, tree in wire.asked if _begins_round(tree, name)]
    fused = np.concatenate([(weights[1][e] - old).ravel() for e, old in weights[0].items()])
    mean = np.mean([change for _, round, change in updates if round == 1], axis=0)
    assert np.corrcoef(fused, mean)[0, 1] > 0.95


def _begins_round(tree: Any, name: str) -> bool:
    return name == NAMES[0] and tree.get("request") == "RoundRequest"


def test_the_curve_is_near_that_of_plain_sums(three: Federation) -> None:
    run = started(three, secure="masks").wait()
    data = {name: rows_of(i + 1) for i, name in enumerate(NAMES)}
    local = fusion_nb.federate(
        net(), data, rounds=2, lr=0.1, batch_size=8, engine="local", secure="masks"
    )
    assert run.history["loss"] == local.history["loss"]


def test_logs_of_all_parties_tell_of_masked_updates_and_one_transcript(three: Federation) -> None:
    started(three, secure="masks", rounds=1).wait()
    last = []
    for name in NAMES:
        lines = three.log(name).read_text().splitlines()
        masked = [line for line in lines if "a masked update left, 300 bytes" in line]
        assert masked
        last.append(masked[-1].partition("transcript ")[2][:64])
        assert not any("Update: weights:" in line for line in lines)
    assert len({*last}) == 1


def test_a_plain_run_is_refused_by_parties_that_require_masks(three: Federation) -> None:
    with pytest.raises(FusionError, match="without secure aggregation"):
        started(three).wait()


def test_a_party_that_dies_is_left_out_of_the_sum(tmp_path: Path) -> None:
    with federation(tmp_path) as made:
        names = [*NAMES, "clinic 4"]
        for i, name in enumerate(names):
            made.join(name, i + 1, "--require-secure")
        wait_until(lambda: all(made.joined(name) for name in names))
        run = started(made, parties=4, rounds=30, quorum=0.5, secure="masks:threshold=0.6")
        wait_until(lambda: len(run.records) >= 1)
        made.kill("clinic 4")
        wait_until(lambda: any(record.failures for record in run.records))
        run.stop().wait()
        failed = [record for record in run.records if record.failures]
        assert {f.party for record in failed for f in record.failures} == {"clinic 4"}


@pytest.mark.parametrize("privacy", [CENTRAL, "local:clip=0.5,noise=0.1"])
def test_privacy_without_masks_trains(privacy: str, tmp_path: Path) -> None:
    with federation(tmp_path) as made:
        for i, name in enumerate(NAMES):
            made.join(name, i + 1, "--require-privacy")
        wait_until(lambda: all(made.joined(name) for name in NAMES))
        run = started(made, privacy=privacy, rounds=1).wait()
        assert run.history["epsilon"][-1] > 0
        assert any("follows from no seed" in note for note in run.notes)
        with pytest.raises(FusionError, match="without differential privacy"):
            started(made, rounds=1).wait()


def test_keys_of_a_rehearsal_stay_at_its_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    wire, public = Wire(monkeypatch), PublicKeys(monkeypatch)
    data = {name: rows_of(i + 1) for i, name in enumerate(NAMES)}
    options = {"rounds": 1, "lr": 0.1, "batch_size": 8, "secure": "masks"}
    run = fusion_nb.federate(net(), data, engine="flower:nodes=3", **options)
    assert len(wire.received) >= 12
    assert len(public.found) == 2 * 3
    assert not private_keys(wire.held | in_process(), public.found)
    assert not in_bodies(wire.received, public.found)
    local = fusion_nb.federate(net(), data, engine="local", **options)
    assert run.history["loss"] == local.history["loss"]
    assert private_keys(in_process() | wire.held, public.found) == set()
