"""A process that answers for parties: `python -m fusion_nb.engines.process_worker`, started by
`process.ProcessEngine`.

It ends when the process that started it does, in the middle of a batch if need be: nobody is left
to ask.
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

from fusion_nb.core.types import Failure, Reply
from fusion_nb.engines.shared_memory import Arena, pack, receive, send
from fusion_nb.errors import Stopped

#: What the byte of the control arena says: go on, wait, or give up what is under way.
GO, HOLD, GIVE_UP = 0, 1, 2
#: What a message begins with: a verb and its orders, or a party and what it remembers.
ORDERS, TURN = b"o", b"t"
_HELD = 0.002


def main(given: Arena, orders: Arena, down: Arena, up: Arena, control: Arena) -> None:
    """Answer one party after the other until the other end is gone.

    given:  the model and the parties, for all workers;  orders: those of a verb, for all workers
    down, up: what parties of this worker remember, and their replies
    control: one byte that holds or stops it between two batches
    """
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a model prints is no answer
    signal = control.byte()

    def gate() -> None:
        while signal[0] == HOLD:
            time.sleep(_HELD)
        if signal[0] == GIVE_UP:
            raise Stopped

    model, parties = receive(asked, given, copies=False)
    model.gate = gate
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    arenas = {ORDERS: orders, TURN: down}
    threading.Thread(target=_read, args=(asked, arenas, messages.put), daemon=True).start()
    verb, told = "", {}
    with model.on_one_core():
        while True:
            kind, message = messages.get()
            if kind == ORDERS:
                verb, told = message
                continue
            party = parties[message[0]]
            party.memory = message[1]
            try:
                reply = _portable(party.answer(verb, model, **told))
            except Stopped:
                reply = None
            send(answers, pack((reply, party.memory), up))
            del message, reply


def _read(asked: Any, arenas: dict[bytes, Arena], put: Callable[[Any], None]) -> None:
    try:
        while kind := asked.read(1):
            put((kind, receive(asked, arenas[kind])))
        os._exit(0)
    except (EOFError, OSError):
        os._exit(0)


def _portable(reply: Reply) -> Reply:
    """Return a reply that can be sent: a failure goes without an exception that can't be made again
    over there.
    """
    if isinstance(reply, Failure) and reply.exception is not None:
        try:
            pickle.loads(pickle.dumps(reply.exception))
        except Exception:
            return replace(reply, exception=None)
    return reply


if __name__ == "__main__":
    main(*(Arena(int(fd)) for fd in sys.argv[1:]))
