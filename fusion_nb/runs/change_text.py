"""The notation of options that change during a run: `5:lr=0.01;8:fusion=fedprox:mu=0.1`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from fusion_nb.core.protocols import Change
from fusion_nb.errors import OptionError, option

_PART = re.compile(r"\s*(\d+)\s*:\s*(\w+)\s*=\s*(.+?)\s*$")


def parse(text: str) -> dict[int, dict[str, str]]:
    """Return round -> option -> value, as text. Raises OptionError for any other text.

    >>> parse("5:lr=0.01;8:fusion=fedprox:mu=0.1")
    {5: {'lr': '0.01'}, 8: {'fusion': 'fedprox:mu=0.1'}}
    """
    found: dict[int, dict[str, str]] = {}
    for part in filter(str.strip, text.split(";")):
        match = _PART.match(part)
        if match is None or not int(match[1]):
            raise OptionError(
                f"{option('changes')} can't read {part.strip()!r}",
                "write round:option=value, several with ; between: 5:lr=0.01;8:epochs=2",
                value=text,
            )
        found.setdefault(int(match[1]), {})[match[2]] = match[3]
    return found


def to_text(changes: Mapping[int, Change]) -> str:
    """Return the text that `parse` reads.

    >>> to_text({5: Change({"lr": 0.01})})
    '5:lr=0.01'
    """
    return ";".join(
        f"{round}:{name}={value}"
        for round in sorted(changes)
        for name, value in changes[round].values.items()
    )
