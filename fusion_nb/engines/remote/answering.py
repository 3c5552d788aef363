"""The loop of a party's program: one thread answers, another one hears a pause or a stop.

The body of a message begins with its kind, one byte, and its number, eight. The kernel numbers its
requests upwards, so that a stop means those up to a number, in whatever order messages arrive.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from fusion_nb.engines.remote.link import EndedError, Fleet, Message
from fusion_nb.errors import Stopped

#: The kinds of messages: a request; hold, go on with, or give up the requests up to a number.
REQUEST, HOLD, GO, GIVE_UP = b"r", b"h", b"g", b"s"
#: Seconds between two looks for a message.
_LOOK_SECONDS = 0.1
_HOLD_SECONDS = 0.02
#: Seconds that a request under way has to end at the end of a federation.
_END_SECONDS = 30.0


class Envelope(NamedTuple):
    """A body in its parts."""

    kind: bytes
    number: int
    content: bytes

    @classmethod
    def of(cls, body: bytes) -> Envelope:
        """Return the parts of a body. Raises ValueError for another form."""
        kind = body[:1]
        if len(body) < 9 or kind not in (REQUEST, HOLD, GO, GIVE_UP):
            raise ValueError("it is no message of fusion_nb")
        return cls(kind, int.from_bytes(body[1:9], "little"), body[9:])

    def packed(self) -> bytes:
        """Return the body."""
        return self.kind + self.number.to_bytes(8, "little") + self.content


class Steering:
    """The gate of a model at a node: it blocks while the run is paused, and raises Stopped."""

    def __init__(self) -> None:
        self._going = threading.Event()
        self._going.set()
        self._run = self._running = 0
        self._has_ended = False
        #: By run, the number up to which requests are given up.
        self._given_up: dict[int, int] = {}

    def gate(self) -> None:
        """Block while the run is paused. Raises Stopped once the request is given up."""
        while not self._going.is_set() and not self._is_given_up:
            time.sleep(_HOLD_SECONDS)
        if self._is_given_up:
            raise Stopped

    def hear(self, run: int, envelope: Envelope) -> None:
        """Steer the requests of a run."""
        if envelope.kind == HOLD:
            self._going.clear()
            return
        if envelope.kind == GIVE_UP:
            self._given_up[run] = max(self._given_up.get(run, 0), envelope.number)
        self._going.set()

    def end(self) -> None:
        """Give up the request under way, and all that wait."""
        self._has_ended = True
        self._going.set()

    def begin(self, run: int, number: int) -> None:
        """Begin a request of a run. Raises Stopped where it was given up before."""
        self._run, self._running = run, number
        self.gate()

    @property
    def _is_given_up(self) -> bool:
        return self._has_ended or self._running <= self._given_up.get(self._run, 0)


def answer_all(
    fleet: Fleet[Message], steering: Steering, answer: Callable[[Message, Envelope], bytes]
) -> None:
    """Answer requests one after the other, until the connection ends.

    answer: returns the body of the reply; it may raise Stopped. Other exceptions end the loop, as
    EndedError does once the federation has ended.
    """
    waiting: queue.SimpleQueue[tuple[Message, Envelope] | None] = queue.SimpleQueue()
    problems: list[BaseException] = []

    def work() -> None:
        while (found := waiting.get()) is not None:
            incoming, envelope = found
            try:
                steering.begin(incoming.run, envelope.number)
                fleet.send(incoming, answer(incoming, envelope))
            except Stopped:
                continue
            except BaseException as error:
                problems.append(error)
                return

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        while not problems:
            incoming = fleet.receive()
            if incoming is None:
                time.sleep(_LOOK_SECONDS)
                continue
            try:
                envelope = Envelope.of(incoming.body)
            except ValueError:
                continue  # of another program; it gets no answer
            if envelope.kind == REQUEST:
                waiting.put((incoming, envelope))
            else:
                steering.hear(incoming.run, envelope)
        raise problems[0]
    except EndedError:
        steering.end()  # in the middle of a batch this process can't end well
        waiting.put(None)
        worker.join(_END_SECONDS)
        raise
    finally:
        waiting.put(None)
