"""The device of a name, and its arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from fusion_nb.errors import OptionError


def find(name: str) -> torch.device:
    """Return the device of a name; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises OptionError.
    """
    if name != "auto":
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
            return device
        except (RuntimeError, AssertionError) as error:
            raise OptionError(
                f"there is no device {name!r} here",
                f"use auto, or one of those that are here: {', '.join(_names())}",
                option="device",
                value=name,
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _names() -> list[str]:
    """Return the names of the devices of this machine."""
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return ["cpu", *(name for name, is_there in found.items() if is_there)]


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Let a GPU multiply with all of float32's bits for a while.

    By default PyTorch lets convolutions round to TensorFloat-32's ten, so that two ways to the same
    numbers differ in the third digit.
    """
    if device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    conv = getattr(cudnn, "conv", None)  # since PyTorch 2.9, which refuses a mixture of both ways
    owners = (cudnn, matmul) if conv is None else (conv, matmul)
    name, value = ("allow_tf32", False) if conv is None else ("fp32_precision", "ieee")
    with ExitStack() as stack:
        for owner in owners:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield
