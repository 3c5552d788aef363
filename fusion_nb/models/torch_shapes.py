"""The outputs of PyTorch's commonest operations on tensors without values.

PyTorch itself finds these by Python code for which it imports its compiler, `torch._dynamo`: a
second in each process that checks a model from a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_aten = torch.ops.aten

#: Operations on one number of each input, whose output has the type of the inputs.
_ONE_BY_ONE = {
    _aten.add.Tensor,
    _aten.mul.Tensor,
    _aten.sub.Tensor,
    _aten.elu.default,
    _aten.gelu.default,
    _aten.hardtanh.default,
    _aten.leaky_relu.default,
    _aten.relu.default,
    _aten.sigmoid.default,
    _aten.silu.default,
    _aten.tanh.default,
}
#: Operations that change their first input, which is their output too.
_IN_PLACE = {
    _aten.add_.Tensor,
    _aten.bernoulli_.float,
    _aten.div_.Scalar,
    _aten.elu_.default,
    _aten.hardtanh_.default,
    _aten.leaky_relu_.default,
    _aten.mul_.Tensor,
    _aten.relu_.default,
    _aten.sigmoid_.default,
    _aten.silu_.default,
    _aten.tanh_.default,
}
_SOFTMAX = {_aten._log_softmax.default, _aten._softmax.default}


def outputs(operation: Any, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Return the outputs of an operation on tensors without values.

    None: it is not one of the commonest, or its arguments are not, and PyTorch must find them
    """
    tensors = [value for value in args if isinstance(value, Tensor)]
    if not tensors or not _are_alike(tensors):
        return None
    if operation in _ONE_BY_ONE or operation in _IN_PLACE:
        return _one_by_one(args, tensors, in_place=operation in _IN_PLACE)
    if operation is _aten.addmm.default and len(args) == 3:
        return _product(*args)
    if operation in _SOFTMAX and not args[2]:  # which asks for another type
        return _like(tensors[0])
    if operation is _aten.empty_like.default and not any(options.values()):
        return _like(tensors[0])
    if operation is _aten.native_batch_norm.default and tensors[0].ndim > 1:
        return _normed(tensors[0])
    return None


def _are_alike(tensors: Sequence[Tensor]) -> bool:
    """Return whether tensors have no values, and all the same type of real numbers."""
    first = tensors[0].dtype
    return first.is_floating_point and all(
        tensor.is_meta and tensor.dtype == first for tensor in tensors
    )


def _one_by_one(args: Sequence[Any], tensors: Sequence[Tensor], *, in_place: bool) -> Tensor | None:
    if any(isinstance(value, complex) for value in args):
        return None
    first = tensors[0]
    if all(tensor.shape == first.shape for tensor in tensors):
        return first if in_place else _like(first)
    try:
        shape = torch.broadcast_shapes(*(tensor.shape for tensor in tensors))
    except RuntimeError:  # they do not fit, which the operation itself says
        return None
    if in_place:
        return first if first.shape == shape else None
    return first.new_empty(shape)


def _product(added: Tensor, rows: Tensor, columns: Tensor) -> Tensor | None:
    if rows.ndim != 2 or columns.ndim != 2 or rows.shape[1] != columns.shape[0]:
        return None
    if added.shape != columns.shape[1:]:
        return None
    return rows.new_empty((len(rows), columns.shape[1]))


def _normed(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return normed rows, and the mean and the deviation of each channel."""
    dtype = torch.promote_types(rows.dtype, torch.float32)
    mean, deviation = (rows.new_empty(rows.shape[1], dtype=dtype) for _ in range(2))
    return _like(rows), mean, deviation


def _like(tensor: Tensor) -> Tensor:
    # Strides are found with a package for symbols (sympy), which is imported even for usual ones.
    return tensor.new_empty(tensor.shape) if tensor.is_contiguous() else torch.empty_like(tensor)
