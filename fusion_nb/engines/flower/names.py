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
    # The aggregator's side of a SuperLink: a run, its task, and the grid that carries messages.
    "build_fab_from_files": "flwr.cli.build",
    "ControlHttpClient": "flwr.supercore.control.control_http_client",
    "StartRunRequest": "flwr.proto.control_pb2",
    "StopRunRequest": "flwr.proto.control_pb2",
    "RuntimeVersionHttpInterceptor": "flwr.supercore.interceptors.http.runtime_version",
    "Fab": "flwr.supercore.fab",
    "fab_to_proto": "flwr.common.serde",
    "run_from_proto": "flwr.common.serde",
    "RuntimeHttpClient": "flwr.supercore.runtime.runtime_http_client",
    "AcquireTaskRequest": "flwr.proto.runtime_pb2",
    "PullTaskInputRequest": "flwr.proto.runtime_pb2",
    "PushTaskOutputRequest": "flwr.proto.runtime_pb2",
    "SendTaskHeartbeatRequest": "flwr.proto.runtime_pb2",
    "HttpGrid": "flwr.superlink.grid.http_grid",
    "HeartbeatSender": "flwr.supercore.heartbeat",
    "SubStatus": "flwr.common.constant",
    "SUPERLINK_NODE_ID": "flwr.common.constant",
    # A party's side.
    "http_request_response": "flwr.supernode.fleet_http_connection",
    "get_all_nested_objects": "flwr.supercore.inflatable.inflatable_object",
    "get_object_tree": "flwr.supercore.inflatable.inflatable_object",
    "iterate_object_tree": "flwr.supercore.inflatable.inflatable_object",
    "no_object_id_recompute": "flwr.supercore.inflatable.inflatable_object",
    "inflate_object_from_contents": "flwr.supercore.inflatable.inflatable_utils",
    "ObjectPushError": "flwr.supercore.inflatable.inflatable_utils",
    "ObjectPullError": "flwr.supercore.inflatable.inflatable_utils",
    "RunNotRunningException": "flwr.supercore.run",
    "Status": "flwr.common.constant",
    "pull_objects": "flwr.supercore.inflatable.inflatable_utils",
    "push_objects": "flwr.supercore.inflatable.inflatable_utils",
    # The SuperLink's own command, in a process of its own.
    "flower_superlink": "flwr.superlink.cli",
}


@functools.cache
def flower(name: str) -> Any:
    """Return one of `NAMES`. Raises MissingExtraError, with the command that installs Flower."""
    module, _, attribute = NAMES[name].partition(":")
    try:
        return getattr(import_module(module), attribute or name)
    except ModuleNotFoundError as error:
        raise missing_extra(error, "Flower") from error
