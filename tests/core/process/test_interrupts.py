"""Interrupts that are held back, handed on, and raised where they do no harm."""

# ruff: noqa: PT012  (what comes after the interrupt is the point)

from __future__ import annotations

import importlib
import signal
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from fusion_nb.core.process.interrupts import HeldInterrupts
from fusion_nb.errors import Interrupted
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import RunSpec


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


class TestHeldInterrupts:
    def test_one_is_raised_at_the_end(self) -> None:
        done = []
        with pytest.raises(KeyboardInterrupt), HeldInterrupts():
            interrupt()
            done.append("all of it")
        assert done
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def test_one_that_is_forgotten_is_not_raised(self) -> None:
        with HeldInterrupts() as interrupts:
            interrupt()
            interrupts.forget()

    def test_another_error_comes_first(self) -> None:
        with pytest.raises(ValueError, match="mine"), HeldInterrupts():
            interrupt()
            raise ValueError("mine")

    def test_an_inner_one_takes_over_what_the_outer_holds(self) -> None:
        with HeldInterrupts() as outer:
            interrupt()
            with pytest.raises(KeyboardInterrupt), HeldInterrupts() as inner:
                assert inner.has_come
            assert not outer.has_come

    def test_one_that_is_held_ends_what_must_not_begin(self) -> None:
        with HeldInterrupts():
            interrupt()
            with pytest.raises(KeyboardInterrupt), HeldInterrupts(0):
                pytest.fail("it began")

    def test_one_in_a_finalizer_is_raised_after_it(self) -> None:
        class Interrupts:
            def __del__(self) -> None:
                interrupt()

        with pytest.raises(KeyboardInterrupt), HeldInterrupts(0):
            made = Interrupts()
            del made
            threading.Event().wait(60)
            pytest.fail("it was lost")

    @pytest.mark.parametrize("collection", [weakref.WeakSet, weakref.WeakKeyDictionary])
    def test_one_in_the_callback_of_a_weak_reference_is_raised_after_it(
        self, collection: Any
    ) -> None:
        class Entry:
            """Is held by a weak collection."""

        class Interrupting(dict[Any, Any]):
            """Holds the references of a collection; one that goes brings an interrupt."""

            def add(self, reference: Any) -> None:
                self[reference] = None

            def discard(self, reference: Any) -> None:
                del self[reference]

            def __delitem__(self, reference: Any) -> None:
                super().__delitem__(reference)
                interrupt()

        entry, held = Entry(), collection()
        held.data = Interrupting()
        held.data[weakref.ref(entry, held._remove)] = None
        with pytest.raises(KeyboardInterrupt), HeldInterrupts(0):
            del entry
            threading.Event().wait(60)
            pytest.fail("it was lost")

    def test_it_is_raised_inside_after_the_time(self) -> None:
        with pytest.raises(KeyboardInterrupt), HeldInterrupts(0.05):
            interrupt()
            threading.Event().wait(240)
            pytest.fail("it was not raised")

    def test_an_import_is_finished_first(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "slow_module.py").write_text(
            "import signal, threading\nsignal.raise_signal(signal.SIGINT)\n"
            "threading.Event().wait(0.3)\nwhole = True\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        with pytest.raises(KeyboardInterrupt), HeldInterrupts(0):
            importlib.import_module("slow_module")
            threading.Event().wait(240)
            pytest.fail("it was not raised")
        assert sys.modules.pop("slow_module").whole

    def test_other_threads_and_handlers_are_left_alone(self) -> None:
        seen: list[Any] = []
        before = signal.signal(signal.SIGINT, lambda *_: seen.append("mine"))
        try:
            with HeldInterrupts() as interrupts:
                interrupt()
            assert not interrupts.has_come
        finally:
            signal.signal(signal.SIGINT, before)
        assert seen == ["mine"]

        def work() -> None:
            with HeldInterrupts():
                seen.append(signal.getsignal(signal.SIGINT))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen[-1] is before


class TestRuns:
    @pytest.fixture
    def run(self, rows: Any, net: Any) -> Run:
        spec = RunSpec(data="rows", parties=2, rounds=1_000_000)
        return Run(spec, {"model": net(), "rows": rows})

    def test_one_between_start_and_wait_stops_the_run(self, run: Run) -> None:
        with pytest.raises(Interrupted), run.training.stopping_on_interrupt():
            run.start()
            interrupt()
            run.wait()
        assert run.status == "stopped"

    def test_one_before_the_start_stops_it_too(self, run: Run) -> None:
        with pytest.raises(Interrupted), run.training.stopping_on_interrupt():
            interrupt()
            run.start()
        assert run.status == "stopped"

    def test_one_while_waiting_stops_it_after_a_whole_round(self, run: Run) -> None:
        run.subscribe(lambda run: interrupt_main() if len(run.records) == 2 else None)
        with pytest.raises(Interrupted, match="was stopped after round"):
            run.start().wait()
        assert run.status == "stopped"
        assert [record.round for record in run.records] == list(range(1, len(run.records) + 1))


def interrupt_main() -> None:
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
