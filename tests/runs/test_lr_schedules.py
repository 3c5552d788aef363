"""The learning rate of each round: in the record, over added rounds, with changes, and refused."""

from __future__ import annotations

import math
from typing import Any

import pytest

import fusion_nb
from fusion_nb.algorithms.lr_schedules import make
from fusion_nb.core.rounds.lr_schedule import LrSchedule
from fusion_nb.core.rounds.schedule import Schedule
from fusion_nb.errors import ContractError, FusionError, OptionError

RATES = {
    "constant": [0.1, 0.1, 0.1, 0.1],
    "cosine": [0.1 * (1 + math.cos(math.pi * n / 4)) / 2 for n in range(4)],
    "linear": [0.1, 0.075, 0.05, 0.025],
    "linear:least=0.5": [0.1, 0.0875, 0.075, 0.0625],
    "step:every=2,factor=0.5": [0.1, 0.1, 0.05, 0.05],
    "exponential:0.5": [0.1, 0.05, 0.025, 0.0125],
    "warmup:rounds=2": [0.1 / 3, 0.2 / 3, 0.1, 0.1],
    "warmup:rounds=2,then=linear": [0.1 / 3, 0.2 / 3, 0.1, 0.05],
    "warmup:rounds=1,then=(step:every=1,factor=0.5)": [0.05, 0.1, 0.05, 0.025],
}


@pytest.mark.parametrize("text", RATES)
def test_rates_are_those_of_the_formula(text: str) -> None:
    planned = Schedule([(0, 4)])
    found = [make(text).lr(0.1, round, planned) for round in range(1, 5)]
    assert found == pytest.approx(RATES[text])


def test_the_record_has_the_rate_and_training_uses_it(run_of: Any, net: Any) -> None:
    run = run_of(net(), lr_schedule="exponential:0.5").start().wait()
    assert run.history["lr"] == [0.1, 0.05, 0.025, 0.0125]
    assert list(run.history.to_frame()["lr"]) == run.history["lr"]
    by_hand = run_of(net(), changes="2:lr=0.05;3:lr=0.025;4:lr=0.0125").start().wait()
    assert run.history["train_loss"] == by_hand.history["train_loss"]
    assert "lr" not in by_hand.history.metrics()
    assert any("0.1 in round 1" in note and "0.0125 in round 4" in note for note in run.notes)


@pytest.mark.parametrize(
    ("text", "added", "schedule"),
    [("linear", [0.1, 0.05], "0+4,4+2"), ("exponential:0.5", [0.1 / 16, 0.1 / 32], "")],
)
def test_added_rounds_repeat_from_the_spec(
    run_of: Any, net: Any, text: str, added: list[float], schedule: str
) -> None:
    run = run_of(net(), lr_schedule=text).start().wait()
    run.more(2).wait()
    assert run.history["lr"][4:] == pytest.approx(added)
    assert run.spec.schedule == schedule
    again = run_of(net(), **run.spec.model_dump(exclude={"model", "data"}, exclude_unset=True))
    assert again.start().wait().history["train_loss"] == run.history["train_loss"]


def test_a_change_multiplies_the_new_rate(run_of: Any, net: Any) -> None:
    run = run_of(net(), lr_schedule="exponential:0.5")
    run.step()
    run.change(lr=0.8)
    run.resume().wait()
    assert run.history["lr"] == pytest.approx([0.1, 0.4, 0.2, 0.1])
    planned = run_of(net(), lr_schedule="exponential:0.5", changes="2:lr=0.8").start().wait()
    assert planned.history["train_loss"] == run.history["train_loss"]
    assert any("0.1 in round 4" in note for note in planned.notes)


@pytest.mark.parametrize("keep", [False, True])
def test_a_kept_optimizer_takes_the_new_rate(run_of: Any, net: Any, keep: bool) -> None:
    options = {"keep_optimizer": keep, "optimizer": "sgd:momentum=0.5"}
    still = run_of(net(), lr_schedule=lambda_of(1e-12), **options).start().wait()
    assert still.history["loss"][-1] == pytest.approx(still.history["loss"][0], rel=1e-5)


def lambda_of(factor: float) -> str:
    @fusion_nb.lr_schedule(name="then_almost_nothing")
    def then_almost_nothing(round: int) -> float:
        return 1.0 if round == 1 else factor

    return "then_almost_nothing"


def test_a_resumed_run_goes_on_with_its_rates(rows: Any, net: Any, tmp_path: Any) -> None:
    options = {"rounds": 4, "lr": 0.1, "lr_schedule": "cosine", "parties": 3}
    whole = fusion_nb.federate(net(), rows, **options)
    folder = str(tmp_path / "saved")
    begun = fusion_nb.federate(net(), rows, checkpoint=folder, name="begun", **options)
    begun.more(2).wait()
    found = fusion_nb.resume(folder, net(), rows, name="resumed")
    assert found.history["lr"] == begun.history["lr"]
    assert found.history["lr"][:4] == whole.history["lr"]


def test_own_functions_are_given_as_objects_and_registered(rows: Any, net: Any) -> None:
    run = fusion_nb.federate(
        net(), rows, rounds=3, lr=0.1, parties=3, lr_schedule=lambda number: 1 / number
    )
    assert run.history["lr"] == pytest.approx([0.1, 0.05, 0.1 / 3])

    @fusion_nb.lr_schedule
    def falling(round: int, rounds: int, *, by: float = 1.0) -> float:
        return 1 - by * (round - 1) / rounds

    assert make("falling:by=0.5").lr(1.0, 2, Schedule([(0, 2)])) == 0.75


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cosin", "did you mean 'cosine'?"),
        ("step:every=0", "a whole number >= 1"),
        ("cosine:least=1", "a number >= 0 and < 1"),
        ("exponential:factor=0", "a number > 0"),
        ("warmup:then=nothing", "'nothing'"),
        ("step:rounds=3", "it has: every, factor"),
    ],
)
def test_wrong_names_and_values_are_refused_before_training(
    run_of: Any, net: Any, text: str, words: str
) -> None:
    with pytest.raises(FusionError) as error:
        run_of(net(), lr_schedule=text)
    assert words in str(error.value)


@pytest.mark.parametrize("found", [0, -0.5, float("nan"), None, "0.5x"])
def test_a_factor_that_is_no_rate_is_refused(rows: Any, net: Any, found: Any) -> None:
    schedule = LrSchedule("mine", lambda number, last: found)
    with pytest.raises(ContractError, match="mine"):
        schedule.lr(0.1, 1, Schedule())
    with pytest.raises(OptionError, match="round 2"):
        fusion_nb.federate(
            net(), rows, rounds=3, lr=0.1, lr_schedule=lambda n: found if n == 2 else 1.0
        )


def test_a_function_of_another_form_is_refused(rows: Any, net: Any) -> None:
    with pytest.raises(OptionError, match=r"\(round\) or \(round, rounds\)"):
        fusion_nb.federate(net(), rows, lr_schedule=lambda a, b, c: 1.0)


def test_a_fall_over_rounds_needs_a_rate_that_falls(run_of: Any, net: Any) -> None:
    with pytest.raises(OptionError, match="schedule"):
        run_of(net(), schedule="0+4")
    with pytest.raises(OptionError, match="does not look at the number of rounds"):
        run_of(net(), schedule="0+4", lr_schedule="step")


def test_a_doc2vec_keeps_its_own_fall() -> None:
    gensim = pytest.importorskip("gensim.models.doc2vec")
    texts = [f"word{i % 7} and word{i % 5} with word{i % 3}" for i in range(24)]
    model = gensim.Doc2Vec(vector_size=4, min_count=1, epochs=1)
    with pytest.raises(OptionError, match="falls by itself"):
        fusion_nb.federate(model, texts, parties=2, rounds=1, lr_schedule="cosine")
