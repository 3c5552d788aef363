"""The entries of a module's state as named arrays."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fusion_nb.core.types import Weights


def read(module: nn.Module, left_out: Collection[str] = ()) -> Weights:
    """Return a copy of every tensor of the state dict, but for some names.

    bfloat16 becomes float32, which holds it exactly.
    """
    return {
        name: array(tensor)
        for name, tensor in _entries(module).items()
        if isinstance(tensor, Tensor) and name not in left_out
    }


def write(module: nn.Module, weights: Weights) -> None:
    """Copy weights into the module's own tensors."""
    own = _entries(module)
    given = [torch.from_numpy(np.require(found, requirements=["W"])) for found in weights.values()]
    # One call for all of them: each call hands the interpreter over to other parties' threads.
    if given:
        with torch.no_grad():
            torch._foreach_copy_([own[name] for name in weights], given)


def _entries(module: nn.Module) -> dict[str, Any]:
    # Without a detached view of each tensor, which takes as long as a small model's whole turn.
    if type(module).state_dict is nn.Module.state_dict:
        return module.state_dict(keep_vars=True)
    return module.state_dict()


def array(tensor: Tensor) -> np.ndarray:
    """Return a copy of a tensor as an array; bfloat16 becomes float32."""
    wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return wide.detach().cpu().numpy().copy()


def frozen_names(module: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that no training changes, each name of a shared one."""
    named = module.named_parameters(remove_duplicate=False)
    return frozenset(name for name, parameter in named if not parameter.requires_grad)


def trained_names(module: nn.Module) -> frozenset[str]:
    """Return the names of the parameters that are not frozen, each name of a shared one."""
    named = module.named_parameters(remove_duplicate=False)
    return frozenset(name for name, parameter in named if parameter.requires_grad)


def batch_norm_names(module: nn.Module) -> frozenset[str]:
    """Return the names of batch normalization's entries: parameters, statistics and counters."""
    layers = {name for name, layer in module.named_modules() if isinstance(layer, _BatchNorm)}
    return frozenset(
        name
        for name, entry in module.state_dict().items()
        if isinstance(entry, Tensor) and name.rpartition(".")[0] in layers
    )


def has_batch_norm(module: nn.Module) -> bool:
    """Return whether batch normalization is among the module's layers."""
    return any(isinstance(layer, _BatchNorm) for layer in module.modules())


def hold_back(module: nn.Module) -> frozenset[str]:
    """Leave buffers that hold an infinity, such as causal masks, out of the state dict.

    They are the same at every party, and no mean or difference of them is a number. Returns their
    names. Statistics of batch normalization stay in it: they must be finite.
    """
    found = set()
    for path, layer in module.named_modules():
        if isinstance(layer, _BatchNorm | torch.jit.ScriptModule):
            continue
        for name in layer._buffers.keys() - layer._non_persistent_buffers_set:
            buffer = layer._buffers[name]
            if buffer is not None and buffer.is_floating_point() and bool(buffer.isinf().any()):
                layer._non_persistent_buffers_set.add(name)
                found.add(f"{path}.{name}" if path else name)
    return frozenset(found)


def give_back(module: nn.Module, names: frozenset[str]) -> None:
    """Put the buffers that `hold_back` left out into the state dict again."""
    for path, _, name in (name.rpartition(".") for name in names):
        module.get_submodule(path)._non_persistent_buffers_set.discard(name)


def plain(module: nn.Module) -> nn.Module:
    """Return the module on the CPU, with its tensors in PyTorch's usual order of memory."""
    found: nn.Module = module.cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return found
