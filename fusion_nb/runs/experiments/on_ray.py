"""Trains the trials of an experiment beside each other on a Ray cluster, each in an actor."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from fusion_nb.core.history import History
from fusion_nb.engines import ray_cluster
from fusion_nb.engines.ray_actor import settle_in, versions
from fusion_nb.engines.ray_room import USUAL_WAIT, Room
from fusion_nb.engines.ray_workers import LOOK_SECONDS, ORDERS, WorkerDied, check_version, got
from fusion_nb.runs.experiments import processes
from fusion_nb.runs.experiments.folder import ExperimentFolder
from fusion_nb.runs.experiments.here import keep_best
from fusion_nb.runs.experiments.places import ray_options
from fusion_nb.runs.experiments.processes import Followed, packed_setup
from fusion_nb.runs.experiments.spec import ExperimentSpec, Point
from fusion_nb.runs.experiments.training import Prunes, TrialControl
from fusion_nb.runs.experiments.trial import Trial

#: Looks at a trial that was stopped, before its actor is ended in the middle of a batch.
_STOP_LOOKS = int(30 / LOOK_SECONDS)


def trainers(
    spec: ExperimentSpec,
    namespace: Mapping[str, Any],
    folder: ExperimentFolder | None,
    trials: Sequence[Trial],
    packages: Collection[str],
    gate: Callable[[], None],
) -> list[RayTrainer]:
    """Return a trainer for each actor that the cluster has room for, and not more than asked for.

    packages: see `packed_setup`
    gate: passed while room is waited for; it may block or raise Stopped
    Raises OptionError for a cluster without room, or for what can't be sent to another process.
    """
    setup, options = packed_setup(spec, namespace, packages), ray_options(spec.cluster)
    cpus, gpus = options.get("cpus", 1.0), options.get("gpus", 0.0)
    address = options.get("address", "")
    cluster = ray_cluster.join(address)
    try:
        room = Room(cluster.ray, cpus, gpus, options.get("wait", USUAL_WAIT))
        if cluster.is_ours or "workers" not in options:
            room.total()
        free = room.wait(gate)
        wanted = options.get("workers") or room.total()
        # An actor without room would hold its trial back until the others had ended.
        count = min(wanted, spec.size, wanted if cluster.is_ours and not gpus else free)
        start = cluster.actor(TrialActor, cpus, gpus)
        shared = cluster.ray.put(setup)

        def launch() -> Any:
            return start.remote(ray_cluster.passed_on(), sys.path, shared)

        return [
            RayTrainer(ray_cluster.join(address), launch, room, folder, trials)
            for _ in range(count)
        ]
    finally:
        ray_cluster.leave(cluster)


class TrialActor:
    """Trains one trial at a time on a node, and keeps its messages until they are asked for.

    environment, paths: variables of the kernel, and the folders in which it finds modules
    setup:              what all trials share, pickled
    """

    def __init__(self, environment: Mapping[str, str], paths: Sequence[str], setup: bytes) -> None:
        settle_in(environment, paths)
        from fusion_nb.runs.experiments.worker import TrialWorker

        self._messages: SimpleQueue[bytes] = SimpleQueue()
        _, shared = pickle.loads(setup)
        self._trials = TrialWorker(shared, lambda message: self._messages.put(_dumps(message)))

    def versions(self) -> dict[str, str]:
        """Return the versions of the packages that decide a curve's last digits."""
        return versions()

    def train(self, point: Point, name: str, folder: Path | None, experiment: Path | None) -> None:
        """Train a trial; its checkpoints are kept where this node sees the experiment's folder."""
        is_seen = experiment is not None and ExperimentFolder.is_one(experiment)
        self._trials.train(point, name, folder if is_seen else None)

    def begin(self) -> None:
        """Withdraw the orders for the trial before."""
        self._trials.begin()

    def order(self, kind: str) -> None:
        """Stop, hold or prune the trial, or let it go on. Called while it trains."""
        self._trials.order(kind)

    def messages(self) -> list[bytes]:
        """Return the messages since the last call. Called while it trains."""
        found: list[bytes] = []
        while True:
            try:
                found.append(self._messages.get_nowait())
            except Empty:
                return found


class RayTrainer:
    """Trains one trial after the other in an actor; one that dies makes its trial a failed one.

    cluster: left when it closes;  launch: starts an actor;  room: waited for where one has died
    folder:  where trials under way are saved, or None
    trials:  all of the experiment: the weights of the best one are kept, and no others
    """

    def __init__(
        self,
        cluster: ray_cluster.Cluster,
        launch: Callable[[], Any],
        room: Room,
        folder: ExperimentFolder | None,
        trials: Sequence[Trial],
    ) -> None:
        self._cluster, self._launch, self._room = cluster, launch, room
        self._folder, self._trials = folder, trials
        self._actor: Any = launch()
        self._is_checked = False

    def train(
        self, trial: Trial, control: TrialControl, prunes: Prunes, told: Callable[[], object]
    ) -> None:
        """Train a trial to its end."""
        if self._actor is None:
            self._room.wait(control.gate)
            self._actor, self._is_checked = self._launch(), False
        trial.status, trial.records = "running", History()
        told()
        try:
            self._check(control)
            self._follow(trial, control, prunes, told)
        except WorkerDied as error:
            self._end_actor()
            trial.status, trial.reason = "failed", str(error)
        if control.is_stopping and trial.status == "failed":
            trial.status = "stopped"
        keep_best(self._trials, trial)

    def close(self) -> None:
        """End the actor, and leave the cluster."""
        self._end_actor()
        ray_cluster.leave(self._cluster)

    def _check(self, control: TrialControl) -> None:
        """Wait until the actor has started. Raises OptionError for a node that lacks a package."""
        if not self._is_checked:
            reference = self._actor.versions.remote()
            while not self._is_done(reference):
                control.gate()
            check_version(got(self._cluster.ray, reference))
            self._is_checked = True

    def _follow(
        self, trial: Trial, control: TrialControl, prunes: Prunes, told: Callable[[], object]
    ) -> None:
        """Take over the rounds of a trial until it has ended; hold and stop it as is asked."""
        saved: tuple[Path | None, Path | None] = (None, None)
        if self._folder is not None:
            saved = (self._folder.of_run(trial), self._folder.path)
        got(self._cluster.ray, self._actor.begin.remote())
        reference = self._actor.train.remote(trial.point, trial.name, *saved)
        followed = Followed(trial, prunes, told, lambda: self._order(processes.PRUNE))
        is_held, num_stopping = False, 0
        while True:
            is_done = self._is_done(reference)
            if any(followed.has_ended(message) for message in self._messages()):
                got(self._cluster.ray, reference)
                return
            if is_done:  # it has raised
                got(self._cluster.ray, reference)
            if control.is_stopping:
                num_stopping += 1
                if num_stopping == 1:
                    self._order(processes.STOP)
                elif num_stopping > _STOP_LOOKS:
                    raise WorkerDied("it did not stop")
            elif control.is_paused != is_held:
                is_held = control.is_paused
                self._order(processes.PAUSE if is_held else processes.RESUME)

    def _messages(self) -> list[Any]:
        reference = self._actor.messages.options(concurrency_group=ORDERS).remote()
        return [pickle.loads(each) for each in got(self._cluster.ray, reference)]

    def _order(self, kind: str) -> None:
        self._actor.order.options(concurrency_group=ORDERS).remote(kind)

    def _is_done(self, reference: Any) -> bool:
        """Return whether an object is there, after a moment."""
        return bool(self._cluster.ray.wait([reference], timeout=LOOK_SECONDS)[0])

    def _end_actor(self) -> None:
        if self._actor is not None:
            with suppress(Exception):  # the cluster may be gone
                self._cluster.ray.kill(self._actor)
        self._actor = None


def _dumps(message: object) -> bytes:
    """Pickle a message; classes that a cell defines travel in it."""
    import cloudpickle

    packed: bytes = cloudpickle.dumps(message)
    return packed
