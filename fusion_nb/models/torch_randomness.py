"""PyTorch's random numbers for one thread, so that dropout repeats whatever the process draws.

PyTorch has one generator for all threads: seeding it in a training thread would change the user's
numbers, and the user's draws would change the training. So random operations are given a generator
on their way to the kernel instead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_one_at_a_time = threading.Lock()


class OwnRandomness(TorchDispatchMode):
    """While entered, every random operation of this thread on the CPU draws from its own generator.

    `drew` says whether there was any. Operations on other devices are left to their device's
    generator.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self.drew = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False, as PyTorch's documentation of it shows: it need not import its compiler."""
        return False

    @classmethod
    def of_training(cls, seed: int) -> OwnRandomness:
        """Return the random numbers of a training with this seed."""
        # Another seed than the shuffler's: the same bits would tie the order of rows to the
        # dropped units.
        return cls(seed + 1)

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
        if (seeded := _with_generator(func)) is not None:
            return seeded(*args, **{**kwargs, "generator": self.generator})
        return func(*args, **kwargs)

    def _dropout(
        self, x: torch.Tensor, p: float, train: bool | None = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        kept = torch.empty_like(x, dtype=torch.bool)
        if not train:
            return x.clone(), kept.fill_(True)
        kept.bernoulli_(1 - p, generator=self.generator)
        return x * kept * (0.0 if p == 1 else 1 / (1 - p)), kept


@cache
def _with_generator(func: Any) -> Any:
    """Return the form of an operation that takes a generator (rand -> rand.generator), or None."""
    wanted = [argument.name for argument in func._schema.arguments if argument.name != "generator"]
    for overload in (func._overloadname, *func.overloadpacket.overloads()):
        found = getattr(func.overloadpacket, overload)
        names = [argument.name for argument in found._schema.arguments]
        if "generator" in names and [name for name in names if name != "generator"] == wanted:
            return found
    return None


def _device(args: Any, kwargs: Any) -> torch.device:
    tensors = (value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor))
    first = next(tensors, None)
    return first.device if first is not None else torch.device(kwargs.get("device") or "cpu")


@contextmanager
def seeded_cuda(seed: int, device: torch.device) -> Iterator[None]:
    """Seed a CUDA device's generator for a while; its kernels take no other."""
    if device.type != "cuda":
        yield
        return
    state = torch.cuda.get_rng_state(device)
    torch.cuda.manual_seed(seed)
    try:
        yield
    finally:
        torch.cuda.set_rng_state(state, device)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's own generators while a model is built; restore the user's state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


@contextmanager
def replaying(seed: int) -> Iterator[None]:
    """Seed PyTorch's own CPU generator for a while, for one run at a time.

    For models that draw anew in the backward pass, as checkpointing does: it repeats the numbers of
    the forward pass from a copy of that generator. Numbers that the user draws from it meanwhile
    come from the same stream.
    """
    with _one_at_a_time, torch.random.fork_rng([]):
        torch.manual_seed(seed)
        yield


@contextmanager
def own_randomness(
    seed: int, device: torch.device, draws: bool, redraws: bool, *, all_along: bool = True
) -> Iterator[AbstractContextManager[Any]]:
    """Let a model's random numbers depend on the seed alone, and leave the user's as they are.

    draws:     the model draws at all;  redraws: it draws anew in the backward pass. Without either,
               nothing is done, since it costs a few per cent.
    all_along: for all operations, or only for those inside the context that is given, so that the
               others are not slowed down
    """
    if redraws:
        with replaying(seed), seeded_cuda(seed, device):
            yield nullcontext()
    elif draws:
        randomness = OwnRandomness.of_training(seed)
        with randomness if all_along else nullcontext(), seeded_cuda(seed, device):
            yield nullcontext() if all_along else randomness
    else:
        yield nullcontext()
