"""Robust rules with too few updates, and options that they refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hostile_parties import federation_of, spec_of
from linear_parties import remade
from weight_tables import fused, some

from fusion_nb.core import registry
from fusion_nb.core.types import Failure, Reply, Request, RoundRequest
from fusion_nb.engines.local import LocalEngine
from fusion_nb.errors import OptionError, PartyError
from fusion_nb.runs.build import build

LEAST = {
    "krum:f=2": 7,
    "multikrum:f=1,m=6": 6,
    "bulyan:f=1": 7,
    "trimmed_mean:beta=0.1": 10,
    "trimmed_mean:beta=0.3": 4,
    "bucketing:s=2+krum:f=1": 9,
    "bucketing:s=3+median": 1,
}


class Losing(LocalEngine):
    """An engine that loses two parties in round 2."""

    def run(self, request: Request, cohort: Sequence[str]) -> Iterator[Reply]:
        for reply in super().run(request, cohort):
            is_lost = (
                isinstance(request, RoundRequest)
                and request.round == 2
                and reply.party in ("party 1", "party 5")
            )
            yield Failure(reply.party, "gone") if is_lost else reply


class TestTooFewUpdates:
    @pytest.mark.parametrize("name", LEAST)
    def test_a_rule_requires_the_updates_that_it_needs(self, name: str) -> None:
        assert registry.create("fusions", name).requires.min_updates == LEAST[name]
        fused(name, some(LEAST[name]))
        if LEAST[name] > 1:
            with pytest.raises(
                PartyError, match=r"needs the updates of \d+ parties in a round, and got \d+"
            ):
                fused(name, some(LEAST[name] - 1))

    def test_a_cohort_that_is_too_small_is_refused_before_training(
        self, rows: Any, net: Any
    ) -> None:
        with pytest.raises(
            OptionError, match=r"--fusion krum:f=2 needs 7 parties in a round, and there are 6"
        ):
            federation_of(rows, net, fusion="krum:f=2", parties=6)
        with pytest.raises(OptionError, match=r"needs 5 parties in a round, and there are 4"):
            federation_of(rows, net, fusion="krum", parties=8, fraction=0.5)
        with pytest.raises(OptionError, match=r"needs 5 parties"):
            federation_of(rows, net, fusion="krum", personal="ditto", parties=4)

    def test_a_round_with_too_few_updates_fails_and_the_last_whole_one_is_kept(
        self, rows: Any, net: Any
    ) -> None:
        names = {"model": net(), "data": rows}
        federation = remade(build(spec_of(fusion="krum", parties=6, quorum=0.5), names), Losing())
        with pytest.raises(
            PartyError, match="krum needs the updates of 5 parties in a round, and got 4"
        ):
            list(federation.rounds(3))
        assert len(federation.history) == 1
        assert [failure.party for failure in federation.round_failures] == ["party 1", "party 5"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("trimmed_mean:beta=0.5", "beta=0.5 is not allowed"),
            ("trimmed_mean:beta=-0.1", "not allowed"),
            ("krum:f=-1", "f=-1 is not allowed"),
            ("krum:m=2", "no option 'm'"),
            ("multikrum:m=x", "not allowed"),
            ("centered_clip:tau=-1", "not allowed"),
            ("geometric_median:nu=0", "not allowed"),
            ("geometric_median:iterations=0", "not allowed"),
            ("bucketing:s=0+median", "s=0 is not allowed"),
            ("bucketing:s=2", "needs another one after it"),
            ("median+krum", "takes no other one after it"),
            ("bucketing+scaffold", "single parties"),
            ("bucketing+dynamic", "single parties"),
        ],
    )
    def test_options_out_of_range_are_refused(self, text: str, message: str) -> None:
        with pytest.raises(OptionError, match=message):
            registry.create("fusions", text)
