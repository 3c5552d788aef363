"""Random numbers of a run, apart from those of the user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from fusion_nb import Run, RunSpec


def run_of(rows: Any, model: Any, **options: Any) -> Run:
    defaults: dict[str, Any] = {"lr": 0.1, "rounds": 4}
    return Run(RunSpec(data="data", **defaults | options), {"model": model, "data": rows})


class TestRunsDrawByThemselves:
    def dropout(self) -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3))

    def test_draws_of_the_user_and_of_a_run_do_not_mix(self, rows: Any) -> None:
        alone = run_of(rows, self.dropout(), rounds=10).start().wait().history["loss"]
        torch.manual_seed(7)
        expected = torch.rand(2000)
        torch.manual_seed(7)
        run = run_of(rows, self.dropout(), rounds=10)
        torch.manual_seed(7)
        run.start()
        drawn = torch.cat([torch.rand(1) for _ in range(2000)])
        assert run.history["loss"] == alone
        assert torch.equal(drawn, expected)

    def test_two_runs_at_once_have_the_curves_of_each_alone(self, rows: Any) -> None:
        alone = run_of(rows, self.dropout(), rounds=10).start().wait().history["loss"]
        both = [run_of(rows, self.dropout(), rounds=10).start() for _ in range(2)]
        assert [run.history["loss"] for run in both] == [alone, alone]

    def test_a_run_with_augmented_data_repeats(self, rows: Any, net: Any) -> None:
        class Augmented:
            def __len__(self) -> int:
                return 60

            def __getitem__(self, i: int) -> Any:
                noise = torch.randn(5).numpy() + np.random.randn(5).astype(np.float32)
                return rows[0][i] + 0.1 * noise, rows[1][i]

        curves = [
            run_of(Augmented(), net(), rounds=2).start().wait().history["loss"] for _ in range(2)
        ]
        assert curves[0] == curves[1]
        run = run_of(Augmented(), net(), rounds=1)
        state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
        run.start().wait()
        assert torch.equal(torch.random.get_rng_state(), state)
        assert np.array_equal(np.random.get_state()[1], numpy_state)

    def test_lazy_layers_start_from_the_seed(self, rows: Any) -> None:
        def lazy() -> nn.Module:
            return nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))

        curves = [
            run_of(rows, lazy(), rounds=2, seed=seed).start().wait().history["loss"]
            for seed in (0, 0, 1)
        ]
        assert curves[0] == curves[1]
        first = [
            run_of(rows, lazy(), seed=seed).federation.network.initial_weights["0.weight"]
            for seed in (0, 1)
        ]
        assert not np.array_equal(*first)


class TestRandomOperations:
    def test_every_operation_that_draws_repeats_and_leaves_the_users_state(self) -> None:
        from fusion_nb.models.torch_randomness import OwnRandomness

        draws: list[Callable[[], torch.Tensor]] = [
            *(lambda: torch.rand(3), lambda: torch.randn(3), lambda: torch.randint(9, (3,))),
            *(
                lambda: torch.randint(2, 9, (3,)),
                lambda: torch.randperm(9),
                lambda: torch.rand_like(torch.ones(3)),
            ),
            *(
                lambda: torch.randn_like(torch.ones(3)),
                lambda: torch.randint_like(torch.ones(3), 9),
            ),
            *(
                lambda: torch.randint_like(torch.ones(3), 2, 9),
                lambda: torch.normal(0.0, 1.0, (3,)),
            ),
            *(
                lambda: torch.normal(torch.zeros(3), 1.0),
                lambda: torch.bernoulli(torch.full((9,), 0.5)),
            ),
            *(lambda: torch.multinomial(torch.ones(9), 4), lambda: torch.empty(3).uniform_()),
            *(lambda: torch.empty(3).exponential_(), lambda: torch.poisson(torch.full((9,), 5.0))),
            *(
                lambda: torch.distributions.Gamma(2.0, 1.0).sample((3,)),
                lambda: nn.functional.dropout(torch.ones(64)),
            ),
        ]
        state = torch.random.get_rng_state()
        for draw in draws:
            found = []
            for seed in (1, 1, 2):
                with OwnRandomness(seed) as randomness:
                    found.append(torch.cat([draw().float().flatten() for _ in range(4)]))
                assert randomness.drew
            assert torch.equal(found[0], found[1])
            assert not torch.equal(found[0], found[2])
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_reading_a_dataset_takes_no_numbers_from_the_user(self, rows: Any, net: Any) -> None:
        class Items:
            def __len__(self) -> int:
                return 60

            def __getitem__(self, i: int) -> Any:
                return rows[0][i] + np.random.rand(5).astype(np.float32), rows[1][i]

        run = run_of(Items(), net(), rounds=30)
        np.random.seed(1)
        expected = np.random.rand(300)
        np.random.seed(1)
        run.start().wait()
        assert np.random.rand(300).tolist() == expected.tolist()
