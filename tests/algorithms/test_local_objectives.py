"""FedProx, SCAFFOLD, FedDyn, FedNova and q-FedAvg against a few lines of numpy."""

from __future__ import annotations

import numpy as np
import pytest
from linear_parties import (
    OPPOSED,
    SIZES,
    START,
    UNLIKE,
    Sum,
    Uneven,
    after,
    best_for_all,
    close_to,
    descend,
    federation,
    flat,
    fusion_state,
    loss,
    mean_output,
)

from fusion_nb.core.schema import DataSchema
from fusion_nb.models.torch.adapter import TorchModel


class TestLocalObjectives:
    def test_fedprox_adds_mu_times_the_distance_to_the_gradient(self) -> None:
        w = START
        for _ in range(2):
            trained = [descend(w, own, extra=lambda now, w=w: 0.7 * (now - w)) for own in UNLIKE]
            w = SIZES @ np.array(trained) / SIZES.sum()
        assert after(2, federation("fedprox:mu=0.7")) == close_to(w)

    def test_fedprox_in_batches_holds_parties_near_the_weights_of_the_rounds_start(self) -> None:
        # All rows of a party are the same, so that it does not matter which of them a batch takes.
        alike = [(np.repeat(x[:1], 6, 0), np.repeat(y[:1], 6)) for x, y in UNLIKE]
        found = after(2, federation("fedprox:mu=0.7", alike, batch_size=2, epochs=2))
        assert found == close_to(after(2, federation("fedprox:mu=0.7", alike, epochs=6)))

    @pytest.mark.parametrize("momentum", [0.0, 0.8])
    def test_scaffold_option_2(self, momentum: float) -> None:
        """Option II of Karimireddy et al. 2020, with two of three parties in each round."""
        options = f"sgd:momentum={momentum}" if momentum else "sgd"
        made = federation("scaffold:lr=0.7", fraction=2 / 3, optimizer=options)
        x, c, own = START, np.zeros(3), np.zeros((3, 3))
        # K * lr, with K the sum of a step's powers of momentum where there is one
        step_size = 0.1 * (3 - momentum * (1 - momentum**3) / (1 - momentum)) / (1 - momentum)
        for number in (1, 2, 3):
            cohort = [int(party[1]) for party in made.cohort(number)]
            y = {
                i: descend(x, UNLIKE[i], 3, momentum, lambda _, i=i, c=c: c - own[i])
                for i in cohort
            }
            renewed = {i: own[i] - c + (x - y[i]) / step_size for i in cohort}
            x = x + 0.7 * np.mean([y[i] - x for i in cohort], axis=0)
            c = c + 2 / 3 * np.mean([renewed[i] - own[i] for i in cohort], axis=0)
            for i in cohort:
                own[i] = renewed[i]
        assert len({made.cohort(number) for number in (1, 2, 3)}) > 1
        assert after(3, made) == close_to(x)
        assert flat(fusion_state(made)["control"]) == close_to(c)
        for i, party in enumerate(made.parties):
            assert flat(party.state["fusion"]["control"]) == close_to(own[i])

    def test_scaffolds_control_is_a_constant_gradient(self) -> None:
        made = federation("scaffold", module=Sum(), optimizer="sgd:momentum=0.9,nesterov=True")
        list(made.rounds(2))
        for party, (x, _) in zip(made.parties, UNLIKE, strict=True):
            assert flat(party.state["fusion"]["control"]) == close_to(x.mean(0))

    def test_feddyn_algorithm_1(self) -> None:
        """Algorithm 1 of Acar et al. 2021, with steps of gradient descent for its argmin."""
        made, alpha = federation("feddyn:alpha=0.4", fraction=2 / 3), 0.4
        w, h, own = START, np.zeros(3), np.zeros((3, 3))
        for number in (1, 2, 3):
            cohort = [int(party[1]) for party in made.cohort(number)]
            trained = {
                i: descend(w, UNLIKE[i], extra=lambda now, i=i, w=w: -own[i] + alpha * (now - w))
                for i in cohort
            }
            for i in cohort:
                own[i] -= alpha * (trained[i] - w)
            h = h - alpha / 3 * sum(trained[i] - w for i in cohort)
            w = np.mean([*trained.values()], axis=0) - h / alpha
        assert after(3, made) == close_to(w)
        assert flat(fusion_state(made)["h"]) == close_to(h)
        for i, party in enumerate(made.parties):
            assert flat(party.state["fusion"]["gradient"]) == close_to(own[i])

    @pytest.mark.parametrize("momentum", [0.0, 0.9])
    def test_fednova_divides_changes_by_the_effective_step_size(self, momentum: float) -> None:
        steps = [1, 4, 7]
        p = SIZES / SIZES.sum()
        # the coefficients a_i of Wang et al. 2020: 1 - momentum ** k over 1 - momentum
        a = np.array(
            [
                sum((1 - momentum**k) / (1 - momentum) for k in range(1, count + 1))
                for count in steps
            ]
        )
        w = START
        for _ in range(2):
            d = np.array(
                [
                    (w - descend(w, *pair, momentum)) / n
                    for *pair, n in zip(UNLIKE, steps, a, strict=True)
                ]
            )
            w = w - (p @ a) * (p @ d)
        optimizer = f"sgd:momentum={momentum}" if momentum else "sgd"
        made = federation("fednova", engine=Uneven(steps), optimizer=optimizer)
        assert after(2, made) == close_to(w)
        assert after(
            2, federation("fedavg", engine=Uneven(steps), optimizer=optimizer)
        ) != pytest.approx(w, abs=1e-3)

    @pytest.mark.parametrize("q", [0.0, 0.5, 2.0])
    def test_qfedavg_algorithm_2(self, q: float) -> None:
        """Algorithm 2 of Li et al. 2020, with L = 1 / lr."""
        w, lipschitz = START, 1 / 0.1
        for _ in range(3):
            f = np.array([loss(w, own) for own in UNLIKE])
            dw = np.array([lipschitz * (w - descend(w, own)) for own in UNLIKE])
            h = q * f ** (q - 1) * (dw**2).sum(1) + lipschitz * f**q
            w = w - (f**q) @ dw / h.sum()
        assert after(3, federation(f"qfedavg:q={q}")) == close_to(w)

    @pytest.mark.parametrize(
        "options", ["", "momentum=0.9", "momentum=0.9,nesterov=True", "momentum=0.8,dampening=0.3"]
    )
    def test_effective_step_size_is_the_move_of_a_weight_whose_gradient_is_1(
        self, options: str
    ) -> None:
        ones = np.ones((4, 2)), np.zeros(4)
        model = TorchModel(Sum(), loss=mean_output)
        optimizer = f"sgd:{options}" if options else "sgd"
        model.check(ones, DataSchema.of(ones), lr=0.1, optimizer=optimizer)
        before = flat(model.get_weights())
        result = model.fit(ones, epochs=5, batch_size=4, lr=0.1, optimizer=optimizer, seed=0)
        moved = before - flat(model.get_weights())
        assert moved == close_to(np.full(2, result.effective_step_size))


class TestUnlikeParties:
    @pytest.mark.parametrize(("fusion", "epochs"), [("scaffold", 10), ("feddyn:alpha=1", 12)])
    def test_corrected_parties_find_the_optimum_that_fedavg_misses(
        self, fusion: str, epochs: int
    ) -> None:
        best = best_for_all(OPPOSED)
        assert after(25, federation(fusion, OPPOSED, epochs=epochs, lr=0.2)) == pytest.approx(
            best, abs=1e-4
        )
        astray = federation("fedavg", OPPOSED, epochs=epochs, lr=0.2)
        fixed = after(25, astray)
        assert np.linalg.norm(fixed - best) > 0.3
        assert after(1, astray) == pytest.approx(fixed, abs=1e-6), "it stays there"

    def test_qfedavg_narrows_the_spread_of_losses(self) -> None:
        crowd = [OPPOSED[0], OPPOSED[0], OPPOSED[0], OPPOSED[1]]

        def spread(q: float) -> tuple[float, float]:
            w = after(30, federation(f"qfedavg:q={q}", crowd, epochs=2, lr=0.2))
            losses = [loss(w, own) for own in crowd]
            return float(np.var(losses)), max(losses)

        (even, worst), (uneven, worse) = spread(3), spread(0)
        assert even < uneven / 2
        assert worst < worse
