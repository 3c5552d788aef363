"""A node of a rehearsal: it has the rows of its parties from a file, and answers for them."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from fusion_nb.core.types import Failure, Reply
from fusion_nb.engines.flower.fleet import Incoming, connected
from fusion_nb.engines.remote.answering import Envelope, Steering, answer_all
from fusion_nb.engines.sending import dumps, portable


def serve(address: str, file: str) -> None:
    """Answer for the parties in a file, which is deleted as soon as it is read.

    Requests are pickles: this process was started by the kernel that sends them, on this machine.
    The id of the node goes to the standard output.
    """
    path = Path(file)
    sent, parties = pickle.loads(path.read_bytes())
    model = sent.settled()
    path.unlink()
    steering = Steering()
    model.gate = steering.gate

    def answer(incoming: Incoming, envelope: Envelope) -> bytes:
        request, name, memory = pickle.loads(envelope.content)
        party = parties[name]
        party.persistent_state = memory
        reply: Reply = portable(party.answer(request, model))
        try:
            return bytes(dumps((reply, party.persistent_state)))
        except Exception as error:
            failure = Failure(name, f"its reply can't be sent: {type(error).__name__}: {error}")
            return pickle.dumps((failure, memory))

    out = sys.stdout
    sys.stdout = sys.stderr  # what a model prints is no id
    with connected(address, None) as fleet, model.single_threaded():
        out.write(f"{fleet.node_id}\n")
        out.flush()
        answer_all(fleet, steering, answer)
