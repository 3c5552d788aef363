"""Rows, keys and single updates of parties that keep their rows: none passes the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from joined_parties import join_all, local, parties
from kept_rows import NAMES, rows_of, save_net
from recorded_traffic import Traffic, recorded
from serving import Server, serving

pytest.importorskip("cryptography")
pytest.importorskip("dp_accounting")

from fusion_nb.algorithms.secure.keys import KEY_BYTES, KeyPair
from fusion_nb.algorithms.secure.steps import as_bytes
from fusion_nb.service.client import Client

pytestmark = pytest.mark.slow

MASKS = {"secure": "masks"}
PRIVATE = {**MASKS, "privacy": "central:clip=0.5,noise=0.01"}


class Seen:
    """A run over three parties, and all that the server handled of it."""

    def __init__(self, folder: Path, model: Path, options: dict[str, str]) -> None:
        self.model = model
        require = ["--require-secure"] if options else []
        with (
            serving(folder / "state") as server,
            recorded(server.address) as traffic,
            parties(folder, server, traffic.url) as made,
        ):
            given = {"learning_rate": 0.1, "batch_size": 8, "num_parties": 3, "rounds": 2}
            self.aggregator_id = server.new_aggregator(model, **given, **options)
            join_all(made, self.aggregator_id, *require)
            answer = server.train(self.aggregator_id)
            assert answer.ok, answer.text
            self.history = answer.json()["history"]
            self.status = server.status(self.aggregator_id)
            with Client(server.url) as client:
                self.weights = client.weights(self.aggregator_id)
            for name in NAMES:
                assert made.ended(name) == 0
            self.logs = [made.said(name) for name in NAMES]
            self.traffic: Traffic = traffic
        self.files = [path.read_bytes() for path in (folder / "state").rglob("*") if path.is_file()]

    def all_bytes(self) -> Iterator[bytes]:
        for to_server in (True, False):
            yield from self.traffic.streams(to_server=to_server)
        yield from self.files

    def has(self, part: bytes) -> bool:
        return any(part in found for found in self.all_bytes())


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_net(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Seen:
    return Seen(tmp_path_factory.mktemp("plain"), model, {})


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Seen:
    return Seen(tmp_path_factory.mktemp("masked"), model, MASKS)


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Seen:
    return Seen(tmp_path_factory.mktemp("private"), model, PRIVATE)


@pytest.fixture(params=["plain", "masked", "private"])
def seen(request: pytest.FixtureRequest) -> Seen:
    found: Seen = request.getfixturevalue(request.param)
    return found


def updates_of_round_1(model: Path) -> list[dict[str, np.ndarray]]:
    """Return the weights of each party after training alone, as it does in the first round."""
    return [dict(local(model, 1, only=name).weights) for name in NAMES]


def test_no_row_and_no_label_column_passes(seen: Seen) -> None:
    for i in range(3):
        x, y = rows_of(i + 1)
        assert not any(seen.has(row.tobytes()) for row in x)
        assert not any(seen.has(row.astype("float64").tobytes()) for row in x)
        assert not seen.has(y.tobytes())


def test_the_search_sees_plain_updates(plain: Seen, model: Path) -> None:
    for update in updates_of_round_1(model):
        assert all(plain.has(array.tobytes()) for array in update.values())


@pytest.mark.parametrize("name", ["masked", "private"])
def test_no_plain_update_passes_under_masks(
    name: str, model: Path, request: pytest.FixtureRequest
) -> None:
    found: Seen = request.getfixturevalue(name)
    first = next(t["fields"]["weights"] for t in found.traffic.requests() if begins_round(t))
    for update in updates_of_round_1(model):
        for entry, array in update.items():
            change = array - first[entry]
            for secret in (array, change, change.astype("float64")):
                assert not found.has(secret.tobytes())


def begins_round(tree: dict[str, Any]) -> bool:
    return tree.get("request") == "RoundRequest"


@pytest.mark.parametrize("name", ["masked", "private"])
def test_no_private_key_passes(name: str, request: pytest.FixtureRequest) -> None:
    found: Seen = request.getfixturevalue(name)
    public = {
        as_bytes(key)
        for tree in found.traffic.requests()
        if tree.get("request") == "StepRequest" and tree["fields"]["name"] == "share"
        for given in tree["fields"]["given"].values()
        for keys in given["peers"].values()
        for key in keys.values()
    }
    assert len(public) == 2 * 3 * 2, "two keys of each party and round"
    bodies = [b for b in found.traffic.bodies(to_server=True) if b"__tree__" in b[:4096]]
    assert any(key in body for key in public for body in bodies)
    windows = {
        body[begin : begin + KEY_BYTES]
        for body in bodies
        for begin in range(len(body) - KEY_BYTES + 1)
    }
    assert not any(KeyPair.of(window).public in public for window in windows)


def test_the_weights_under_masks_are_the_local_ones(masked: Seen, model: Path) -> None:
    expected = local(model, 2, secure="masks")
    assert [record["metrics"]["loss"] for record in masked.history] == expected.history["loss"]
    for name, array in expected.weights.items():
        assert np.array_equal(masked.weights[name], array)


def test_privacy_is_counted_and_notes_tell_who_holds_keys(private: Seen) -> None:
    assert private.history[-1]["metrics"]["epsilon"] > 0
    notes = " ".join(private.status["notes"])
    assert "Parties hold their own keys" in notes
    assert "where their rows stay" in notes
    assert "hides nothing" not in notes


def test_the_logs_of_all_parties_show_one_transcript(masked: Seen) -> None:
    for round in (1, 2):
        lines = {
            line.partition("transcript ")[2][:64]
            for log in masked.logs
            for line in log.splitlines()
            if f"round {round}: a masked update left" in line
        }
        assert len(lines) == 1


def test_the_same_service_says_of_uploaded_rows_that_it_has_them(
    server: Server, model: Path, tmp_path: Path
) -> None:
    aggregator_id = server.new_aggregator(
        model, num_parties=3, rounds=1, learning_rate=0.1, batch_size=8, **MASKS
    )
    for i, name in enumerate(NAMES):
        x, y = rows_of(i + 1)
        np.savez(tmp_path / "rows.npz", x_train=x, y_train=y)
        assert server.start_party(aggregator_id, tmp_path / "rows.npz", party=name).ok
    assert server.train(aggregator_id).ok
    notes = " ".join(server.status(aggregator_id)["notes"])
    assert "hides nothing from the owner of that machine" in notes
    assert "fusion-nb party --service" in notes
