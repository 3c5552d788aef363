"""Every name of Flower that this package uses, with the module that it is imported from.

Flower moves its modules between versions, so that they are listed here and nowhere else, and a test
imports each. They are imported on first use: some of them take seconds to load.
"""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

from fusion_nb.errors import missing_extra

#: Name -> module.
NAMES: dict[str, str] = {
    # The records and messages that apps read and write.
    "Array": "flwr.app",
    "ArrayRecord": "flwr.app",
    "ConfigRecord": "flwr.app",
    "Context": "flwr.app",
    "Message": "flwr.app",
    "Metadata": "flwr.app",
    "MetricRecord": "flwr.app",
    "RecordDict": "flwr.app",
    "ClientApp": "flwr.clientapp",
    "recorddict_from_proto": "flwr.common.serde",
    "recorddict_to_proto": "flwr.common.serde",
    "ProtoRecordDict": "flwr.proto.recorddict_pb2:RecordDict",
}


@functools.cache
def flower(name: str) -> Any:
    """Return one of `NAMES`. Raises MissingExtraError, with the command that installs Flower."""
    module, _, attribute = NAMES[name].partition(":")
    try:
        return getattr(import_module(module), attribute or name)
    except ModuleNotFoundError as error:
        raise missing_extra(error, "Flower") from error
