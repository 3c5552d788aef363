"""The precision in which a module computes; its weights keep their own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fusion_nb.errors import OptionError, nearest, option
from fusion_nb.models.torch.copying.copies import copied

NAMES = ["float32", "bf16"]


@dataclass(frozen=True)
class Precision:
    """Runs a module in its own precision, or its products and convolutions in bfloat16.

    name:     "float32" for the module's own precision, or "bf16"
    by_pixel: whether all channels of a pixel lie together in memory: convolutions on a CPU are
              fastest then
    """

    name: str
    device: torch.device
    by_pixel: bool = False

    @classmethod
    def of(cls, name: str, module: nn.Module, device: torch.device) -> Precision:
        """Return the precision of a name for a module. Raises OptionError."""
        if name not in NAMES:
            raise OptionError(
                f"{option('precision', name)} is not allowed",
                f"{nearest(name, NAMES)}give float32 or bf16",
                allowed=NAMES,
            )
        if name == "bf16" and any(
            p.is_floating_point() and p.dtype != torch.float32 for p in module.parameters()
        ):
            raise OptionError(
                f"{option('precision', 'bf16')} with a model that is not float32",
                "leave it out, or use model.float()",
            )
        return cls(name, device)

    @property
    def is_reduced(self) -> bool:
        """Whether computations are coarser than the weights."""
        return self.name == "bf16"

    @property
    def exact(self) -> Precision:
        """The module's own precision, with rows as they are."""
        return Precision("float32", self.device)

    def context(self) -> AbstractContextManager[Any]:
        """Return a context in which computations have this precision."""
        if not self.is_reduced:
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def laid_out(
        self, module: nn.Module, x: Any, call: Callable[[Precision, nn.Module], Tensor]
    ) -> Precision:
        """Return this precision with images by pixel, where the module has use for it and works.

        call: returns the module's output for these rows in a precision
        A module that calls `view` on a convolution's output works in PyTorch's usual order only.
        """
        has_images = isinstance(x, Tensor) and x.ndim == 4
        if not has_images or not any(isinstance(layer, nn.Conv2d) for layer in module.modules()):
            return self
        other = replace(self, by_pixel=True)
        try:
            call(other, other.prepare(copied(module)).train()).sum().backward()
        except RuntimeError:
            return self
        return other

    def prepare(self, module: nn.Module) -> nn.Module:
        """Return the module with its weights in the order of memory that is fastest."""
        return module.to(memory_format=torch.channels_last) if self.by_pixel else module  # type: ignore[call-overload]

    def run(self, module: Callable[[Any], Any], x: Any) -> Any:
        """Return the module's output, as the loss takes it."""
        if self.by_pixel and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        if not self.is_reduced:
            return module(x)
        with self.context():
            output = module(x)
        return self.widened(output)

    def widened(self, output: Any) -> Any:
        """Return an output that was computed in bfloat16 as float32."""
        is_coarse = isinstance(output, Tensor) and output.dtype == torch.bfloat16
        return output.float() if self.is_reduced and is_coarse else output
