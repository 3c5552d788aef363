"""Sentences about a comparison: the tests and their limits, and runs that are in no mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fusion_nb.core.history import OWNERS
from fusion_nb.runs.experiments import statistics
from fusion_nb.runs.experiments.comparing.entries import Entry
from fusion_nb.runs.experiments.comparing.paired import PairedTest
from fusion_nb.runs.experiments.statistics import ALPHA, FEW_PAIRS

_NAMED = 3


def about_runs(
    groups: Mapping[str, Sequence[Entry]], failed: Sequence[Entry], metric: str
) -> list[str]:
    """Return sentences about runs that failed, have no value, or do not have all rounds."""
    notes = []
    losses = {entry.loss_name for group in groups.values() for entry in group if entry.loss_name}
    if len(losses) > 1 and "loss" in metric:
        notes.append("warning: the losses are not the same, and can't be compared")
    notes += _left_out(failed)
    for label, group in groups.items():
        count = sum(not math.isfinite(entry.last(metric)) for entry in group)
        if 0 < count < len(group):
            notes.append(
                f"warning: {metric} of {_runs(count)} of {label} is no finite number: the mean is "
                f"over the other {len(group) - count}"
            )
        if count := sum(entry.status != "finished" for entry in group):
            verb = "has" if count == 1 else "have"
            notes.append(
                f"warning: {_runs(count)} of {label} {verb} not ended as planned: the last round "
                "that is there counts"
            )
    return [*notes, *_lengths(groups), *_of_own_models(groups, metric)]


def about_monitors(groups: Mapping[str, Sequence[Entry]], metric: str) -> list[str]:
    """Return a sentence where some of the runs are monitored by another metric, or none."""
    others = {
        label: entry.monitor
        for label, group in groups.items()
        for entry in group
        if entry.monitor not in ("", metric)
    }
    if not others or len(others) == len(groups):
        return []
    label, monitor = next(iter(others.items()))
    return [f"compared by {metric}; {label} monitors {monitor}: metric= compares by another one"]


def about_band(band: str, num_seeds: int) -> list[str]:
    """Return a sentence where intervals of that number of seeds promise too much, or none."""
    if band != "bootstrap" or not 1 < num_seeds < FEW_PAIRS:
        return []
    return [
        f"warning: intervals by bootstrap over {num_seeds} seeds are too narrow: give "
        f"{FEW_PAIRS} or more seeds"
    ]


def about_tests(tests: Sequence[PairedTest], winner: str, most_runs: int) -> list[str]:
    """Return sentences about what the tests tell, and what they can't.

    most_runs: of one setting
    """
    if not tests:
        return []
    needed = statistics.pairs_needed(len(tests))
    word = "other setting" if len(tests) == 1 else "other settings"
    enough = f"at least {needed} seeds can tell the best from {len(tests)} {word} with p < {ALPHA}"
    if most_runs == 1:
        return [f"warning: with one run of each, chance may decide which is best: {enough}"]
    n, best = min(test.n for test in tests), tests[0].best
    highest = max(tests, key=lambda test: test.adjusted)
    notes = [
        f"{best} is {_verdict(tests, winner)} by Wilcoxon's signed-rank test over seeds (highest p "
        f"{highest.adjusted:.3g} against {highest.other}, adjusted by Holm, n = {highest.n})"
    ]
    if not winner and all(test.tells_best for test in tests):
        notes.append(f"warning: {best} is not marked as the best: runs diverged, or still go on")
    notes += [
        f"warning: seed by seed {test.other} is better than {best} (p {test.adjusted:.3g}), though "
        "its mean is not: look at the single runs"
        for test in tests
        if test.is_significant and not test.favours_best
    ]
    if n == 0:
        notes.append(_untested(next(test for test in tests if test.n == 0)))
    elif n < FEW_PAIRS:
        pairs = "pair that differs is" if n == 1 else "pairs that differ are"
        notes.append(f"warning: {n} {pairs} few: p can't be below {statistics.smallest_p(n):.3g}")
    if n < needed and not winner:
        notes.append(enough)
    return notes


def _verdict(tests: Sequence[PairedTest], winner: str) -> str:
    if winner or all(test.tells_best for test in tests):
        return "better than every other"
    if all(test.is_significant for test in tests):
        return "not better than every other"
    return "not told apart from every other"


def _untested(test: PairedTest) -> str:
    if not test.pairs:
        return f"warning: {test.best} and {test.other} share no seed: nothing is tested"
    return f"warning: no seed of both tells {test.best} from {test.other}: nothing is tested"


def _left_out(failed: Sequence[Entry]) -> list[str]:
    labels = list(dict.fromkeys(entry.label for entry in failed))
    counts = {label: sum(entry.label == label for entry in failed) for label in labels}
    notes = [
        f"warning: {_runs(count)} of {label} failed, and {'is' if count == 1 else 'are'} in no mean"
        for label, count in list(counts.items())[:_NAMED]
    ]
    rest = len(counts) - len(notes)
    return [*notes, f"warning: runs of {rest} more settings failed"] if rest > 0 else notes


def _lengths(groups: Mapping[str, Sequence[Entry]]) -> list[str]:
    """Return sentences about runs, and settings, of different numbers of rounds."""
    lengths = {label: {len(entry.history) for entry in group} for label, group in groups.items()}
    uneven = [label for label, found in lengths.items() if len(found) > 1]
    if uneven:
        more = f" and of {len(uneven) - _NAMED} more" if len(uneven) > _NAMED else ""
        return [
            f"warning: the runs of {'; '.join(uneven[:_NAMED])}{more} do not have the same number "
            "of rounds: the later part of a curve is a mean over those that went on"
        ]
    all_lengths = {length for found in lengths.values() for length in found}
    if len(all_lengths) > 1:
        return [
            f"the settings have {min(all_lengths)} to {max(all_lengths)} rounds: each is compared "
            "after its own last one"
        ]
    return []


def _of_own_models(groups: Mapping[str, Sequence[Entry]], metric: str) -> list[str]:
    """Return a sentence where parties have models of their own, and the fused one is compared."""
    own = f"personal_{metric}"
    if metric.startswith(OWNERS):
        return []
    if any(own in entry.history.metrics() for group in groups.values() for entry in group):
        return [f"{metric} is that of the fused model; that of the parties' own models is {own}"]
    return []


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
