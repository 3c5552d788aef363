"""Callbacks: when they are called, what they see, how they end a run, and that none can lose it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.errors import FusionError, NameNotFoundError, OptionError
from fusion_nb.notebook import complete
from fusion_nb.runs.callbacks.chain import CallbackChain

torch = pytest.importorskip("torch")

ROWS = (
    np.random.default_rng(0).normal(size=(80, 3)).astype("float32"),
    np.arange(80) % 2,
)


def federate(**options: Any) -> fusion_nb.Run:
    """Return a run of a small model over two parties."""
    torch.manual_seed(0)
    defaults = {"parties": 2, "rounds": 4}
    return fusion_nb.federate(torch.nn.Linear(3, 2), ROWS, **defaults | options)


class Diary(fusion_nb.Callback):
    """Writes down what it is told, and what the run then answers."""

    def __init__(self, *, after_saving: bool = False, end_in: int = 0) -> None:
        self.after_saving, self.end_in = after_saving, end_in
        self.told: list[Any] = []

    def on_start(self, run: fusion_nb.Run) -> None:
        self.told.append(("start", len(run.records), run.status))

    def on_round(self, run: fusion_nb.Run, record: Any) -> bool:
        assert run.records[-1] is record or self.after_saving
        assert run.weights.keys() == {"weight", "bias"}
        self.told.append((record.round, len(run.history), run.parties[0].fused != {}))
        return record.round == self.end_in

    def on_end(self, run: fusion_nb.Run) -> None:
        self.told.append(("end", len(run.records), run.status, run.reason))


SAVED = ["", ":every=3", ":every=1"]


@pytest.mark.parametrize("every", SAVED)
@pytest.mark.parametrize("after_saving", [False, True])
def test_a_callback_hears_start_rounds_and_end(
    every: str, after_saving: bool, tmp_path: Path
) -> None:
    diary = Diary(after_saving=after_saving)
    saved = {"checkpoint": f"{tmp_path / 'run'}{every}"} if every else {}
    run = federate(callbacks=[diary], rounds=3, **saved)
    rounds = [(number, number, True) for number in (1, 2, 3)]
    assert [told[:1] for told in diary.told] == [("start",), (1,), (2,), (3,), ("end",)]
    if not after_saving:
        assert diary.told[1:-1] == rounds, "the run answers for the round that is told"
    assert diary.told[-1] == ("end", 3, "finished", "")
    run.more(1).wait()
    assert diary.told[5:] == [("start", 3, "running"), (4, 4, True), ("end", 4, "finished", "")]


@pytest.mark.parametrize("every", SAVED)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (True, "ends ended it after round 2"),
        (np.bool_(True), "ends ended it after round 2"),
        (torch.tensor(True), "ends ended it after round 2"),
        ("the loss is flat", "the loss is flat"),
    ],
)
def test_a_callback_ends_the_run(answer: Any, reason: str, every: str, tmp_path: Path) -> None:
    def ends(run: Any, record: Any) -> Any:
        return answer if record.round == 2 else None

    saved = {"checkpoint": f"{tmp_path / 'run'}{every}"} if every else {}
    run = federate(callbacks=ends, **saved)
    assert (len(run.history), run.status, run.reason) == (2, "finished", reason)
    assert run.history["loss"] == federate(rounds=2).history["loss"]
    if saved:  # a run that is taken up ended there, too, with the callback or without it
        torch.manual_seed(0)
        again = fusion_nb.resume(tmp_path / "run", torch.nn.Linear(3, 2), ROWS, callbacks=ends)
        assert (len(again.history), again.reason) == (2, reason)
        assert again.more(1).wait().history["loss"] == federate(rounds=3).history["loss"]


@pytest.mark.parametrize("answer", [False, None, np.bool_(False), ""])
def test_other_answers_end_nothing(answer: Any) -> None:
    run = federate(callbacks=lambda run, record: answer)
    assert (len(run.history), run.reason) == (4, "")
    assert not any("callback" in note for note in run.notes)


@pytest.mark.parametrize("answer", [1, 0.5, [True], {"a": 1}, np.array([True, False])])
def test_an_answer_that_is_no_truth_value_ends_nothing_and_is_told(answer: Any) -> None:
    run = federate(callbacks=lambda run, record: answer)
    assert (len(run.history), run.reason) == (4, "")
    notes = [note for note in run.notes if "callback" in note]
    assert len(notes) == 1
    assert "return True" in notes[0]


@pytest.mark.parametrize("where", ["on_start", "on_round", "on_end"])
def test_an_error_is_one_note_and_loses_nothing(
    where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = []

    def fails(*arguments: Any) -> None:
        calls.append(arguments)
        raise ZeroDivisionError("mine")

    broken, diary = Diary(), Diary()
    setattr(broken, where, fails)
    run = federate(callbacks=[broken, diary])
    assert (len(run.history), run.status) == (4, "finished")
    assert len(calls) == 1, "it is called no more"
    assert len(diary.told) == 6, "the others are"
    notes = [note for note in run.notes if "ZeroDivisionError: mine" in note]
    assert len(notes) == 1
    assert "Diary" in notes[0]
    errors = capsys.readouterr().err
    assert errors.count("Traceback") == 1
    assert "in fails" in errors
    assert "chain.py" not in errors, "the traceback begins in the user's code"


def test_a_function_under_the_decorator_is_called_and_replaced_by_name() -> None:
    run = federate(rounds=1)
    seen = []

    def define(mark: str) -> Callable[..., Any]:
        @run.after_round
        def log(run: Any, record: Any) -> None:
            seen.append((mark, record.round))

        return log

    define("first")
    log = define("second")
    run.more(1).wait()
    assert seen == [("second", 2)]
    assert log(run, run.history[-1]) is None, "the function stays a function"


def test_a_callback_may_steer_its_run() -> None:
    def steers(run: Any, record: Any) -> None:
        if record.round == 2:
            run.stop()

    run = federate(callbacks=steers)
    assert (len(run.history), run.status) == (2, "stopped")

    def changes(run: Any, record: Any) -> None:
        if record.round == 1:
            run.change(lr=0.5)

    assert federate(callbacks=changes).history[1].changes == {"lr": 0.5}


class NoCallback(fusion_nb.Callback):
    """A class, where an object is meant."""


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (3, "callbacks= holds int"),
        ([Diary(), "log"], "callbacks= holds str"),
        (lambda run: None, "(run, record)"),
        (lambda: None, "(run, record)"),
        (lambda run, record, other: None, "(run, record)"),
        (NoCallback, "NoCallback()"),
        (dict, "the class dict is no callback"),
    ],
)
def test_something_else_is_refused_before_training(given: Any, text: str) -> None:
    with pytest.raises(OptionError) as raised:
        federate(callbacks=given)
    assert text in str(raised.value)


def test_a_cell_names_functions(ip: Any) -> None:
    body = (
        "import torch\nmodel = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))\n"
        "def flat(run, record):\n    return record.round == 2\n"
    )
    seen = ip.run(f"%%fusion --parties 2 --callbacks flat\n{body}")
    assert seen.error is None, seen.text
    assert len(ip.ns["run"].history) == 2
    assert "--callbacks flat" in ip.ns["run"].spec.to_cell()
    wrong = ip.run(f"%%fusion --parties 2 --callbacks falt\n{body}").error
    assert isinstance(wrong, NameNotFoundError)
    assert "did you mean 'flat'" in str(wrong)


@pytest.mark.parametrize(
    ("option", "fragment", "expected"),
    [
        ("--callbacks", "", {"mine", "diary"}),
        ("--callbacks", "mine,", {"mine,mine", "mine,diary"}),
        ("--contribution", "shapley,", {"shapley,cross_site"}),
        ("--log", "mlflow,", {"mlflow,tensorboard"}),
        ("--log", "tensorboard:", {"tensorboard:folder="}),
    ],
)
def test_values_are_completed(option: str, fragment: str, expected: set[str]) -> None:
    def mine(run: Any, record: Any) -> None: ...

    mine.__module__ = "__main__"
    names = {"mine": mine, "diary": Diary(), "open": open, "number": 3}
    found = complete.suggest([option], fragment, names)
    assert expected <= {*found}
    assert not {"open", "number"} & {*found}


def test_a_spec_names_a_list_of_functions() -> None:
    spec = fusion_nb.RunSpec(callbacks="mine", parties=2, rounds=3)
    names = {"model": torch.nn.Linear(3, 2), "given": ROWS, "mine": [lambda run, record: "enough"]}
    spec = spec.model_copy(update={"data": "given"})
    run = fusion_nb.Run(spec, names).start().wait()
    assert run.reason == "enough"
    with pytest.raises(FusionError, match="holds int"):
        fusion_nb.Run(spec, {**names, "mine": 4})


def test_a_callback_is_added_once_and_removed() -> None:
    chain, diary = CallbackChain(), Diary()
    remove = chain.add(diary)
    chain.add(diary)
    assert len(chain) == 1
    remove()
    assert len(chain) == 0
