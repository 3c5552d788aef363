"""Settings of the process that several threads hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fusion_nb.core.process.machine import RefCountedSetting


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
