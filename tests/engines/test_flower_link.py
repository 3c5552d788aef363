"""The link to a SuperLink that is slow, refuses or is gone: what is tried again, and how often."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("flwr")
from fusion_nb.engines.flower import link as module
from fusion_nb.engines.flower.link import Link
from fusion_nb.engines.flower.names import flower
from fusion_nb.errors import RunError

BODIES = [(1, b"one"), (2, b"two")]


class Grid:
    """A SuperLink's grid whose pushes fail as often as `failures` says, each with its error."""

    def __init__(self, failures: list[Exception]) -> None:
        self.failures, self.pushed = failures, list[list[Any]]()
        self.is_closed = False
        self._retry_invoker = SimpleNamespace()
        done = SimpleNamespace(success=True)
        self._runtime_client = SimpleNamespace(
            PullTaskInput=lambda request: SimpleNamespace(run=None),
            PushTaskOutput=lambda request: done,
            SendTaskHeartbeat=lambda request: done,
        )

    def set_run(self, run: Any) -> None:
        pass

    def push_messages(self, messages: list[Any]) -> list[str]:
        self.pushed.append(messages)
        if self.failures:
            raise self.failures.pop(0)
        return [f"message {len(self.pushed)}.{i}" for i, _ in enumerate(messages)]

    def close(self) -> None:
        self.is_closed = True


class Client:
    """A client of a SuperLink's interfaces that hands out run 7 and its task."""

    def StartRun(self, request: Any) -> Any:
        return SimpleNamespace(run_id=7)

    def AcquireTask(self, request: Any) -> Any:
        task = SimpleNamespace(run_id=7)
        return SimpleNamespace(task=task, token="it", HasField=lambda name: name == "task")

    def close(self) -> None:
        pass


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that returns a link whose pushes fail in given ways, and its grid."""

    def of(*failures: Exception) -> tuple[Link, Grid]:
        grid = Grid([*failures])
        client = SimpleNamespace(from_server_address=lambda *args: Client())
        heart = SimpleNamespace(start=lambda: None, stop=lambda: None)
        mine = {
            "HttpGrid": lambda *args, **options: grid,
            "ControlHttpClient": client,
            "RuntimeHttpClient": client,
            "HeartbeatSender": lambda beat: heart,
            "run_from_proto": lambda run: run,
        }
        monkeypatch.setattr(module, "flower", lambda name: mine.get(name) or flower(name))
        return Link("127.0.0.1:1", None), grid

    return of


def late() -> Exception:
    made: Exception = flower("ObjectPushError")("the time passed", 7, "session")
    return made


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_push_that_comes_too_late_is_tried_again(linked: Any, count: int) -> None:
    link, grid = linked(*(late() for _ in range(count)))
    ids = link.push(iter(BODIES))
    assert ids == [f"message {count + 1}.0", f"message {count + 1}.1"]
    assert len(grid.pushed) == count + 1
    for messages in grid.pushed:  # whole each time, though the bodies can be read once
        assert [module.body_of(message) for message in messages] == [b"one", b"two"]
        assert [message.metadata.dst_node_id for message in messages] == [1, 2]
    link.close()


def test_one_that_always_comes_too_late_ends_in_one_line(linked: Any) -> None:
    link, grid = linked(*(late() for _ in range(9)))
    with pytest.raises(RunError, match=r"the SuperLink at 127\.0\.0\.1:1 is gone: ObjectPushError"):
        link.push(BODIES)
    assert len(grid.pushed) == 3
    link.close()


@pytest.mark.parametrize("error", [ConnectionError("refused"), RuntimeError("of its own")])
def test_another_failure_is_not_tried_again(linked: Any, error: Exception) -> None:
    link, grid = linked(error)
    with pytest.raises(RunError, match=f"is gone: {type(error).__name__}: {error}"):
        link.push(BODIES)
    assert len(grid.pushed) == 1
    assert link.push(BODIES) == ["message 2.0", "message 2.1"], "the link can be used again"
    link.close()


def test_nothing_is_pushed_after_the_end(linked: Any) -> None:
    link, grid = linked()
    link.close()
    link.close()
    assert grid.is_closed
    with pytest.raises(RunError, match="has ended"):
        link.push(BODIES)
    assert not grid.pushed
