"""The engine for small models: several parties' models are trained as one batched tensor
program.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

from pydantic import Field

from fusion_nb.core.arithmetic import num_bytes
from fusion_nb.core.types import Reply, Training, Verb
from fusion_nb.engines.local import LocalEngine
from fusion_nb.errors import OptionError, missing_extra

#: Bytes of weights in one stack, at most; several stacks are under way or wait to be fused.
_MOST_BYTES = 32 << 20


class VectorizedEngine(LocalEngine):
    """Stacks the models of several parties and trains them together; its curve is the local one's
    but for rounding.

    A party's side of a fusion runs as everywhere else. Where it asks for a training, it is put
    aside until the other parties of its stack ask for theirs, and then all are done at once.
    stack: parties in one stack at most; fewer where their weights would take too much memory
    """

    def __init__(
        self,
        *,
        workers: Annotated[
            int, Field(description="stacks that train at once, at most; 0: one for each core", ge=0)
        ] = 0,
        keep_memory: Annotated[
            bool,
            Field(description="faster: freed memory stays with the process until the run ends"),
        ] = False,
        stack: Annotated[
            int, Field(description="parties whose models are trained as one, at most", ge=2)
        ] = 32,
    ) -> None:
        super().__init__(workers=workers, keep_memory=keep_memory)
        self._stack = stack

    def check(self, model: Any, orders: dict[str, Any], parties: Sequence[Any]) -> list[str]:
        """Return what to say about it. Raises OptionError where a model can't be trained in
        stacks.
        """
        gain = trial(model, orders, parties)
        if isinstance(gain, str):
            raise OptionError(
                f"--engine vectorized can't train this model: {gain}", "leave it to --engine local"
            )
        return ["engine: vectorized", *super().check(model, orders, parties)]

    def run(self, verb: Verb, cohort: Sequence[str], **orders: Any) -> Iterator[Reply]:
        """Ask each party of the cohort, a stack at a time, and yield their replies in its order."""
        if verb != "fit" or len(cohort) < 2:
            return super().run(verb, cohort, **orders)
        return self._stacks(cohort, orders)

    def _stacks(self, cohort: Sequence[str], orders: dict[str, Any]) -> Iterator[Reply]:
        def answer(model: Any, stack: Sequence[str]) -> list[Reply]:
            turns = [
                lambda seat, party=party: self._parties[party].answer("fit", seat, **orders)
                for party in stack
            ]
            return together(model, turns)

        most = max(2, min(self._stack, _MOST_BYTES // max(num_bytes(orders["weights"]), 1)))
        # The same number for each core, and of one size: the last of 17 parties would train alone
        # else.
        width = min(self.width(self._model, len(cohort)), len(cohort) // 2)
        num_stacks = min(-(-len(cohort) // (most * width)) * width, len(cohort) // 2)
        bounds = [round(i * len(cohort) / num_stacks) for i in range(num_stacks + 1)]
        stacks = [cohort[start:end] for start, end in itertools.pairwise(bounds)]
        if self._workers and len(stacks) > 1:
            answers = self._workers.map(answer, stacks)
        else:
            answers = (answer(self._model, stack) for stack in stacks)
        for replies in answers:
            yield from replies


class Seat:
    """The model as one party of a stack sees it: it takes weights and rows, and its trainings are
    done together.
    """

    def __init__(self, model: Any, put_aside: Callable[[Training], Any]) -> None:
        self._model, self._put_aside = model, put_aside
        self._weights: Any = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def set_weights(self, weights: Any) -> None:
        """Take over weights."""
        self._weights = weights

    def get_weights(self) -> Any:
        """Return the weights; they are nobody else's, and are not written to again."""
        return self._weights

    def fit(self, data: Any, **options: Any) -> Any:
        """Train on the rows, when all parties of the stack are there."""
        result = self._put_aside(Training(self._weights, data, options))
        if isinstance(result, Exception):
            raise result
        self._weights, found = result
        return found

    def evaluate(self, data: Any) -> Any:
        """Return the metrics over the rows."""
        self._model.set_weights(self._weights)
        return self._model.evaluate(data)


def together(model: Any, turns: Sequence[Callable[[Seat], Reply]]) -> list[Reply]:
    """Return what the turns return, each of which is put aside whenever it asks for a training,
    until all have asked.

    A turn is a greenlet: a function that can be left in the middle. The trainings of all that wait
    are one call.
    """
    greenlet = _greenlet()
    hub = greenlet.getcurrent()
    tracks = [greenlet.greenlet(turn, hub) for turn in turns]
    waiting = {i: track.switch(Seat(model, hub.switch)) for i, track in enumerate(tracks)}
    replies: dict[int, Reply] = {}
    while True:
        replies |= {i: waiting.pop(i) for i in list(waiting) if tracks[i].dead}
        if not waiting:
            return [replies[i] for i in range(len(turns))]
        results = model.fit_together(list(waiting.values()))
        waiting = {i: tracks[i].switch(result) for i, result in zip(waiting, results, strict=True)}


def trial(model: Any, orders: dict[str, Any], parties: Sequence[Any]) -> str | float:
    """Return why a model can't be trained in stacks, or how many times as fast a few parties are
    when it is.
    """
    _greenlet()
    if not hasattr(model, "fit_together"):
        return f"a {model.kind} is trained one party at a time"
    with model.on_one_core():
        found: str | float = model.apart(orders, parties)
    return found


def _greenlet() -> Any:
    try:
        import greenlet
    except ModuleNotFoundError as error:
        raise missing_extra(error, "--engine vectorized") from error
    return greenlet
