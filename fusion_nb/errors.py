"""Every error a user meets, each saying what is wrong, what is allowed and what to do next.

    FusionError                 one red line and a hint; raised before any training where it can be
                                known
    ├── OptionError             an option, or the value given to it, is not one that exists
    ├── NameNotFoundError       a name is neither registered nor a variable of the notebook
    ├── MissingExtraError       a package is not installed; the hint is the install line
    ├── DataError               the data can't be read, or its parts don't belong together
    │   └── SplitError          the data can't be divided among that many parties in that way
    ├── ModelError              the model can't be used, or doesn't fit the data
    ├── PartyError              too few parties answered in a round
    │   └── DivergedError       a party's loss or weights are no longer finite numbers
    ├── RunError                a run was asked for something that its state does not allow
    │   └── Interrupted         ■ or Ctrl-C stopped the cell; the run holds its last whole round
    ├── ExportError             the files can't be written where they were asked for
    └── ServiceError            a Model Fusion service refused a call, or can't be reached

`Stopped` is not an error: it is how a stop reaches the training loop between two batches.
An exception from the user's own model, data or fusion is never wrapped: it keeps its type and
traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FusionError(Exception):
    """A mistake that a user can mend: one line that says what is wrong, and a hint that says what
    to do.

    IPython and every notebook runner show `_render_traceback_` in place of the stack, which is of
    no use here.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.message, self.hint)

    def _render_traceback_(self) -> list[str]:
        red, plain = "\x1b[31m", "\x1b[0m"
        lines = [f"{red}{type(self).__name__}: {self.message}{plain}"]
        return [*lines, f"  {self.hint}"] if self.hint else lines


class OptionError(FusionError):
    """An option, or the value given to it, is not one that exists."""


class NameNotFoundError(FusionError):
    """A name is neither registered nor a variable of the notebook."""


class MissingExtraError(FusionError):
    """A package that this needs is not installed; the hint is the install line."""


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

    def __init__(self, message: str, hint: str = "", status: int = 0, field: str = "") -> None:
        super().__init__(message, hint)
        self.status = status
        self.field = field

    def __reduce__(self) -> tuple[type, tuple[str, str, int, str]]:  # type: ignore[override]
        return type(self), (self.message, self.hint, self.status, self.field)


class Stopped(Exception):
    """Raised between batches when a stop was asked for; the round in progress is dropped."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """Return `did you mean X? ` for the closest allowed word, or an empty string."""
    known = list(allowed)
    begun = [other for other in known if word and other.startswith(word)]
    close = begun if len(begun) == 1 else difflib.get_close_matches(word, known, n=1, cutoff=0.55)
    return f"did you mean {close[0]!r}? " if close else ""


#: Which extra of this package brings a third-party module.
EXTRAS = {
    "torch": "torch",
    "safetensors": "torch",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "keras": "keras",
    "tensorflow": "keras",
    "gensim": "doc2vec",
    "sklearn": "doc2vec",
    "greenlet": "torch",
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
    """Return a MissingExtraError with the install line for a module that an extra brings; else the
    error itself.
    """
    module = (error.name or "").partition(".")[0]
    if module not in EXTRAS:
        return error
    return MissingExtraError(
        f"{purpose} needs the package {module!r}, which is not installed",
        f"run:  pip install 'fusion_nb[{EXTRAS[module]}]'  and restart the kernel",
    )
