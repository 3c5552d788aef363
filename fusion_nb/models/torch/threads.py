"""The number of cores that a PyTorch computation takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from fusion_nb.core.process.machine import RefCountedSetting


def _one() -> Callable[[], None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    return lambda: torch.set_num_threads(before)


_one_each = RefCountedSetting(_one)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Keep the computations of this thread, and of new ones, on one core each.

    The last one to leave restores the setting. Both halves are needed: OpenMP's count belongs to a
    thread, and MKL's to the process.
    """
    with _one_each():
        torch.set_num_threads(1)
        yield
