"""An example of each call for the OpenAPI document: a request, its answer, and a line of curl."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ID = "u8Lq0cT3sYk2vB7nE5aZxw"
#: A message, and the query and the header of a party's calls.
_MESSAGE = "1c8e55e3a0f14d02-5b9a01c2d3e4-00000007"
_OF_PARTY = "party=clinic%201"
_TOKEN = "-H 'X-Fusion-Token: TOKEN'"
_CURL = "curl -u CLIENT_ID:CLIENT_SECRET"
_URL = "http://127.0.0.1:8765"
_RECORD = {
    "round": 1,
    "metrics": {"loss": 0.61, "accuracy": 0.83, "train_loss": 0.94},
    "party_metrics": {"party 1": {"train_loss": 0.94}},
    "cohort": ["party 1", "party 2"],
    "seconds": 0.8,
    "bytes_up": 101800,
    "bytes_down": 101800,
}
_SUMMARY = {
    "aggregator_id": _ID,
    "state": "finished",
    "model_type": "pytorch",
    "num_parties": 2,
    "remaining": 0,
    "round": 3,
    "created": 1767225600.0,
}
_PROGRESS = {"aggregator_id": _ID, "state": "finished", "round": 3}
_STATUS = {
    **_SUMMARY,
    "has_ended": False,
    "reason": "",
    "error": "",
    "hint": "",
    "rounds": 3,
    "resumed_after": 0,
    "metrics": _RECORD["metrics"],
    "notes": [],
    "shown": ["loss", "accuracy"],
    "monitor": "accuracy",
    "options": {"parties": 2, "rounds": 3, "lr": 0.1},
    "parties": [{"party": "party 1", "handler": "npz", "num_examples": 600, "keeps_rows": False}],
}

#: (method, path) -> the example's request (a form or JSON), its answer, and the words of curl.
EXAMPLES: Mapping[tuple[str, str], tuple[Any, Any, str]] = {
    ("post", "/start-aggregator"): (
        {
            "model_type": "pytorch",
            "num_parties": 2,
            "fusion_algorithm": "fedavg",
            "rounds": 3,
            "learning_rate": 0.1,
            "model_file": "@model.pt",
        },
        {"aggregator_id": _ID, "message": "the aggregator waits for 2 parties: POST /start-party"},
        "-F model_type=pytorch -F num_parties=2 -F fusion_algorithm=fedavg -F rounds=3 "
        f"-F learning_rate=0.1 -F model_file=@model.pt {_URL}/start-aggregator",
    ),
    ("post", "/start-party"): (
        {
            "aggregator_id": _ID,
            "data_handler_class_name": "npz",
            "party": "clinic 1",
            "data": "@rows.npz",
        },
        {
            "aggregator_id": _ID,
            "message": "1 party still to register",
            "party": "clinic 1",
            "remaining": 1,
        },
        f"-F aggregator_id={_ID} -F data_handler_class_name=npz -F 'party=clinic 1' "
        f"-F data=@rows.npz {_URL}/start-party",
    ),
    ("post", "/train"): (
        {"aggregator_id": _ID},
        {
            **_PROGRESS,
            "message": "finished after 3 rounds",
            "reason": "",
            "global_model": {"1.bias": [0.1, -0.2]},
            "history": [_RECORD],
        },
        f'--json \'{{"aggregator_id": "{_ID}"}}\' {_URL}/train',
    ),
    ("post", "/stop"): (
        {"aggregator_id": _ID},
        {
            **_PROGRESS,
            "message": "the federation has ended, and its parties' data is deleted",
        },
        f'--json \'{{"aggregator_id": "{_ID}"}}\' {_URL}/stop',
    ),
    ("get", "/weights/{aggregator_id}"): (
        None,
        {"round": 3, "global_model": {"1.bias": [0.1, -0.2]}},
        f"-o fused.npz '{_URL}/weights/{_ID}?format=npz&which=best'",
    ),
    ("get", "/status/{aggregator_id}"): (None, _STATUS, f"{_URL}/status/{_ID}"),
    ("get", "/rounds/{aggregator_id}"): (None, _RECORD, f"-N '{_URL}/rounds/{_ID}?after=0'"),
    ("get", "/aggregators"): (None, {"aggregators": [_SUMMARY]}, f"{_URL}/aggregators"),
    ("delete", "/aggregators/{aggregator_id}"): (
        None,
        {"aggregator_id": _ID, "message": "it is deleted"},
        f"-X DELETE {_URL}/aggregators/{_ID}",
    ),
    ("get", "/messages/{aggregator_id}"): (
        None,
        "the bytes of a request",
        f"{_TOKEN} -o request -D - '{_URL}/messages/{_ID}?{_OF_PARTY}&node=NODE&after='",
    ),
    ("post", "/messages/{aggregator_id}/{message_id}"): (
        "@reply",
        {"aggregator_id": _ID, "message": "the run has the reply"},
        f"{_TOKEN} -H 'Content-Type: application/octet-stream' --data-binary @reply "
        f"'{_URL}/messages/{_ID}/{_MESSAGE}?{_OF_PARTY}'",
    ),
    ("get", "/health"): (None, {"status": "ok", "version": "1.0"}, f"{_URL}/health"),
}


def add_examples(document: dict[str, Any]) -> None:
    """Add the examples to the calls of an OpenAPI document."""
    for (method, path), (request, answer, words) in EXAMPLES.items():
        call = document["paths"][path][method]
        for parameter in call.get("parameters", ()):
            if parameter["in"] == "path":
                parameter["example"] = _MESSAGE if parameter["name"] == "message_id" else _ID
        if request is not None:
            for content in call["requestBody"]["content"].values():
                content["example"] = request
        answers = call["responses"]["200"]["content"]
        for kind, content in answers.items():
            if kind != "application/octet-stream" or len(answers) == 1:
                content["example"] = answer
        curl = _CURL if path != "/health" else "curl"
        call["x-codeSamples"] = [{"lang": "curl", "source": f"{curl} {words}"}]
