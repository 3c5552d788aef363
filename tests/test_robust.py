"""Rules that stand hostile parties, and the hostile parties: each against a few lines of numpy, and
both together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.algorithms.attacks import hostile, largest_z
from fusion_nb.core import arithmetic, registry, seeds
from fusion_nb.core.types import Failure, Reply, Unchanged, Update, Weights
from fusion_nb.engines.faults import Faulty, Stragglers
from fusion_nb.engines.local import LocalEngine
from fusion_nb.errors import DataError, DivergedError, FusionError, OptionError, PartyError
from fusion_nb.runs.build import build, divide

START: Weights = {"a": np.full((2, 3), 0.5), "b": np.linspace(-1, 1, 4)}


def weights_of(vector: np.ndarray) -> Weights:
    """Return weights like START that hold these numbers in a row."""
    return {"a": vector[:6].reshape(2, 3).copy(), "b": vector[6:].copy()}


def vector_of(weights: Weights) -> np.ndarray:
    return np.concatenate([weights["a"].ravel(), weights["b"]])


ORIGIN = vector_of(START)


def updates(table: np.ndarray) -> list[Update]:
    return [Update(f"party {i:02}", weights_of(row), i + 1) for i, row in enumerate(table)]


def some(count: int, seed: int = 0) -> np.ndarray:
    return ORIGIN + np.random.default_rng(seed).normal(0.3, 1.0, (count, 10))


def fused(
    name: str, given: np.ndarray | Sequence[Update], start: Weights = START, rounds: int = 1
) -> Any:
    """Return what a rule makes of a table, as a vector, or of updates; of the same in some rounds,
    in the last."""
    rule = registry.create("fusions", name)
    state, sent = rule.init(start), updates(given) if isinstance(given, np.ndarray) else given
    for _ in range(rounds):
        result, state = rule.fuse(start, iter(sent), state)
    return vector_of(result) if isinstance(given, np.ndarray) else result


def krum_order(table: np.ndarray, f: int) -> list[int]:
    scores = []
    for i, row in enumerate(table):
        squares = sorted(((row - other) ** 2).sum() for j, other in enumerate(table) if j != i)
        scores.append(sum(squares[: max(1, len(table) - f - 2)]))
    return sorted(range(len(table)), key=lambda i: scores[i])


def bulyan(table: np.ndarray, f: int) -> np.ndarray:
    left, chosen = list(range(len(table))), []
    while len(chosen) < len(table) - 2 * f:
        chosen.append(left.pop(krum_order(table[left], f)[0]))
    columns = []
    for column in table[chosen].T:
        middle = np.median(column)
        columns.append(
            np.mean(sorted(column, key=lambda value: abs(value - middle))[: len(chosen) - 2 * f])
        )
    return np.array(columns)


def clipped(table: np.ndarray, tau: float, iterations: int, rounds: int) -> np.ndarray:
    v = np.zeros(10)
    for _ in range(rounds * iterations):
        v = v + np.mean(
            [(d - v) * min(1, tau / np.linalg.norm(d - v)) for d in table - ORIGIN], axis=0
        )
    return ORIGIN + v


def trimmed(table: np.ndarray, cut: int) -> np.ndarray:
    return np.sort(table, axis=0)[cut : len(table) - cut].mean(axis=0)


class TestRules:
    @pytest.mark.parametrize("count", [7, 8, 13])
    def test_each_is_what_its_paper_says(self, count: int) -> None:
        table = some(count, count)
        order = krum_order(table, 1)
        expected = {
            "median": np.median(table, axis=0),
            "trimmed_mean:beta=0.3": trimmed(table, int(0.3 * count)),
            "krum": table[order[0]],
            "krum:f=2": table[krum_order(table, 2)[0]],
            "multikrum": table[order[: count - 1]].mean(axis=0),
            "multikrum:f=2,m=3": table[krum_order(table, 2)[:3]].mean(axis=0),
            "bulyan": bulyan(table, 1),
            "centered_clip:tau=1.5": clipped(table, 1.5, 1, 1),
            "centered_clip:tau=1.5,iterations=4": clipped(table, 1.5, 4, 1),
        }
        for name, vector in expected.items():
            assert np.allclose(fused(name, table), vector, atol=1e-12), name

    def test_a_share_is_cut_off_however_it_is_rounded(self) -> None:
        assert 0.29 * 100 < 29
        assert np.allclose(fused("trimmed_mean:0.29", some(100)), trimmed(some(100), 29))
        assert np.allclose(fused("trimmed_mean:0.4999999999", some(4)), trimmed(some(4), 1))

    def test_the_geometric_median_has_the_least_distances(self) -> None:
        table = some(9)
        found = fused("geometric_median", table)
        units = [(row - found) / np.linalg.norm(row - found) for row in table]
        assert np.linalg.norm(np.sum(units, axis=0)) < 0.05
        total = np.linalg.norm(table - found, axis=1).sum()
        nearby = found + np.random.default_rng(1).normal(0, 0.05, (50, 10))
        assert all(np.linalg.norm(table - other, axis=1).sum() > total for other in nearby)

    def test_the_geometric_median_of_most_is_where_they_are(self) -> None:
        table = some(7)
        table[:4] = table[0]
        assert np.allclose(fused("geometric_median", table), table[0], atol=1e-4)

    def test_who_sends_back_what_it_got_does_not_hold_the_geometric_median(self) -> None:
        table = np.vstack([ORIGIN, 3 + some(8)])
        far = np.linalg.norm(fused("geometric_median", table) - ORIGIN)
        assert far > 0.9 * np.linalg.norm(fused("geometric_median", table[1:]) - ORIGIN)

    def test_one_mean_with_a_large_nu_is_the_mean(self) -> None:
        table = some(6)
        assert np.allclose(fused("geometric_median:nu=1e6,iterations=1", table), table.mean(axis=0))

    def test_clipping_starts_from_the_last_centre(self) -> None:
        table = some(8) + 4
        assert np.allclose(
            fused("centered_clip:tau=1.5", table, rounds=3), clipped(table, 1.5, 1, 3)
        )

    def test_clipping_without_a_tau_clips_at_the_median_distance(self) -> None:
        table = some(9)
        tau = float(np.median(np.linalg.norm(table - ORIGIN, axis=1)))
        assert np.allclose(fused("centered_clip", table), clipped(table, tau, 1, 1))

    def test_statistics_have_no_centre_of_their_own(self) -> None:
        rule = registry.create("fusions", "centered_clip:tau=1")
        rule.meet(num_parties=4, trained=frozenset({"a"}), model=None)
        result, state = rule.fuse(START, iter(updates(some(4) + 9)), rule.init(START))
        assert set(state) == {"a"}
        centre = np.concatenate([vector_of({**state, "b": np.zeros(4)})])
        again, _ = rule.fuse(START, iter(updates(np.tile(ORIGIN, (4, 1)))), state)
        # Of the centre a part is left; statistics, which nobody moved now, are where the weights
        # are.
        assert np.linalg.norm(centre) <= 1 + 1e-12
        assert np.array_equal(again["b"], START["b"])
        assert not np.array_equal(result["b"], START["b"])

    @pytest.mark.parametrize("size", [1, 2, 3])
    def test_buckets_are_means_of_parties_in_a_random_order(self, size: int) -> None:
        table = some(8)
        orders = [seeds.stream(0, "bucketing", number).permutation(8) for number in range(2)]
        for rounds, order in enumerate(orders, 1):
            buckets = np.array([table[order[i : i + size]].mean(axis=0) for i in range(0, 8, size)])
            found = fused(f"bucketing:s={size}+median", table, rounds=rounds)
            assert np.allclose(found, np.median(buckets, axis=0))
        assert not np.array_equal(*orders)

    def test_who_is_in_a_bucket_does_not_depend_on_who_answers_first(self) -> None:
        given = updates(some(8))
        orders = [given[i:] + given[:i] for i in range(8)]
        assert all(
            arithmetic.equal(fused("bucketing+krum:f=0", order), fused("bucketing+krum:f=0", given))
            for order in orders
        )

    def test_bucketing_keeps_the_state_of_the_inner_rule(self) -> None:
        table = some(6) + 3
        found = fused("bucketing:s=1+centered_clip:tau=1", table, rounds=3)
        assert np.allclose(found, clipped(table, 1.0, 1, 3))

    def test_bucketing_brings_krum_nearer_to_the_mean_of_unlike_parties(self) -> None:
        table = ORIGIN + np.eye(10)  # no two of them learned the same

        def error(name: str) -> float:
            return float(np.square(fused(name, table) - table.mean(axis=0)).sum())

        assert error("krum") == pytest.approx(1 - 1 / 10)
        assert error("bucketing:s=2+krum") == pytest.approx(1 / 2 - 1 / 10)

    @pytest.mark.parametrize(
        ("name", "plain"),
        [
            ("trimmed_mean:beta=0", "iter_avg"),
            ("multikrum:f=1,m=9", "iter_avg"),
            ("multikrum:f=0", "iter_avg"),
            ("bulyan:f=0", "iter_avg"),
            ("centered_clip:tau=1e9", "iter_avg"),
            ("multikrum:f=2,m=1", "krum:f=2"),
            ("bucketing:s=1+median", "median"),
            ("bucketing:s=1+iter_avg", "iter_avg"),
            ("bucketing:s=1+krum", "krum"),
            ("bucketing:s=9+geometric_median", "iter_avg"),
        ],
    )
    def test_each_is_plain_where_it_has_nothing_to_do(self, name: str, plain: str) -> None:
        assert np.allclose(fused(name, some(9)), fused(plain, some(9)), atol=1e-9)


#: Rules that are to stand two hostile parties of eleven.
STANDING = [
    *(
        "median",
        "trimmed_mean:beta=0.2",
        "krum:f=2",
        "multikrum:f=2",
        "bulyan:f=2",
        "geometric_median",
    ),
    *(
        "centered_clip",
        "centered_clip:tau=2",
        "bucketing:s=2+median",
        "bucketing:s=2+geometric_median",
    ),
]
#: What hostile parties send, in place of numbers around 0.8.
OUTLIERS = [1e3, -1e9, 1e120, 1e200]


class TestHostileNumbers:
    @pytest.mark.parametrize("name", STANDING)
    @pytest.mark.parametrize("outlier", OUTLIERS)
    def test_two_of_eleven_are_stood(self, name: str, outlier: float) -> None:
        honest = some(9)
        table = np.vstack(
            [honest[:4], np.full(10, outlier), honest[4:], outlier * np.arange(1, 11)]
        )
        found = fused(name, table)
        reach = np.linalg.norm(honest - honest.mean(axis=0), axis=1).max()
        assert np.linalg.norm(found - honest.mean(axis=0)) < 1.5 * reach
        assert np.abs(fused("iter_avg", table) - honest.mean(axis=0)).max() > 10 * reach

    @pytest.mark.parametrize(
        "name", ["median", "trimmed_mean:0.2", "krum:f=2", "multikrum:f=2", "bulyan:f=2"]
    )
    def test_no_number_leaves_the_range_of_the_honest(self, name: str) -> None:
        for seed, outlier in itertools.product(range(5), (5.0, -1e6)):
            honest = some(9, seed)
            found = fused(name, np.vstack([honest, np.full((2, 10), outlier)]))
            assert (found >= honest.min(axis=0)).all()
            assert (found <= honest.max(axis=0)).all()

    def test_bulyan_averages_no_number_of_whom_krum_would_trust_as_a_whole(self) -> None:
        honest = some(10)
        near = honest.mean(axis=0)
        near[3] += 1.8  # so near as a whole that krum takes it
        table = np.vstack([honest, near])
        assert np.array_equal(fused("krum:f=2", table), near)
        assert abs(fused("bulyan:f=2", table)[3] - honest[:, 3].mean()) < 0.9

    def test_where_nobody_is_near_it_says_so(self) -> None:
        with pytest.raises(DivergedError, match="no distance is finite"):
            fused("geometric_median", np.full((3, 10), 1e200))


#: Weights with everything that a model's state may hold.
def full(counter: int, value: float) -> Weights:
    return {
        "w": np.full((3,), value, np.float32),
        "half": np.full((2,), value, np.float16),
        "count": np.array(counter, np.int64),
        "small": np.array([counter % 100], np.uint8),
        "mask": np.array([value > 1, True]),
        "wave": np.array([value + 2j * value], np.complex64),
    }


EVERY = [
    *("median", "trimmed_mean", "krum", "multikrum", "bulyan", "geometric_median", "centered_clip"),
    *("bucketing:s=2+median", "bucketing:s=2+multikrum:f=0"),
]


class TestEntriesOfAllKinds:
    @pytest.mark.parametrize("name", EVERY)
    def test_counters_beyond_2_to_53_keep_their_last_digit(self, name: str) -> None:
        counter = 2**60 + 7
        given = [Update(f"party {i}", full(counter, 0.1 * i), 1) for i in range(8)]
        start = full(2**60, 0.0)
        found = fused(name, given, start)
        assert found["count"] == counter
        assert not arithmetic.misfit(found, start)

    def test_counters_are_medians_or_means_rounded(self) -> None:
        counts = [2**60 + step for step in (0, 1, 3, 4, 4, 5, 90)]
        given = [Update(f"party {i}", full(count, 1.0), 1) for i, count in enumerate(counts)]
        start = full(0, 1.0)
        for name in ("median", "geometric_median", "centered_clip"):
            assert fused(name, given, start)["count"] == 2**60 + 4, name
        assert fused("trimmed_mean", given, start)["count"] == 2**60 + 3  # (1 + 3 + 4 + 4 + 5) / 5
        assert fused("krum", given, start)["count"] == 2**60  # of equals, the first by name

    def test_krum_takes_one_party_as_a_whole(self) -> None:
        given = [
            Update(f"party {i}", full(i, value), 1)
            for i, value in enumerate((9.0, 1.0, 1.5, 2.0, -9.0))
        ]
        found = fused("krum", given, full(0, 0.0))
        assert any(arithmetic.equal(found, update.weights) for update in given[1:4])

    def test_complex_numbers_have_a_distance(self) -> None:
        start = {"wave": np.zeros(2, np.complex64)}
        rows = [{"wave": np.array([1j * k, 0], np.complex64)} for k in (0, 0.9, 1, 1.1, 50)]
        given = [Update(f"party {i}", row, 1) for i, row in enumerate(rows)]
        assert fused("krum", given, start)["wave"][0] == np.complex64(1j)
        assert abs(fused("geometric_median", given, start)["wave"][0] - 1j) < 0.1
        assert fused("median", given, start)["wave"][0] == np.complex64(1j)

    def test_entries_of_more_columns_than_are_looked_at_together(self) -> None:
        rng = np.random.default_rng(0)
        start = {"w": np.zeros(70_001, np.float32)}
        rows = rng.normal(size=(5, 70_001)).astype(np.float32)
        given = [Update(f"party {i}", {"w": row}, 1) for i, row in enumerate(rows)]
        assert np.array_equal(fused("median", given, start)["w"], np.median(rows, axis=0))
        chosen = rows[krum_order(rows.astype(np.float64), 1)[0]]
        assert np.array_equal(fused("krum", given, start)["w"], chosen)

    @pytest.mark.parametrize("name", EVERY)
    def test_rows_are_a_claim_that_counts_for_nothing(self, name: str) -> None:
        given = updates(some(8))
        claimed = [
            replace(update, num_examples=10**9 if i == 3 else 1) for i, update in enumerate(given)
        ]
        assert arithmetic.equal(fused(name, given), fused(name, claimed))


LEAST = {
    "krum:f=2": 7,
    "multikrum:f=1,m=6": 6,
    "bulyan:f=1": 7,
    "trimmed_mean:beta=0.1": 10,
    "trimmed_mean:beta=0.3": 4,
    "bucketing:s=2+krum:f=1": 9,
    "bucketing:s=3+median": 1,
}


class TestTooFew:
    @pytest.mark.parametrize("name", LEAST)
    def test_it_is_told_how_many_are_needed(self, name: str) -> None:
        assert registry.create("fusions", name).min_updates == LEAST[name]
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
            run_of(rows, net, fusion="krum:f=2", parties=6)
        with pytest.raises(OptionError, match=r"needs 5 parties in a round, and there are 4"):
            run_of(rows, net, fusion="krum", parties=8, fraction=0.5)
        with pytest.raises(OptionError, match=r"needs 5 parties"):
            run_of(rows, net, fusion="krum", personal="ditto", parties=4)

    def test_a_round_with_too_few_answers_fails_and_the_last_whole_one_is_kept(
        self, rows: Any, net: Any
    ) -> None:
        class Losing(LocalEngine):
            def run(self, verb: Any, cohort: Any, **orders: Any) -> Any:
                for reply in super().run(verb, cohort, **orders):
                    lost = (
                        verb == "fit"
                        and orders["round"] == 2
                        and reply.party in ("party 1", "party 5")
                    )
                    yield Failure(reply.party, "gone") if lost else reply

        federation = build(
            spec_of(fusion="krum", parties=6, quorum=0.5), {"model": net(), "data": rows}
        )
        federation.engine = Losing()
        with pytest.raises(
            PartyError, match="krum needs the updates of 5 parties in a round, and got 4"
        ):
            list(federation.rounds(3))
        assert len(federation.history) == 1
        assert [failure.party for failure in federation.failed] == ["party 1", "party 5"]

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
    def test_options_that_make_no_sense_are_refused(self, text: str, message: str) -> None:
        with pytest.raises(OptionError, match=message):
            registry.create("fusions", text)


def spec_of(**options: Any) -> RunSpec:
    defaults: dict[str, Any] = {"data": "data", "lr": 0.1, "rounds": 3, "parties": 6}
    return RunSpec(**defaults | options)


def run_of(rows: Any, net: Any, **options: Any) -> Run:
    return Run(spec_of(**options), {"model": net(), "data": rows})


#: A party's changes, by name, as they are sent in a round that starts from zero.
CHANGES = {
    "one": [1.0, 2.0],
    "bad": [9.0, -9.0],
    "two": [3.0, 2.0],
    "evil": [0.5, 0.0],
    "three": [5.0, -1.0],
}
BEGIN: Weights = {
    "w": np.array([10.0, 20.0], np.float32),
    "norm.mean": np.array([1.0], np.float32),
    "norm.count": np.array(5, np.int64),
}
HONEST = np.array([CHANGES[party] for party in ("one", "two", "three")])


def replies(*absent: str) -> list[Reply]:
    return [
        Failure(party, "gone")
        if party in absent
        else Update(
            party,
            {
                "w": BEGIN["w"] + np.array(change, np.float32),
                "norm.mean": np.array([2.0], np.float32),
                "norm.count": np.array(6, np.int64),
            },
            7,
            {"train_loss": 0.5},
            {"control": change},
        )
        for party, change in CHANGES.items()
    ]


def sent(text: str, given: Sequence[Reply], round: int = 1, adversary: Any = None) -> list[Reply]:
    """Return what arrives of replies where "bad" and "evil" are hostile."""
    adversary = adversary or registry.create("adversaries", text)
    orders = {"weights": BEGIN, "round": round, "seed": 0}
    return list(adversary(iter(given), orders, ("bad", "evil"), frozenset({"w"})))


def change_of(reply: Reply) -> list[float]:
    assert isinstance(reply, Update)
    return list((reply.weights["w"] - BEGIN["w"]).tolist())


FORGERS = [name for name in registry.names("adversaries") if name != "label_flip"]


class TestForgers:
    @pytest.mark.parametrize("name", FORGERS)
    def test_only_trained_numbers_of_hostile_parties_are_forged(self, name: str) -> None:
        given = replies()
        for before, after in zip(given, sent(name, given), strict=True):
            assert isinstance(before, Update)
            assert isinstance(after, Update)
            if before.party not in ("bad", "evil"):
                assert after is before
                continue
            assert replace(after, weights=before.weights) == before
            assert not arithmetic.misfit(after.weights, before.weights)
            assert after.weights["norm.count"] == 6
            assert after.weights["norm.mean"] == 2.0
            assert not np.array_equal(after.weights["w"], before.weights["w"])
            assert (
                before.weights["w"].tolist()
                == (BEGIN["w"] + np.float32(CHANGES[before.party])).tolist()
            )

    @pytest.mark.parametrize("name", FORGERS)
    def test_failures_and_silence_pass_in_their_place(self, name: str) -> None:
        given: list[Reply] = [Unchanged("zero", 3), *replies("evil", "two")]
        found = sent(name, given)
        assert [reply.party for reply in found] == ["zero", *CHANGES]
        assert [type(reply) for reply in found] == [type(reply) for reply in given]
        assert found[0] is given[0]

    @pytest.mark.parametrize("name", FORGERS)
    def test_hostile_parties_alone_send_something(self, name: str) -> None:
        found = sent(name, replies("one", "two", "three"))
        assert [type(reply) for reply in found] == [Failure, Update, Failure, Update, Failure]

    def test_bits_are_flipped(self) -> None:
        found = sent("bit_flip:2", replies())
        assert change_of(found[1]) == [-9.0, 9.0]
        assert change_of(found[3]) == [-0.5, 0.0]

    def test_signs_are_flipped(self) -> None:
        assert change_of(sent("sign_flip:2", replies())[1]) == [-36.0, 36.0]
        assert change_of(sent("sign_flip:2,scale=2", replies())[1]) == [-18.0, 18.0]

    def test_noise_is_of_a_round_and_a_party(self) -> None:
        first, again, next_round = (
            sent("noise:2,sigma=3", replies(), number) for number in (1, 1, 2)
        )
        assert change_of(first[1]) == change_of(again[1])
        draws = [np.subtract(change_of(found[1]), CHANGES["bad"]) for found in (first, next_round)]
        draws += [np.subtract(change_of(first[3]), CHANGES["evil"])]
        assert not any(np.allclose(a, b, atol=1e-3) for a, b in itertools.combinations(draws, 2))

    def test_noise_is_as_wide_as_it_is_told(self) -> None:
        start = {"w": np.zeros(20_000)}
        adversary = registry.create("adversaries", "noise:1,sigma=3")
        given = iter([Update("bad", {"w": np.ones(20_000)}, 1)])
        (found,) = adversary(
            given, {"weights": start, "round": 1, "seed": 0}, ("bad",), frozenset({"w"})
        )
        assert found.weights["w"].mean() == pytest.approx(1, abs=0.1)
        assert found.weights["w"].std() == pytest.approx(3, rel=0.03)

    def test_inner_products_are_manipulated(self) -> None:
        found = sent("ipm:2,epsilon=0.5", replies())
        assert change_of(found[1]) == change_of(found[3]) == [-1.5, -0.5]

    def test_a_little_is_enough(self) -> None:
        found = sent("alie:2,z=1.5", replies())
        assert change_of(found[1]) == pytest.approx(
            list(HONEST.mean(axis=0) - 1.5 * HONEST.std(axis=0)), abs=1e-5
        )
        computed = sent("alie:2", replies())
        expected = HONEST.mean(axis=0) - NormalDist().inv_cdf(2 / 3) * HONEST.std(axis=0)
        assert (
            change_of(computed[1])
            == change_of(computed[3])
            == pytest.approx(list(expected), abs=1e-5)
        )

    def test_how_far_a_little_may_be(self) -> None:
        # n = 50, f = 12: 26 - 12 = 14 supporters of 38 honest parties
        assert largest_z(50, 12) == pytest.approx(NormalDist().inv_cdf(24 / 38))
        assert largest_z(25, 5) == pytest.approx(NormalDist().inv_cdf(12 / 20))
        assert largest_z(10, 1) == 0
        assert largest_z(3, 2) == 0

    def test_a_party_is_mimicked(self) -> None:
        found = sent("mimic:2", replies())
        assert change_of(found[1]) == change_of(found[3]) == unlikest(HONEST).tolist()

    def test_what_all_have_in_common_makes_nobody_worth_mimicking(self) -> None:
        changes = {"one": [100.0, 1.0], "two": [100.0, -2.0], "three": [101.0, 0.5]}
        given = [
            replace(
                reply, weights=reply.weights | {"w": BEGIN["w"] + np.float32(changes[reply.party])}
            )
            if isinstance(reply, Update) and reply.party in changes
            else reply
            for reply in replies()
        ]
        assert (
            change_of(sent("mimic:2", given)[1])
            == unlikest(np.array(list(changes.values()))).tolist()
        )

    def test_the_one_that_is_mimicked_stays_the_same(self) -> None:
        adversary = registry.create("adversaries", "mimic:2")
        target = change_of(sent("", replies(), 1, adversary)[1])
        name = next(party for party, change in CHANGES.items() if change == target)
        without = change_of(sent("", replies(name), 2, adversary)[1])
        assert without != target
        moved = [
            replace(
                reply,
                weights=reply.weights | {"w": BEGIN["w"] + (0.01 if reply.party == name else 50)},
            )
            for reply in replies()
            if isinstance(reply, Update)
        ]
        assert change_of(sent("", moved, 3, adversary)[1]) == pytest.approx([0.01, 0.01], abs=1e-4)

    def test_a_number_too_large_for_its_dtype_is_sent_as_infinite(self) -> None:
        start = {"w": np.zeros(2, np.float16)}
        given = iter([Update("bad", {"w": np.full(2, 1000, np.float16)}, 1)])
        adversary = registry.create("adversaries", "sign_flip:1,scale=1e6")
        (found,) = adversary(
            given, {"weights": start, "round": 1, "seed": 0}, ("bad",), frozenset({"w"})
        )
        assert "not finite" in arithmetic.misfit(found.weights, start)


def unlikest(changes: np.ndarray) -> np.ndarray:
    """Return the change that is longest along the first principal direction of all."""
    direction = np.linalg.svd(changes - changes.mean(axis=0))[2][0]
    return changes[np.argmax(np.abs(changes @ direction))]


class Pictures:
    """A map-style data set of pairs."""

    def __init__(self, labels: Sequence[Any]) -> None:
        self.labels_ = labels

    def __len__(self) -> int:
        return len(self.labels_)

    def __getitem__(self, i: int) -> Any:
        return np.float32(i), self.labels_[i]


class TestLabelFlip:
    def flip(self, rows: Any, labels: Any) -> Any:
        return registry.create("adversaries", "label_flip:1").flipped(rows, np.asarray(labels))

    def test_arrays_are_made_anew(self) -> None:
        x, y = np.arange(4.0), np.array([0, 1, 2, 2])
        new_x, new_y = self.flip((x, y), np.arange(5))
        assert new_x is x
        assert new_y.tolist() == [4, 3, 2, 2]
        assert new_y.dtype == y.dtype
        assert y.tolist() == [0, 1, 2, 2]

    @pytest.mark.parametrize(
        ("labels", "all_labels", "expected"),
        [
            ([0, 2], [0, 1, 2], [2, 0]),
            ([True, False], [0, 1], [0, 1]),
            ([np.uint8(0), np.uint8(255)], [0, 255], [255, 0]),
            ([np.float32(1.0)], [0, 1], [0.0]),
            ([torch.tensor(1), torch.tensor(3)], [0, 3], [2, 0]),
            ([np.array([0, 0, 1]), torch.tensor([1, 0, 0])], [0, 1, 2], [[1, 0, 0], [0, 0, 1]]),
            ([np.array([2])], [0, 1, 2], [[0]]),
            ([np.array([0, 2, 1])], [[0, 2, 1]], [[2, 0, 1]]),
        ],
    )
    def test_rows_of_a_dataset_in_every_form(
        self, labels: list[Any], all_labels: Any, expected: list[Any]
    ) -> None:
        found = self.flip(Pictures(labels), all_labels)
        assert len(found) == len(labels)
        assert [np.asarray(found[i][1]).tolist() for i in range(len(found))] == expected
        assert all(found[i][0] == i for i in range(len(found)))

    def test_measurements_are_refused(self, rows: Any) -> None:
        with pytest.raises(DataError, match="measurements"):
            self.flip((np.zeros(2), np.array([0.5, 1.0])), [0.5, 1.0])
        x, _ = rows
        with pytest.raises(DataError, match="label_flip:2, but the labels are measurements"):
            build(
                spec_of(adversary="label_flip:2"),
                {"model": nn.Linear(5, 1), "data": (x, x.sum(axis=1))},
            )

    def test_documents_are_refused(self) -> None:
        from gensim.models.doc2vec import Doc2Vec

        texts = [
            f"some words about number {['one', 'two', 'three', 'four'][i % 4]}" for i in range(40)
        ]
        model = Doc2Vec(vector_size=4, min_count=1, epochs=1)
        with pytest.raises(OptionError, match="learns from words alone"):
            build(RunSpec(data="data", adversary="label_flip"), {"model": model, "data": texts})

    def test_only_training_rows_of_hostile_parties_are_others(self, rows: Any, net: Any) -> None:
        x, y = rows[0].copy(), rows[1].copy()
        spec = spec_of(adversary="label_flip:2", baseline="central")
        namespace = {"model": net(), "data": (x, y)}
        division = divide(spec, namespace)
        clean = {party.id: party.train[1].copy() for party in division.parties}
        federation = build(spec, namespace, division)
        bad = hostile(list(clean), 2, 0)
        for party, before in zip(federation.parties, division.parties, strict=True):
            flips = party.id in bad
            assert np.array_equal(party.train[1], 2 - clean[party.id] if flips else clean[party.id])
            assert party.test is before.test
            assert np.array_equal(before.train[1], clean[party.id]), "the division is as it was"
        assert division.notes[-1] == f"simulated: {bad[0]} and {bad[1]} are hostile (label_flip)"
        central: Any = federation.beside[0]
        pooled = central.federation.parties[0].train[1]
        assert np.array_equal(pooled, np.concatenate(list(clean.values()))), (
            "what stands beside is honest"
        )

    def test_the_arrays_of_the_user_stay_as_they_are(self, rows: Any, net: Any) -> None:
        x, y = rows
        mine = [(x[i::4].copy(), y[i::4].copy()) for i in range(4)]
        kept = [(a.copy(), b.copy()) for a, b in mine]
        run = run_of(mine, net, parties=4, adversary="label_flip:3").start().wait()
        assert all(
            np.array_equal(a, c) and np.array_equal(b, d)
            for (a, b), (c, d) in zip(mine, kept, strict=True)
        )
        assert run.history["accuracy"][-1] < 0.5

    def test_a_dataset_is_flipped_as_its_arrays_are(self, rows: Any, net: Any) -> None:
        class Mine(torch.utils.data.Dataset[Any]):
            def __len__(self) -> int:
                return len(rows[1])

            def __getitem__(self, i: int) -> Any:
                return rows[0][i], int(rows[1][i])

        curves = [
            run_of(given, net, adversary="label_flip:2").start().wait().history["loss"]
            for given in (rows, Mine())
        ]
        assert curves[0] == pytest.approx(curves[1], rel=1e-5)
        assert curves[0] != run_of(rows, net).start().wait().history["loss"]


class TestHostile:
    def test_who_is_hostile_is_a_function_of_the_seed(self) -> None:
        parties = [f"party {i}" for i in range(20)]
        chosen = {seed: hostile(parties, 5, seed) for seed in range(6)}
        assert all(hostile(parties, 5, seed) == found for seed, found in chosen.items())
        assert len(set(chosen.values())) > 3
        assert all(list(found) == sorted(found, key=parties.index) for found in chosen.values())
        assert all(len(set(found)) == 5 for found in chosen.values())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"adversary": "bit_flip:6"}, r"6 hostile parties of 6.*\n  use 5 at most"),
            ({"adversary": "bit_flip", "parties": 1}, "1 hostile parties of 1"),
            (
                {"adversary": "bit_flip:0"},
                r"bit_flip:num=0 is not allowed\n  give a whole number >= 1",
            ),
            ({"adversary": "ipm:2,epsilon=-1"}, "not allowed"),
            ({"adversary": "alie:2,z=-1"}, "not allowed"),
            ({"adversary": "bit_flip:2", "fusion": "dynamic"}, "keep their weights"),
            ({"adversary": "mimic:2", "fusion": "fda"}, "keep their weights"),
            ({"adversary": "ipm:2", "ensemble": "mean"}, "keeps the parties' models apart"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, rows: Any, net: Any, options: Any, message: str
    ) -> None:
        with pytest.raises(OptionError, match=message):
            run_of(rows, net, **options)

    def test_a_typo_is_met_before_the_data_is_read(self) -> None:
        with pytest.raises(FusionError, match="no adversary is called 'bit_flop'"):
            build(spec_of(adversary="bit_flop:2"), {})

    def test_who_they_are_is_said(self, rows: Any, net: Any) -> None:
        one, three = (run_of(rows, net, adversary=f"ipm:{num},epsilon=2") for num in (1, 3))
        assert (
            one.notes[-1]
            == f"simulated: {hostile([p.id for p in one.parties], 1, 0)[0]} is hostile (ipm)"
        )
        a, b, c = hostile([p.id for p in three.parties], 3, 0)
        assert three.notes[-1] == f"simulated: {a}, {b} and {c} are hostile (ipm)"
        assert three.notes[-1] in str(three.summary())

    def test_labels_can_be_flipped_where_weights_are_kept(self, rows: Any, net: Any) -> None:
        for options in ({"fusion": "dynamic"}, {"ensemble": "mean", "rounds": 1}):
            run_of(rows, net, adversary="label_flip:2", **options).start().wait()

    @pytest.mark.parametrize(
        "options", [{"fusion": "scaffold"}, {"personal": "fedper:layers=2.*"}, {"fusion": "cmfl"}]
    )
    @pytest.mark.parametrize("adversary", ["sign_flip:1", "alie:2,z=1", "mimic:2"])
    def test_forging_goes_with_what_else_is_sent(
        self, rows: Any, net: Any, options: Any, adversary: str
    ) -> None:
        run = run_of(rows, net, adversary=adversary, **options).start().wait()
        assert len(run.history) == 3
        assert run.history["loss"] != run_of(rows, net, **options).start().wait().history["loss"]

    def test_statistics_of_batch_normalization_stay_honest(self, rows: Any, net: Any) -> None:
        def norm() -> nn.Module:
            return nn.Sequential(nn.BatchNorm1d(5), *net())

        run = (
            run_of(rows, norm, adversary="noise:2,sigma=0.1", fusion="median", rounds=2)
            .start()
            .wait()
        )
        honest = run_of(rows, norm, fusion="median", rounds=1).start().wait()
        state = run.model.state_dict()
        assert (state["0.running_var"] > 0).all()
        assert (
            state["0.num_batches_tracked"] == 2 * honest.model.state_dict()["0.num_batches_tracked"]
        )

    def test_gensims_weights_can_be_forged(self) -> None:
        from gensim.models.doc2vec import Doc2Vec

        texts = [
            f"some words about number {['one', 'two', 'three', 'four'][i % 4]} and {i}"
            for i in range(40)
        ]
        model = Doc2Vec(vector_size=4, min_count=1, epochs=1, seed=1)
        curves = []
        for adversary in ("", "sign_flip:2"):
            spec = RunSpec(data="data", adversary=adversary, rounds=2)
            run = Run(spec, {"model": model, "data": texts}).start().wait()
            curves.append(arithmetic.digest(run._federation.weights))
        assert curves[0] != curves[1]


class TestTogether:
    @pytest.mark.parametrize("adversary", ["sign_flip:4", "ipm:4,epsilon=5"])
    def test_the_mean_fails_where_robust_rules_learn(
        self, rows: Any, net: Any, adversary: str
    ) -> None:
        options: dict[str, Any] = {"adversary": adversary, "parties": 12, "rounds": 15}
        reached = {
            fusion: run_of(rows, net, fusion=fusion, **options)
            .start()
            .wait()
            .history["accuracy"][-1]
            for fusion in (
                "iter_avg",
                "median",
                "krum:f=4",
                "geometric_median",
                "centered_clip",
                "trimmed_mean:0.4",
            )
        }
        assert reached.pop("iter_avg") < 0.4
        assert all(accuracy > 0.6 for accuracy in reached.values()), reached

    def test_krum_believes_those_who_lie_near_where_the_round_started(
        self, rows: Any, net: Any
    ) -> None:
        options: dict[str, Any] = {"adversary": "ipm:4,epsilon=0.1", "parties": 12, "rounds": 15}
        krum, median = (
            run_of(rows, net, fusion=fusion, **options).start().wait().history["accuracy"][-1]
            for fusion in ("krum:f=4", "geometric_median")
        )
        assert krum < 0.3 < 0.6 < median

    @pytest.mark.parametrize("adversary", ["label_flip:2", "ipm:2", "noise:2", "mimic:2"])
    @pytest.mark.parametrize("fusion", ["median", "bucketing:s=2+geometric_median", "fedprox"])
    def test_faults_of_all_kinds_at_once_repeat_to_the_digit(
        self, rows: Any, net: Any, adversary: str, fusion: str
    ) -> None:
        options: dict[str, Any] = {
            **{
                "adversary": adversary,
                "fusion": fusion,
                "dropout": 0.3,
                "straggler": "0.3:epochs=1",
            },
            **{"epochs": 2, "parties": 8, "rounds": 4},
        }
        runs = [run_of(rows, net, **options).start().wait() for _ in range(2)]
        assert runs[0].history["loss"] == runs[1].history["loss"]
        assert (
            runs[0].history["loss"]
            != run_of(rows, net, **options, seed=1).start().wait().history["loss"]
        )
        errors = {failure.error for failure in runs[0].failures}
        assert "dropped out (simulated)" in errors
        assert ("was too slow (simulated)" in errors) == (fusion != "fedprox")
        for record in runs[0].history:
            trained = [
                party
                for party in record.cohort
                if "train_loss" in record.party_metrics.get(party, {})
            ]
            lost = {failure.party for failure in record.failures}
            assert trained == [party for party in record.cohort if party not in lost]

    def test_forged_replies_of_those_who_answer_come_in_the_order_of_the_cohort(self) -> None:
        class Canned(LocalEngine):
            def run(self, verb: Any, cohort: Any, **orders: Any) -> Any:
                yield from (reply for reply in replies() if reply.party in cohort)

        adversary = registry.create("adversaries", "ipm:2,epsilon=1")
        engine = Faulty(
            Canned(),
            **{"seed": 3, "dropout": 0.4, "stragglers": Stragglers(0.2)},
            attack=lambda given, orders: adversary(
                given, orders, ("bad", "evil"), frozenset({"w"})
            ),
        )
        seen = set()
        for number in range(1, 20):
            orders = {"weights": BEGIN, "round": number, "seed": 0, "local": {"epochs": 3}}
            found = list(engine.run("fit", list(CHANGES), **orders))
            assert [reply.party for reply in found] == list(CHANGES)
            there = [reply for reply in found if isinstance(reply, Update)]
            honest = [CHANGES[reply.party] for reply in there if reply.party not in ("bad", "evil")]
            for reply in there:
                if reply.party in ("bad", "evil") and honest:
                    assert change_of(reply) == pytest.approx(
                        list(-np.mean(honest, axis=0)), abs=1e-5
                    )
            seen.add(len(there))
        assert len(seen) > 2

    def test_so_many_are_spared_from_faults_as_the_rule_needs(self, rows: Any, net: Any) -> None:
        options: dict[str, Any] = {"parties": 8, "rounds": 12, "dropout": 0.6}
        needy = run_of(rows, net, fusion="krum:f=2", **options).start().wait()
        answered = [len(record.cohort) - len(record.failures) for record in needy.history]
        assert len(answered) == 12
        assert min(answered) == 7
        free = run_of(rows, net, fusion="median", **options).start().wait()
        assert min(len(record.cohort) - len(record.failures) for record in free.history) < 7

    def test_spared_are_those_who_would_have_dropped_out_last(self, rows: Any, net: Any) -> None:
        run = run_of(rows, net, fusion="krum:f=0", dropout=0.99, rounds=5).start().wait()
        for record in run.history:
            chance = {
                p: seeds.stream(0, "dropout", record.round, p).random() for p in record.cohort
            }
            lost = {failure.party for failure in record.failures}
            assert (
                set(sorted(record.cohort, key=chance.__getitem__)[-3:]) == set(record.cohort) - lost
            )

    def test_hostile_parties_that_are_not_in_the_cohort_do_nothing(
        self, rows: Any, net: Any
    ) -> None:
        options: dict[str, Any] = {"fraction": 0.5, "rounds": 6, "quorum": 1.0}
        attacked, honest = (
            run_of(rows, net, adversary=a, **options).start().wait() for a in ("sign_flip:1", "")
        )
        (bad,) = hostile([party.id for party in honest.parties], 1, 0)
        first = next(i for i, record in enumerate(honest.history) if bad in record.cohort)
        assert attacked.history["loss"][:first] == honest.history["loss"][:first]
        assert attacked.history["loss"][first] != honest.history["loss"][first]
