"""The notation of the option `checkpoint`: `FOLDER[:every=1,keep=2]`, or `off`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fusion_nb.errors import OptionError, option

OFF = "off"
#: Options after the folder. A colon elsewhere belongs to the folder, as in `C:\runs`.
_OPTIONS = re.compile(r":((?:[A-Za-z_]+=[^,:/\\]*)(?:,[A-Za-z_]+=[^,:/\\]*)*)$")


@dataclass(frozen=True)
class CheckpointOption:
    """Where a run is saved, after which rounds, and how many of the last ones are kept.

    Quick rounds share a checkpoint, unless more are kept than two: one begins every half second,
    or every two where states are large.

    >>> CheckpointOption.parse("runs/mine:every=5")
    CheckpointOption(folder='runs/mine', every=5, keep=2)
    """

    folder: str
    every: int = 1
    keep: int = 2

    @classmethod
    def parse(cls, text: str) -> CheckpointOption | None:
        """Return what an option says, or None where nothing is saved. Raises OptionError."""
        text = text.strip()
        if text in ("", OFF):
            return None
        found = _OPTIONS.search(text)
        given: dict[str, int] = {}
        for part in found[1].split(",") if found else ():
            name, _, value = part.partition("=")
            if name not in ("every", "keep") or not value.isdecimal() or not int(value):
                raise OptionError(
                    f"{option('checkpoint', text)} is not allowed: {part!r}",
                    "write a folder, and after a colon every=1,keep=2: whole numbers >= 1",
                )
            given[name] = int(value)
        folder = text[: found.start()] if found else text
        if not folder:
            raise OptionError(
                f"{option('checkpoint', text)} names no folder", "write a folder, or off"
            )
        return cls(folder, **given)
