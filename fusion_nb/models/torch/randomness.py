"""A random stream of its own for a thread, so that dropout repeats whatever else the process draws.

PyTorch has one generator for all threads: seeding it in a training thread would change the user's numbers, and the
user's draws would change the training. So random operations are given a generator on their way to the kernel instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten


class OwnRandomness(TorchDispatchMode):
    """While entered, every random operation of this thread on the CPU draws from a generator of its own.

    `drew` says whether there was any. Operations on other devices are left to their device's generator.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self.drew = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, with the generator where it is random and takes one."""
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        self.drew = True
        if kwargs.get("generator") is not None or _device(args, kwargs).type != "cpu":
            return func(*args, **kwargs)
        if func is _aten.native_dropout.default:
            return self._dropout(*args, **kwargs)
        if not _takes_generator(func):
            func = getattr(func.overloadpacket, "generator", func)
        if _takes_generator(func):
            kwargs = {**kwargs, "generator": self.generator}
        return func(*args, **kwargs)

    def _dropout(self, x: torch.Tensor, p: float, train: bool | None = True) -> tuple[torch.Tensor, torch.Tensor]:
        kept = torch.empty_like(x, dtype=torch.bool)
        if not train:
            return x.clone(), kept.fill_(True)
        kept.bernoulli_(1 - p, generator=self.generator)
        return x * kept * (0.0 if p == 1 else 1 / (1 - p)), kept


def _takes_generator(func: Any) -> bool:
    return any(argument.name == "generator" for argument in func._schema.arguments)


def _device(args: Any, kwargs: Any) -> torch.device:
    tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
    first = next(tensors, None)
    return first.device if first is not None else torch.device(kwargs.get("device") or "cpu")
