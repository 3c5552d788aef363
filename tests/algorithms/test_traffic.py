"""Bytes that each kind of rule moves."""

from __future__ import annotations

from typing import Any

import pytest
from linear_parties import STANDING, Sum, built, federation

#: The net of the fixture in bytes: 5 * 8 + 8 + 8 * 3 + 3 float32.
NET = 4 * 75


class TestBytes:
    """Bytes of four parties with a net of 300 bytes, counted by hand."""

    def traffic(self, rows: Any, net: Any, fusion: str) -> list[tuple[int, int, int, int]]:
        records = [*built(rows, net(), fusion=fusion).rounds(3)]
        return [(len(r.silent), r.bytes_up, r.bytes_down, r.bytes_fedavg) for r in records]

    @pytest.mark.parametrize(
        "fusion", ["dynamic:threshold=0", "lag:xi=0", "cmfl:threshold=0", "fedprox", "fedadam"]
    )
    def test_rules_that_always_send_send_as_much_as_fedavg(
        self, fusion: str, rows: Any, net: Any
    ) -> None:
        first, *rest = self.traffic(rows, net, fusion)
        # Parties that train on their own get the first weights too, before the new common ones.
        twice = 2 if fusion.startswith("dynamic") else 1
        assert first == (0, 4 * NET, twice * 4 * NET, 8 * NET)
        assert rest == [(0, 4 * NET, 4 * NET, 8 * NET)] * 2

    def test_no_weights_travel_where_no_party_drifts(self, rows: Any, net: Any) -> None:
        first, *rest = self.traffic(rows, net, "dynamic:threshold=1e9")
        assert first == (4, 0, 4 * NET, 8 * NET)
        assert rest == [(4, 0, 0, 8 * NET)] * 2

    @pytest.mark.parametrize(
        ("monitor", "numbers"), [("naive", 1), ("linear", 2), ("sketch", 1 + 5 * 250)]
    )
    def test_a_monitor_sends_a_few_numbers(
        self, monitor: str, numbers: int, rows: Any, net: Any
    ) -> None:
        first, *rest = self.traffic(rows, net, f"fda:theta=1e9,monitor={monitor}")
        assert first == (4, 4 * numbers * 8, 4 * NET, 8 * NET)
        assert rest == [(4, 4 * numbers * 8, 0, 8 * NET)] * 2
        _, *rest = self.traffic(rows, net, f"fda:theta=0,monitor={monitor}")
        assert rest == [(0, 4 * (numbers * 8 + NET), 4 * NET, 8 * NET)] * 2

    def test_scaffold_doubles_the_bytes(self, rows: Any, net: Any) -> None:
        assert self.traffic(rows, net, "scaffold") == [(0, 8 * NET, 8 * NET, 8 * NET)] * 3

    def test_numbers_sent_with_the_weights(self, rows: Any, net: Any) -> None:
        assert self.traffic(rows, net, "fednova") == [(0, 4 * (NET + 8), 4 * NET, 8 * NET)] * 3
        assert self.traffic(rows, net, "qfedavg") == [(0, 4 * (NET + 16), 4 * NET, 8 * NET)] * 3

    def test_balancing_moves_the_weights_of_some(self) -> None:
        first, second = federation("dynamic:threshold=1e-4", STANDING, Sum(), epochs=1).rounds(2)
        size = 2 * 8
        assert (first.bytes_up, first.bytes_down) == (2 * size, (4 + 2) * size)
        assert (second.bytes_up, second.bytes_down) == (4 * size, 4 * size)

    def test_a_silent_party_of_lag_sends_nothing(self) -> None:
        for record in federation("lag:xi=0.3,memory=3", epochs=1).rounds(8):
            assert record.bytes_up == (3 - len(record.silent)) * 3 * 8
            assert record.bytes_down == 3 * 3 * 8
