"""The outputs of PyTorch's operations, counted before each is run."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from fusion_nb.models import torch_shapes
from fusion_nb.models.activations import Activations

_aten = torch.ops.aten
_ATTENTION = {
    _aten._native_multi_head_attention.default,
    _aten._transformer_encoder_layer_fwd.default,
}


class CountedOperations(TorchDispatchMode):
    """While entered, each operation of this thread is counted first, and then run.

    An operation is run on tensors without values to know the shapes of its outputs. One that can't
    be, because its outputs depend on values (`nonzero`), makes no more than a few times its inputs.
    where: the layer that is running, as users know it
    """

    def __init__(self, activations: Activations) -> None:
        super().__init__()
        self.where = ""
        self._activations = activations

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: see `OwnRandomness`."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operation, and run it. Raises TooManyActivationsError instead of running it."""
        kwargs = kwargs or {}
        is_new = [returned.alias_info is None for returned in func._schema.returns]
        if any(is_new):
            self._count(func, args, kwargs, is_new)
        known = torch_shapes.outputs(func, args, kwargs)
        return func(*args, **kwargs) if known is None else known

    def _count(self, func: Any, args: Any, kwargs: Any, is_new: list[bool]) -> None:
        where = self.where or f"operation {func.overloadpacket.__name__}"
        args, kwargs = tree_map(_without_values, args), tree_map(_without_values, kwargs)
        try:
            known = torch_shapes.outputs(func, args, kwargs)
            outputs = func(*args, **kwargs) if known is None else known
        except (RuntimeError, NotImplementedError, ValueError, IndexError, TypeError):
            return  # the operation itself says what is wrong, if anything is
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        made = (found for found, new in zip(outputs, is_new, strict=False) if new)
        self._activations.add(sum(map(_bytes, tree_leaves(list(made)))), where)
        self._activations.check_single(_workspace(func, args, outputs), where)


def _without_values(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("meta")
    if isinstance(value, torch.Generator):
        return None
    return value.to("meta") if isinstance(value, torch.Tensor) else value


def _bytes(value: Any) -> int:
    return value.numel() * value.element_size() if isinstance(value, torch.Tensor) else 0


def _workspace(func: Any, args: Any, outputs: Any) -> int:
    """Return the bytes that an operation takes beside its outputs, where these may be more."""
    if func is _aten.convolution.default and args[0].dtype != torch.float32:
        # Others than the usual type are multiplied as a matrix with a column for each place.
        places = outputs[0].numel() // max(1, outputs[0].shape[1])
        return int(places * args[1][0].numel() * args[0].element_size())
    if func in _ATTENTION:
        rows, length = args[0].shape[0], args[0].shape[1]
        num_heads = args[2] if func is _aten._transformer_encoder_layer_fwd.default else args[4]
        return int(rows * num_heads * length * length * args[0].element_size())
    return 0
