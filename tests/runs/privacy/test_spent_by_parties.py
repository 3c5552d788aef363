"""Epsilon of each party: in tables, cards and one line; and who is charged for lost updates."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusion_nb import Run
from fusion_nb.algorithms.privacy.accounting import epsilon, gaussian_epsilon
from fusion_nb.errors import OptionError

CENTRAL = {"parties": 6, "privacy": "central:clip=1,noise=2", "lr": 0.1, "rounds": 2}
LOCAL = CENTRAL | {"privacy": "local:clip=1,noise=4"}
ROWS = CENTRAL | {"privacy": "rows:clip=1,noise=2", "batch_size": 16}


def spent(run: Run) -> dict[str, float]:
    return {party.id: party.epsilon for party in run.parties}


@pytest.mark.parametrize("options", [CENTRAL, LOCAL])
def test_parties_are_charged_for_their_own_rounds(
    run_of: Callable[..., Run], net: Any, options: dict[str, Any]
) -> None:
    run = run_of(net(), **options, fraction=0.3).start().wait()
    rounds = {party: sum(party in r.cohort for r in run.records) for party in spent(run)}
    assert min(rounds.values()) == 0 < max(rounds.values())
    for party, count in rounds.items():
        expected = gaussian_epsilon(math.sqrt(count) / 2, 1e-5) if count else 0.0
        assert spent(run)[party] == pytest.approx(expected)
    assert max(spent(run).values()) == run.history["epsilon"][-1]


def test_rows_cost_by_their_party(run_of: Callable[..., Run], net: Any) -> None:
    pytest.importorskip("opacus")
    pytest.importorskip("dp_accounting")
    run = run_of(net(), **ROWS, split="quantity:alpha=1", roles="party 2=evaluate").start().wait()
    found = spent(run)
    assert found.pop("party 2") == 0  # it trains in no round
    for party, value in found.items():
        rows = run.parties[party].num_examples
        events = ((min(1.0, 16 / rows), 2.0, 2 * math.ceil(rows / 16)),)
        assert value == pytest.approx(epsilon(events, 1e-5))
    assert len({*found.values()}) > 1
    assert max(found.values()) == run.history["epsilon"][-1]


def test_a_secret_cohort_charges_all_alike(run_of: Callable[..., Run], net: Any) -> None:
    pytest.importorskip("dp_accounting")
    run = run_of(net(), **CENTRAL, sampling="poisson:q=0.3").start().wait()
    assert {*spent(run).values()} == {run.history["epsilon"][-1]}


@pytest.mark.parametrize("options", [CENTRAL, LOCAL])
def test_cohorts_of_a_seed_of_their_own_are_those_that_are_planned(
    run_of: Callable[..., Run], net: Any, options: dict[str, Any]
) -> None:
    planned = []
    for seed in range(6):
        run = run_of(net(), **options, fraction=0.3, seed_of=f"cohort={seed}")
        planned.append(next(note for note in run.notes if "will cost" in note))
        run.start().wait()
        assert f"epsilon {run.history['epsilon'][-1]:.3g} (" in planned[-1]
    assert len({*planned}) > 1  # some draw a party twice


@pytest.mark.parametrize("options", [LOCAL, ROWS])
def test_lost_updates_cost_what_was_planned(
    run_of: Callable[..., Run], net: Any, options: dict[str, Any]
) -> None:
    if options is ROWS:
        pytest.importorskip("opacus")
        pytest.importorskip("dp_accounting")
    whole = run_of(net(), **options).start().wait()
    torn = run_of(net(), **options, dropout=0.5, quorum=0.1).start().wait()
    assert torn.failures
    assert spent(torn) == spent(whole)


def test_updates_that_a_trusted_aggregator_never_had_are_in_no_model(
    run_of: Callable[..., Run], net: Any
) -> None:
    run = run_of(net(), **CENTRAL, dropout=0.5, quorum=0.1).start().wait()
    lost = [failure.party for failure in run.failures]
    assert min(spent(run)[party] for party in lost) < gaussian_epsilon(math.sqrt(2) / 2, 1e-5)


def test_epsilon_is_in_sight(run_of: Callable[..., Run], net: Any, tmp_path: Path) -> None:
    run = run_of(net(), **CENTRAL).start().wait()
    total = f"{run.history['epsilon'][-1]:.3f}"
    assert f"epsilon {total}" in str(run.summary()).partition("\n")[0]
    assert f"  {total}\n" in repr(run.parties)
    assert run.parties.to_frame()["epsilon"].tolist() == [run.history["epsilon"][-1]] * 6
    run.export(str(tmp_path / "out"))
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["parties"][0]["epsilon"] == run.history["epsilon"][-1]


def test_other_runs_have_no_epsilon(run_of: Callable[..., Run], net: Any) -> None:
    run = run_of(net(), parties=2, rounds=1).start().wait()
    assert "epsilon" not in repr(run.parties) + str(run.summary())
    assert "epsilon" not in run.parties.to_frame()
    assert math.isnan(run.parties[0].epsilon)


@pytest.mark.parametrize("options", [CENTRAL, LOCAL, ROWS])
def test_first_come_is_not_private(
    run_of: Callable[..., Run], net: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match="rows of one party decide"):
        run_of(net(), **options, fraction=0.5, over_select=1.5, devices="phones")


@pytest.mark.parametrize(
    ("fusion", "is_local_allowed"),
    [("median", True), ("krum", True), ("scaffold", False), ("fednova", False), ("fedbuff", False)],
)
def test_only_what_is_allowed_is_hinted(
    run_of: Callable[..., Run], net: Any, fusion: str, is_local_allowed: bool
) -> None:
    with pytest.raises(OptionError) as caught:
        run_of(net(), **CENTRAL, fusion=fusion)
    assert ("local" in caught.value.hint) == is_local_allowed


@pytest.mark.parametrize(
    ("options", "sender"),
    [
        (CENTRAL, ""),
        (LOCAL, ""),
        (CENTRAL | {"privacy": "central:clip=1,noise=2,adaptive=true"}, "privacy (its clip)"),
        ({"parties": 3, "fusion": "scaffold"}, "scaffold"),
    ],
)
def test_who_sends_numbers_beside_weights_is_named(
    run_of: Callable[..., Run], net: Any, options: dict[str, Any], sender: str
) -> None:
    run = run_of(net(), **options, compress="fp16")
    notes = [note for note in run.notes if "beside weights" in note]
    assert notes == (
        [f"compress: the numbers that {sender} sends beside weights travel uncompressed"]
        if sender
        else []
    )
