"""The random numbers of several tasks in one operation: each draws from its own stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fusion_nb.models.torch_randomness import OwnRandomness

_bernoulli = torch.ops.aten.bernoulli.p


class StackedRandomness:
    """The generators of several tasks, from which dropout draws as if each task were alone.

    seeds: those of the tasks
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self._generators = [OwnRandomness.of_training(seed).generator for seed in seeds]

    def of(self, tasks: Sequence[int]) -> TorchDispatchMode:
        """Return a context in which an operation on a stack of these tasks draws for each."""
        return _Drawing([self._generators[i] for i in tasks])


class _Drawing(TorchDispatchMode):
    """While entered, dropout of a stack is drawn part by part, in the order of one task alone."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        self._generators = generators

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: see `OwnRandomness`."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation. Raises RuntimeError for a random one other than dropout's."""
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **(kwargs or {}))
        if func is not _bernoulli or len(args[0]) != len(self._generators):
            raise RuntimeError(f"{func} draws other random numbers than dropout does")
        drawn = torch.empty(args[0].shape, dtype=args[0].dtype)
        for part, generator in zip(drawn, self._generators, strict=True):
            part.bernoulli_(args[1], generator=generator)
        return drawn
