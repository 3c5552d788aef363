"""Convolutions of a stack of modules on a GPU, as products of matrices.

`vmap` makes one convolution with a group for each module of it, for which cuDNN launches kernels
group by group: a stack of a thousand is slower by an order of magnitude than the products are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

#: Modules from which on products are faster, on an H100: four times for 1,000 modules, half as fast
#: for 50.
_FEWEST = 200
#: Bytes of unfolded rows of a whole stack, at most; larger ones stay convolutions.
_MOST_BYTES = 1 << 30
#: Height and width.
Pair = tuple[int, int]


class StackedConvolutions(TorchFunctionMode):
    """While entered, 2-D convolutions are products of unfolded rows, where that is faster.

    That is so for many modules whose unfolded rows take little room.

    num_modules: modules in the stack
    """

    def __init__(self, num_modules: int) -> None:
        super().__init__()
        self._num_modules = num_modules

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one function of PyTorch."""
        kwargs = kwargs or {}
        is_any = func is torch.conv2d and self._num_modules >= _FEWEST
        product = _Product.of(*args, **kwargs) if is_any else None
        if product and self._num_modules * product.num_bytes <= _MOST_BYTES:
            return product()
        return func(*args, **kwargs)


@dataclass(frozen=True)
class _Product:
    """A convolution's arguments, with rows (N, channels, height, width) already padded."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    stride: Pair
    dilation: Pair

    @classmethod
    def of(
        cls,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> _Product | None:
        """Return `torch.conv2d`'s arguments, or None for those of another form."""
        if groups != 1 or isinstance(padding, str) or input.ndim != 4:
            return None
        height, width = _pair(padding)
        padded = F.pad(input, (width, width, height, height)) if height or width else input
        return cls(padded, weight, bias, _pair(stride), _pair(dilation))

    @property
    def num_bytes(self) -> int:
        """Bytes of one module's unfolded rows."""
        sizes, spans = self.x.shape[2:], _spans(self.weight, self.dilation)
        places = [
            (size - span) // step + 1
            for size, span, step in zip(sizes, spans, self.stride, strict=True)
        ]
        each = len(self.x) * math.prod(self.weight.shape[1:]) * self.x.element_size()
        return each * math.prod(places)

    def __call__(self) -> Tensor:
        """Return the convolution."""
        found: Tensor = _UnfoldedProduct.apply(self.x, self.weight, self.stride, self.dilation)
        return found if self.bias is None else found + self.bias[:, None, None]


class _UnfoldedProduct(torch.autograd.Function):
    """A convolution without padding, written with operations that `vmap` does in one kernel each.

    Unfolding is a view, whose own backward pass `vmap` would do module by module.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, stride: Pair, dilation: Pair) -> Tensor:
        """Return (N, out channels, out height, out width)."""
        rows = _unfolded(x, weight.shape[2:], stride, dilation)
        return (rows @ weight.flatten(1).T).permute(0, 3, 1, 2)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        """Keep what the backward pass needs; rows are unfolded again there, to save memory."""
        x, weight, ctx.stride, ctx.dilation = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        """Return the gradients of rows and weights."""
        x, weight = ctx.saved_tensors
        rows = _unfolded(x, weight.shape[2:], ctx.stride, ctx.dilation)
        each = slope.permute(0, 2, 3, 1).flatten(0, 2)
        of_weight = (each.T @ rows.flatten(0, 2)).reshape(weight.shape)
        if not ctx.needs_input_grad[0]:
            return None, of_weight, None, None
        # A convolution of the slopes, as far apart as the stride says, with the weights turned.
        spans = _spans(weight, ctx.dilation)
        apart = _spread(_spread(slope, 3, ctx.stride[1]), 2, ctx.stride[0])
        around = F.pad(apart, (spans[1] - 1, spans[1] - 1, spans[0] - 1, spans[0] - 1))
        turned = weight.flip(2, 3).transpose(0, 1).flatten(1)
        of_x = _unfolded(around, weight.shape[2:], (1, 1), ctx.dilation) @ turned.T
        of_x = of_x.permute(0, 3, 1, 2)
        below, right = (x.shape[i] - of_x.shape[i] for i in (2, 3))  # rows that no step reached
        return F.pad(of_x, (0, right, 0, below)), of_weight, None, None


def _pair(value: Any) -> Pair:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _spans(weight: Tensor, dilation: Pair) -> Pair:
    """Return the height and width that a kernel covers."""
    height, width = ((n - 1) * d + 1 for n, d in zip(weight.shape[2:], dilation, strict=True))
    return height, width


def _unfolded(x: Tensor, kernel: torch.Size, stride: Pair, dilation: Pair) -> Tensor:
    """Return (N, out height, out width, channels * kernel height * kernel width)."""
    for dim, size, step, apart in zip((2, 3), kernel, stride, dilation, strict=True):
        x = x.unfold(dim, (size - 1) * apart + 1, step)[..., ::apart]
    return x.permute(0, 2, 3, 1, 4, 5).flatten(3)


def _spread(x: Tensor, dim: int, stride: int) -> Tensor:
    """Return a tensor with stride - 1 zeros between its entries along a dimension."""
    if stride == 1:
        return x
    apart = F.pad(x.movedim(dim, -1).unsqueeze(-1), (0, stride - 1)).flatten(-2)
    return apart.narrow(-1, 0, (x.shape[dim] - 1) * stride + 1).movedim(-1, dim)
