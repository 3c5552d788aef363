"""The options of the engine `ray`, and its messages, without a cluster."""

from __future__ import annotations

import builtins
import sys
import threading
from collections import namedtuple
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from engine_runs import Viewing

from fusion_nb import RunSpec
from fusion_nb.core import registry
from fusion_nb.engines import ray_cluster
from fusion_nb.engines.ray import RayEngine
from fusion_nb.engines.ray_actor import Answered, Lacking, PartyActor, Turn, packed, unpacked
from fusion_nb.errors import MissingExtraError, OptionError
from fusion_nb.runs.build import build


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ray not be installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "ray"]:
        monkeypatch.delitem(sys.modules, name)
    usual = builtins.__import__

    def blocked(name: str, *rest: Any, **given: Any) -> Any:
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError("No module named 'ray'", name="ray")
        return usual(name, *rest, **given)

    monkeypatch.setattr(builtins, "__import__", blocked)
    monkeypatch.setattr("fusion_nb.core.registry.find_spec", lambda name: None)


class TestOptions:
    def test_they_are_given_as_those_of_any_engine(self) -> None:
        text = "ray:address=10.0.0.5:6379,workers=3,cpus=0.5,gpus=0.25"
        assert registry.bind("engines", text)[1] == {
            "address": "10.0.0.5:6379",
            "workers": 3,
            "cpus": 0.5,
            "gpus": 0.25,
        }
        assert registry.bind("engines", "ray:auto")[1] == {"address": "auto"}
        assert isinstance(registry.create("engines", "ray"), RayEngine)

    @pytest.mark.parametrize(
        ("text", "about"),
        [
            ("ray:workers=-1", "workers"),
            ("ray:cpus=0", "cpus"),
            ("ray:gpus=-1", "gpus"),
            ("ray:nodes=2", "nodes"),
            ("ray:cpus=1.5", "whole numbers"),
            ("ray:gpus=2.5", "whole numbers"),
        ],
    )
    def test_others_are_refused_in_a_line(self, text: str, about: str) -> None:
        with pytest.raises(OptionError) as caught:
            registry.create("engines", text)
        assert about in caught.value.message + caught.value.hint

    def test_a_given_number_of_workers_is_the_width(self, net: Any) -> None:
        engine = registry.create("engines", "ray:workers=3")
        assert [engine.width(net(), num) for num in (2, 10)] == [2, 3]


class TestMissing:
    @pytest.mark.usefixtures("without_ray")
    def test_a_run_names_the_command_before_any_training(self, rows: Any, net: Any) -> None:
        with pytest.raises(MissingExtraError) as caught:
            build(RunSpec(data="data", engine="ray"), {"model": net(), "data": rows})
        assert "needs the package 'ray', which is not installed" in caught.value.message
        assert "pip install 'fusion_nb[ray]'" in caught.value.hint

    @pytest.mark.usefixtures("without_ray")
    def test_windows_is_told_that_there_is_no_wheel(self, monkeypatch: pytest.MonkeyPatch) -> None:
        version = namedtuple("version", "major minor")(3, 13)
        monkeypatch.setattr(ray_cluster.sys, "platform", "win32")
        monkeypatch.setattr(ray_cluster.sys, "version_info", version)
        with pytest.raises(OptionError, match=r"not made for Windows with Python 3\.13"):
            ray_cluster.imported()

    @pytest.mark.usefixtures("without_ray")
    def test_it_is_not_offered_and_help_says_what_it_needs(self, ip: Any) -> None:
        from fusion_nb.notebook import complete

        assert "ray" not in complete.values("engine", "", {})
        assert "process" in complete.values("engine", "", {})
        for command in ("%fusion list engines", "%fusion help ray"):
            assert "pip install 'fusion_nb[ray]'" in ip.run(command).text

    def test_it_is_offered_where_it_is_installed(self, ip: Any) -> None:
        pytest.importorskip("ray", reason="needs the extra ray")
        from fusion_nb.notebook import complete

        assert "ray" in complete.values("engine", "", {})
        assert "ray:address=" in complete.values("engine", "ray:", {})
        assert "pip install" not in ip.run("%fusion help ray").text

    def test_its_help_says_where_there_are_wheels(self) -> None:
        assert "Windows with Python 3.11 and 3.12" in (RayEngine.__doc__ or "")


class Toy:
    """A Ray whose nodes are those that it is given."""

    __version__, __file__ = "2.0", "/nowhere/ray/__init__.py"

    def __init__(self, *nodes: Mapping[str, float], error: Exception | None = None) -> None:
        self._nodes, self.error, self.is_on = nodes, error, False
        self.calls: list[str] = []
        self.lasts = True

    def is_initialized(self) -> bool:
        return self.is_on

    def init(self, **options: Any) -> None:
        self.calls.append(f"init {options['address']}")
        if self.error:
            error, self.error = self.error, self.error if self.lasts else None
            raise error
        self.is_on = True

    def shutdown(self) -> None:
        self.calls.append("shutdown")
        self.is_on = False

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": node} for node in self._nodes] + [
            {"Alive": False, "Resources": {"CPU": 64.0}}
        ]

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(gcs_address="10.0.0.5:6379")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    found = Toy({"CPU": 4.0, "GPU": 1.0}, {"CPU": 3.0})
    monkeypatch.setattr(ray_cluster, "imported", lambda: found)
    monkeypatch.setattr(ray_cluster.socket, "create_connection", lambda *given: threading.Event())
    monkeypatch.setattr(threading.Event, "close", lambda self: None, raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield found
    assert not found.is_on or not found.calls


class TestCluster:
    def test_one_that_is_started_ends_with_its_last_engine(self, toy: Toy) -> None:
        first, second = ray_cluster.join(""), ray_cluster.join("")
        assert first is second
        ray_cluster.leave(first)
        assert toy.calls == ["init local"]
        ray_cluster.leave(second)
        assert toy.calls == ["init local", "shutdown"]

    def test_one_that_a_cell_joined_stays(self, toy: Toy) -> None:
        toy.is_on = True
        ray_cluster.leave(ray_cluster.join(""))
        ray_cluster.leave(ray_cluster.join("auto"))
        ray_cluster.leave(ray_cluster.join("10.0.0.5:6379"))
        assert toy.is_on
        assert toy.calls == []

    def test_the_address_of_the_environment_is_joined(
        self, toy: Toy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.7:6379")
        cluster = ray_cluster.join("")
        assert not cluster.is_ours
        ray_cluster.leave(cluster)
        assert toy.calls == ["init 10.0.0.7:6379", "shutdown"]

    def test_a_second_cluster_is_refused(self, toy: Toy) -> None:
        cluster = ray_cluster.join("10.0.0.5:6379")
        with pytest.raises(OptionError, match=r"connected to another cluster: 10\.0\.0\.5"):
            ray_cluster.join("10.0.0.6:6379")
        ray_cluster.leave(cluster)
        assert toy.calls[-1] == "shutdown"

    def test_a_refusal_leaves_nothing_behind(self, toy: Toy) -> None:
        toy.is_on = True  # a cell has joined another one
        with pytest.raises(OptionError, match="connected to another cluster"):
            ray_cluster.join("10.0.0.6:6379")
        toy.is_on = False  # and has left it
        cluster = ray_cluster.join("10.0.0.6:6379")
        ray_cluster.leave(cluster)
        assert toy.calls == ["init 10.0.0.6:6379", "shutdown"]

    def test_it_is_described_in_a_sentence(self, toy: Toy) -> None:
        cluster = ray_cluster.join("10.0.0.5:6379")
        assert cluster.described() == (
            "engine: Ray 2.0 at 10.0.0.5:6379, 2 nodes (4 CPUs, 1 GPUs; 3 CPUs)"
        )
        ray_cluster.leave(cluster)

    def test_what_ray_says_is_one_line(self, toy: Toy) -> None:
        toy.error = RuntimeError("Version mismatch: the cluster has Python 3.9\n  more\n  more")
        with pytest.raises(OptionError) as caught:
            ray_cluster.join("10.0.0.5:6379")
        assert "can't be joined at 10.0.0.5:6379: Version mismatch" in caught.value.message
        assert "\n" not in caught.value.message + caught.value.hint

    def test_a_start_that_takes_too_long_is_tried_again(self, toy: Toy) -> None:
        toy.error, toy.lasts = RuntimeError("The current node timed out during startup."), False
        ray_cluster.leave(ray_cluster.join(""))
        assert toy.calls == ["init local", "init local", "shutdown"]
        toy.error, toy.lasts = RuntimeError("The current node timed out during startup."), True
        with pytest.raises(OptionError, match="Ray can't be started: The current node timed out"):
            ray_cluster.join("")
        assert toy.calls[3:] == ["init local"] * 3

    def test_an_address_where_nothing_listens_is_one_line(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(*given: Any) -> None:
            raise ConnectionRefusedError("refused")

        monkeypatch.setattr(ray_cluster, "imported", Toy)
        monkeypatch.setattr(ray_cluster.socket, "create_connection", refused)
        with pytest.raises(OptionError, match=r"nothing answers at 10\.0\.0\.5:6379"):
            ray_cluster.join("10.0.0.5:6379")


def test_a_model_that_cannot_be_sent_is_refused_before_training(rows: Any) -> None:
    pytest.importorskip("ray", reason="needs the extra ray")
    model = Viewing()
    model.lock = threading.Lock()
    with pytest.raises(OptionError, match="--engine ray: the model or its rows can't be sent"):
        build(RunSpec(data="data", engine="ray"), {"model": model, "data": rows})


class TestActor:
    """The actor, called as Ray calls it. References are the parcels themselves."""

    @pytest.fixture
    def actor(self, monkeypatch: pytest.MonkeyPatch) -> PartyActor:
        monkeypatch.setattr("fusion_nb.engines.ray_actor.drop_output", lambda: None)
        monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda reference: reference))
        return PartyActor({}, [])

    def test_a_package_that_is_missing_is_no_failure_of_a_party(self, actor: PartyActor) -> None:
        absent = packed(0)._replace(body=b"cabsent_package.sub\nThing\n.")
        turn = Turn(1, "run", "party 1", absent, None, None)
        assert unpacked(actor.answer(turn, packed(None))) == Lacking("absent_package")

    def test_another_version_of_a_class_is_a_failure_in_a_line(self, actor: PartyActor) -> None:
        broken = packed(0)._replace(body=b"ccollections\nNoSuchThing\n.")
        turn = Turn(1, "run", "party 1", broken, None, None)
        answered = unpacked(actor.answer(turn, packed(None)))
        assert isinstance(answered, Answered)
        assert not answered.has_state
        assert "a node can't read what it was sent: AttributeError" in answered.reply.error
