"""Comparisons: groups, targets, costs, tests over seeds, tables, and runs of any origin."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from compared import entry, pair

import fusion_nb
from fusion_nb.errors import FusionError, OptionError
from fusion_nb.runs.experiments.comparing.comparison import Comparison


def test_groups_are_ordered_by_their_means() -> None:
    found = Comparison(pair(3))
    assert found.order == ["good", "bad"]
    assert [row["runs"] for row in found.rows()] == [3, 3]
    assert found.rows()[1]["mean"] == pytest.approx(0.51)
    assert Comparison(pair(3), metric="loss").order == ["good", "bad"]


@pytest.mark.parametrize(("n", "winner"), [(3, ""), (5, ""), (6, "good"), (8, "good")])
def test_the_best_is_bold_only_where_the_test_says_so(n: int, winner: str) -> None:
    found = Comparison(pair(n))
    assert found.winner == winner
    assert ("**" in found.to_markdown()) == bool(winner)
    assert (r"\textbf" in found.to_latex()) == bool(winner)


def test_no_difference_is_no_winner() -> None:
    found = Comparison(pair(8, gap=0.0))
    assert found.winner == ""
    assert found.tests[0].n == 0


@pytest.mark.parametrize(("n", "warns"), [(1, True), (3, True), (4, True), (5, False), (7, False)])
def test_few_pairs_are_warned_of(n: int, warns: bool) -> None:
    assert any(note.startswith("warning") for note in Comparison(pair(n)).notes) == warns


def test_several_tests_are_adjusted() -> None:
    third = [entry("third", seed, [0.1, 0.4 + seed / 100]) for seed in range(6)]
    found = Comparison([*pair(6), *third])
    assert [test.adjusted for test in found.tests] == [0.0625, 0.0625]
    assert found.winner == ""


def test_rounds_to_a_target_have_an_interval_and_tell_who_reached_it() -> None:
    entries = [entry("a", 0, [0.1, 0.9]), entry("a", 1, [0.9, 0.9]), entry("a", 2, [0.1, 0.2])]
    row = Comparison(entries, target=0.9).rows()[0]
    assert (row["rounds_to_target"], row["reached"]) == (1.5, 2)
    assert row["rounds_low"] <= 1.5 <= row["rounds_high"]
    assert "(2 of 3)" in str(Comparison(entries, target=0.9))
    assert "never" in str(Comparison(entries, target=0.99))


@pytest.mark.parametrize(
    ("against", "x"),
    [("round", [1, 2]), ("bytes", [2, 4]), ("steps", [5, 10]), ("seconds", [1, 2])],
)
def test_curves_stand_at_their_costs(against: str, x: list[float]) -> None:
    entries = [entry("a", seed, [0.1 * seed, 0.5], steps=(5, 5)) for seed in range(2)]
    curve = Comparison(entries).curves(["accuracy"], against)[0]
    assert list(curve.x) == x
    assert curve.values["accuracy"][0][0] == pytest.approx(0.05)


@pytest.mark.parametrize(("lengths", "warns"), [((2, 2), False), ((2, 3), True)])
def test_runs_that_end_early_are_told(lengths: tuple[int, int], warns: bool) -> None:
    entries = [entry("a", seed, [0.1] * length) for seed, length in enumerate(lengths)]
    notes = Comparison(entries).notes
    assert any("do not have the same number of rounds" in note for note in notes) == warns


def test_a_cost_that_no_run_has_is_refused() -> None:
    for against in ("epsilon", "steps", "hours"):
        with pytest.raises(FusionError):
            Comparison(pair(2)).curves(["accuracy"], against)


@pytest.mark.parametrize("options", [{"metric": "acuracy"}, {"target": "x"}, {"band": "sd"}])
def test_other_options_are_refused(options: Any) -> None:
    with pytest.raises(OptionError):
        Comparison(pair(2), **options)


def test_tables_for_a_paper_have_all_settings_and_escape_their_names() -> None:
    found = Comparison([entry("a|b_c & 5 %", seed, [0.1]) for seed in range(2)])
    assert r"a\|b" in found.to_markdown()
    assert r"a|b\_c \& 5 \%" in found.to_latex()
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert rows[0]["setting"] == "a|b_c & 5 %"
    assert float(rows[0]["mean"]) == pytest.approx(0.1)


def test_runs_of_any_origin_are_compared(
    net: Callable[..., Any], rows: Any, short_sweep: Any, tmp_path: Path
) -> None:
    run = fusion_nb.federate(net(), rows, rounds=2, parties=3, lr=0.1)
    run.export(str(tmp_path / "exported"))
    saved = short_sweep(seeds="0-1", checkpoint=str(tmp_path / "saved"))
    several = [fusion_nb.federate(net(), rows, rounds=1, parties=2, lr=0.1, seed=s) for s in (0, 1)]
    found = fusion_nb.compare(
        {
            "here": run,
            "exported": tmp_path / "exported",
            "saved": str(tmp_path / "saved"),
            "experiment": saved,
            "several": several,
        }
    )
    assert {label: len(group) for label, group in found.groups.items()} == {
        "here": 1,
        "exported": 1,
        "saved": 2,
        "experiment": 2,
        "several": 2,
    }
    finals = found.finals
    assert finals["here"].mean == finals["exported"].mean
    assert finals["saved"].mean == finals["experiment"].mean
    assert found.rows()[0]["mean"] == max(final.mean for final in finals.values())


def test_a_list_is_named_by_what_differs(net: Callable[..., Any], rows: Any) -> None:
    runs = [
        fusion_nb.federate(net(), rows, rounds=1, parties=2, lr=lr, fusion=fusion, seed=seed)
        for lr in (0.1, 0.2)
        for fusion in ("fedavg", "median")
        for seed in (0, 1)
    ]
    found = fusion_nb.compare(runs)
    assert set(found.groups) == {
        "fedavg, lr 0.1",
        "median, lr 0.1",
        "fedavg, lr 0.2",
        "median, lr 0.2",
    }
    assert all(len(group) == 2 for group in found.groups.values())


@pytest.mark.parametrize("given", [{}, [], {"a": 3}, {"a": "no/such/folder"}, [None]])
def test_what_is_no_run_is_refused(given: Any) -> None:
    with pytest.raises(FusionError) as found:
        fusion_nb.compare(given)
    assert found.value.hint


def test_steps_are_those_of_the_parties_batches(net: Callable[..., Any], rows: Any) -> None:
    from fusion_nb.runs.experiments.trial import Facts

    run = fusion_nb.federate(net(), rows, rounds=2, parties=3, lr=0.1, batch_size=10, epochs=2)
    per_round = sum(2 * math.ceil(party.num_examples / 10) for party in run.federation.parties)
    assert Facts.of(run).steps == (per_round, per_round)
    fixed = fusion_nb.federate(net(), rows, rounds=1, parties=3, lr=0.1, local_steps=4)
    assert Facts.of(fixed).steps == (12,)


def test_settings_that_no_seed_tells_apart_are_told() -> None:
    (note,) = (note for note in Comparison(pair(4, gap=0.0)).notes if "nothing is tested" in note)
    assert note.startswith("warning: no seed of both tells")


@pytest.mark.parametrize("count", [2, 3, 5])
def test_one_run_of_each_is_told_in_one_sentence(count: int) -> None:
    found = Comparison([entry(f"setting {i}", 0, [0.2, 0.3 + 0.1 * i]) for i in range(count)])
    (note,) = (note for note in found.notes if "one run of each" in note)
    assert f"seeds can tell the best from {count - 1} other setting" in note
    assert not any("Wilcoxon" in each or "nothing is tested" in each for each in found.notes)
    assert "p" not in found.leaderboard().table()[0]
