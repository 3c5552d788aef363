"""Parties that keep their rows, when something ends: a party, the run, its process, the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from joined_parties import join_all, local, parties
from kept_rows import NAMES, save_net
from recorded_traffic import recorded
from serving import ENDLESS, Server, serving, wait_for

pytestmark = pytest.mark.slow

OPTIONS = {"learning_rate": 0.1, "batch_size": 8, "num_parties": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_net(tmp_path_factory.mktemp("net"))


def folder_of(server: Server, aggregator_id: str) -> Path:
    return server.state / "aggregators" / aggregator_id


def records(server: Server, aggregator_id: str) -> list[dict[str, Any]]:
    """The records of the whole rounds so far."""
    path = folder_of(server, aggregator_id) / "rounds.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def losses(server: Server, aggregator_id: str) -> list[float]:
    return [record["metrics"]["loss"] for record in records(server, aggregator_id)]


def test_a_party_that_dies_fails_and_takes_part_again_under_its_name(
    server: Server, model: Path, tmp_path: Path
) -> None:
    with parties(tmp_path, server) as made:
        aggregator_id = server.new_aggregator(model, rounds=ENDLESS, quorum=0.5, **OPTIONS)
        join_all(made, aggregator_id, count=2)
        assert server.train(aggregator_id, wait=False).ok
        wait_for(lambda: records(server, aggregator_id))
        made.kill(NAMES[1])

        def failed() -> list[bool]:
            return [bool(record["failures"]) for record in records(server, aggregator_id)]

        wait_for(lambda: any(failed()))
        made.join(aggregator_id, NAMES[1], 2)
        wait_for(lambda: not failed()[-1])
        assert server.stop(aggregator_id).ok
        found = records(server, aggregator_id)
        assert {f["party"] for r in found for f in r["failures"]} == {NAMES[1]}
        for name in NAMES[:2]:
            assert made.ended(name) == 0
        assert len(server.status(aggregator_id)["parties"]) == 2


def test_a_stop_ends_the_run_and_its_parties_and_leaves_nothing_of_them(
    server: Server, model: Path, tmp_path: Path
) -> None:
    with parties(tmp_path, server) as made:
        aggregator_id = server.new_aggregator(model, rounds=ENDLESS, **OPTIONS)
        join_all(made, aggregator_id, count=2)
        assert server.train(aggregator_id, wait=False).ok
        wait_for(lambda: records(server, aggregator_id))
        answer = server.stop(aggregator_id).json()
        assert answer["state"] == "stopped"
        assert answer["message"] == "the federation has ended, and its parties kept their rows"
        assert server.status(aggregator_id)["reason"] == ""
        for name in NAMES[:2]:
            assert made.ended(name) == 0
            assert made.said(name).count("the federation has ended") >= 1
        left = [*(folder_of(server, aggregator_id) / "parties").rglob("*")]
        assert {path.name for path in left if path.is_file()} == {"party.json"}


def test_a_stop_reaches_a_run_that_waits_for_parties(
    server: Server, model: Path, tmp_path: Path
) -> None:
    with parties(tmp_path, server) as made:
        aggregator_id = server.new_aggregator(model, rounds=ENDLESS, **OPTIONS)
        join_all(made, aggregator_id, count=2)
        for name in NAMES[:2]:
            made.kill(name)
        assert server.train(aggregator_id, wait=False).ok
        wait_for(lambda: server.children("training"))
        answer = server.stop(aggregator_id).json()
        assert answer["state"] == "stopped"
        assert not records(server, aggregator_id)
        assert "by force" not in server.status(aggregator_id)["reason"]


def test_a_run_goes_on_after_its_process_was_killed(
    server: Server, model: Path, tmp_path: Path
) -> None:
    with parties(tmp_path, server) as made:
        aggregator_id = server.new_aggregator(
            model, rounds=8, fusion_algorithm="scaffold", **OPTIONS
        )
        join_all(made, aggregator_id, count=2)
        assert server.train(aggregator_id, wait=False).ok
        wait_for(lambda: len(records(server, aggregator_id)) >= 2)
        for child in server.children("training"):
            child.kill()
        wait_for(lambda: server.status(aggregator_id)["state"] == "failed")
        answer = server.train(aggregator_id)
        assert answer.ok, answer.text
        assert server.status(aggregator_id)["resumed_after"] >= 2
        assert (
            losses(server, aggregator_id) == local(model, 8, 2, fusion="scaffold").history["loss"]
        )
        for name in NAMES[:2]:
            assert made.ended(name) == 0


def test_parties_find_a_server_again_that_was_killed(model: Path, tmp_path: Path) -> None:
    with (
        serving(tmp_path / "state") as server,
        recorded(server.address) as relay,
        parties(tmp_path, server, relay.url) as made,
    ):
        aggregator_id = server.new_aggregator(model, rounds=8, **OPTIONS)
        join_all(made, aggregator_id, count=2)
        assert server.train(aggregator_id, wait=False).ok
        wait_for(lambda: len(records(server, aggregator_id)) >= 2)
        server.kill()
        server.start()
        relay.turn_to(server.address)
        assert server.status(aggregator_id)["state"] == "interrupted"
        answer = server.train(aggregator_id)
        assert answer.ok, answer.text
        assert losses(server, aggregator_id) == local(model, 8, 2).history["loss"]
        for name in NAMES[:2]:
            assert made.ended(name) == 0


def test_parties_that_do_not_come_are_named(server: Server, model: Path, tmp_path: Path) -> None:
    with parties(tmp_path, server) as made:
        aggregator_id = server.new_aggregator(model, rounds=1, **OPTIONS)
        join_all(made, aggregator_id, count=2)
        made.kill(NAMES[1])
        answer = server.train(aggregator_id)
        assert answer.status_code == 422
        assert f"there are 1 ({NAMES[0]})" in answer.json()["error"]
        assert "fusion-nb party --service" in answer.json()["hint"]
        made.join(aggregator_id, NAMES[1], 2)
        wait_for(lambda: made.said(NAMES[1]).count("connected to") >= 2)
        assert server.train(aggregator_id).ok


class TestMistakes:
    def test_a_second_program_of_a_party_needs_its_token(
        self, server: Server, model: Path, tmp_path: Path
    ) -> None:
        with parties(tmp_path, server) as made:
            aggregator_id = server.new_aggregator(model, rounds=1, **OPTIONS)
            join_all(made, aggregator_id, count=1)
            made.join(aggregator_id, NAMES[0], 1, "--token", "another.token")
            assert made.ended(NAMES[0]) == 2
            assert f"this is not the token of '{NAMES[0]}'" in made.said(NAMES[0])

    def test_an_aggregator_that_nobody_knows(
        self, server: Server, model: Path, tmp_path: Path
    ) -> None:
        with parties(tmp_path, server) as made:
            made.join("nobody", NAMES[0], 1)
            assert made.ended(NAMES[0]) == 2
            assert "there is no such aggregator" in made.said(NAMES[0])
