"""Runs that several trainers share among them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from fusion_nb.runs.experiments.crew.trainer import GivenBack, Joining, Trainer
from fusion_nb.runs.experiments.trial import Trial


class Batch:
    """Trials that several trainers take, one after the other, until none is left.

    name:  of the threads;  train: trains one, or raises;  may: whether another may be begun
    """

    def __init__(
        self,
        name: str,
        trials: Sequence[Trial],
        train: Callable[[Trial, Trainer], object],
        may: Callable[[], bool],
    ) -> None:
        self._name, self._left, self._train, self._may = name, deque(trials), train, may
        self._threads: list[threading.Thread] = []
        self.errors: list[BaseException] = []

    @property
    def num_left(self) -> int:
        """The number of trials that no trainer has begun."""
        return len(self._left)

    @property
    def goes_on(self) -> bool:
        """Whether a trial is left and may be begun."""
        return bool(self._left) and not self.errors and self._may()

    def begin(self, trainers: Sequence[Trainer]) -> None:
        """Let each trainer take trials in a thread of its own, the first of them now."""
        for trainer in trainers:
            if (trial := self._next()) is not None:
                thread = threading.Thread(
                    target=self._work, args=(trainer, trial), name=self._name, daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def invite(self, trainers: Sequence[Joining], is_ready: Callable[[Joining], bool]) -> None:
        """Let each trainer take trials in a thread of its own, once it is ready."""

        def join(trainer: Joining) -> None:
            if is_ready(trainer) and (trial := self._next()) is not None:
                self._work(trainer, trial)

        for trainer in trainers:
            thread = threading.Thread(target=join, args=(trainer,), name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def work(self, trainer: Trainer, after_each: Callable[[], object]) -> None:
        """Let a trainer take trials in this thread."""
        if (trial := self._next()) is not None:
            self._work(trainer, trial, after_each)

    def join(self) -> None:
        """Wait for the threads."""
        for thread in self._threads:
            thread.join()

    def _work(
        self, trainer: Trainer, first: Trial, after_each: Callable[[], object] = lambda: None
    ) -> None:
        trial: Trial | None = first
        while trial is not None:
            try:
                self._train(trial, trainer)
            except GivenBack:
                self._left.appendleft(trial)
                return
            except BaseException as error:
                self.errors.append(error)
            if self.goes_on:
                after_each()
            trial = self._next()

    def _next(self) -> Trial | None:
        try:
            return self._left.popleft() if self.goes_on else None
        except IndexError:  # another trainer took the last one
            return None
