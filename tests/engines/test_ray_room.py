"""The room that a cluster has for workers, without a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from fusion_nb.core import registry
from fusion_nb.engines import ray_cluster
from fusion_nb.engines.ray_room import Room
from fusion_nb.errors import OptionError, Stopped

NODES = ({"CPU": 4.0, "GPU": 1.0}, {"CPU": 3.0})


class Toy:
    """A Ray whose nodes, and what is free of them, are those that it is given."""

    def __init__(self, *nodes: Mapping[str, float], free: Any = None) -> None:
        self.all, self.free = list(nodes), list(nodes if free is None else free)
        self._private = SimpleNamespace(state=self)

    def nodes(self) -> list[dict[str, Any]]:
        alive = [{"Alive": True, "Resources": node} for node in self.all]
        return [*alive, {"Alive": False, "Resources": {"CPU": 64.0}}]

    def available_resources_per_node(self) -> dict[str, Mapping[str, float]]:
        return {str(place): node for place, node in enumerate(self.free)}


@pytest.mark.parametrize(
    ("shares", "count"),
    [((1.0, 0.0), 7), ((2.0, 0.0), 3), ((0.5, 0.0), 14), ((1.0, 0.25), 4), ((0.1, 0.1), 10)],
)
def test_workers_are_the_shares_that_whole_nodes_have(
    shares: tuple[float, float], count: int
) -> None:
    assert Room(Toy(*NODES), *shares).total() == count


@pytest.mark.parametrize("shares", [(5.0, 0.0), (1.0, 2.0), (4.0, 1.5)])
def test_more_than_a_node_has_is_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match=f"no node of the cluster has {shares[0]:g} CPUs") as told:
        Room(Toy(*NODES), *shares).total()
    assert "4 CPUs, 1 GPUs; 3 CPUs" in told.value.hint


@pytest.mark.parametrize(
    ("free", "shares"),
    [
        ([{"GPU": 1.0}, {}], (1.0, 0.0)),
        ([{"CPU": 0.5, "GPU": 1.0}, {"CPU": 0.5}], (1.0, 0.0)),  # whole only in the sum
        ([{"CPU": 4.0}, {"CPU": 3.0}], (1.0, 0.5)),
        ([{"CPU": 1.0, "GPU": 1.0}, {"CPU": 1.0}], (2.0, 0.0)),
    ],
)
def test_a_cluster_that_is_taken_is_one_line(free: Any, shares: tuple[float, float]) -> None:
    with pytest.raises(OptionError, match=f"has {shares[0]:g} CPUs.* free for a worker") as told:
        Room(Toy(*NODES, free=free), *shares, seconds=0).wait(lambda: None)
    assert "its nodes have 4 CPUs, 1 GPUs; 3 CPUs, of which free: " in told.value.hint
    assert "wait=600" in told.value.hint
    assert "\n" not in told.value.message + told.value.hint


def test_nodes_that_never_come_are_one_line() -> None:
    with pytest.raises(OptionError, match="no node of the cluster has 8 CPUs for a worker"):
        Room(Toy(*NODES), 8.0, 0.0, seconds=0).wait(lambda: None)


def test_a_stop_ends_the_wait() -> None:
    def gate() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        Room(Toy(*NODES, free=[{}]), 1.0, 0.0, seconds=1e9).wait(gate)


def test_the_wait_ends_when_a_worker_fits() -> None:
    toy = Toy(*NODES, free=[{}])
    Room(toy, 1.0, 0.0, seconds=1e9).wait(lambda: toy.free.append({"CPU": 1.0}))


def test_another_version_of_ray_tells_what_is_free_of_all_nodes_together() -> None:
    toy = Toy(*NODES)
    toy._private = SimpleNamespace()
    toy.available_resources = lambda: {"CPU": 0.5}
    with pytest.raises(OptionError, match="1 CPUs free"):
        Room(toy, 1.0, 0.0, seconds=0).wait(lambda: None)


class TestNodesThatAreLost:
    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        now = [100.0]
        monkeypatch.setattr("fusion_nb.engines.ray_room.time.monotonic", lambda: now[0])
        return now

    def test_a_run_without_workers_and_nodes_ends(self, clock: list[float]) -> None:
        toy = Toy(*NODES)
        room = Room(toy, 1.0, 0.5, seconds=10)
        room.watch(has_workers=False)  # they start
        del toy.all[0]
        for clock[0] in (110.0, 119.0):
            room.watch(has_workers=False)
        clock[0] = 121.0
        with pytest.raises(OptionError, match=r"has 1 CPUs and 0\.5 GPUs for"):
            room.watch(has_workers=False)

    @pytest.mark.parametrize("comes_back", [True, False])
    def test_one_that_comes_back_counts_anew(self, clock: list[float], comes_back: bool) -> None:
        toy = Toy()
        room = Room(toy, 1.0, 0.0, seconds=10)
        room.watch(has_workers=False)
        clock[0] = 109.0
        toy.all = [{"CPU": 1.0}] if comes_back else []
        room.watch(has_workers=not comes_back)
        toy.all = []
        for clock[0] in (111.0, 120.0):
            room.watch(has_workers=False)


class TestRaysClient:
    def test_its_address_is_refused_by_name(self) -> None:
        with pytest.raises(OptionError, match=r"ray://10\.0\.0\.5:10001 is Ray's client") as told:
            registry.create("engines", "ray:address=ray://10.0.0.5:10001")
        assert "address=auto" in told.value.hint

    def test_that_of_the_environment_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            ray_cluster, "imported", lambda: SimpleNamespace(is_initialized=lambda: False)
        )
        monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
        with pytest.raises(OptionError, match="ray://head:10001 is Ray's client"):
            ray_cluster.join("")

    def test_one_that_a_cell_has_connected_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client = SimpleNamespace(ray=SimpleNamespace(is_connected=lambda: True))
        toy = SimpleNamespace(is_initialized=lambda: True, util=SimpleNamespace(client=client))
        monkeypatch.setattr(ray_cluster, "imported", lambda: toy)
        with pytest.raises(OptionError, match="in a cell is Ray's client"):
            ray_cluster.join("")
