"""The event loop of asynchronous rounds."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.core.clock.timeline import Timeline, Traffic
from fusion_nb.core.clock.trips import Trip

PARTIES = ["a", "b", "c", "d"]


def advance(
    timeline: Timeline,
    seconds: dict[str, float],
    buffer: int,
    concurrency: int,
    first: Sequence[str],
) -> list[str]:
    version = len(timeline.rounds)
    candidates = [*first, *(party for party in PARTIES if party not in first)]
    timeline.advance(
        Traffic(
            buffer,
            concurrency,
            candidates,
            lambda party, time: Trip(time, 0.0, 0.0, seconds[party], 0.0, 0.0, version),
        )
    )
    return sorted(timeline.rounds[-1])


def test_with_equal_times_a_round_is_its_cohort() -> None:
    timeline, equal = Timeline(), dict.fromkeys(PARTIES, 2.0)
    assert advance(timeline, equal, 2, 2, ["b", "d"]) == ["b", "d"]
    assert timeline.time == 2.0
    assert timeline.under_way == {}
    assert advance(timeline, equal, 2, 2, ["a", "d"]) == ["a", "d"]
    assert [trip.version for trip in timeline.rounds[1].values()] == [1, 1]


def test_a_slow_party_arrives_later_with_old_weights() -> None:
    timeline, seconds = Timeline(), {"a": 1.0, "b": 10.0, "c": 1.5, "d": 4.0}
    assert advance(timeline, seconds, 2, 2, ["a", "b"]) == ["a", "c"]
    assert timeline.time == 2.5
    assert timeline.versions[-1] == {0}
    assert advance(timeline, seconds, 2, 2, ["d"]) == ["a", "d"]
    assert timeline.time == 7.5
    assert advance(timeline, seconds, 1, 2, ["c"]) == ["c"]
    assert advance(timeline, seconds, 1, 2, ["d"]) == ["b"]
    assert timeline.rounds[-1]["b"].version == 0
    assert timeline.time == 10.0


def test_a_party_is_in_a_buffer_once() -> None:
    timeline, seconds = Timeline(), {"a": 1.0, "b": 50.0, "c": 50.0, "d": 50.0}
    assert advance(timeline, seconds, 4, 2, ["a", "b"]) == PARTIES
    assert len(timeline.rounds[0]) == 4


def test_one_under_way_fills_a_larger_buffer() -> None:
    timeline = Timeline()
    assert advance(timeline, dict.fromkeys(PARTIES, 1.0), 3, 1, PARTIES) == ["a", "b", "c"]
    assert timeline.time == 3.0


def test_a_copy_goes_on_by_itself() -> None:
    timeline, seconds = Timeline(), {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    advance(timeline, seconds, 1, 2, ["a", "b"])
    other = timeline.copy()
    advance(other, seconds, 1, 2, ["c"])
    assert len(timeline.rounds) == 1
    assert advance(timeline, seconds, 1, 2, ["c"]) == sorted(other.rounds[1])
