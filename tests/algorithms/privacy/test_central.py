"""Central privacy: clipping, noise, equal shares, a fixed denominator, and what is charged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from private_rules import context, info, rule, updates

from fusion_nb.algorithms.privacy.accounting import epsilon
from fusion_nb.core import arithmetic
from fusion_nb.core.types import MeanUpdate, Update, Weights
from fusion_nb.errors import ContractError, ModelError, OptionError, RunError

START: Weights = {"b": np.zeros(3), "a": np.ones((2, 2))}


def fused(made: Any, sent: Sequence[Update], weights: Weights = START) -> tuple[Weights, Any]:
    return made.aggregate(weights, iter(sent), made.init(weights, info(weights)))


class TestClipping:
    def test_a_party_that_does_not_clip_moves_the_model_by_no_more_than_the_clip(self) -> None:
        made = rule("central:clip=0.5,noise=0")
        honest = fused(made, updates(START, [0, 0, 0, 0]))[0]
        for step in (1e6, -1e6, 0.4, 1e30):
            found = fused(made, updates(START, [0, 0, 0, step]))[0]
            moved = arithmetic.distance(found, honest)
            assert moved == pytest.approx(0.5 / 4)

    def test_a_party_that_lies_about_rows_or_parties_gains_no_share(self) -> None:
        made = rule("central:clip=1,noise=0")
        plain = updates(START, [0.1, -0.1, 0.1, 0.2])
        liar = Update("party 4", plain[3].weights, 10**9, extras={"parties": 50})
        assert arithmetic.equal(fused(made, plain)[0], fused(made, [*plain[:3], liar])[0])

    def test_small_changes_are_averaged_with_equal_shares(self) -> None:
        found, _ = fused(rule("central:clip=10,noise=0"), updates(START, [0.1, 0.3, 0.0, 0.0]))
        assert np.allclose(found["b"], 0.1)
        assert np.allclose(found["a"], 1.1)

    def test_the_norm_is_over_all_entries_together(self) -> None:
        made = rule("central:clip=1,noise=0")
        trained = {"b": START["b"] + 3.0, "a": START["a"] + 4.0}
        sent = made.local_update(context(made, START, trained))
        change = arithmetic.change(sent.weights, START)
        assert arithmetic.norm(change) == pytest.approx(1.0)
        assert change["a"][0, 0] / change["b"][0] == pytest.approx(4 / 3)  # the direction stays

    def test_a_missing_party_counts_as_one_that_did_not_move(self) -> None:
        made = rule("central:clip=10,noise=0")
        few = fused(made, updates(START, [0.4]))[0]
        assert np.allclose(few["b"], 0.1)  # divided by the cohort of four

    def test_entries_that_are_not_trained_stay(self) -> None:
        made = rule("central:clip=1,noise=5")
        weights = {**START, "frozen": np.full(2, 7.0)}
        state = made.init(weights, info(weights, untrained=["frozen"]))
        found, _ = made.aggregate(weights, iter(updates(weights, [0.1])), state)
        assert np.array_equal(found["frozen"], weights["frozen"])
        assert not np.array_equal(found["b"], weights["b"])

    def test_statistics_that_training_changed_are_refused_at_the_party(self) -> None:
        made = rule("central:clip=1,noise=1")
        weights = {**START, "running_mean": np.zeros(2)}
        trained = {**weights, "running_mean": np.ones(2)}
        with pytest.raises(ModelError, match=r"running_mean.*gradients don't train"):
            made.local_update(context(made, weights, trained, untrained=["running_mean"]))


class TestNoise:
    def test_the_noise_is_normal_with_the_promised_variance_for_every_number(self) -> None:
        # 10,000 draws: 5 releases of 2,000 numbers each
        weights = {"w": np.zeros((40, 25)), "v": np.zeros(1000)}
        drawn = []
        for seed in range(5):
            made = rule("central:clip=2,noise=1.5", seed=seed)
            found = fused(made, updates(weights, [0.0] * 4), weights)[0]
            drawn.append(np.concatenate([found["w"].ravel(), found["v"]]))
        noise = np.concatenate(drawn) / (1.5 * 2 / 4)  # noise * clip / cohort
        assert abs(noise.mean()) < 4 / math.sqrt(10_000)
        assert noise.var() == pytest.approx(1.0, abs=4 * math.sqrt(2 / 10_000))
        assert np.mean(np.abs(noise) < 1) == pytest.approx(0.6827, abs=0.02)
        assert np.mean(np.abs(noise) < 2) == pytest.approx(0.9545, abs=0.01)

    def test_numbers_and_rounds_are_independent(self) -> None:
        weights = {"w": np.zeros(5000), "v": np.zeros(5000)}
        made = rule("central:clip=1,noise=1")
        first, state = fused(made, updates(weights, [0.0] * 4), weights)
        second, _ = made.aggregate(weights, iter(updates(weights, [0.0] * 4)), state)
        rows = np.array([first["w"], first["v"], second["w"], second["v"]])
        correlations = np.corrcoef(rows) - np.eye(4)
        assert np.abs(correlations).max() < 4 / math.sqrt(5000)

    def test_there_is_one_draw_whoever_answers_first_and_however_many_do(self) -> None:
        made = rule("central:clip=1,noise=1")
        sent = updates(START, [0.1, 0.2, -0.1, 0.0])
        found = fused(made, sent)[0]
        assert np.allclose(fused(made, sent[::-1])[0]["b"], found["b"], rtol=0, atol=1e-15)
        silent = fused(made, updates(START, [0.0]))[0]
        mean = np.mean([0.1, 0.2, -0.1, 0.0])
        assert np.allclose(found["b"] - silent["b"], mean)  # the same noise under both

    def test_seeds_have_noise_of_their_own(self) -> None:
        sent = updates(START, [0.0] * 4)
        one, two = (
            fused(rule("central:clip=1,noise=1", seed=seed), sent)[0]["b"] for seed in (1, 2)
        )
        assert not np.isclose(one, two).any()

    def test_a_round_without_parties_has_noise_too(self) -> None:
        made = rule("central:clip=1,noise=1", chance=0.5)
        found, state = fused(made, [])
        assert not np.array_equal(found["b"], START["b"])
        assert state["ledger"] == {"": [[0.5, 1.0, 1]]}


class TestCharges:
    def test_secret_cohorts_are_charged_with_amplification(self) -> None:
        pytest.importorskip("dp_accounting")
        made = rule("central:clip=1,noise=1", chance=0.5)
        state = made.init(START, info(START))
        for number in range(3):
            _, state = made.aggregate(START, iter(updates(START, [0.1] * number)), state)
        assert state["ledger"] == {"": [[0.5, 1.0, 3]]}
        assert made.measure(state) == {"epsilon": epsilon(((0.5, 1.0, 3),), 1e-5)}

    def test_known_cohorts_are_charged_by_rounds_that_a_party_took_part_in(self) -> None:
        made = rule("central:clip=1,noise=1", fraction=0.5)
        state = made.init(START, info(START))
        first, second = updates(START, [0.1] * 4)[:2], updates(START, [0.1] * 4)[1:3]
        for sent in (first, second):
            _, state = made.aggregate(START, iter(sent), state)
        assert made.epsilon(state) == epsilon(((1.0, 1.0, 2),), 1e-5)  # party 2, twice

    def test_a_plan_is_what_the_rounds_then_cost(self) -> None:
        made = rule("central:clip=1,noise=1", num_parties=6, fraction=0.5)
        planned = made.epsilon_after(None, 4)
        state = made.init(START, info(START))
        sent = {update.party: update for update in updates(START, [0.1] * 6)}
        for number in range(1, 5):
            cohort = _cohort(number)
            _, state = made.aggregate(START, iter([sent[party] for party in cohort]), state)
        assert made.epsilon(state) == planned

    def test_noise_is_found_for_an_epsilon(self) -> None:
        made = rule("central:clip=1,noise=auto:epsilon=8", rounds=10)
        assert made.epsilon_after(None, 10) <= 8 < made.epsilon_after(None, 11)
        assert made.text.endswith("budget=8")
        assert rule(made.text).noise == made.noise

    def test_a_budget_refuses_the_round_that_would_exceed_it(self) -> None:
        made = rule("central:clip=1,noise=1,budget=7")
        state = made.init(START, info(START))
        for _ in range(2):
            made.broadcast(state)
            _, state = made.aggregate(START, iter(updates(START, [0.1] * 4)), state)
        with pytest.raises(RunError, match="1 more round brings epsilon from 6"):
            made.broadcast(state)
        assert "none would fit" in _hint(lambda: made.check_budget(state, 5))


class TestAdaptive:
    @pytest.mark.parametrize(("step", "grows"), [(5.0, True), (0.001, False)])
    def test_the_clip_follows_the_norms(self, step: float, grows: bool) -> None:
        made = rule("central:clip=0.5,noise=0.01,adaptive=true", num_parties=4)
        state = made.init(START, info(START))
        norm = step * math.sqrt(7)
        for _ in range(30):
            below = float(norm <= state["clip"])
            _, state = made.aggregate(
                START, iter(updates(START, [step] * 4, is_below=below)), state
            )
        assert (state["clip"] > 2) is grows
        assert (state["clip"] < 0.1) is not grows
        assert made.measure(state)["clip"] == state["clip"]

    def test_a_party_tells_one_bit_and_a_lie_counts_no_more_than_that(self) -> None:
        made = rule("central:clip=0.5,noise=1,adaptive=true")
        sent = made.local_update(context(made, START, {**START, "b": np.full(3, 9.0)}))
        assert sent.extras == {"is_below": 0.0}
        clips = [
            fused(made, updates(START, [0.0] * 4, is_below=bit))[1]["clip"] for bit in (1.0, 1e9)
        ]
        assert clips[0] == clips[1]

    def test_both_releases_together_have_the_noise_that_is_charged(self) -> None:
        made = rule("central:clip=1,noise=1,adaptive=true", num_parties=4)
        on_count = 2 * max(4 / 20, 1.0)
        weights = {"w": np.zeros(10_000)}
        found = fused(made, updates(weights, [0.0] * 4, is_below=1.0), weights)[0]["w"]
        on_changes = float((found * 4).std())
        assert on_changes**-2 + on_count**-2 == pytest.approx(1.0, rel=0.05)


class TestInnerRules:
    @pytest.mark.parametrize("name", ["iter_avg", "fedprox", "fedavgm", "fedadam", "fedadagrad"])
    def test_linear_rules_are_given_the_mean_as_one_update(self, name: str) -> None:
        made = rule("central:clip=100,noise=0", name)
        found = fused(made, updates(START, [0.1, 0.3, 0.2, 0.2]))[0]
        inner = made.inner
        one = MeanUpdate("all", {n: array + 0.2 for n, array in START.items()}, 1)
        expected = inner.aggregate(START, iter([one]), inner.init(START, info(START)))[0]
        assert all(np.allclose(found[entry], expected[entry]) for entry in START)

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("scaffold", "control variates"),
            ("median", "compares"),
            ("krum", "compares"),
            ("qfedavg", "losses"),
            ("fednova", "step sizes"),
            ("cmfl", "decide by their rows"),
            ("bucketing+median", "means of some parties"),
            ("fda", "summary"),
        ],
    )
    def test_other_rules_are_refused_by_name(self, name: str, reason: str) -> None:
        with pytest.raises(OptionError, match=rf"{name.replace('+', '.')} .*{reason}"):
            rule("central:clip=1,noise=1", name)

    def test_a_local_half_that_sends_more_than_weights_is_refused(self) -> None:
        class Talkative(type(rule("central:clip=1,noise=1").inner)):  # type: ignore[misc]
            def local_update(self, context: Any) -> Update:
                return context.update(context.weights, mean_of_rows=1.0)

        made = rule("central:clip=1,noise=1")
        made.inner = Talkative(lambda weights, updates: weights, linear=True)
        with pytest.raises(ContractError, match="more than weights"):
            made.local_update(context(made, START, START))

    def test_a_mean_of_several_parties_counts_as_all_of_them(self) -> None:
        made = rule("central:clip=1,noise=0")
        sent = updates(START, [0.1, 0.2, 0.3, 0.0])
        mean = {name: np.mean([u.weights[name] for u in sent], axis=0) for name in START}
        whole = MeanUpdate("masks", mean, 4, parties=tuple(u.party for u in sent))
        assert np.allclose(fused(made, [whole])[0]["a"], fused(made, sent)[0]["a"])
        assert fused(made, [whole])[1]["ledger"] == fused(made, sent)[1]["ledger"]


def _cohort(number: int) -> list[str]:
    from fusion_nb.core.protocols import SamplingContext

    parties = [f"party {i}" for i in range(1, 7)]
    return SamplingContext(parties, number, 0, 0.5).uniform()


def _hint(call: Any) -> str:
    with pytest.raises(RunError) as caught:
        call()
    return str(caught.value)
