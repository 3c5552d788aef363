"""The workers that engines share: who is lent when, without a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from fusion_nb.engines.ray_actor import Parcel, packed, unpacked
from fusion_nb.engines.ray_workers import Workers, check_version, lacking
from fusion_nb.engines.sending import GIVE_UP, GO, HOLD, gate_by
from fusion_nb.errors import OptionError, Stopped


class Fake:
    """A worker that is started by hand."""

    def __init__(self, number: int, *, is_ready: bool = True) -> None:
        self.number, self.ready, self.is_alive, self.has_ended = number, is_ready, True, False
        self.known: set[tuple[str, str]] = set()

    def is_ready(self) -> bool:
        return self.ready

    def knows(self, run: str, name: str) -> bool:
        return (run, name) in self.known

    def end(self) -> None:
        self.has_ended = True


@pytest.fixture
def started() -> list[Fake]:
    return []


@pytest.fixture
def workers(started: list[Fake]) -> Workers[Fake]:
    def start() -> Fake:
        started.append(Fake(len(started)))
        return started[-1]

    return Workers(start)


def passing() -> None:
    """A gate that lets everything pass."""


def refusing(times: int) -> Callable[[], None]:
    """A gate that is passed that number of times, and then raises Stopped."""
    left = iter(range(times))

    def gate() -> None:
        if next(left, None) is None:
            raise Stopped

    return gate


def test_they_grow_to_the_largest_number_that_was_asked_for(
    workers: Workers[Fake], started: list[Fake]
) -> None:
    for count in (2, 1, 3):
        workers.grow(count)
    assert len(started) == 3


def test_one_is_lent_to_one_turn_at_a_time(workers: Workers[Fake]) -> None:
    workers.grow(2)
    with workers.lend("run", "a", passing) as one, workers.lend("run", "b", passing) as other:
        assert one is not other
        with pytest.raises(Stopped), workers.lend("run", "c", refusing(2)):
            pass
    with workers.lend("another run", "a", passing) as again:
        assert again in (one, other)


def test_a_turn_waits_for_one_that_is_given_back(workers: Workers[Fake]) -> None:
    workers.grow(1)
    waiting, done = threading.Event(), threading.Event()

    def take_turn() -> None:
        with workers.lend("run", "b", waiting.set):
            done.set()

    thread = threading.Thread(target=take_turn)
    with workers.lend("run", "a", passing):
        thread.start()
        waiting.wait()
        assert not done.is_set()
    thread.join()
    assert done.is_set()


def test_the_one_that_has_the_rows_is_preferred(
    workers: Workers[Fake], started: list[Fake]
) -> None:
    workers.grow(3)
    started[1].known = {("run", "party 7")}
    with workers.lend("run", "party 7", passing) as found:
        assert found is started[1]
        with workers.lend("run", "party 7", passing) as other:
            assert other is not found


def test_one_that_is_not_ready_is_not_lent(workers: Workers[Fake], started: list[Fake]) -> None:
    workers.grow(1)
    started[0].ready = False

    def get_ready() -> None:
        started[0].ready = True

    with workers.lend("run", "a", get_ready) as found:
        assert found is started[0]
    started[0].ready = False
    with workers.lend("run", "a", refusing(0)):
        """It was ready once, and is not asked again."""


def test_a_new_one_takes_the_place_of_one_that_died(
    workers: Workers[Fake], started: list[Fake]
) -> None:
    workers.grow(2)
    with workers.lend("run", "a", passing) as dead:
        dead.is_alive = False
    assert dead.has_ended
    assert len(workers.everyone) == 2
    assert dead not in workers.everyone
    assert len(started) == 3


def test_an_exception_gives_it_back(workers: Workers[Fake]) -> None:
    workers.grow(1)
    with pytest.raises(ValueError, match="mine"), workers.lend("run", "a", passing):
        raise ValueError("mine")
    with workers.lend("run", "a", refusing(0)) as found:
        assert found.is_alive


def test_closing_ends_those_that_are_lent_too(workers: Workers[Fake], started: list[Fake]) -> None:
    workers.grow(2)
    with workers.lend("run", "a", passing):
        workers.close()
    assert all(worker.has_ended for worker in started)
    assert workers.everyone == []


@pytest.mark.parametrize(("order", "passes"), [(GO, True), (GIVE_UP, False)])
def test_a_gate_goes_by_its_orders(order: int, passes: bool) -> None:
    orders = iter([HOLD, HOLD, order, order])
    gate = gate_by(lambda: next(orders))
    if passes:
        gate()
    else:
        with pytest.raises(Stopped):
            gate()
    assert next(orders, None) is None, "it waited until the order to hold was withdrawn"


class TestParcels:
    def test_arrays_are_apart_and_are_not_copied(self) -> None:
        import numpy as np

        rows = np.arange(1000.0)
        body, arrays = packed({"rows": rows, "name": "a"})
        assert len(body) < 1000
        assert np.shares_memory(arrays[0], rows)
        assert unpacked(Parcel(body, arrays))["rows"].tolist() == rows.tolist()

    def test_copies_can_be_written_to_and_the_store_can_not(self) -> None:
        import numpy as np

        parcel = packed(np.zeros(5))
        for array in parcel.arrays:
            array.setflags(write=False)  # as the object store has it
        with pytest.raises(ValueError, match="read-only"):
            unpacked(parcel)[0] = 1
        unpacked(parcel, copies=True)[0] = 1
        assert unpacked(parcel).tolist() == [0.0] * 5

    def test_a_class_of_a_cell_travels(self) -> None:
        namespace: dict[str, type] = {}
        exec("class Mine:\n    value = 3\n", {"__name__": "__main__"}, namespace)
        assert unpacked(packed(namespace["Mine"]())).value == 3


@pytest.mark.parametrize("name", ["torchvision", "mine.models.net", "fusion_nb"])
def test_a_package_that_a_node_lacks_is_named(name: str) -> None:
    error = lacking(name)
    assert f"lacks the package {name.partition('.')[0]!r}" in error.message
    assert "\n" not in error.message + error.hint


def test_a_node_with_another_version_is_refused() -> None:
    with pytest.raises(OptionError, match=r"a node of the cluster has fusion_nb 0\.0\.1"):
        check_version({"fusion_nb": "0.0.1"})
    from fusion_nb.version import __version__

    check_version({"fusion_nb": __version__})
