"""The panel's own thread, and clicks that arrive while a cell runs."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from fusion_nb.errors import RunError
from fusion_nb.notebook import subshells
from fusion_nb.notebook.panel.background import BackgroundWorker


def test_a_worker_does_one_thing_at_a_time() -> None:
    go, ended = threading.Event(), []
    worker = BackgroundWorker(ended.append)
    worker.begin("waiting", go.wait)
    with pytest.raises(RunError, match="the panel is waiting"):
        worker.begin("more", lambda: None)
    assert not worker.wait(0.1)
    go.set()
    assert worker.wait()
    worker.begin("failing", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        worker.wait()
    assert [type(error) for error in ended] == [type(None), ZeroDivisionError]


def test_clicks_are_answered_beside_a_running_cell_where_a_kernel_can() -> None:
    comm = SimpleNamespace(_reply_subshell_for=lambda data, default: "the thread that made it")
    subshells.answer_beside(SimpleNamespace(comm=comm))
    assert comm._reply_subshell_for({}, "where it came from") == "where it came from"
    for other in (
        SimpleNamespace(comm=None),
        SimpleNamespace(),
        SimpleNamespace(comm=SimpleNamespace()),
    ):
        subshells.answer_beside(other)
        assert not hasattr(getattr(other, "comm", None), "_reply_subshell_for")
