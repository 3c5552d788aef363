"""The aggregator's connection to a SuperLink: this process is the run's ServerApp."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from fusion_nb.engines.flower.names import flower
from fusion_nb.engines.flower.project import project_files
from fusion_nb.engines.remote.link import Answer
from fusion_nb.errors import RunError

#: The name of the record that holds a body, in a message of any kind.
BODY = "fusion_nb"
#: Messages are answered by a function for queries.
QUERY = "query"
#: Seconds after which a message that nobody fetched is dropped by the SuperLink.
_TTL = 6 * 3600.0
#: Seconds to wait for the SuperLink to hand out the run's task.
_TASK_SECONDS = 60.0
_LOOK_SECONDS = 0.1
#: Tries of a call to a SuperLink that is not there, and the first HTTP status of its own failures.
_MAX_TRIES, _SERVER_ERRORS = 3, 500

#: A constant app, so that its hash is too: parties answer by their own program, never by this code.
_FILES = project_files(
    "fusion-nb-run",
    "A run of fusion_nb; its parties are programs of their own.",
    """from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

client, server = ClientApp(), ServerApp()
""",
)


class Link:
    """A run at a SuperLink, and the messages of this process to its nodes.

    address:      `host:port`
    certificates: the root certificates as PEM; None for a SuperLink without TLS
    Raises RunError where there is no SuperLink, or it does not hand out the run.
    """

    place = "the SuperLink"
    how = "fusion-nb party --superlink ... --data rows.npz --name ..."

    def __init__(self, address: str, certificates: bytes | None) -> None:
        self._address, self._certificates = address, certificates
        # Its messages would appear in whichever cell runs.
        logging.getLogger("flwr").setLevel(logging.CRITICAL)
        try:
            self._run_id = self._start_run()
            token = self._acquire()
            self._grid = flower("HttpGrid")(
                address, certificates is None, certificates, token=token
            )
            _tame(self._grid._retry_invoker)
            client = self._grid._runtime_client
            found = client.PullTaskInput(flower("PullTaskInputRequest")())
            self._grid.set_run(flower("run_from_proto")(found.run))
        except RunError:
            raise
        except Exception as error:
            raise RunError(
                f"the SuperLink at {address} can't be used: {_line(error)}",
                "start one: flower-superlink --isolation process, with --insecure or with its "
                "certificates, and name these",
            ) from error
        self._heartbeat = flower("HeartbeatSender")(self._beat)
        self._heartbeat.start()
        self._is_open = True

    def nodes(self) -> list[int]:
        """Return the ids of the nodes that are there now."""
        return [int(node) for node in self._ask(self._grid.get_node_ids)]

    def name_of(self, node: int) -> str:
        """Return "": a node says its own name."""
        return ""

    def push(self, bodies: Iterable[tuple[int, bytes]]) -> list[str]:
        """Send a body to each of some nodes, and return the ids of the messages."""
        asked = [*bodies]

        def send() -> Any:
            for _ in range(_MAX_TRIES - 1):
                # The time that a busy SuperLink gives for the parts of a message may pass.
                with suppress(flower("ObjectPushError")):
                    return self._grid.push_messages([self._message(*each) for each in asked])
            return self._grid.push_messages([self._message(*each) for each in asked])

        return [str(found or "") for found in self._ask(send)]

    def pull(self, ids: Iterable[str]) -> Mapping[str, Answer]:
        """Return the replies that have come, by the ids of the messages that they answer."""
        found = self._ask(lambda: self._grid.pull_messages(list(ids)))
        return {message.metadata.reply_to_message_id: _answer(message) for message in found}

    def close(self, *, failed: bool = False) -> None:
        """End the run at the SuperLink. Safe to call twice, and where the SuperLink is gone."""
        if not self._is_open:
            return
        self._is_open = False
        with suppress(Exception):
            self._heartbeat.stop()
        with suppress(Exception):
            status = flower("SubStatus")
            self._grid._runtime_client.PushTaskOutput(
                flower("PushTaskOutputRequest")(
                    sub_status=status.FAILED if failed else status.COMPLETED, details=""
                )
            )
        with suppress(Exception):
            self._grid.close()

    def _start_run(self) -> int:
        content, _ = flower("build_fab_from_files")(_FILES)
        fab = flower("Fab")(hashlib.sha256(content).hexdigest(), content, {})
        with _client("ControlHttpClient", self._address, self._certificates, "flwr-cli") as client:
            request = flower("StartRunRequest")(fab=flower("fab_to_proto")(fab))
            return int(client.StartRun(request).run_id)

    def _acquire(self) -> str:
        """Return the token of the run's task, which the first one who asks is given."""
        name, end = "flwr-serverapp", time.monotonic() + _TASK_SECONDS
        with _client("RuntimeHttpClient", self._address, self._certificates, name) as client:
            request = flower("AcquireTaskRequest")(supported_task_types=[name])
            while time.monotonic() < end:
                found = client.AcquireTask(request)
                if found.HasField("task") and found.task.run_id == self._run_id:
                    return str(found.token)
                time.sleep(_LOOK_SECONDS)
        raise RunError(
            f"the SuperLink at {self._address} handed the run to another program",
            "start it with --isolation process, so that the kernel is its ServerApp",
        )

    def _beat(self) -> bool:
        """Tell the SuperLink that this process is there; without that it ends the run."""
        try:
            client = self._grid._runtime_client
            return bool(client.SendTaskHeartbeat(flower("SendTaskHeartbeatRequest")()).success)
        except Exception:
            return False

    def _message(self, node: int, body: bytes) -> Any:
        metadata = flower("Metadata")(
            run_id=self._run_id,
            message_id="",
            src_node_id=flower("SUPERLINK_NODE_ID"),
            dst_node_id=node,
            reply_to_message_id="",
            group_id="",
            created_at=time.time(),
            ttl=_TTL,
            message_type=QUERY,
        )
        return flower("Message")(content=content_of(body), metadata=metadata)

    def _ask(self, call: Any) -> Any:
        if not self._is_open:
            raise RunError("the run at the SuperLink has ended")
        try:
            return call()
        except Exception as error:
            raise RunError(
                f"the SuperLink at {self._address} is gone: {_line(error)}",
                "the last whole round is kept: start the SuperLink again, and resume the run",
            ) from error


class _client:  # noqa: N801  a context manager, used as a function
    """A client of one of the SuperLink's interfaces, which is closed at the end."""

    def __init__(self, kind: str, address: str, certificates: bytes | None, component: str) -> None:
        version = flower("RuntimeVersionHttpInterceptor")(component_name=component)
        self._made = flower(kind).from_server_address(
            address, certificates is None, certificates, [version]
        )

    def __enter__(self) -> Any:
        return self._made

    def __exit__(self, *error: object) -> None:
        self._made.close()


def _tame(invoker: Any) -> None:
    """Let a connection fail after some tries, by an exception and nothing else.

    As Flower makes it, it tries for ever, and interrupts the whole process once the SuperLink has
    ended the run: here that process is the user's kernel.
    """
    invoker.max_tries = _MAX_TRIES
    invoker.should_giveup = _is_final
    invoker.on_success = invoker.on_backoff = invoker.on_giveup = None
    invoker.wait_function = time.sleep


def _is_final(error: Exception) -> bool:
    """Return whether it is of no use to try again: the SuperLink refused."""
    response = getattr(error, "response", None)
    return response is not None and response.status_code < _SERVER_ERRORS


def content_of(body: bytes) -> Any:
    """Return the content of a message that carries a body."""
    return flower("RecordDict")({BODY: flower("ConfigRecord")({"body": body})})


def body_of(message: Any) -> bytes:
    """Return the body of a message. Raises ValueError for a message of another program."""
    record = message.content.config_records.get(BODY, {}) if message.has_content() else {}
    body = record.get("body")
    if isinstance(body, bytes):
        return body
    raise ValueError("it is no message of fusion_nb")


def _answer(message: Any) -> Answer:
    if message.has_error():
        return Answer(b"", f"{message.error.reason or 'no reason given'}".strip().splitlines()[0])
    try:
        return Answer(body_of(message))
    except ValueError as error:
        return Answer(b"", f"its reply can't be read: {error}")


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]
