"""Descriptions of multipart bodies for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fusion_nb.service import request_fields
from fusion_nb.service.model_types import MODEL_FILES

_ID = {"type": "string", "description": "the id that /start-aggregator returned"}


def _multipart(
    fields: Mapping[str, object], files: Mapping[str, str], required: list[str]
) -> dict[str, Any]:
    """Return a route's `openapi_extra`. files: name of each file part -> its description."""
    parts = {
        name: {"type": "string", "format": "binary", "description": description}
        for name, description in files.items()
    }
    schema = {"type": "object", "properties": {**fields, **parts}, "required": required}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


START_AGGREGATOR = _multipart(
    {
        "model_type": {
            "type": "string",
            "enum": list(MODEL_FILES),
            "description": "the model's framework",
        },
        **request_fields.option_schemas(),
    },
    {
        "model_file": "the model, as its framework saves it: a file such as "
        f"{', '.join(MODEL_FILES.values())}. The server runs no code of the file.",
        "test": "an `.npz` with x_test and y_test, on which the fused model is evaluated",
    },
    ["model_type", "num_parties", "model_file"],
)

START_PARTY = _multipart(
    {
        "aggregator_id": _ID,
        "data_handler_class_name": {
            "type": "string",
            "description": f"the data handler: {', '.join(request_fields.handlers())}, or the "
            "class in custom_data_handler",
        },
        "party": {
            "type": "string",
            "description": "the party's name (default: party 1, party 2, ...)",
        },
        "keeps_rows": {
            "type": "boolean",
            "default": False,
            "description": "the party trains in a program of its own, and sends facts in place of "
            "data; a name and a token are needed then",
        },
        "token": {
            "type": "string",
            "description": "of a party that keeps its rows: a secret of 32 letters or more, by "
            "which its calls are known",
        },
    },
    {
        "data": "the party's rows: an `.npz` with x_train, y_train and, for its own test rows, "
        "x_test and y_test; or documents in the handler's format. Never returned, and deleted by "
        "/stop.",
        "custom_data_handler": "a Python module with a class that has get_data(); only if the "
        "operator allows code",
        "facts": "of a party that keeps its rows: their number, form and labels, as fusion-nb "
        "party tells them. No row is among them.",
    },
    ["aggregator_id"],
)
_BINARY = {"type": "string", "format": "binary", "description": "the reply, as plain data"}
REPLY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": _BINARY}},
    }
}
