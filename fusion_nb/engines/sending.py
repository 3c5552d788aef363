"""Models, rows, orders and replies on their way to another process, and back."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from fusion_nb.core.process import framework_settings
from fusion_nb.core.protocols import Model
from fusion_nb.core.types import Failure, Reply
from fusion_nb.errors import OptionError, Stopped, option

#: An order to a worker that trains: go on, wait, or give up the running request.
GO, HOLD, GIVE_UP = 0, 1, 2
#: Seconds between two looks at the order while it says wait.
_HOLD_SECONDS = 0.002


def dumps(thing: Any, **options: Any) -> Any:
    """Pickle a thing with the classes and functions of it that a cell defines."""
    import cloudpickle

    return cloudpickle.dumps(thing, **options)


def no_gate() -> None:
    """Let everything pass: the gate of a model on its way to another process."""


def gate_by(order: Callable[[], int]) -> Callable[[], None]:
    """Return the gate of a worker that waits, or raises Stopped, as its latest order says."""

    def gate() -> None:
        while order() == HOLD:
            time.sleep(_HOLD_SECONDS)
        if order() == GIVE_UP:
            raise Stopped

    return gate


def without_gate(model: Model) -> Model:
    """Return a copy of a model without its gate, which belongs to this process."""
    copied = model.clone()
    copied.gate = no_gate
    return copied


class Sent(NamedTuple):
    """A model on its way to another process, with the settings by which its framework computes."""

    model: Model
    settings: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, model: Model) -> Sent:
        """Return a copy of a model, without its gate, and the settings of this process."""
        return cls(without_gate(model), framework_settings.found(model.single_model.packages))

    def settled(self) -> Model:
        """Return the model, in a process that computes by the same settings from now on."""
        framework_settings.take(self.settings)
        return self.model


def checked_size(engine: str, measure: Callable[[], int]) -> int:
    """Return the number of bytes that are sent, as a function measures it by pickling them.

    Raises OptionError where something can't be pickled.
    """
    try:
        return measure()
    except Exception as error:
        line = (
            "the model or its rows can't be sent to another process: "
            f"{str(error).strip().splitlines()[0]}"
        )
        hint = f"use {option('engine', 'local')}"
        raise OptionError(f"{option('engine', engine)}: {line}", hint) from error


def portable(reply: Reply) -> Reply:
    """Return a reply that can be sent: a failure without an exception that can't be unpickled."""
    if isinstance(reply, Failure) and reply.exception is not None:
        try:
            pickle.loads(pickle.dumps(reply.exception))
        except Exception:
            return replace(reply, exception=None)
    return reply
