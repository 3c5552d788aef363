"""Modules that wrap another one, whose weights would leave under longer names."""

from __future__ import annotations

from torch import nn

#: The attribute that holds the module inside, by the name of the class around it.
_INSIDE = {
    "OptimizedModule": "_orig_mod",
    "DataParallel": "module",
    "DistributedDataParallel": "module",
}


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside `torch.compile(...)`, `DataParallel(...)` and their like."""
    while (name := _INSIDE.get(type(module).__name__, "")) and type(module).__module__.startswith(
        "torch."
    ):
        module = getattr(module, name)
    return module
