"""Reading of pickles from people who are not trusted: nothing that they name is imported or called.

`pickle.Unpickler`, and torch's own one, build objects while they read; a file chooses then which
constructors run, with which sizes. Here a pickle becomes plain values and records of the calls that
it asks for. The reader of a format looks at these records, and builds from those that it knows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: Types of the keys of a dictionary. Others could take exponential time to be hashed.
_KEYS = (str, bytes, int, float, bool, type(None))
#: Bytes in a line with the name of a module or class.
_LONGEST_NAME = 1000


class PickleError(ValueError):
    """A pickle is damaged, or holds an instruction that no reader here needs."""


@dataclass(frozen=True)
class Global:
    """The name of a class or function in a pickle; it is not imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, repr=False)
class Call:
    """An object that a pickle asks to make.

    maker:  the class or function that would make it;  args: its arguments
    is_new: whether `maker.__new__` would be called, in place of `maker`
    state:  the object's state, or None;  items: those that are put into it, as (key, value) pairs
            of a mapping or as values of a list or a set
    """

    maker: Any
    args: Any
    is_new: bool = False
    state: Any = None
    items: list[Any] = field(default_factory=list)

    def makes(self, *names: str) -> bool:
        """Return whether its maker is one of these, each given as `module.name`."""
        return isinstance(self.maker, Global) and str(self.maker) in names


@dataclass(frozen=True, eq=False, repr=False)
class Persistent:
    """A reference to an object outside the pickle, such as a storage of torch's."""

    id: Any


class PickleReader:
    """Reads one pickle after another from bytes.

    position: of the first byte that is not read yet
    calls:    all objects that the pickles ask to make
    names:    all classes and functions that they name
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0
        self.calls: list[Call] = []
        self.names: list[Global] = []
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Return the value of the next pickle. Raises PickleError."""
        self._stack, self._marks, self._memo = [], [], {}
        data, actions = self._data, _ACTIONS
        try:
            while (code := data[self.position]) != _STOP:
                self.position += 1
                action = actions.get(code)
                if action is None:
                    raise PickleError(f"instruction {code:#04x} is not read")
                action(self)
            self.position += 1
            return self._stack.pop()
        except (IndexError, struct.error):
            raise PickleError("it ends too early") from None
        except (KeyError, UnicodeDecodeError, AttributeError) as error:
            raise PickleError(f"it is damaged ({type(error).__name__})") from None

    # Bytes and numbers

    def _take(self, count: int) -> bytes:
        start, end = self.position, self.position + count
        if end > len(self._data):
            raise PickleError("it ends too early")
        self.position = end
        return self._data[start:end]

    def _number(self, form: str) -> Any:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> str:
        end = self._data.find(b"\n", self.position, self.position + _LONGEST_NAME)
        if end < 0:
            raise PickleError("it ends too early")
        line = self._take(end - self.position)
        self.position += 1
        return line.decode()

    def _push_number(self, form: str) -> None:
        self._stack.append(self._number(form))

    def _push_long(self, form: str) -> None:
        self._stack.append(int.from_bytes(self._take(self._number(form)), "little", signed=True))

    def _push_bytes(self, form: str) -> None:
        self._stack.append(self._take(self._number(form)))

    def _push_text(self, form: str) -> None:
        self._stack.append(self._take(self._number(form)).decode("utf-8", "surrogatepass"))

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    # Containers

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _since_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marks.pop()
        return items

    def _tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise PickleError("it is damaged")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Call):
            target.items.extend(items)
        else:
            raise PickleError("it puts items into no list")

    def _set_items(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise PickleError("it is damaged")
        pairs = list(zip(items[::2], items[1::2], strict=True))
        if any(type(key) not in _KEYS for key, _ in pairs):
            raise PickleError("a key is neither text nor a number")
        target = self._stack[-1]
        if isinstance(target, dict):
            target.update(pairs)
        elif isinstance(target, Call):
            target.items.extend(pairs)
        else:
            raise PickleError("it puts items into no mapping")

    def _set(self, kind: str, items: list[Any]) -> None:
        self._call(Global("builtins", kind), (items,))

    def _remember(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def _pop(self, count: int) -> list[Any]:
        if len(self._stack) < count:
            raise PickleError("it is damaged")
        popped = self._stack[-count:]
        del self._stack[-count:]
        return popped

    # Objects

    def _global(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleError("it is damaged")
        found = Global(module, name)
        self.names.append(found)
        self._stack.append(found)

    def _call(self, maker: Any, args: Any, *, is_new: bool = False) -> None:
        if not (isinstance(maker, Global) and isinstance(args, tuple)):
            raise PickleError("it calls no class or function")
        made = Call(maker, args, is_new)
        self.calls.append(made)
        self._stack.append(made)

    def _build(self) -> None:
        state = self._stack.pop()
        target = self._stack[-1]
        if not isinstance(target, Call) or target.state is not None:
            raise PickleError("it gives a state to no new object")
        target.state = state


_STOP = ord(".")
_ACTIONS: dict[int, Callable[[PickleReader], Any]] = {
    0x80: lambda r: r._number("<B"),  # the protocol
    0x95: lambda r: r._number("<Q"),  # a frame: only a hint for readers of streams
    ord("N"): lambda r: r._push(None),
    0x88: lambda r: r._push(True),
    0x89: lambda r: r._push(False),
    ord("J"): lambda r: r._push_number("<i"),
    ord("K"): lambda r: r._push_number("<B"),
    ord("M"): lambda r: r._push_number("<H"),
    ord("G"): lambda r: r._push_number(">d"),
    0x8A: lambda r: r._push_long("<B"),
    0x8B: lambda r: r._push_long("<I"),
    ord("U"): lambda r: r._push_bytes("<B"),
    ord("T"): lambda r: r._push_bytes("<I"),
    ord("C"): lambda r: r._push_bytes("<B"),
    ord("B"): lambda r: r._push_bytes("<I"),
    0x8E: lambda r: r._push_bytes("<Q"),
    ord("X"): lambda r: r._push_text("<I"),
    0x8C: lambda r: r._push_text("<B"),
    0x8D: lambda r: r._push_text("<Q"),
    ord("("): lambda r: r._mark(),
    ord(")"): lambda r: r._push(()),
    ord("]"): lambda r: r._push([]),
    ord("}"): lambda r: r._push({}),
    0x8F: lambda r: r._set("set", []),
    0x91: lambda r: r._set("frozenset", r._since_mark()),
    ord("t"): lambda r: r._push(tuple(r._since_mark())),
    ord("l"): lambda r: r._push(r._since_mark()),
    0x85: lambda r: r._tuple(1),
    0x86: lambda r: r._tuple(2),
    0x87: lambda r: r._tuple(3),
    ord("a"): lambda r: r._append(r._pop(1)),
    ord("e"): lambda r: r._append(r._since_mark()),
    0x90: lambda r: r._append(r._since_mark()),
    ord("s"): lambda r: r._set_items(r._pop(2)),
    ord("u"): lambda r: r._set_items(r._since_mark()),
    ord("0"): lambda r: r._pop(1),
    ord("1"): lambda r: r._since_mark(),
    ord("q"): lambda r: r._remember(r._number("<B")),
    ord("r"): lambda r: r._remember(r._number("<I")),
    0x94: lambda r: r._remember(len(r._memo)),
    ord("h"): lambda r: r._push(r._memo[r._number("<B")]),
    ord("j"): lambda r: r._push(r._memo[r._number("<I")]),
    ord("c"): lambda r: r._global(r._line(), r._line()),
    0x93: lambda r: r._global(*r._pop(2)),
    ord("R"): lambda r: r._call(*r._pop(2)),
    0x81: lambda r: r._call(*r._pop(2), is_new=True),
    ord("b"): lambda r: r._build(),
    ord("Q"): lambda r: r._push(Persistent(r._stack.pop())),
}
