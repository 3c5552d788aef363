"""The schedule of a learning rate, which falls over a run and again over added rounds."""

from __future__ import annotations

from dataclasses import dataclass, field

from fusion_nb.errors import OptionError, option


@dataclass
class Schedule:
    """The falls of a learning rate in order.

    falls: each as (the round after which it begins, the number of rounds that it takes)

    >>> str(Schedule.parse("0+10,10+5"))
    '0+10,10+5'
    """

    falls: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str) -> Schedule:
        """Return the schedule that text such as `0+10,10+5` describes. Raises OptionError."""
        parts = [part.partition("+") for part in filter(None, text.split(","))]
        if not all(
            after.isdecimal() and length.isdecimal() and int(length) for after, _, length in parts
        ):
            raise OptionError(
                f"{option('schedule', text)} is not allowed",
                "write after+rounds, several with commas: 0+10,10+5",
            )
        falls = [(int(after), int(length)) for after, _, length in parts]
        starts = [after for after, _ in falls]
        if falls and (starts[0] != 0 or starts != sorted(set(starts))):
            raise OptionError(
                f"{option('schedule', text)} is not allowed",
                "the first fall begins after round 0, others later",
            )
        return cls(falls)

    def extend(self, last: int, after: int | None = None) -> None:
        """Plan rounds up to `last`: those beyond the schedule get a fall of their own.

        after: the round after which that begins; by default the end of the schedule
        """
        end = sum(self.falls[-1]) if self.falls else 0
        if last > end:
            begin = end if after is None else after
            self.falls.append((begin, last - begin))

    def progress(self, round: int) -> tuple[float, float]:
        """Return where a round begins and ends on its fall, each from 0 to 1."""
        after, length = self.fall(round)
        return min(1.0, (round - 1 - after) / length), min(1.0, (round - after) / length)

    def fall(self, round: int) -> tuple[int, int]:
        """Return the fall that a round belongs to, as (the round before it, its rounds)."""
        return next((fall for fall in self.falls[::-1] if fall[0] < round), (0, round))

    def __str__(self) -> str:
        return ",".join(f"{after}+{length}" for after, length in self.falls)
