"""A process that answers for parties, started by `process.ProcessEngine`.

It ends when the process that started it does, in the middle of a batch if need be.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from fusion_nb.core.process import machine
from fusion_nb.core.types import Failure, Reply
from fusion_nb.engines.sending import gate_by, portable
from fusion_nb.engines.shared_memory import Arena, SharedFile, pack, receive, send
from fusion_nb.errors import FusionError, Stopped

#: The first byte of a message: a request, or a party with its persistent state.
REQUEST, PARTY = b"r", b"p"
#: The process answers this once it has its model and rows.
READY = b"+"


def main(control: SharedFile, given: Arena, request_arena: Arena, down: Arena, up: Arena) -> None:
    """Answer for one party after the other until the other end is gone.

    control:       one byte that holds or stops it between two batches
    given:         the model and the parties, for all workers
    request_arena: the request under way, for all workers
    down, up:      persistent states for this worker, and its replies
    """
    _drop_interrupts()
    machine.inherit_core_dumps()
    incoming, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a model prints is no reply
    control_byte = control.view(1)

    try:
        sent, parties = receive(incoming, given, copies=False)
    except EOFError:
        return  # stopped before it began
    model = sent.settled()
    model.gate = gate_by(lambda: control_byte[0])
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    arenas = {REQUEST: request_arena, PARTY: down}
    threading.Thread(target=_read, args=(incoming, arenas, messages.put), daemon=True).start()
    send(replies, READY)
    request: Any = None
    with model.single_threaded(), machine.reused_memory():
        while True:
            kind, message = messages.get()
            if kind == REQUEST:
                request = message
                continue
            name, state = message
            party = parties[name]
            party.carried_state = state
            try:
                reply = portable(party.answer(request, model))
            except Stopped:
                reply = None
            send(replies, _packed(reply, party.carried_state, name, up))
            del message, state, reply


def _read(incoming: Any, arenas: dict[bytes, Arena], put: Callable[[Any], None]) -> None:
    try:
        while kind := incoming.read(1):
            put((kind, receive(incoming, arenas[kind])))
        os._exit(0)
    except (EOFError, OSError):
        os._exit(0)


def _drop_interrupts() -> None:
    """Drop an interrupt that came before this process had a session of its own."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, handler)


def _packed(reply: Reply | None, state: Any, name: str, up: Arena) -> bytes:
    """Return the message of a reply and a new state, or of a failure where neither has room.

    Its last part says whether there is a new state.
    """
    try:
        return pack((reply, state, True), up)
    except FusionError as error:
        return pack((Failure(name, error.message, "", error), None, False), up)


if __name__ == "__main__":
    control_fd, *fds = map(int, sys.argv[1:])
    main(SharedFile(control_fd), *(Arena(fds[i : i + 2]) for i in range(0, len(fds), 2)))
