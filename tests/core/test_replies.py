"""Replies of a round: unusable updates, counts, and the quorum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusion_nb.core.arithmetic import misfit
from fusion_nb.core.replies import RoundReplies
from fusion_nb.core.types import Failure, NoUpdate, Reply, Update
from fusion_nb.errors import DivergedError, PartyError

LIKE = {"w": np.zeros(2)}


def update(party: str, *values: float, **extras: Any) -> Update:
    return Update(party, {"w": np.array(values)}, 10, {"train_loss": values[0]}, extras)


def replies(*given: Reply, quorum: float = 0.1) -> RoundReplies:
    return RoundReplies(
        iter(given),
        [reply.party for reply in given],
        round=3,
        quorum=quorum,
        check=lambda found: misfit(found, LIKE),
    )


def test_sound_updates_pass_and_everything_is_counted() -> None:
    read = replies(
        update("a", 1.0, 2.0, extra=np.zeros(4)),
        NoUpdate("b", 20, 0.5, {"train_loss": 4.0}),
        Failure("c", "is away", exception=OSError()),
    )
    assert [reply.party for reply in read] == ["a"]
    assert [*read.no_updates] == ["b"]
    assert [(failure.party, failure.exception) for failure in read.failures] == [("c", None)]
    assert read.bytes_up == 16 + 32
    assert read.mean("train_loss") == 3.0
    assert read.mean("train_loss", {"a": 1, "b": 0}) == 1.0


@pytest.mark.parametrize(
    ("bad", "line", "error"),
    [
        (update("a", 1.0, np.nan), "not finite", DivergedError),
        (update("a", 1.0, 2.0, sum=np.array([np.inf])), "'sum' holds numbers", DivergedError),
        (update("a", 1.0, 2.0, 3.0), "has shape", PartyError),
        (Update("a", {"infinite": np.zeros(2)}, 1), "named differently: infinite", PartyError),
    ],
)
def test_an_unusable_update_is_refused_by_name(
    bad: Update, line: str, error: type[PartyError]
) -> None:
    read = replies(bad, update("b", 1.0, 2.0))
    assert [reply.party for reply in read] == ["b"]
    assert read.failures[0].error.startswith("the update of a in round 3 is refused: ")
    assert line in read.failures[0].error
    with pytest.raises(PartyError, match="refused") as caught:
        list(replies(bad, quorum=1.0))
    assert type(caught.value) is error


def test_too_few_answers_end_the_round() -> None:
    given = [update("a", 1.0, 2.0), Failure("b", "is away"), Failure("c", "is away too")]
    read = replies(*given, quorum=0.34)
    assert [reply.party for reply in read] == ["a"]
    read = replies(*given, quorum=0.6)
    with pytest.raises(PartyError, match="2 of 3 parties failed in round 3; c: is away too"):
        list(read)
    assert [failure.party for failure in read.failures] == ["b", "c"]


def test_further_replies_of_the_round_are_read_one_by_one() -> None:
    asked: list[str] = []

    def further() -> Any:
        for party in ("a", "b"):
            asked.append(party)
            yield update(party, 1.0, 2.0)

    read = replies(NoUpdate("a", 10), NoUpdate("b", 10))
    updates = read.continue_with(further())
    assert next(updates).party == "a"
    assert asked == ["a"]
    assert [*read.no_updates] == ["b"]
