"""The collector of cyclic garbage is put off, and switched on again as it was."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from fusion_nb.core.process.garbage import collected_later


@pytest.fixture(autouse=True)
def _enabled_afterwards() -> Iterator[None]:
    yield
    gc.enable()


def test_nothing_is_collected_inside() -> None:
    with collected_later():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_inside_switches_it_on_again() -> None:
    with pytest.raises(ValueError, match="inside"), collected_later():
        raise ValueError("inside")
    assert gc.isenabled()


def test_it_stays_off_where_the_user_has_switched_it_off() -> None:
    gc.disable()
    with collected_later():
        assert not gc.isenabled()
    assert not gc.isenabled()
