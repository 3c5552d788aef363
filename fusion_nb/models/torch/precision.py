"""In which precision a module computes; its weights keep their own."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fusion_nb.errors import OptionError, nearest

NAMES = ["float32", "bf16"]


@dataclass(frozen=True)
class Precision:
    """Runs a module as it is ("float32"), or its matrix products and convolutions in bfloat16
    ("bf16").

    by_pixel: whether images lie with all channels of a pixel together, which is how convolutions on
    a CPU are fastest
    """

    name: str
    device: torch.device
    by_pixel: bool = False

    @classmethod
    def of(cls, name: str, module: nn.Module, device: torch.device) -> Precision:
        """Return the precision of a name for a module. Raises OptionError."""
        if name not in NAMES:
            raise OptionError(
                f"--precision {name} is not allowed", f"{nearest(name, NAMES)}give float32 or bf16"
            )
        if name == "bf16" and any(
            p.is_floating_point() and p.dtype != torch.float32 for p in module.parameters()
        ):
            raise OptionError(
                "--precision bf16 with a model that is not float32",
                "leave it out, or use model.float()",
            )
        return cls(name, device)

    @property
    def is_reduced(self) -> bool:
        """Whether computations are coarser than the weights."""
        return self.name == "bf16"

    def laid_out(self, module: nn.Module, x: Tensor) -> Precision:
        """Return this precision with images by pixel, where that makes sense and the module takes
        them so.

        One that looks at a convolution's output with `view` takes them in PyTorch's usual order
        alone.
        """
        if x.ndim != 4 or not any(isinstance(layer, nn.Conv2d) for layer in module.modules()):
            return self
        other = replace(self, by_pixel=True)
        try:
            other.run(other.prepare(copy.deepcopy(module)).train(), x).sum().backward()
        except RuntimeError:
            return self
        return other

    def prepare(self, module: nn.Module) -> nn.Module:
        """Return the module with its weights where they are used fastest."""
        return module.to(memory_format=torch.channels_last) if self.by_pixel else module  # type: ignore[call-overload]

    def run(self, module: nn.Module, x: Tensor) -> Any:
        """Return the module's output, as the loss takes it."""
        x = x.contiguous(memory_format=torch.channels_last) if self.by_pixel and x.ndim == 4 else x
        if not self.is_reduced:
            return module(x)
        with torch.autocast(self.device.type, torch.bfloat16):
            output = module(x)
        return (
            output.float()
            if isinstance(output, Tensor) and output.dtype == torch.bfloat16
            else output
        )
