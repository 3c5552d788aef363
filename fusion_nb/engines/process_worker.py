"""A process that answers for parties, started by `process.ProcessEngine`.

It ends when the process that started it does, in the middle of a batch if need be.
"""

from __future__ import annotations

import os
import pickle
import queue
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fusion_nb.core import machine
from fusion_nb.core.types import Failure, Reply
from fusion_nb.engines.shared_memory import Arena, pack, receive, send
from fusion_nb.errors import Stopped

#: The byte of the control arena: go on, wait, or give up the running request.
GO, HOLD, GIVE_UP = 0, 1, 2
#: The first byte of a message: a request, or a party with its persistent state.
REQUEST, PARTY = b"r", b"p"
#: Seconds between two looks at the control byte while it says wait.
_HOLD_SECONDS = 0.002


def no_gate() -> None:
    """Let everything pass: the gate of a model on its way to another process."""


def main(given: Arena, request_arena: Arena, down: Arena, up: Arena, control: Arena) -> None:
    """Answer for one party after the other until the other end is gone.

    given:         the model and the parties, for all workers
    request_arena: the request under way, for all workers
    down, up:      persistent states for this worker, and its replies
    control:       one byte that holds or stops it between two batches
    """
    machine.inherit_core_dumps()
    incoming, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a model prints is no reply
    signal = control.byte()

    def gate() -> None:
        while signal[0] == HOLD:
            time.sleep(_HOLD_SECONDS)
        if signal[0] == GIVE_UP:
            raise Stopped

    model, parties = receive(incoming, given, copies=False)
    model.gate = gate
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    arenas = {REQUEST: request_arena, PARTY: down}
    threading.Thread(target=_read, args=(incoming, arenas, messages.put), daemon=True).start()
    request: Any = None
    with model.single_threaded():
        while True:
            kind, message = messages.get()
            if kind == REQUEST:
                request = message
                continue
            name, state = message
            party = parties[name]
            party.persistent_state = state
            try:
                reply = _portable(party.answer(request, model))
            except Stopped:
                reply = None
            send(replies, pack((reply, party.persistent_state), up))
            del message, state, reply


def _read(incoming: Any, arenas: dict[bytes, Arena], put: Callable[[Any], None]) -> None:
    try:
        while kind := incoming.read(1):
            put((kind, receive(incoming, arenas[kind])))
        os._exit(0)
    except (EOFError, OSError):
        os._exit(0)


def _portable(reply: Reply) -> Reply:
    """Return a reply that can be sent: a failure without an exception that can't be unpickled."""
    if isinstance(reply, Failure) and reply.exception is not None:
        try:
            pickle.loads(pickle.dumps(reply.exception))
        except Exception:
            return replace(reply, exception=None)
    return reply


if __name__ == "__main__":
    main(*(Arena(int(fd)) for fd in sys.argv[1:]))
