"""Settings of the process that several threads hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fusion_nb.core.process.machine import RefCountedSetting, memory_setting


def test_the_first_makes_a_setting_and_the_last_undoes_it() -> None:
    calls: list[str] = []

    def make() -> Callable[[], None]:
        calls.append("made")
        return lambda: calls.append("undone")

    setting = RefCountedSetting(make)
    with setting():
        with setting():
            pass
        assert calls == ["made"]
    assert calls == ["made", "undone"]


def test_a_setting_is_undone_after_an_error() -> None:
    calls: list[str] = []
    setting = RefCountedSetting(lambda: lambda: calls.append("undone"))
    with pytest.raises(ZeroDivisionError), setting():
        _ = 1 / 0
    assert calls == ["undone"]


class Allocator:
    """Records the calls of glibc's allocator."""

    def __init__(self) -> None:
        self.values: dict[int, int] = {}
        self.num_trims = 0

    def mallopt(self, parameter: int, value: int) -> int:
        self.values[parameter] = value
        return 1

    def malloc_trim(self, pad: int) -> None:
        self.num_trims += 1


def test_freed_memory_is_given_back_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    libc, megabyte = Allocator(), 1 << 20
    monkeypatch.setattr("ctypes.CDLL", lambda name: libc)
    with memory_setting({-1: 500 * megabyte, -3: 700 * megabyte})():
        assert libc.values == {-1: 500 * megabyte, -3: 700 * megabyte}
        assert not libc.num_trims
    assert libc.num_trims == 1
    assert max(libc.values.values()) <= 64 * megabyte


def test_a_refused_value_becomes_the_highest_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Older(Allocator):
        def mallopt(self, parameter: int, value: int) -> int:
            return value <= 32 << 20 and super().mallopt(parameter, value)

    libc = Older()
    monkeypatch.setattr("ctypes.CDLL", lambda name: libc)
    with memory_setting({-3: 700 << 20})():
        assert libc.values == {-3: 32 << 20}


def test_another_allocator_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    with memory_setting({-3: 700 << 20})():
        pass
