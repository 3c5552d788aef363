"""The Ray cluster of this process: started or joined by its first engine, left by its last."""

from __future__ import annotations

import importlib
import os
import socket
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from fusion_nb.core.process.machine import num_cores
from fusion_nb.engines.ray_actor import PartyActor
from fusion_nb.engines.ray_room import described, nodes_of
from fusion_nb.engines.ray_workers import ORDERS, ActorWorker, Workers
from fusion_nb.errors import OptionError, missing_extra, option

#: Seconds that a cluster has to answer.
_ANSWER_SECONDS = 10
#: How often a Ray of our own is tried to be started.
_NUM_STARTS = 3
#: Variables of the kernel that decide how a model is computed.
_PASSED_ON = ("KERAS_BACKEND",)
#: Ray asks for consent to its statistics, and warns of changes to come, in the cell that runs.
_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0"}
_ENGINE = option("engine", "ray")


class Cluster:
    """A cluster that this process is connected to, with the workers that its engines share.

    is_ours: it was started here, on this machine alone, and ends with the last engine
    """

    def __init__(self, ray: Any, address: str, *, is_ours: bool, is_connected: bool) -> None:
        self.ray, self.address, self.is_ours = ray, address, is_ours
        self._is_connected = is_connected
        self._workers: dict[tuple[float, float], Workers[ActorWorker]] = {}
        self.num_engines = 0

    def workers(self, cpus: float, gpus: float) -> Workers[ActorWorker]:
        """Return the workers that each hold these shares of a node; there may be none yet."""
        if (cpus, gpus) not in self._workers:
            self._workers[cpus, gpus] = Workers(lambda: self._start_worker(cpus, gpus))
        return self._workers[cpus, gpus]

    def described(self) -> str:
        """Return in a sentence what a reader of a run should know of the cluster."""
        nodes = Counter(map(described, nodes_of(self.ray)))
        listed = "; ".join(
            f"{count} x {node}" if count > 1 else node for node, count in nodes.items()
        )
        where = "started for this run" if self.is_ours else f"at {self.address}"
        count = f"{nodes.total()} node{'s' if nodes.total() != 1 else ''}"
        return f"engine: Ray {self.ray.__version__} {where}, {count} ({listed})"

    def close(self) -> None:
        """End the workers, and leave the cluster as it was; end one that was started here."""
        for workers in self._workers.values():
            workers.close()
        if self._is_connected:
            self.ray.shutdown()
            _let_print(self.ray, True)

    def actor(self, kind: type, cpus: float, gpus: float) -> Any:
        """Return a class of actors that each hold these shares of a node; `remote` starts one."""
        # A Ray of our own serves this kernel alone: its workers are as many as was said, and have
        # no others to share cores with.
        return self.ray.remote(
            num_cpus=0 if self.is_ours else cpus,
            num_gpus=gpus,
            max_restarts=0,
            max_task_retries=0,
            concurrency_groups={ORDERS: 1},
            scheduling_strategy="SPREAD",
        )(kind)

    def _start_worker(self, cpus: float, gpus: float) -> ActorWorker:
        actor = self.actor(PartyActor, cpus, gpus)
        return ActorWorker(self.ray, actor.remote(passed_on(), sys.path))


_lock = threading.Lock()
_joined: list[Cluster] = []


def join(address: str) -> Cluster:
    """Return the cluster at an address, which this process joins unless it has.

    address: as `ray.init` takes it; "" for a new one on this machine, for the one that RAY_ADDRESS
             names, or for the one that a cell has joined
    Raises OptionError, or MissingExtraError where Ray is not installed.
    """
    ray = imported()
    with _lock:
        found = _joined[0] if _joined else _connected(ray, address)
        _check_same(found, address)
        _joined[:] = [found]
        found.num_engines += 1
        return found


def leave(cluster: Cluster) -> None:
    """Leave a cluster once for each time that it was joined; the last time closes it."""
    with _lock:
        cluster.num_engines -= 1
        if not cluster.num_engines and cluster in _joined:
            _joined.remove(cluster)
            cluster.close()


def passed_on() -> dict[str, str]:
    """Return the variables of this kernel that decide how a node computes a model."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}


def imported() -> Any:
    """Return the package. Raises MissingExtraError, or OptionError where it has no wheel."""
    try:
        with _quiet():
            import ray
    except ModuleNotFoundError as error:
        if sys.platform == "win32" and sys.version_info >= (3, 13):
            raise OptionError(
                f"{_ENGINE}: Ray is not made for Windows with Python 3.13 or newer",
                f"use Python 3.11 or 3.12, Linux or macOS, or {option('engine', 'local')}",
            ) from error
        raise missing_extra(error, _ENGINE) from error
    return ray


def check_address(address: str) -> None:
    """Raise OptionError for the address of Ray's client, which is no part of the cluster."""
    if address.startswith("ray://"):
        raise no_client(address)


def no_client(found: str) -> OptionError:
    """Return the error for a kernel that is a client of Ray, and no node of the cluster."""
    return OptionError(
        f"{_ENGINE}: {found} is Ray's client, which the engine can't use",
        "start Jupyter on a node of the cluster, and use address=auto there; or add this machine "
        "by  ray start --address=HOST:6379",
    )


def is_client(ray: Any) -> bool:
    """Return whether a cell has connected Ray's client."""
    try:
        return bool(ray.util.client.ray.is_connected())
    except AttributeError:  # it was never imported
        return False


def _connected(ray: Any, address: str) -> Cluster:
    if ray.is_initialized():
        if is_client(ray):
            raise no_client("ray.init('ray://...') in a cell")
        return Cluster(ray, _current_address(ray), is_ours=False, is_connected=False)
    address = address or os.environ.get("RAY_ADDRESS", "")
    check_address(address)
    is_ours = address in ("", "local")
    options: dict[str, Any] = {"address": address}
    if is_ours:
        # Only this machine may connect to it: a Ray without keys runs any code that it is sent.
        options = {
            "address": "local",
            "num_cpus": num_cores(),
            "include_dashboard": False,
            "_node_ip_address": "127.0.0.1",
        }
    else:
        _check_answers(ray, address)
    try:
        _initialize(ray, options, tries=_NUM_STARTS if is_ours else 1)
    except Exception as error:
        line = str(error).strip().splitlines()[0]
        raise OptionError(
            f"{_ENGINE}: Ray can't be {'started' if is_ours else f'joined at {address}'}: {line}",
            f"try  ray.init({'' if is_ours else f'address={address!r}'})  in a cell, which says "
            f"more, or use {option('engine', 'local')}",
        ) from error
    return Cluster(ray, address, is_ours=is_ours, is_connected=True)


def _initialize(ray: Any, options: Mapping[str, Any], tries: int) -> None:
    """Start or join a Ray; try again where a busy machine takes longer than Ray waits.

    Ray leaves the processes of a start that failed: they are ended.
    """
    before = ray_processes(ray)
    try:
        with _quiet():
            ray.init(log_to_driver=False, logging_level="CRITICAL", **options)
        _let_print(ray, False)
    except Exception as error:
        if ray.is_initialized():
            ray.shutdown()
        for process in ray_processes(ray) - before:
            with suppress(Exception):  # it has ended meanwhile
                process.kill()
        if tries == 1 or "timed out" not in str(error):
            raise
        _initialize(ray, options, tries - 1)


def _let_print(ray: Any, enabled: bool) -> None:
    """Let Ray print about nodes that die into the cell that runs, or not; a Failure tells it."""
    with suppress(AttributeError):  # Ray's debugger has no other switch either
        ray._private.worker._worker_logs_enabled = enabled


def ray_processes(ray: Any) -> set[Any]:
    """Return the processes of Ray below this one; none without psutil, which Ray brings along."""
    try:
        psutil: Any = importlib.import_module("psutil")
    except ModuleNotFoundError:
        return set()
    folder, found = os.path.dirname(ray.__file__), set()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            command = " ".join(child.cmdline())
            if folder in command or command.startswith("ray::"):
                found.add(child)
    return found


def _check_answers(ray: Any, address: str) -> None:
    """Raise OptionError where nothing listens at an address, which Ray would wait long for."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        return
    if host in ("localhost", "127.0.0.1"):
        host = ray.util.get_node_ip_address()  # as Ray reads it
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER_SECONDS).close()
    except OSError as error:
        raise OptionError(
            f"{_ENGINE}: nothing answers at {address} ({host}): {error}",
            "give the address that  ray start --head  printed, auto for the cluster of this "
            "machine, or none to start one for this run",
        ) from error


def _check_same(cluster: Cluster, address: str) -> None:
    """Raise OptionError for another address than that of the cluster: a process has but one."""
    wanted = address or os.environ.get("RAY_ADDRESS", "")
    if address in ("", "auto", cluster.address) or (wanted == "local" and cluster.is_ours):
        return
    where = "a Ray that was started here" if cluster.is_ours else cluster.address
    raise OptionError(
        f"{_ENGINE}: this kernel is connected to another cluster: {where}",
        "a kernel can use one at a time: end the runs there, or call  ray.shutdown()  first",
    )


def _current_address(ray: Any) -> str:
    """Return the address of the cluster that a cell has joined."""
    return str(ray.get_runtime_context().gcs_address)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray's questions and its warnings of changes to come out of the cell."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
