"""Devices that are awake at some times only, by a file."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.core.clock.profiles import Device, Devices
from fusion_nb.errors import OptionError, option


class Trace(Devices):
    """Read when each device is awake from a CSV file, and how slow it is.

    Its columns are device, begin and end, in seconds from the beginning, and perhaps factor; a row
    is a time in which the device is awake. After the last end, the trace begins anew. Parties are
    given the devices in the file's order, and again from the first where there are more parties. A
    party that is asked while it is asleep begins when it awakes; work that has begun goes on.
    """

    def __init__(
        self,
        *,
        file: Annotated[str, Field(description="CSV file: device,begin,end and perhaps factor")],
        factor: Annotated[
            float,
            Field(description="time of a batch, in times of this machine, unless the file has it"),
        ] = 1.0,
    ) -> None:
        self._file, self._factor = file, factor
        self._awake: list[list[tuple[float, float]]] = []
        self._factors: list[float] = []
        self._period = 0.0

    def device(self, index: int, rng: np.random.Generator) -> Device:
        """Return the device of a party."""
        self._read()
        return Device(self._factors[index % len(self._factors)])

    def awake(self, index: int, time: float) -> float:
        """Return when a party that is asked at a time is awake."""
        self._read()
        spans = self._awake[index % len(self._awake)]
        begun = math.floor(time / self._period) * self._period
        now = time - begun
        # The first one of the next period comes after all of this one.
        for begin, end in [*spans, (spans[0][0] + self._period, math.inf)]:
            if now < end:
                return max(time, begun + begin)
        return time

    def check(self) -> None:
        """Raise OptionError for a file that can't be read."""
        self._read()

    def _read(self) -> None:
        if self._awake:
            return
        spans: dict[str, list[tuple[float, float]]] = {}
        factors: dict[str, float] = {}
        try:
            with Path(self._file).expanduser().open(newline="", encoding="utf-8") as lines:
                for number, row in enumerate(csv.DictReader(lines), 2):
                    device = row["device"]
                    begin, end = float(row["begin"]), float(row["end"])
                    factors[device] = float(row.get("factor") or self._factor)
                    if not (0 <= begin < end < math.inf and 0 < factors[device] < math.inf):
                        raise _refused(
                            self._file, f"line {number} has begin {begin:g}, end {end:g}"
                        )
                    spans.setdefault(device, []).append((begin, end))
        except (OSError, UnicodeDecodeError) as error:
            raise _refused(self._file, str(error)) from None
        except KeyError as error:
            raise _refused(self._file, f"it has no column {error}") from None
        except (ValueError, TypeError) as error:
            raise _refused(self._file, f"line {number}: {error}") from None
        if not spans:
            raise _refused(self._file, "it has no row")
        self._factors = [factors[device] for device in spans]
        self._period = max(end for found in spans.values() for _, end in found)
        self._awake = [sorted(found) for found in spans.values()]


def _refused(file: str, why: str) -> OptionError:
    return OptionError(
        f"{option('devices', f'trace:{file}')} can't be read ({why})",
        "give a CSV file with the columns device,begin,end (seconds, begin before end), and "
        "perhaps factor",
        option="devices",
        value=file,
    )
