"""Faults that a panel survives: impatience, cells that take variables away, errors in a model, and
any sequence of clicks."""

from __future__ import annotations

import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from panels import AFTER_THE_END, enabled, page, press, run_to_the_end, settle, until

import fusion_nb
from fusion_nb import Panel
from fusion_nb.core.process import cell_output
from fusion_nb.errors import Interrupted, RunError
from fusion_nb.notebook.panel import panel as panel_module
from fusion_nb.notebook.panel import recipes, run_view
from fusion_nb.notebook.panel.variables import Variables
from fusion_nb.runs.session import RUNS

pytestmark = pytest.mark.usefixtures("no_runs")


@pytest.fixture
def panel(long_panel: Panel) -> Panel:
    return long_panel


def going(panel: Panel) -> Any:
    """Start, and return the run once it has whole rounds."""
    panel.start()
    until(lambda: panel.run is not None and len(panel.run.records) > 1)
    settle(panel)
    return panel.run


def trainers() -> list[str]:
    """Return the names of the threads that lead a training; their workers come and go with them."""
    names = [t.name for t in threading.enumerate() if t.name.startswith("fusion_nb ")]
    return [name for name in names if "panel" not in name and "worker" not in name]


def broken(net: Callable[..., Any], faults: list[str]) -> Any:
    """Return a model that fails in training, in round 3, while there are faults in the list."""
    from torch import nn

    class Fragile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net()

        def forward(self, x: Any) -> Any:
            if self.training and faults and any(len(run.records) == 2 for run in RUNS.values()):
                raise ZeroDivisionError(faults[0])
            return self.inner(x)

    return Fragile()


def test_start_pressed_twice_begins_one_run(panel: Panel) -> None:
    panel.screen.buttons["Start"].click()
    panel.screen.buttons["Start"].click()  # before the button had time to turn grey
    assert (
        "a run is about to begin" in panel.screen.message
        or "run is running" in panel.screen.message
    )
    until(lambda: panel.status == "running")
    assert list(RUNS) == ["run"]
    assert len(trainers()) == 1


def test_start_in_two_panels_at_once_begins_one_run(
    panel: Panel, namespace: dict[str, Any]
) -> None:
    other = Panel("model", "rows", namespace=namespace, rounds=10**6)
    refused: list[Exception] = []

    def start(panel: Panel) -> None:
        try:
            panel.start()
        except RunError as error:
            refused.append(error)

    threads = [threading.Thread(target=start, args=(each,)) for each in (panel, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 1
    until(lambda: trainers())
    assert len(trainers()) == 1


def test_start_while_a_cell_trains_is_refused_with_a_sentence(
    panel: Panel, namespace: dict[str, Any]
) -> None:
    mine = fusion_nb.federate(
        namespace["model"], namespace["rows"], rounds=10**6, background=True, name="mine"
    )
    press(panel, "Start")
    assert "mine is running: wait for its end, or stop it first" in panel.screen.message
    assert panel.run is None
    mine.stop()
    press(panel, "Start")
    until(lambda: panel.status == "running")


def test_a_new_panel_takes_the_run_that_is_going(panel: Panel, namespace: dict[str, Any]) -> None:
    run = going(panel)
    again = Panel("model", "rows", namespace=namespace)
    assert again.run is run
    assert again.status == "running"
    press(again, "Pause")
    assert panel.status == again.status == "paused"
    assert enabled(panel) == enabled(again) == {"Resume", "Step one round", "Stop", "More rounds"}
    with pytest.raises(RunError, match="run is paused"):
        again.start()
    press(panel, "Resume")
    press(again, "Stop")
    until(lambda: enabled(again) == enabled(panel) == AFTER_THE_END)


def test_a_paused_run_does_not_go_on_beside_another(
    panel: Panel, namespace: dict[str, Any]
) -> None:
    going(panel)
    panel.pause()
    mine = fusion_nb.federate(
        namespace["model"], namespace["rows"], rounds=10**6, background=True, name="mine"
    )
    for action in ("Resume", "Step one round", "More rounds"):
        press(panel, action)
        assert "mine is running" in panel.screen.message
    assert panel.status == "paused"
    mine.stop()
    press(panel, "Resume")
    assert panel.status == "running"


@pytest.mark.parametrize("pull", ["delete", "rebind", "train it meanwhile"])
def test_the_variables_may_go_during_a_run(
    panel: Panel, namespace: dict[str, Any], net: Any, pull: str
) -> None:
    import torch

    panel.set(rounds=10)
    expected = fusion_nb.Run(panel.spec, dict(namespace)).start().wait().history["loss"]
    panel.start()
    if pull == "delete":
        del namespace["model"], namespace["rows"]
    elif pull == "rebind":
        namespace |= {"model": net(7), "rows": None}
    else:
        until(lambda: panel.run is not None)
        with torch.no_grad():
            for parameter in namespace["model"].parameters():
                parameter.fill_(1.0)
    panel.wait()
    assert panel.run.history["loss"] == expected


def test_cells_may_change_variables_while_they_are_looked_at() -> None:
    namespace: dict[str, Any] = {f"name_{i}": i for i in range(2000)}
    variables, is_done = Variables(namespace), threading.Event()

    def cell() -> None:
        while not is_done.is_set():
            for i in range(500):
                namespace.pop(f"name_{i}")
            for i in range(500):
                namespace[f"name_{i}"] = i

    thread = threading.Thread(target=cell)
    thread.start()
    try:
        assert all(variables.snapshot()["name_1999"] == 1999 for _ in range(1000))
    finally:
        is_done.set()
        thread.join()


def test_stop_cancels_a_run_that_is_being_prepared(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, go = threading.Event(), threading.Event()

    class Slow(fusion_nb.Run):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            made.set()
            go.wait()

    monkeypatch.setattr(recipes, "Run", Slow)
    press(panel, "Start")
    made.wait()
    assert panel.status == "preparing"
    assert enabled(panel) == {"Stop"}
    press(panel, "Stop")
    go.set()
    panel.wait()
    assert panel.status == "idle"
    assert "cancelled before it began" in page(panel)
    assert not RUNS
    assert enabled(panel) == {"Start"}


def test_an_error_in_the_model_in_round_3(namespace: dict[str, Any], net: Any) -> None:
    faults = ["a mistake of mine"]
    namespace["model"] = broken(net, faults)
    panel = Panel("model", "rows", namespace=namespace, rounds=5, engine="local:workers=1")
    press(panel, "Start")
    with pytest.raises(Exception, match="a mistake of mine"):
        panel.wait()
    assert panel.status == "failed"
    assert len(panel.run.records) == 2
    table = panel.screen.table
    assert "<details><summary>" in table
    assert "a mistake of mine" in table
    assert "in forward" in table, "the traceback leads into the user's own code"
    assert "failed" in panel.screen.status
    assert panel.run.model(namespace["model"].inner[0].weight.new_zeros(2, 5)).shape == (2, 3)
    assert enabled(panel) == AFTER_THE_END
    faults.clear()
    press(panel, "Start")
    panel.wait()
    assert panel.status == "finished"


def test_an_error_in_a_widget_ends_no_training(
    panel: Panel, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = going(panel)
    monkeypatch.setattr(run_view, "status_line_html", lambda run: 1 / 0)
    until(lambda: "ZeroDivisionError" in capsys.readouterr().err)
    rounds = len(run.records)
    until(lambda: len(run.records) > rounds + 3)
    press(panel, "Stop")
    until(lambda: enabled(panel) == AFTER_THE_END)


def interrupt_once_it_waits() -> None:
    """Interrupt the main thread once it waits in `Panel.wait`, as the toolbar's ■ does."""
    main = threading.main_thread().ident
    assert main is not None

    def waits() -> bool:
        stack = traceback.walk_stack(sys._current_frames()[main])
        codes = [frame.f_code for frame, _ in stack]
        return codes[0].co_filename == threading.__file__ and Panel.wait.__code__ in codes

    def interrupt() -> None:
        until(waits)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt).start()


def test_an_interrupt_of_the_cell_that_waits_stops_the_run(panel: Panel) -> None:
    going(panel)
    interrupt_once_it_waits()
    with pytest.raises(Interrupted, match="run was stopped after round"):
        panel.wait()
    assert panel.status == "stopped"
    assert enabled(panel) == AFTER_THE_END


def test_any_button_may_fail_and_the_panel_lives(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(panel_module, "look", lambda spec, names: {}["nothing"])
    press(panel, "Preview")
    settle(panel)
    assert "KeyError" in panel.screen.message
    assert "<summary>traceback</summary>" in panel.screen.message
    assert enabled(panel) == {"Start"}


def test_the_cell_run_again_goes_on_with_its_run(
    ip: Any, net: Any, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    executions = iter(
        [("cell 1", "first"), ("cell 1", "second"), ("cell 2", "third"), ("cell 2", "third")]
    )
    monkeypatch.setattr(cell_output, "current_cell", lambda: next(executions))
    ip.ns |= {"model": net(), "rows": rows}
    before = ip.run("%fusion panel --data rows --rounds 2").result
    run_to_the_end(before)
    seen = ip.run("%fusion panel --data rows --rounds 4")
    assert seen.result.run is before.run
    assert "run: finished, 2 of 2 rounds" in seen.outputs[-1]["text/plain"], (
        "what stays is there again"
    )
    assert seen.result.spec.rounds == 4
    before.run.more(1).wait()
    assert "round 2 of 2" in before.screen.status, "nobody sees it any more, and it costs nothing"
    assert "round 3 of 3" in seen.result.screen.status
    assert ip.run("%fusion panel").result.run is None
    assert ip.run("%fusion panel").result.run is None, (
        "two panels in one cell leave each other alone"
    )


#: The buttons that a person can press, of which each leaves the panel in order.
_CLICKS = (
    "Start",
    "Pause",
    "Resume",
    "Step one round",
    "Stop",
    "More rounds",
    "Preview",
    "Load its options",
)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 12))]
)
def test_no_sequence_of_clicks_leaves_the_panel_stuck(namespace: dict[str, Any], seed: int) -> None:
    """Random clicks in two panels, some of them on buttons that turn grey this moment; then both
    must be usable."""
    draw = random.Random(seed)
    panels = [Panel("model", "rows", namespace=namespace, rounds=3) for _ in range(2)]
    allowed = {
        "idle": {"Start"},
        "preparing": {"Stop"},
        "running": {"Pause", "Stop", "More rounds"},
        "paused": {"Resume", "Step one round", "Stop", "More rounds"},
        **dict.fromkeys(("finished", "stopped", "failed"), AFTER_THE_END),
    }
    for _ in range(60):
        panel, text = draw.choice(panels), draw.choice(_CLICKS)
        if draw.random() < 0.3:
            panel.screen.buttons[text].click()  # as if it had not turned grey yet
        else:
            press(panel, text)
        assert len(trainers()) <= 2, "one for each panel, of which at most one is not held"
        assert sum(run.status == "running" for run in RUNS.values()) <= 1
        if draw.random() < 0.3:
            threading.Event().wait(draw.random() / 20)
        assert "KeyError" not in panel.screen.message
        assert "Traceback" not in panel.screen.message
    for panel in panels:
        settle(panel)
        press(panel, "Stop")
    for panel in panels:
        until(lambda panel=panel: panel.status in ("idle", "finished", "stopped"))
        until(lambda panel=panel: enabled(panel) == allowed[panel.status])
    for panel in panels:
        press(panel, "Start")
        panel.wait()
        assert panel.status == "finished"
        assert len(panel.run.records) == panel.spec.rounds
