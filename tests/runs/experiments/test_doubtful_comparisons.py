"""Comparisons of runs that diverged, failed, ended early, share no seed, or are there twice."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compared import entry, pair

import fusion_nb
from fusion_nb.errors import OptionError
from fusion_nb.runs.experiments import statistics
from fusion_nb.runs.experiments.comparing.comparison import Comparison
from fusion_nb.runs.experiments.comparing.entries import Entry


def runs(label: str, finals: list[float], **more: Any) -> list[Entry]:
    """A run for each final value, under the seeds 0, 1, ..."""
    return [entry(label, seed, [0.1, value], **more) for seed, value in enumerate(finals)]


def noted(found: Comparison, text: str) -> bool:
    return any(text in note for note in found.notes)


# The best by its mean, and the pairs

OUTLIER = [0.90 + i / 1000 for i in range(11)]


@pytest.mark.parametrize(
    ("a", "b", "metric"),
    [
        ([*OUTLIER, 0.95], [*(x + 0.01 for x in OUTLIER), 0.1], "accuracy"),
        ([*OUTLIER, 0.95], [*(x + 0.01 for x in OUTLIER), -4.0], "loss"),
    ],
)
def test_a_setting_that_the_pairs_speak_against_is_never_bold(
    a: list[float], b: list[float], metric: str
) -> None:
    found = Comparison([*runs("steady", a), *runs("mostly better", b)], metric=metric)
    assert found.order[0] == "steady", "one run of the other spoils its mean"
    assert found.tests[0].adjusted < 0.05
    assert found.winner == ""
    assert "**" not in found.to_markdown()
    assert noted(found, "seed by seed mostly better is better than steady")
    assert noted(found, "steady is not better than every other")


def test_p_values_are_those_of_scipy_after_holm() -> None:
    from scipy import stats

    rng = np.random.default_rng(0)
    values = {name: rng.normal(mean, 0.1, 9) for name, mean in (("a", 0.9), ("b", 0.8), ("c", 0.5))}
    found = Comparison([e for name, each in values.items() for e in runs(name, list(each))])
    best, *others = found.order
    expected = [stats.wilcoxon(values[best] - values[o], method="exact").pvalue for o in others]
    assert [test.p for test in found.tests] == pytest.approx(expected)
    assert [test.adjusted for test in found.tests] == pytest.approx(statistics.holm(expected))


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e5])
def test_differences_that_are_equal_but_for_rounding_are_ties(scale: float) -> None:
    steps = [(0.2, 0.1), (0.3, 0.2), (0.9, 0.8), (0.5, 0.6), (0.4, 0.1), (0.7, 0.3)]
    p, n = statistics.wilcoxon([scale * (a - b) for a, b in steps])
    sums = [
        sum(rank for rank, sign in zip((2.5, 2.5, 2.5, 2.5, 5, 6), signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=6)
    ]
    assert (p, n) == (2 * sum(each <= 2.5 for each in sums) / 64, 6)


def test_values_that_differ_in_the_last_digit_are_no_pair() -> None:
    a = [0.1 + 0.2, 0.5, 0.7]
    found = Comparison([*runs("a", a), *runs("b", [0.3, 0.5, 0.7])])
    assert found.tests[0].n == 0


def test_values_that_were_kept_with_32_bits_are_no_pairs() -> None:
    values = list(np.random.default_rng(0).uniform(0.5, 1, 9))
    kept = [float(np.nextafter(np.float32(value), np.float32(2))) for value in values]
    found = Comparison([*runs("here", values), *runs("kept", kept)])
    assert (found.tests[0].n, found.winner) == (0, "")


def test_runs_of_one_seed_are_one_pair() -> None:
    twice = [*runs("a", [0.5, 0.6]), entry("a", 0, [0.1, 0.7])]
    found = Comparison([*twice, *runs("b", [0.4, 0.4])])
    assert found.finals["a"].mean == pytest.approx(0.6)
    assert (found.tests[0].pairs, found.tests[0].n) == (2, 2)
    assert noted(found, "a has seed 0 2 times")


def test_settings_without_a_common_seed_are_told() -> None:
    others = [entry("b", seed, [0.1, 0.5]) for seed in range(7, 13)]
    assert noted(Comparison([*runs("a", [0.9] * 6), *others]), "share no seed: nothing is tested")


# Runs that are in no mean, or not as long as others


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_run_without_a_finite_value_is_told_and_is_no_winner(value: float) -> None:
    good = runs("good", [*(0.9 + i / 100 for i in range(8)), value])
    found = Comparison([*good, *runs("bad", [0.2 + i / 1000 for i in range(9)])])
    assert noted(found, "accuracy of 1 run of good is no finite number: the mean is over the other")
    assert all(test.tells_best for test in found.tests)
    assert found.winner == ""


def test_runs_that_failed_are_told() -> None:
    failed = [entry("a", seed, [], status="failed") for seed in (3, 4)]
    found = Comparison([*failed, *runs("a", [0.5, 0.6])])
    assert found.rows()[0]["runs"] == 2
    assert noted(found, "2 runs of a failed, and are in no mean")


def test_a_failed_run_of_a_sweep_is_told_here_in_its_folder_and_in_its_report(
    short_sweep: Any, tmp_path: Path
) -> None:
    calls = itertools.count()

    @fusion_nb.fusion(name="fails_once")
    def fails_once(weights: Any, updates: Any) -> Any:
        update = next(iter(updates))
        if next(calls) == 2:
            raise ValueError("no luck")
        return update.weights

    made = short_sweep(fusion="fails_once", seeds="0-2", checkpoint=str(tmp_path / "saved"))
    made.report(tmp_path / "report")
    places = {"a": made, "b": tmp_path / "saved", "c": tmp_path / "report"}
    for name, place in places.items():
        found = fusion_nb.compare({name: place})
        assert found.rows()[0]["runs"] == 2
        assert noted(found, f"1 run of {name} failed, and is in no mean")


def test_a_run_that_has_not_ended_is_told() -> None:
    stopped = entry("a", 1, [0.1, 0.4], status="stopped")
    assert noted(Comparison([entry("a", 0, [0.1, 0.5]), stopped]), "has not ended as planned")


@pytest.mark.parametrize(("status", "winner"), [("running", ""), ("finished", "good")])
def test_no_setting_wins_while_an_experiment_goes_on(status: str, winner: str) -> None:
    ended = runs("good", [0.8 + i / 100 for i in range(7)], is_one_of_several=True)
    others = runs("bad", [0.2] * 7, is_one_of_several=True, status=status)
    found = Comparison([*ended, *others])
    assert found.winner == winner
    assert noted(found, "good is better than every other")
    assert noted(found, "good is not marked as the best") == (not winner)


def test_settings_of_different_lengths_are_told() -> None:
    found = Comparison([entry("a", 0, [0.1] * 2), entry("b", 0, [0.2] * 5)])
    assert noted(found, "the settings have 2 to 5 rounds")


@pytest.mark.parametrize("against", ["bytes", "seconds", "steps"])
def test_curves_never_go_back_where_dear_runs_end_early(against: str) -> None:
    dear = entry("a", 0, [0.1, 0.2], size=10**8, steps=(100, 100))
    cheap = entry("a", 1, [0.1, 0.2, 0.3, 0.4], steps=(2, 2, 2, 2))
    (curve,) = Comparison([dear, cheap]).curves(["accuracy"], against)
    assert list(curve.x) == sorted(curve.x)
    expected = {"bytes": 101 * 2, "seconds": 2.0, "steps": 102}
    assert curve.x[1] == pytest.approx(expected[against])


def test_the_metric_of_the_parties_own_models_is_named() -> None:
    own = entry("ditto", 0, [0.5])
    own.history[0].metrics["personal_accuracy"] = 0.9
    assert noted(Comparison([own]), "is personal_accuracy")
    assert not noted(Comparison([own], metric="personal_accuracy"), "is personal_accuracy")


def test_another_monitor_of_some_runs_is_told() -> None:
    by_loss = replace(entry("b", 0, [0.5]), monitor="loss")
    assert noted(Comparison([entry("a", 0, [0.4]), by_loss]), "b monitors loss")
    assert not noted(Comparison([by_loss], metric="accuracy"), "monitors")


# Tables


def test_a_table_has_the_band_that_it_names() -> None:
    values = [0.2, 0.4, 0.9]
    by_std, by_bootstrap = (Comparison(runs("a", values), band=b) for b in ("std", "bootstrap"))
    found = by_bootstrap.finals["a"]
    interval = f"0.500 [{found.low:.3f}, {found.high:.3f}]"
    assert noted(by_bootstrap, "95 % interval by bootstrap")
    assert interval in str(by_bootstrap)
    assert interval in by_bootstrap.to_latex()
    assert f"± {np.std(values, ddof=1):.3f}" in str(by_std)


@pytest.mark.parametrize(("num_seeds", "warns"), [(1, False), (2, True), (4, True), (5, False)])
@pytest.mark.parametrize("band", ["std", "bootstrap"])
def test_intervals_of_few_seeds_are_warned_of(num_seeds: int, warns: bool, band: str) -> None:
    found = Comparison(runs("a", [0.1 * i for i in range(num_seeds)]), band=band)
    assert noted(found, "are too narrow") == (warns and band == "bootstrap")


@pytest.mark.parametrize("name", ["ours *", "ours\n% *", "a very long name " * 9 + "*"])
def test_no_name_makes_a_value_bold(name: str) -> None:
    found = Comparison([*runs(name, [0.5, 0.6]), *runs("b", [0.4, 0.4])])
    assert "**" not in found.to_markdown()
    latex = found.to_latex()
    assert "textbf" not in latex
    body = latex.index(r"\begin{tabular}")
    assert all(line.startswith("%") for line in latex[:body].strip().split("\n"))
    assert len(latex[body:].strip().split("\n")) == 8


def test_a_long_name_is_whole_in_a_paper_and_bold_where_it_wins() -> None:
    name = "a setting with many options, " * 4 + "good"
    entries = [*runs(name, [0.8 + i / 100 for i in range(7)]), *runs("b", [0.2] * 7)]
    latex = Comparison(entries).to_latex()
    assert name in latex
    assert r"\textbf{0.830" in latex


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00012, "0.00012"), (0.5, "0.500"), (123456.0, "1.23e+05"), (0.0, "0.000")],
)
def test_small_and_large_values_keep_their_digits(value: float, text: str) -> None:
    assert text in str(Comparison([entry("a", 0, [value])]))


@pytest.mark.parametrize("target", [np.float32(0.5), np.int64(1), 0.5])
def test_a_target_is_any_number(target: Any) -> None:
    assert "rounds to" in str(Comparison(pair(2), target=target))


@pytest.mark.parametrize("target", [True, math.nan, "0.5", [0.5]])
def test_other_targets_are_refused(target: Any) -> None:
    with pytest.raises(OptionError, match="is not a number"):
        Comparison(pair(2), target=target)


# Lists of experiments


def test_experiments_in_a_list_are_named_by_what_differs(short_sweep: Any) -> None:
    few, many = short_sweep(seeds="0-1"), short_sweep(seeds="0-1", lr=0.2)
    found = fusion_nb.compare([few, many])
    assert {label: len(group) for label, group in found.groups.items()} == {
        "lr 0.1": 2,
        "lr 0.2": 2,
    }


def test_experiments_that_no_option_tells_apart_have_their_names(
    short_sweep: Callable[..., Any], tmp_path: Path
) -> None:
    vary = short_sweep(seeds="0-1", name="all_vary")
    held = short_sweep(seeds="0-1", hold="split", name="held", checkpoint=str(tmp_path / "kept"))
    assert set(fusion_nb.compare([vary, held]).groups) == {"all_vary", "held"}
    assert set(fusion_nb.compare([vary, tmp_path / "kept"]).groups) == {"all_vary", "kept"}
    assert set(fusion_nb.compare(vary, held).groups) == {"all_vary", "held"}


def test_further_seeds_of_the_same_settings_join_them(short_sweep: Any) -> None:
    found = fusion_nb.compare([short_sweep(seeds="0-1"), short_sweep(seeds="2-4")])
    assert [len(group) for group in found.groups.values()] == [5]


@pytest.mark.parametrize("seeds", ["0-1", "0,5"])
def test_a_folder_of_two_lengths_is_no_mean_over_both(
    short_sweep: Any, tmp_path: Path, seeds: str
) -> None:
    folder = str(tmp_path / "saved")
    short_sweep(lr=[0.1, 0.2], seeds="0-1", rounds=1, checkpoint=folder)
    longer = short_sweep(lr=[0.1, 0.2], seeds=seeds, rounds=2, checkpoint=folder)
    found = fusion_nb.compare(folder)
    assert {label: len(group) for label, group in found.groups.items()} == {
        f"rounds {rounds}, lr {lr}": 2 for rounds in (1, 2) for lr in (0.1, 0.2)
    }
    of_longer = longer.compare().finals
    for lr in (0.1, 0.2):
        assert found.finals[f"rounds 2, lr {lr}"] == of_longer[f"lr {lr}"]


def test_settings_of_a_folder_have_the_names_of_the_experiment(
    short_sweep: Any, tmp_path: Path
) -> None:
    made = short_sweep(
        optimizer=["sgd", "adam"], lr=[0.1], seeds="0-1", checkpoint=str(tmp_path / "saved")
    )
    assert fusion_nb.compare(tmp_path / "saved").groups.keys() == made.compare().groups.keys()


def test_an_experiment_is_compared_with_another_band(short_sweep: Any) -> None:
    made = short_sweep(seeds="0-4", rounds=1)
    assert "±" in str(made.compare())
    assert "[" in str(made.compare(band="bootstrap"))
    with pytest.raises(OptionError, match="band='sd' is not allowed"):
        made.compare(band="sd")


def test_an_option_of_the_name_of_a_metric_keeps_its_column(short_sweep: Any) -> None:
    made = short_sweep(loss=["cross_entropy", "bce_logits"], rounds=[1, 2])
    frame = made.to_frame()
    assert list(frame["loss (option)"]) == [t.settings["loss"] for t in made.runs]
    assert list(frame["rounds (option)"]) == [1, 1, 2, 2]
    assert list(frame.columns[:2]) == ["rounds (option)", "loss (option)"]
    assert frame["loss"][0] == made.runs[0].value("loss")
