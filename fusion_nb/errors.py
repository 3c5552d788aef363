"""Every error a user meets, each saying what is wrong, what is allowed and what to do next.

    FusionError                 one red line and a hint; raised before any training where it can be
                                known
    ├── OptionError             an option, or the value given to it, is not one that exists
    ├── NameNotFoundError       a name is neither registered nor a variable of the notebook
    ├── MissingExtraError       a package is not installed; the hint says how to install it
    ├── DataError               the data can't be read, or its parts don't belong together
    │   └── SplitError          the data can't be divided among that many parties in that way
    ├── ModelError              the model can't be used, or doesn't fit the data
    ├── PartyError              too few parties answered in a round
    │   └── DivergedError       a party's loss or weights are no longer finite numbers
    ├── ContractError           a fusion, an engine or a model's adapter returns what it must not
    ├── RunError                a run was asked for something that its state does not allow
    │   └── Interrupted         ■ or Ctrl-C stopped the cell; the run holds its last whole round
    ├── ExportError             the files can't be written where they were asked for
    └── ServiceError            a Model Fusion service refused a call, or can't be reached

`Stopped` is not an error: it is how a stop reaches the training loop between two batches.
An exception from the user's own model or fusion is never wrapped: it keeps its type and traceback.
One from a row of the user's own data set is the cause of a DataError, which names party and row.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# Marks around an option, its value, and what only the owner of the data may read. They are
# characters of Unicode's private use area, which no message holds otherwise.
_OPTION, _VALUE, _PRIVATE, _END = "\ue000", "\ue001", "\ue002", "\ue003"
_MARKED_OPTION = re.compile(f"{_OPTION}([^{_VALUE}{_END}]*)(?:{_VALUE}([^{_END}]*))?{_END}")
_MARKED_PRIVATE = re.compile(f"{_PRIVATE}([^{_END}]*){_END}")

#: Line breaks of another library's message that a message quotes; and characters that steer a
#: terminal, or turn the direction of a line.
_BREAKS = re.compile(r"\s*[\r\n\u2028\u2029]+\s*")
_UNSEEN = re.compile("[\\0-\\x09\\x0b-\\x1f\\x7f-\\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
#: Characters of an option's value that a message repeats.
_MAX_VALUE = 300

#: The share of letters that a mistyped word has in common with the one that was meant.
_NEAR = 0.7

#: How a surface writes an option in a sentence: `(name, value or None) -> text`.
Spelling = Callable[[str, str | None], str]


def option(name: str, value: Any = None) -> str:
    """Return an option for use in a message, so that each surface can write it in its own way.

    name: as in `RunSpec`;  value: as it was given, or None where the sentence has no place for it

    >>> OptionError(f"{option('fraction', 2)} is not allowed").message
    '--fraction 2 is not allowed'
    """
    if value is None:
        return f"{_OPTION}{name}{_END}"
    text = str(value)
    if len(text) > _MAX_VALUE:
        text = f"{text[:_MAX_VALUE]}... ({len(text):,} characters)"
    return f"{_OPTION}{name}{_VALUE}{text}{_END}"


def private(text: object) -> str:
    """Return text for use in a message that only the owner of the data may read, such as a label.

    >>> DataError(f"label {private('Alice')!s} is no number").redacted().message
    "label '...' is no number"
    """
    return f"{_PRIVATE}{text}{_END}"


def plain_line(text: str) -> str:
    """Return text in one line, with characters that steer a terminal or turn a line as escapes."""
    return _UNSEEN.sub(_escaped, _BREAKS.sub(" ", text))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def cell_spelling(name: str, value: str | None = None) -> str:
    """Write an option as an option line has it: `--batch-size 32`."""
    flag = f"--{name.replace('_', '-')}"
    return flag if value is None else f"{flag} {value}"


def python_spelling(name: str, value: str | None = None) -> str:
    """Write an option as a call has it: `batch_size=32`, `split='dirichlet'`."""
    if value is None:
        return f"{name}="
    try:
        ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return f"{name}={value!r}"
    return f"{name}={value}"


class FusionError(Exception):
    """A mistake that a user can mend: one line that says what is wrong, and a hint that says what
    to do.

    message: what is wrong;  hint: what to do next;  option: the option of a run that it is about,
    by its name in `RunSpec`, or "";  value: what that option was given, or None;  allowed: the
    values that it takes, where they can be listed.

    `option` and `value` are those of the first `option(...)` in the message unless they are given.
    IPython and every notebook runner show `_render_traceback_` in place of the stack, which is of
    no use here.
    """

    #: How this error writes options. The surface that shows it may set another.
    spelling: Spelling = staticmethod(cell_spelling)

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        option: str = "",
        value: Any = None,
        allowed: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self._message, self._hint = message, hint
        first = _MARKED_OPTION.search(message)
        self.option = option or (first[1] if first else "")
        self.value = first[2] if value is None and first and not option else value
        self.allowed = tuple(allowed)

    @property
    def message(self) -> str:
        """The mistake, in one line."""
        return plain_line(self._spelled(self._message))

    @property
    def hint(self) -> str:
        """The values that are allowed, and the next step."""
        return _UNSEEN.sub(_escaped, self._spelled(self._hint))

    def spelled(self, spelling: Spelling) -> FusionError:
        """Return this error with its options written in another way."""
        self.spelling = spelling
        return self

    def redacted(self) -> FusionError:
        """Return a copy that says nothing of the rows, for those who don't own them."""
        other = self._copy()
        other._message = _MARKED_PRIVATE.sub("'...'", self._message)
        other._hint = _MARKED_PRIVATE.sub("'...'", self._hint)
        return other

    def to_dict(self) -> dict[str, Any]:
        """Return the error's parts, in which options and private text stay marked."""
        return {"message": self._message, "hint": self._hint, **self._parts()}

    def prefixed(self, prefix: str) -> FusionError:
        """Return a copy whose message begins with a text, such as the party that raised it."""
        other = self._copy()
        other._message = prefix + self._message
        return other

    def _copy(self) -> FusionError:
        other = type(self).__new__(type(self))
        other.__dict__ |= self.__dict__
        return other

    def _spelled(self, text: str) -> str:
        text = _MARKED_PRIVATE.sub(r"\1", text)
        return _MARKED_OPTION.sub(lambda found: self.spelling(found[1], found[2]), text)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self._message, self._hint, self._parts())

    def _parts(self) -> dict[str, Any]:
        return {"option": self.option, "value": self.value, "allowed": self.allowed}

    def _render_traceback_(self) -> list[str]:
        red, plain = "\x1b[31m", "\x1b[0m"
        lines = [f"{red}{type(self).__name__}: {self.message}{plain}"]
        return [*lines, f"  {self.hint}"] if self.hint else lines


@contextmanager
def spelled_in(spelling: Spelling) -> Iterator[None]:
    """Write the options in one way in every FusionError that is raised inside `with`.

    A surface does this at its border: a cell writes `--lr 0`, a call from Python `lr=0`.

    >>> try:
    ...     with spelled_in(python_spelling):
    ...         raise OptionError(f"{option('lr', 0)} is not allowed")
    ... except OptionError as error:
    ...     print(error)
    lr=0 is not allowed
    """
    try:
        yield
    except FusionError as error:
        error.spelled(spelling)
        raise


class OptionError(FusionError):
    """An option, or the value given to it, is not one that exists."""


class NameNotFoundError(FusionError):
    """A name is neither registered nor a variable of the notebook."""


class MissingExtraError(FusionError):
    """A package that this needs is not installed; the hint says how to install it."""


class DataError(FusionError):
    """The data can't be read, or its parts don't belong together."""


class SplitError(DataError):
    """The data can't be divided among that many parties in that way."""


class ModelError(FusionError):
    """The model can't be used, or doesn't fit the data."""


class PartyError(FusionError):
    """Too few parties answered in a round; the last whole round is kept."""


class DivergedError(PartyError):
    """A party's loss or weights are no longer finite numbers."""


class ContractError(FusionError):
    """A fusion, an engine or a model's adapter returned something that its contract does not allow.

    The last whole round is kept.
    """


class RunError(FusionError):
    """A run was asked for something that its state does not allow."""


class Interrupted(RunError):
    """■ or Ctrl-C stopped the cell; an error, so that Run All does not go on with half a
    training.
    """


class ExportError(FusionError):
    """The files can't be written where they were asked for."""


class ServiceError(FusionError):
    """A Model Fusion service refused a call, or can't be reached.

    status: of HTTP, or 0 where there was no answer;  field: the field of the request that it is
    about, or ""
    """

    def __init__(
        self, message: str, hint: str = "", *, status: int = 0, field: str = "", **parts: Any
    ) -> None:
        super().__init__(message, hint, **parts)
        self.status = status
        self.field = field

    def _parts(self) -> dict[str, Any]:
        return {**super()._parts(), "status": self.status, "field": self.field}


class Stopped(Exception):
    """Raised between batches when a stop was asked for; the round in progress is dropped."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return `did you mean X? ` for the allowed word that is near in spelling, or an empty string.

    Near is the only word that begins with it, one that is its last part after a dash, one of the
    same letters, or one that shares most of them. Dashes before an option are no letters, and
    capitals are as good as small ones.
    """
    known = {other.lstrip("-").casefold(): other for other in allowed}
    sought = word.lstrip("-").casefold()
    begun = [other for other in known if sought and other.startswith(sought)]
    last = re.split("[-_]", sought)[-1]
    inside = [last] if len(last) > 3 and last in known else []
    close = difflib.get_close_matches(sought, known, n=1, cutoff=_NEAR)
    swapped = [other for other in known if sorted(other) == sorted(sought)]
    found = begun if len(begun) == 1 else inside or swapped or close
    return f"did you mean {known[found[0]]!r}? " if found else ""


#: Which extra of this package brings a third-party module.
EXTRAS = {
    "torch": "torch",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "keras": "keras",
    "tensorflow": "keras",
    "gensim": "doc2vec",
    "sklearn": "sklearn",
    "skops": "sklearn",
    "xgboost": "xgboost",
    "lightgbm": "lightgbm",
    "transformers": "transformers",
    "peft": "transformers",
    "greenlet": "torch",
    "dp_accounting": "privacy",
    "cryptography": "privacy",
    "opacus": "privacy",
    "optuna": "tune",
    "flwr": "flower",
    "ray": "ray",
    "mlflow": "track",
    "tensorboard": "track",
    "wandb": "wandb",
    "fastapi": "service",
    "filelock": "service",
    "httpx": "service",
    "orjson": "service",
    "pythonjsonlogger": "service",
    "multipart": "service",
    "python_multipart": "service",
    "fastapi_offline": "service",
    "uvicorn": "service",
}


def missing_extra(error: ModuleNotFoundError, purpose: str) -> Exception:
    """Return a MissingExtraError that says how to install a module of an extra.

    For any other module, return the error itself.
    """
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return error
    return MissingExtraError(
        f"{purpose} needs the package {module!r}, which is not installed",
        f"run:  pip install 'fusion_nb[{EXTRAS[module]}]'  and restart the kernel",
    )


def _restored(
    kind: type[FusionError], message: str, hint: str, parts: dict[str, Any]
) -> FusionError:
    """Return an error as it was before it was pickled."""
    return kind(message, hint, **parts)
