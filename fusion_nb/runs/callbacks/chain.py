"""The callbacks of one run, in order, none of which can lose it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np

from fusion_nb.core.process.foreign_errors import is_interrupt, print_traceback, said
from fusion_nb.core.types import RoundRecord
from fusion_nb.errors import Stopped
from fusion_nb.runs.callbacks.callback import Callback


class CallbackChain:
    """Callbacks, called in the order in which they were added.

    run: what they are given
    One that raises is called no more; its traceback is printed once, and a note tells it.
    """

    def __init__(self, run: Any = None) -> None:
        self._notes: list[str] = []
        self._run = run
        self._callbacks: tuple[Callback, ...] = ()
        #: Those that were told that this training began.
        self._started: set[int] = set()
        self._num_told = 0

    @property
    def notes(self) -> list[str]:
        """Sentences about callbacks, and those of each callback."""
        return [*self._notes, *(note for each in self._callbacks for note in _notes_of(each))]

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, callback: Callback) -> Callable[[], None]:
        """Add a callback, and return a function that removes it again.

        It takes the place of an earlier one of the same class and name, if that is a function's.
        """
        names = [_identity(other) for other in self._callbacks]
        if (own := _identity(callback)) is not None and own in names:
            place = names.index(own)
            self._callbacks = (*self._callbacks[:place], callback, *self._callbacks[place + 1 :])
        elif not self._has(callback):
            self._callbacks = (*self._callbacks, callback)
        return lambda: self._remove(callback)

    def start(self) -> None:
        """Tell that a training begins."""
        self._started = set()
        self._num_told = len(self._run.records) if self._callbacks else 0
        for callback in self._callbacks:
            self._start(callback)

    def decide(self, record: RoundRecord) -> str:
        """Tell a whole round before it is saved. Return why one of them ends the run, or ""."""
        reasons = []
        for callback in self._callbacks:
            if not callback.after_saving:
                self._start(callback)
                call = partial(callback.on_round, self._run, record)
                answer = self._call(callback, call, record.round)
                reasons.append(self._reason(callback, answer, record))
        return next(filter(None, reasons), "")

    def tell(self) -> None:
        """Tell the rounds that are saved since the last time."""
        late = [callback for callback in self._callbacks if callback.after_saving]
        records = self._run.records if late else ()
        for record in records[self._num_told :]:
            for callback in late:
                self._start(callback)
                call = partial(callback.on_round, self._run, record)
                self._call(callback, call, record.round)
        self._num_told = len(records)

    def end(self) -> None:
        """Tell that a training has ended."""
        for callback in self._callbacks:
            if id(callback) in self._started:
                self._call(callback, partial(callback.on_end, self._run))
        self._started = set()

    def _start(self, callback: Callback) -> None:
        """Tell a callback that the training began, once; one that came later hears it late."""
        if id(callback) not in self._started:
            self._started.add(id(callback))
            self._call(callback, partial(callback.on_start, self._run))

    def _call(self, callback: Callback, call: Callable[[], Any], round: int = 0) -> Any:
        if not self._has(callback):  # an earlier call removed it
            return None
        try:
            return call()
        except Stopped:  # it asked for something of the run, which is about to stop
            raise
        except BaseException as error:  # SystemExit too, which would end the thread that trains
            if is_interrupt(error):
                raise
            self._remove(callback)
            print_traceback(error, _own_frames(error))
            where = f" after round {round}" if round else ""
            self._notes.append(
                f"warning: the callback {_name_of(callback)} raised {said(error)}{where}, and is "
                "called no more; the run went on without it"
            )
            return None

    def _reason(self, callback: Callback, answer: Any, record: RoundRecord) -> str:
        """Return why a callback ends the run, or "" where it does not."""
        if isinstance(answer, str):
            return answer.strip()
        if answer is None:
            return ""
        if (decision := _truth(answer)) is None:
            self._note(
                f"the callback {_name_of(callback)} returned {type(answer).__name__}, which ends "
                "no run: return True, or a reason in words, to end it"
            )
        return f"{_name_of(callback)} ended it after round {record.round}" if decision else ""

    def _note(self, line: str) -> None:
        if line not in self._notes:
            self._notes.append(line)

    def _has(self, callback: Callback) -> bool:
        return any(other is callback for other in self._callbacks)

    def _remove(self, callback: Callback) -> None:
        self._callbacks = tuple(other for other in self._callbacks if other is not callback)


def _identity(callback: Callback) -> tuple[type, str, str] | None:
    """Return what the callback of a named function has in common with one of an earlier cell."""
    function = vars(callback).get("function")
    name = str(getattr(function, "__qualname__", "<lambda>"))
    if function is None or "<lambda>" in name:
        return None
    return type(callback), str(getattr(function, "__module__", "")), name


def _own_frames(error: BaseException) -> TracebackType | None:
    """Return the part of a traceback that begins in the user's own code, where there is one."""
    found = error.__traceback__
    while found is not None and found.tb_frame.f_globals["__name__"].startswith("fusion_nb."):
        found = found.tb_next
    return found or error.__traceback__


def _name_of(callback: Callback) -> str:
    """Return a callback's name, or that of its class where it can't tell."""
    try:
        return str(callback.name)
    except BaseException as error:
        if is_interrupt(error):
            raise
        return type(callback).__name__


def _notes_of(callback: Callback) -> list[str]:
    """Return a callback's notes, or one that it can't tell them."""
    try:
        return [str(note) for note in callback.notes]
    except BaseException as error:
        if is_interrupt(error):
            raise
        return [f"warning: the callback {_name_of(callback)} can't tell its notes ({said(error)})"]


def _truth(answer: Any) -> bool | None:
    """Return a truth value, one of numpy's or torch's too, or None for another value."""
    if isinstance(answer, bool):
        return answer
    try:
        found = np.asarray(answer)
    except BaseException as error:  # an object of the user's own
        if is_interrupt(error):
            raise
        return None
    return bool(found) if found.dtype == bool and found.ndim == 0 else None
