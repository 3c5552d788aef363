"""The actor that answers for parties on a node of a Ray cluster."""

from __future__ import annotations

import os
import pickle
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

from fusion_nb.core.process import machine
from fusion_nb.core.types import Failure, Reply
from fusion_nb.engines.sending import GO, Sent, dumps, gate_by, portable
from fusion_nb.errors import Stopped

#: Packages whose versions decide the last digits of a curve.
_COMPARED = ("fusion_nb", "numpy", "torch", "keras", "tensorflow", "scikit-learn", "gensim")


class Parcel(NamedTuple):
    """A pickled thing; its arrays are apart, so that an object store holds them without a copy."""

    body: bytes
    arrays: list[np.ndarray]


class Turn(NamedTuple):
    """One party's turn: where it finds all that it needs, and the number that orders go by.

    model, request, party: references to objects of the store, in the form of parcels
    """

    number: int
    run: str
    name: str
    model: Any
    request: Any
    party: Any


@dataclass(frozen=True)
class Answered:
    """A reply, and the party's persistent state after it.

    reply:     None where the turn was given up
    has_state: false where the state stays as it was, since the party was not asked
    """

    reply: Reply | None
    state: Any = None
    has_state: bool = True


@dataclass(frozen=True)
class Lacking:
    """A package that a node lacks."""

    package: str


@dataclass
class _Given:
    """The things of one run that an actor has fetched."""

    sent: Sent
    parties: dict[str, Any] = field(default_factory=dict)
    request: Any = None
    request_place: Any = None


class PartyActor:
    """Answers for one party after the other, and keeps the models and parties that it was sent.

    environment: variables of the kernel that decide how a model is computed
    paths:       folders in which the kernel finds modules; a node uses those that it has too
    """

    def __init__(self, environment: Mapping[str, str], paths: Sequence[str]) -> None:
        settle_in(environment, paths)
        self._given: dict[str, _Given] = {}
        self._turn, self._ordered = -1, (-1, GO)

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages that decide a curve's last digits."""
        return versions()

    def order(self, turn: int, order: int) -> None:
        """Hold or give up the turn of a number, or let it go on. Called while it trains."""
        self._ordered = (turn, order)

    def answer(self, turn: Turn, state: Parcel) -> Parcel:
        """Return the party's `Answered`, or `Lacking`.

        Objects are fetched once: those of the run when it is new here, a party when it is asked for
        the first time.
        """
        self._turn = turn.number
        try:
            given = self._fetched(turn)
            party = given.parties[turn.name]
            party.carried_state = unpacked(state, copies=True)
        except ModuleNotFoundError as error:
            return packed(Lacking(error.name or str(error)))
        except Exception as error:
            line = f"a node can't read what it was sent: {type(error).__name__}: {error}"
            return packed(Answered(Failure(turn.name, line.splitlines()[0]), has_state=False))
        model = given.sent.settled()  # in each turn: runs of other settings may share the actor
        with model.single_threaded():
            try:
                reply = portable(party.answer(given.request, model))
            except Stopped:
                reply = None
        answered, party.carried_state = Answered(reply, party.carried_state), None
        return packed(answered)

    def forget(self, run: str) -> None:
        """Release the objects of a run."""
        self._given.pop(run, None)

    def _fetched(self, turn: Turn) -> _Given:
        import ray

        if turn.run not in self._given:
            sent = unpacked(ray.get(turn.model), copies=True)
            sent.model.gate = gate_by(self._current_order)
            self._given[turn.run] = _Given(sent)
        given = self._given[turn.run]
        if turn.name not in given.parties:
            given.parties[turn.name] = unpacked(ray.get(turn.party))
        if given.request_place != turn.request:
            given.request = unpacked(ray.get(turn.request), copies=True)
            given.request_place = turn.request
        return given

    def _current_order(self) -> int:
        turn, order = self._ordered
        return order if turn == self._turn else GO


def settle_in(environment: Mapping[str, str], paths: Sequence[str]) -> None:
    """Prepare the process of an actor: variables and folders of the kernel, and no output."""
    machine.inherit_core_dumps()
    os.environ.update(environment)
    sys.path.extend(path for path in paths if path not in sys.path and os.path.isdir(path))
    drop_output()


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide a curve's last digits."""
    found = {"python": platform.python_version()}
    for package in _COMPARED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def packed(thing: Any) -> Parcel:
    """Pickle a thing with the classes of it that a cell defines. Its arrays are not copied."""
    buffers: list[pickle.PickleBuffer] = []
    body = dumps(thing, protocol=5, buffer_callback=buffers.append)
    return Parcel(body, [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers])


def unpacked(parcel: Parcel, *, copies: bool = False) -> Any:
    """Return the thing.

    copies: without it, its arrays are those of the parcel, which can't be written to
    """
    body, arrays = parcel
    buffers = [bytearray(array.data) if copies else array.data for array in arrays]
    return pickle.loads(body, buffers=buffers)


def drop_output() -> None:
    """Drop all output of this process, which Ray would print into the cell that runs."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
