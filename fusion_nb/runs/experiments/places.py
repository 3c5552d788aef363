"""The places where the trials of an experiment are trained: here, in processes, on a cluster."""

from __future__ import annotations

from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.process.machine import MOST_WORKERS, num_cores
from fusion_nb.errors import OptionError, option

#: The word for as many processes as save time.
AUTO = "auto"
_RAY = "ray"
#: Digits of a number that is read.
_DIGITS = 9


def parse_workers(given: Any) -> tuple[int | None, str]:
    """Return the number of processes, and the Ray cluster that they belong to, or "".

    given: a number of processes of this machine; `auto` for as many as save time, which is None; or
           `ray` with the options of that engine
    Raises OptionError for anything else.
    """
    text = str(given).strip()
    if text == AUTO:
        return None, ""
    if text.isdecimal() and not isinstance(given, bool):
        if len(text) > _DIGITS or int(text) > MOST_WORKERS:
            raise OptionError(
                f"{option('workers', text[:20])} is not allowed",
                f"give at most {MOST_WORKERS} processes, or 0 to train in this one",
            )
        return int(text), ""
    if text.partition(":")[0] != _RAY:
        raise OptionError(
            f"{option('workers', given)} is not allowed",
            "give auto, a whole number >= 0, or a Ray cluster, as ray, ray:workers=4 or "
            "ray:address=auto",
        )
    registry.create("engines", text)  # which refuses what its options don't allow
    return ray_options(text).get("workers") or num_cores(), text


def ray_options(cluster: str) -> dict[str, Any]:
    """Return the options that the text of a cluster gives."""
    return dict(registry.bind("engines", cluster)[1])
