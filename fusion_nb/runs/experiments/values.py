"""The notation of several values of one option: lists, ranges, and seeds."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fusion_nb.core.seeds import MAX_SEED
from fusion_nb.errors import OptionError, option

#: Seeds of one experiment, at most: a range such as 0-999999 is a slip.
MAX_SEEDS = 1000
#: Values of an option of a component: mu=[0.01,0.1].
_INNER = re.compile(r"\[([^\[\]]*)\]")
#: A part that goes on with the options of the component before it: `mu=0.1`, `beta2=0.9`.
_GOES_ON = re.compile(r"^[A-Za-z_]\w*=")
_RANGE = re.compile(r"^\s*([-+\d.eE]+)\s*\.\.\s*([-+\d.eE]+)\s*$")


@dataclass(frozen=True)
class Range:
    """All numbers between two, which a search draws from; a grid can't try all of them.

    is_log: whether it is searched by orders of magnitude;  is_whole: whole numbers alone

    >>> Range.parse("0.001..1")
    Range(low=0.001, high=1.0, is_log=True, is_whole=False)
    """

    low: float
    high: float
    is_log: bool
    is_whole: bool

    @classmethod
    def parse(cls, text: str) -> Range | None:
        """Return the range that a text such as `0.001..1` names, or None for another text.

        It is searched by orders of magnitude where its ends are a factor of ten apart.
        """
        found = _RANGE.match(text)
        if not found:
            return None
        try:
            low, high = float(found[1]), float(found[2])
        except ValueError:
            return None
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise OptionError(f"{text!r} is no range", "write the lower end first: 0.001..0.1")
        is_whole = not set(found[1] + found[2]) & set(".eE")
        return cls(low, high, low > 0 and high >= 10 * low, is_whole)

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


def parse_seeds(given: Any) -> tuple[int, ...]:
    """Return seeds: `0-4`, `0,3,7`, `0-2,9`, a number, or any iterable of numbers.

    Raises OptionError for anything else, and for a seed that stands there twice.

    >>> parse_seeds("0-2,9"), parse_seeds(range(3)), parse_seeds(5)
    ((0, 1, 2, 9), (0, 1, 2), (5,))
    """
    parts: Iterable[Any]
    if isinstance(given, str):
        parts = given.strip().strip("[]").split(",")
    elif isinstance(given, Iterable):
        parts = itertools.islice(given, MAX_SEEDS + 1)
    else:
        parts = [given]
    seeds = [seed for part in parts for seed in _seeds_of(part, given)]
    if not seeds:
        raise _not_seeds(given)
    if len(seeds) > MAX_SEEDS:
        raise OptionError(
            f"{option('seeds', given)} are more than {MAX_SEEDS} runs", "give fewer seeds"
        )
    if len({*seeds}) < len(seeds):
        twice = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise OptionError(
            f"{option('seeds', given)} has {twice} twice", "a run of the same seed is the same run"
        )
    return tuple(seeds)


def _seeds_of(part: Any, given: Any) -> Sequence[int]:
    if isinstance(part, str):
        first, dash, last = (word.strip() for word in part.partition("-"))
        if first.isdecimal() and (last.isdecimal() if dash else True):
            low, high = int(first), int(last) if dash else int(first)
            if low <= high <= MAX_SEED:
                return range(low, min(high, low + MAX_SEEDS) + 1)
        raise _not_seeds(given)
    is_whole = not isinstance(part, bool) and hasattr(part, "__index__")
    if not is_whole or not 0 <= part.__index__() <= MAX_SEED:
        raise _not_seeds(given)
    return [part.__index__()]


def _not_seeds(given: Any) -> OptionError:
    return OptionError(
        f"{option('seeds', given)} is not allowed",
        "give whole numbers >= 0: 0-4, or 0,3,7; in Python also range(5)",
    )


def split_list(text: str) -> list[str]:
    """Return the parts of a list with commas; options of a component stay with it.

    >>> split_list("fedavg,fedadam:lr=0.1,tau=0.01,fedprox:mu=[0.1,1]")
    ['fedavg', 'fedadam:lr=0.1,tau=0.01', 'fedprox:mu=[0.1,1]']
    """
    parts: list[str] = []
    for part in _outside_brackets(text):
        if parts and ":" in parts[-1] and _GOES_ON.match(part):
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return [part.strip() for part in parts if part.strip()]


def expand(text: str) -> list[str]:
    """Return a component with each of the values that its options have in brackets.

    >>> expand("fedprox:mu=[0.1,1]")
    ['fedprox:mu=0.1', 'fedprox:mu=1']
    """
    found = _INNER.search(text)
    if not found or Range.parse(found[1]):
        return [text]
    values = [value.strip() for value in found[1].split(",") if value.strip()]
    if not values:
        raise OptionError(f"{text!r} has an empty list", "write its values: [0.01,0.1]")
    return [
        each
        for value in values
        for each in expand(f"{text[: found.start()]}{value}{text[found.end() :]}")
    ]


def ranges_in(text: str) -> dict[str, Range]:
    """Return the ranges in a component's options, by the text that stands for each.

    >>> list(ranges_in("fedprox:mu=[0.01..1]"))
    ['[0.01..1]']
    """
    found = {match[0]: Range.parse(match[1]) for match in _INNER.finditer(text)}
    return {written: each for written, each in found.items() if each is not None}


def _outside_brackets(text: str) -> list[str]:
    """Return the parts between commas that stand in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in ")]")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth:
        raise OptionError(f"a bracket is not closed in {text!r}", "write [0.01,0.1]")
    return parts
