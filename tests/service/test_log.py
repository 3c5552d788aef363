"""The log of the server."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from serving import Server


class TestLog:
    def test_the_log_is_json_without_secrets_ids_and_data(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file, rounds=1)
        server.train(aggregator_id)
        server.start_party(aggregator_id, rows_file, party="a name")
        text = (server.state / "server.log").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        assert {"call", "training begins", "training ended"} <= {line["message"] for line in lines}
        for secret in (server.key[1], aggregator_id, "a name"):
            assert secret not in text
        assert stat.S_IMODE((server.state / "server.log").stat().st_mode) == 0o600

    def test_a_failure_of_the_server_is_logged_under_its_id(
        self, server: Server, model_file: Path
    ) -> None:
        aggregator_id = server.new_aggregator(model_file)
        folder = server.state / "aggregators" / aggregator_id
        folder.joinpath("parties").rename(
            folder / "elsewhere"
        )  # as a disk that fails would have it
        answer = server.stop(aggregator_id)
        assert answer.status_code == 500
        failure = next(
            line
            for line in map(json.loads, (server.state / "server.log").read_text().splitlines())
            if line.get("id") == answer.json()["id"]
        )
        assert failure["error_type"] == "FileNotFoundError"
        assert str(folder) not in answer.text
