"""Registration of parties that keep their rows, and their calls: who may make which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from kept_rows import NAMES, TOKEN, facts_of, poll, register, reply, save_kept, save_net
from serving import MAX_UPLOAD, Server

from fusion_nb.core.files.tree_file import pack_tree
from fusion_nb.service.mail.mailbox import Mailbox, MessageId

OTHER = "o" * 32


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_net(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_kept(tmp_path_factory.mktemp("kept"), 1)


@pytest.fixture(scope="module")
def facts(rows: Path) -> bytes:
    return facts_of(rows)


@pytest.fixture
def aggregator_id(server: Server, model: Path) -> str:
    return server.new_aggregator(model)


@pytest.fixture
def node(server: Server, aggregator_id: str, facts: bytes) -> str:
    answer = register(server, aggregator_id, facts)
    assert answer.ok, answer.text
    return str(answer.json()["node"])


def mailbox(server: Server, aggregator_id: str) -> Mailbox:
    """The party's messages, as the process that trains sees them."""
    return Mailbox(server.state / "aggregators" / aggregator_id / "parties" / "0001" / "mail")


def sent(server: Server, aggregator_id: str, node: str, body: bytes = b"asked") -> str:
    message = MessageId(node, "0" * 12, "00000001")
    assert mailbox(server, aggregator_id).put(message, body)
    return str(message)


class TestRegistration:
    def test_it_counts_and_tells_no_row(
        self, server: Server, aggregator_id: str, facts: bytes
    ) -> None:
        answer = register(server, aggregator_id, facts).json()
        assert (answer["party"], answer["remaining"]) == (NAMES[0], 1)
        assert answer["node"]
        (party,) = server.status(aggregator_id)["parties"]
        assert party == {
            "party": NAMES[0],
            "handler": None,
            "num_examples": 48,
            "keeps_rows": True,
        }

    def test_its_token_is_stored_as_a_digest(
        self, server: Server, aggregator_id: str, node: str
    ) -> None:
        folder = server.state / "aggregators" / aggregator_id
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert any("facts" in path.name for path in files)
        assert not any(TOKEN.encode() in path.read_bytes() for path in files)

    def test_it_comes_back_by_its_token_as_a_new_node(
        self, server: Server, aggregator_id: str, node: str, facts: bytes
    ) -> None:
        again = register(server, aggregator_id, facts)
        assert again.ok
        assert again.json()["node"] != node
        assert again.json()["remaining"] == 1
        answer = poll(server, aggregator_id, node)
        assert answer.status_code == 409
        assert "another program takes part" in answer.json()["error"]

    def test_nobody_takes_its_place_without_the_token(
        self, server: Server, aggregator_id: str, node: str, facts: bytes
    ) -> None:
        assert register(server, aggregator_id, facts, token=OTHER).status_code == 403
        sent(server, aggregator_id, node)
        assert poll(server, aggregator_id, node).ok

    @pytest.mark.parametrize(
        ("fields", "status", "field"),
        [
            ({"party": ""}, 400, "party"),
            ({"party": "a\nb"}, 400, "party"),
            ({"token": ""}, 400, "token"),
            ({"token": "short"}, 400, "token"),
            ({"keeps_rows": "perhaps"}, 400, "keeps_rows"),
            ({"keeps_rows": "false"}, 400, "token"),
            ({"data_handler_class_name": "npz"}, 400, "data_handler_class_name"),
            ({"files": {"data": ("rows", b"x"), "facts": ("facts", b"x")}}, 400, "data"),
            ({"files": {"custom_data_handler": ("code", b"x")}}, 400, "custom_data_handler"),
            ({"files": {"facts": ("facts", b"no facts")}}, 422, None),
            ({"files": {"facts": ("facts", pack_tree({"facts": []}, "it"))}}, 422, None),
            (
                {"files": {"facts": ("facts", pack_tree({"facts": [{}], "num_rows": 3}, "it"))}},
                422,
                None,
            ),
        ],
    )
    def test_another_request_is_refused(
        self,
        server: Server,
        aggregator_id: str,
        facts: bytes,
        fields: dict[str, Any],
        status: int,
        field: str | None,
    ) -> None:
        answer = register(server, aggregator_id, facts, **fields)
        assert (answer.status_code, answer.json().get("field")) == (status, field)
        assert server.status(aggregator_id)["parties"] == []

    def test_rows_that_the_model_does_not_take_are_refused(
        self, server: Server, model_file: Path, facts: bytes
    ) -> None:
        answer = register(server, server.new_aggregator(model_file), facts)
        assert answer.status_code == 422
        assert "5" in answer.json()["error"]

    def test_rows_of_two_forms_are_refused(
        self, server: Server, aggregator_id: str, node: str, rows_file: Path
    ) -> None:
        answer = register(server, aggregator_id, facts_of(rows_file, NAMES[1]), NAMES[1])
        assert answer.status_code == 422

    @pytest.mark.parametrize(
        ("options", "line"),
        [
            ({"engine": "process"}, "trains in its own program"),
            ({"baseline": "local"}, "rows are at the parties' nodes"),
            ({"adversary": "label_flip:num=1"}, "labels are at the parties' nodes"),
        ],
    )
    def test_an_aggregator_that_needs_rows_takes_none_that_keep_them(
        self, server: Server, model: Path, facts: bytes, options: dict[str, str], line: str
    ) -> None:
        answer = register(server, server.new_aggregator(model, **options), facts)
        assert answer.status_code in (409, 422)
        assert line in answer.json()["error"]


class TestMixing:
    def test_none_uploads_beside_one_that_keeps(
        self, server: Server, aggregator_id: str, node: str, rows: Path
    ) -> None:
        answer = server.start_party(aggregator_id, rows)
        assert answer.status_code == 409
        assert f"{NAMES[0]} keeps its rows" in answer.json()["error"]

    def test_none_keeps_beside_one_that_uploads(
        self, server: Server, aggregator_id: str, rows: Path, facts: bytes
    ) -> None:
        assert server.start_party(aggregator_id, rows, party="up").ok
        answer = register(server, aggregator_id, facts)
        assert answer.status_code == 409
        assert "up uploads its rows" in answer.json()["error"]


class TestWhatTravelled:
    def test_of_rows_that_are_kept_none_did(
        self, server: Server, aggregator_id: str, node: str
    ) -> None:
        (note,) = server.status(aggregator_id)["notes"]
        assert note == "rows: none was sent to this service, since parties keep theirs"

    def test_of_rows_that_are_uploaded_all_did(
        self, server: Server, aggregator_id: str, rows: Path
    ) -> None:
        assert server.status(aggregator_id)["notes"] == []
        assert server.start_party(aggregator_id, rows).ok
        (note,) = server.status(aggregator_id)["notes"]
        assert note == "rows: those of 1 party were sent to this service, which holds them now"
        server.stop(aggregator_id)
        (note,) = server.status(aggregator_id)["notes"]
        assert note.endswith("which has deleted them")


class TestMessages:
    def test_a_request_comes_until_it_is_named_and_its_reply_once(
        self, server: Server, aggregator_id: str, node: str
    ) -> None:
        message = sent(server, aggregator_id, node, b"what do you have?")
        for _ in range(2):
            answer = poll(server, aggregator_id, node)
            assert answer.headers["X-Fusion-Message"] == message
            assert answer.content == b"what do you have?"
        assert reply(server, aggregator_id, message, b"rows").ok
        read = MessageId.read(message)
        assert read is not None
        assert mailbox(server, aggregator_id).take(read) == b"rows"
        assert reply(server, aggregator_id, message, b"rows").status_code == 404

    def test_an_end_tells_parties_that_wait(
        self, server: Server, aggregator_id: str, node: str
    ) -> None:
        assert server.stop(aggregator_id).json()["message"].endswith("kept their rows")
        answer = poll(server, aggregator_id, node)
        assert (answer.status_code, answer.headers["X-Fusion-Ended"]) == (204, "true")

    @pytest.mark.parametrize(
        ("other", "status"), [({"token": OTHER}, 403), ({"party": "clinic 9"}, 404)]
    )
    def test_only_the_party_itself_calls(
        self, server: Server, aggregator_id: str, node: str, other: dict[str, str], status: int
    ) -> None:
        message = sent(server, aggregator_id, node)
        for answer in (
            poll(server, aggregator_id, node, **other),
            reply(server, aggregator_id, message, b"forged", **other),
        ):
            assert answer.status_code == status
        read = MessageId.read(message)
        assert read is not None
        assert mailbox(server, aggregator_id).take(read) is None

    def test_one_party_answers_for_no_other(
        self, server: Server, aggregator_id: str, node: str, rows: Path
    ) -> None:
        again = register(server, aggregator_id, facts_of(rows, NAMES[1]), NAMES[1], token=OTHER)
        assert again.ok
        message = sent(server, aggregator_id, node)
        answer = reply(server, aggregator_id, message, b"x", party=NAMES[1], token=OTHER)
        assert answer.status_code == 404

    @pytest.mark.parametrize("message", ["x", "..%2F..%2Frun", "0" * 16])
    def test_another_id_is_refused(
        self, server: Server, aggregator_id: str, node: str, message: str
    ) -> None:
        assert reply(server, aggregator_id, message, b"x").status_code in (400, 404)
        assert poll(server, aggregator_id, node, after="../x").status_code == 400

    def test_replies_have_a_size(self, server: Server, aggregator_id: str, node: str) -> None:
        message = sent(server, aggregator_id, node)
        assert reply(server, aggregator_id, message, b"").status_code == 422
        assert reply(server, aggregator_id, message, bytes(MAX_UPLOAD + 1)).status_code == 413
        assert reply(server, aggregator_id, message, bytes(MAX_UPLOAD // 2)).ok

    def test_an_aggregator_that_nobody_knows_has_no_messages(self, server: Server) -> None:
        assert poll(server, "nobody", "0" * 16).status_code == 404
        assert reply(server, "nobody", "0" * 16, b"x").status_code == 404
