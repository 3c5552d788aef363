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

    calls: all objects that the pickles ask to make
    names: all classes and functions that they name
    """

    def __init__(self, data: bytes) -> None:
        self._source = _Source(data)
        self.calls: list[Call] = []
        self.names: list[Global] = []

    def load(self) -> Any:
        """Return the value of the next pickle. Raises PickleError."""
        source, stack = self._source, _Stack(self.calls, self.names)
        instruction, actions = source.instruction, _ACTIONS
        try:
            while (code := instruction()) != _STOP:
                action = actions.get(code)
                if action is None:
                    raise PickleError(f"instruction {code:#04x} is not read")
                action(source, stack)
            return stack.pop()
        except (IndexError, struct.error):
            raise PickleError("it ends too early") from None
        except (KeyError, UnicodeDecodeError, AttributeError) as error:
            raise PickleError(f"it is damaged ({type(error).__name__})") from None


class _Source:
    """The bytes of pickles, read from their beginning: instructions, numbers, texts and lines."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def instruction(self) -> int:
        """Return the code of the next instruction."""
        code = self._data[self._position]
        self._position += 1
        return code

    def number(self, form: str) -> Any:
        """Return a number in a form of `struct`."""
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def counted(self, form: str) -> bytes:
        """Return the bytes whose count comes before them, in a form of `struct`."""
        return self._take(self.number(form))

    def text(self, form: str) -> str:
        """Return the text whose count of bytes comes before it."""
        return self.counted(form).decode("utf-8", "surrogatepass")

    def long(self, form: str) -> int:
        """Return the whole number of any size whose count of bytes comes before it."""
        return int.from_bytes(self.counted(form), "little", signed=True)

    def line(self) -> str:
        """Return the text up to the end of a line."""
        end = self._data.find(b"\n", self._position, self._position + _LONGEST_NAME)
        if end < 0:
            raise PickleError("it ends too early")
        line = self._take(end - self._position)
        self._position += 1
        return line.decode()

    def _take(self, count: int) -> bytes:
        start, end = self._position, self._position + count
        if end > len(self._data):
            raise PickleError("it ends too early")
        self._position = end
        return self._data[start:end]


class _Stack:
    """The values of one pickle while it is read, as its instructions put them together.

    calls, names: lists to which the objects and the names of this pickle are added
    """

    def __init__(self, calls: list[Call], names: list[Global]) -> None:
        self._calls, self._names = calls, names
        self._values: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        """Put a value on top."""
        self._values.append(value)

    def pop(self) -> Any:
        """Take the value on top."""
        return self._values.pop()

    def take(self, count: int) -> list[Any]:
        """Take that many values, the one on top last."""
        if len(self._values) < count:
            raise PickleError("it is damaged")
        taken = self._values[-count:]
        del self._values[-count:]
        return taken

    def mark(self) -> None:
        """Begin a group of values."""
        self._marks.append(self._values)
        self._values = []

    def since_mark(self) -> list[Any]:
        """Take the group of values that was begun last."""
        items, self._values = self._values, self._marks.pop()
        return items

    def remember(self, index: int | None = None) -> None:
        """Remember the value on top, under the next number unless one is given."""
        self._memo[len(self._memo) if index is None else index] = self._values[-1]

    def recall(self, index: int) -> None:
        """Put a value on top that was remembered."""
        self._values.append(self._memo[index])

    def append(self, items: list[Any]) -> None:
        """Add items to the list on top."""
        target = self._values[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Call):
            target.items.extend(items)
        else:
            raise PickleError("it puts items into no list")

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values, which alternate, to the mapping on top."""
        if len(items) % 2:
            raise PickleError("it is damaged")
        pairs = list(zip(items[::2], items[1::2], strict=True))
        if any(type(key) not in _KEYS for key, _ in pairs):
            raise PickleError("a key is neither text nor a number")
        target = self._values[-1]
        if isinstance(target, dict):
            target.update(pairs)
        elif isinstance(target, Call):
            target.items.extend(pairs)
        else:
            raise PickleError("it puts items into no mapping")

    def name(self, module: Any, name: Any) -> None:
        """Put the name of a class or function on top."""
        if not (isinstance(module, str) and isinstance(name, str)):
            raise PickleError("it is damaged")
        found = Global(module, name)
        self._names.append(found)
        self._values.append(found)

    def call(self, maker: Any, args: Any, *, is_new: bool = False) -> None:
        """Put the record of a call on top."""
        if not (isinstance(maker, Global) and isinstance(args, tuple)):
            raise PickleError("it calls no class or function")
        made = Call(maker, args, is_new)
        self._calls.append(made)
        self._values.append(made)

    def build(self) -> None:
        """Give the value on top to the object below it, as its state."""
        state = self._values.pop()
        target = self._values[-1]
        if not isinstance(target, Call) or target.state is not None:
            raise PickleError("it gives a state to no new object")
        target.state = state

    def container(self, kind: str, items: list[Any]) -> None:
        """Put the record of a call on top that makes a built-in container."""
        self.call(Global("builtins", kind), (items,))


_STOP = ord(".")
_ACTIONS: dict[int, Callable[[_Source, _Stack], Any]] = {
    0x80: lambda b, s: b.number("<B"),  # the protocol
    0x95: lambda b, s: b.number("<Q"),  # a frame: only a hint for readers of streams
    ord("N"): lambda b, s: s.push(None),
    0x88: lambda b, s: s.push(True),
    0x89: lambda b, s: s.push(False),
    ord("J"): lambda b, s: s.push(b.number("<i")),
    ord("K"): lambda b, s: s.push(b.number("<B")),
    ord("M"): lambda b, s: s.push(b.number("<H")),
    ord("G"): lambda b, s: s.push(b.number(">d")),
    0x8A: lambda b, s: s.push(b.long("<B")),
    0x8B: lambda b, s: s.push(b.long("<I")),
    ord("U"): lambda b, s: s.push(b.counted("<B")),
    ord("T"): lambda b, s: s.push(b.counted("<I")),
    ord("C"): lambda b, s: s.push(b.counted("<B")),
    ord("B"): lambda b, s: s.push(b.counted("<I")),
    0x8E: lambda b, s: s.push(b.counted("<Q")),
    ord("X"): lambda b, s: s.push(b.text("<I")),
    0x8C: lambda b, s: s.push(b.text("<B")),
    0x8D: lambda b, s: s.push(b.text("<Q")),
    ord("("): lambda b, s: s.mark(),
    ord(")"): lambda b, s: s.push(()),
    ord("]"): lambda b, s: s.push([]),
    ord("}"): lambda b, s: s.push({}),
    0x8F: lambda b, s: s.container("set", []),
    0x91: lambda b, s: s.container("frozenset", s.since_mark()),
    ord("t"): lambda b, s: s.push(tuple(s.since_mark())),
    ord("l"): lambda b, s: s.push(s.since_mark()),
    0x85: lambda b, s: s.push(tuple(s.take(1))),
    0x86: lambda b, s: s.push(tuple(s.take(2))),
    0x87: lambda b, s: s.push(tuple(s.take(3))),
    ord("a"): lambda b, s: s.append(s.take(1)),
    ord("e"): lambda b, s: s.append(s.since_mark()),
    0x90: lambda b, s: s.append(s.since_mark()),
    ord("s"): lambda b, s: s.set_items(s.take(2)),
    ord("u"): lambda b, s: s.set_items(s.since_mark()),
    ord("0"): lambda b, s: s.take(1),
    ord("1"): lambda b, s: s.since_mark(),
    ord("q"): lambda b, s: s.remember(b.number("<B")),
    ord("r"): lambda b, s: s.remember(b.number("<I")),
    0x94: lambda b, s: s.remember(),
    ord("h"): lambda b, s: s.recall(b.number("<B")),
    ord("j"): lambda b, s: s.recall(b.number("<I")),
    ord("c"): lambda b, s: s.name(b.line(), b.line()),
    0x93: lambda b, s: s.name(*s.take(2)),
    ord("R"): lambda b, s: s.call(*s.take(2)),
    0x81: lambda b, s: s.call(*s.take(2), is_new=True),
    ord("b"): lambda b, s: s.build(),
    ord("Q"): lambda b, s: s.push(Persistent(s.pop())),
}
