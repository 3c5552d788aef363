"""Rules with a state: rounds that are interrupted change nothing, and runs continue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from linear_parties import built, curve, remade

from fusion_nb.core.federation import Federation
from fusion_nb.core.protocols import Baseline
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.types import Failure
from fusion_nb.errors import PartyError, Stopped

#: Rules that keep something between rounds, so that some rounds of each synchronise and others do
#: not.
REMEMBERING = [
    *(
        "scaffold",
        "feddyn:alpha=0.1",
        "fedavgm",
        "fedadam",
        "fedyogi",
        "fedadagrad",
        "lag:xi=0.1",
        "cmfl:threshold=0.6",
    ),
    *("dynamic:threshold=0.3", "fda:theta=0.2", "fda:theta=0.2,monitor=sketch"),
]


@pytest.mark.parametrize("fusion", REMEMBERING)
class TestRoundsAreWhole:
    @pytest.fixture
    def make(self, fusion: str, rows: Any, net: Any) -> Callable[[], Federation]:
        options: dict[str, Any] = {"split": "dirichlet:alpha=0.3", "seed": 1}
        return lambda: built(rows, net(), fusion=fusion, **options)

    def test_a_federation_that_was_closed_continues_its_curve(self, make: Any, fusion: str) -> None:
        whole, parts = make(), make()
        expected = curve(whole.rounds(6))
        found = curve(parts.rounds(3))
        parts.close()
        assert found + curve(parts.rounds(3)) == expected
        if fusion.startswith(("lag", "cmfl", "dynamic", "fda")):
            assert len({silent for _, _, silent in expected}) > 1, "some rounds are unlike others"

    def test_a_round_that_failed_is_trained_again_from_the_same_state(self, make: Any) -> None:
        whole, broken = make(), make()
        expected = curve(whole.rounds(4))
        found = curve(broken.rounds(2))
        last = broken.parties[-1]
        answer, last.answer = last.answer, lambda request, model: Failure(last.id, "is away")
        with pytest.raises(PartyError):
            list(broken.rounds(1))
        last.answer = answer
        assert found + curve(broken.rounds(2)) == expected

    def test_a_round_that_was_stopped_at_its_end_is_trained_again(self, make: Any) -> None:
        whole, control = make(), RunControl()
        expected = curve(whole.rounds(4))
        broken = remade(make(), baselines=[StopInRound3(control)], control=control)
        found = curve(broken.rounds(2))
        with pytest.raises(Stopped):
            list(broken.rounds(1))
        control.reset()
        assert found + curve(broken.rounds(2)) == expected


class StopInRound3(Baseline):
    """Asks for a stop when round 3 is measured for the first time: nothing but its end is left."""

    def __init__(self, control: RunControl) -> None:
        self._control, self._is_done = control, False

    def measure(self, federation: Federation, round: int, is_last: bool) -> Any:
        if round == 3 and not self._is_done:
            self._control.stop()
            self._is_done = True
        return {}, {}
