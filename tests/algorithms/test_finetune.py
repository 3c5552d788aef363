"""Fine-tuning after the last round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from personal_runs import (
    WHOLE,
    Interrupting,
    accuracy,
    arrays,
    gradient,
    interrupted,
    linear,
    made,
    reset_interruption,
    same,
    trained,
)

from fusion_nb.errors import RunError


@pytest.fixture(autouse=True)
def _not_interrupted() -> None:
    reset_interruption()


class TestFinetune:
    @pytest.mark.parametrize(
        "extra", [{}, {"fusion": "fedprox:mu=5"}, {"fusion": "scaffold"}, {"local_steps": 2}]
    )
    def test_is_plain_training_from_the_fused_model(self, rows: Any, extra: Any) -> None:
        run = trained(rows, linear(), personal="finetune:epochs=3,lr=0.7", **WHOLE, **extra)
        for party, holder in zip(run.parties, run.federation.parties, strict=True):
            own = arrays(run.model)
            for _ in range(3):
                steep = gradient(own, holder.train)
                own = {name: array - 0.7 * steep[name] for name, array in own.items()}
            assert same(arrays(party.model), own, 1e-5)
            assert party.personal["accuracy"] == pytest.approx(accuracy(own, holder.test))

    def test_without_a_rate_it_has_that_of_the_run(self, rows: Any) -> None:
        one, other = (
            trained(rows, linear(), lr=0.3, personal=f"finetune{lr}").history["personal_loss"]
            for lr in ("", ":lr=0.3")
        )
        assert one[-1] == other[-1]

    def test_only_the_last_record_has_personal_metrics(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="finetune")
        assert np.isfinite(run.history["personal_loss"]).tolist() == [False, False, True]
        sizes = [party.num_test for party in run.parties]
        mean = np.average([party.personal["loss"] for party in run.parties], weights=sizes)
        assert run.history["personal_loss"][-1] == pytest.approx(mean)
        assert run.result().history.last()["personal_loss"] == run.history["personal_loss"][-1]
        assert '"personal_loss"' in run.history.to_json()

    def test_more_rounds_end_with_another_fine_tuning(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="finetune", rounds=2)
        before = run.history["personal_loss"][-1]
        run.more(rounds=2).wait()
        assert run.history["personal_loss"][-1] != before == run.history["personal_loss"][1]
        assert (
            run.history[-1].metrics
            == trained(rows, net(), personal="finetune", rounds=4).history[-1].metrics
        )

    @pytest.mark.parametrize("method", [{"personal": "finetune"}, {"share": "best:epochs=1"}])
    def test_an_optimizer_that_is_kept_has_no_trace_of_the_fine_tuning(
        self, rows: Any, net: Any, method: Any
    ) -> None:
        options = {"optimizer": "sgd:momentum=0.9", "keep_optimizer": True, **method}
        run = trained(rows, net(), rounds=2, **options).more(rounds=2).wait()
        assert (
            run.history[-1].metrics == trained(rows, net(), rounds=4, **options).history[-1].metrics
        )

    def test_early_stopping_ends_with_fine_tuning(self, rows: Any, net: Any) -> None:
        run = trained(rows, net(), personal="finetune", rounds=50, until="train_loss < 0.9")
        assert (run.status, len(run.history) < 50) == ("finished", True)
        assert np.isfinite(run.history["personal_loss"][-1])

    def test_stepping_to_the_last_round_ends_with_fine_tuning(self, rows: Any, net: Any) -> None:
        run = made(rows, net(), personal="finetune", rounds=2).step()
        assert "personal_loss" not in run.history.metrics()
        run.step().wait()
        assert np.isfinite(run.history["personal_loss"][-1])

    def test_a_run_that_was_stopped_has_no_personal_models(self, rows: Any) -> None:
        run = interrupted(rows, 0.6, personal="finetune")
        assert (run.status, len(run.history) < 3) == ("stopped", True)
        assert "personal_loss" not in run.history.metrics()
        table = run.parties.table("accuracy")
        assert table[0][3:] == ["alone accuracy", "local accuracy", "fused accuracy"]
        assert "one of their own" not in run.summary()
        with pytest.raises(RunError, match="no model of its own yet"):
            _ = run.parties[0].model
        run.more(3 - len(run.history)).wait()
        assert (
            run.history["personal_loss"][-1]
            == trained(rows, Interrupting(), personal="finetune").history["personal_loss"][-1]
        )

    def test_a_stop_during_fine_tuning_keeps_all_rounds(self, rows: Any) -> None:
        run = interrupted(rows, 0.99, personal="finetune:epochs=4")
        assert len(run.history) == 3
        assert "personal_loss" not in run.history.metrics()
