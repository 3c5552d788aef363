"""Names of parties in Unicode's forms, ids in the query, and the examples of the document."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import requests
from serving import PATIENCE, Server

from fusion_nb.service.client import Client
from fusion_nb.service.request_fields import normal_name

#: Names that are one: as they are given, and in their one form.
SAME = [
    (unicodedata.normalize("NFD", "Zürich"), "Zürich"),
    (unicodedata.normalize("NFD", "한국"), "한국"),
    ("\u212bngström", "Ångström"),
    ("clinic\u00a01", "clinic 1"),
    ("clinic\u2003\u3000 1", "clinic 1"),
    (" clinic 1\u2800", "clinic 1"),
]


class TestNames:
    @pytest.mark.parametrize(("given", "normal"), SAME)
    def test_there_is_one_form(self, given: str, normal: str) -> None:
        assert normal_name(given) == normal == normal_name(normal)

    @pytest.mark.parametrize(("given", "normal"), [SAME[0], SAME[3]])
    def test_names_that_look_alike_are_one_party(
        self, server: Server, model_file: Path, rows_file: Path, given: str, normal: str
    ) -> None:
        aggregator_id = server.new_aggregator(model_file)
        answer = server.start_party(aggregator_id, rows_file, party=given).json()
        assert answer["party"] == normal
        assert f"registered as {normal!r}" in answer["message"]
        second = server.start_party(aggregator_id, rows_file, party=normal)
        assert (second.status_code, second.json()["field"]) == (400, "party")
        again = server.start_party(aggregator_id, rows_file, party=given).json()
        assert "NFC" in again["error"]
        other = server.start_party(aggregator_id, rows_file, party="other").json()
        assert "registered as" not in other["message"]

    @pytest.mark.parametrize("name", ["a\u200bb", "a\nb", "a\tb", "\u3000", "\u202ea", "x" * 101])
    def test_names_that_show_nothing_or_lie_are_refused(
        self, server: Server, model_file: Path, rows_file: Path, name: str
    ) -> None:
        aggregator_id = server.new_aggregator(model_file)
        answer = server.start_party(aggregator_id, rows_file, party=name)
        assert (answer.status_code, answer.json()["field"]) == (400, "party")


class TestIds:
    def test_the_query_takes_the_id_as_the_path_does(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file, rounds=1)
        assert server.train(aggregator_id).ok
        params = {"aggregator_id": aggregator_id}
        for path in ("status", "rounds", "weights"):
            by_query = server.call("GET", f"/{path}", params=params)
            by_path = server.call("GET", f"/{path}/{aggregator_id}")
            assert by_query.ok
            assert by_query.content == by_path.content
        params |= {"format": "npz", "which": "best"}
        assert server.call("GET", "/weights", params=params).content[:2] == b"PK"
        params = {"aggregator_id": aggregator_id, "after": "1"}
        assert server.call("GET", "/rounds", params=params).text == ""

    @pytest.mark.parametrize("path", ["/status", "/rounds", "/weights"])
    @pytest.mark.parametrize(
        ("params", "status"), [({}, 400), ({"aggregator_id": "x"}, 404), ({"id": "x"}, 400)]
    )
    def test_a_wrong_id_in_the_query(
        self, server: Server, path: str, params: dict[str, str], status: int
    ) -> None:
        answer = server.call("GET", path, params=params)
        assert answer.status_code == status
        assert "aggregator" in answer.json()["error"]


class TestDocument:
    @pytest.fixture(scope="class")
    def document(self, server: Server) -> dict[str, Any]:
        return dict(server.call("GET", "/openapi.json").json())

    def test_each_call_has_an_example(self, document: dict[str, Any]) -> None:
        for path, calls in document["paths"].items():
            for call in calls.values():
                answers = call["responses"]["200"]["content"].values()
                assert any("example" in content for content in answers), path
                for content in call.get("requestBody", {"content": {}})["content"].values():
                    assert "example" in content, path
                for parameter in call.get("parameters", ()):
                    assert parameter["in"] != "path" or "example" in parameter

    def test_the_curl_has_the_keys_place(self, server: Server, document: dict[str, Any]) -> None:
        for path, calls in document["paths"].items():
            for call in calls.values():
                (sample,) = call["x-codeSamples"]
                assert ("-u CLIENT_ID:CLIENT_SECRET" in sample["source"]) == (path != "/health")
        page = server.call("GET", "/docs").text
        assert 'curlOptions = ["-u", "CLIENT_ID:CLIENT_SECRET"]' in page

    def test_examples_have_the_fields_of_their_schema(self, document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]
        for calls in document["paths"].values():
            for call in calls.values():
                content = call["responses"]["200"]["content"].get("application/json", {})
                reference = content.get("schema", {}).get("$ref", "")
                if reference:
                    schema = schemas[reference.rpartition("/")[2]]
                    assert set(schema.get("required", ())) <= content["example"].keys()
                    assert content["example"].keys() <= schema["properties"].keys()

    def test_the_hint_of_401_says_where_the_key_goes(self, server: Server) -> None:
        for auth in (None, ("someone", "wrong")):
            answer = requests.get(server.address + "/aggregators", auth=auth, timeout=PATIENCE)
            assert answer.status_code == 401
            assert re.search(r"http://ID:SECRET@\.\.\.", answer.json()["hint"])


def test_the_client_reads_the_key_from_the_environment(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.setenv("FUSION_NB_SERVICE_KEY", ":".join(server.key))
    with Client(server.address) as client:
        client.aggregators()
    monkeypatch.setenv("FUSION_NB_SERVICE_KEY", "other:wrong")
    with Client(server.url) as client:  # a key in the address comes first
        client.aggregators()
