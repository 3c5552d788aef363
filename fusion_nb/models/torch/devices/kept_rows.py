"""Rows that stay on a device, so that training and evaluation copy no batch there."""

from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

#: The share of a GPU's free memory that rows may take; the rest is for models and gradients.
_SHARE = 0.4


class DeviceRows:
    """The arrays that were asked for, each as a tensor on the device as long as the array lives.

    most: bytes that all of them may take; an array beyond them is not kept
    A copy of this object, as another process has it, starts empty.
    """

    def __init__(self, device: torch.device, most: int) -> None:
        self._device, self._most = device, most
        self._kept: dict[int, tuple[weakref.ref[np.ndarray], Tensor]] = {}
        self._num_bytes = 0

    @classmethod
    def on(cls, device: torch.device) -> DeviceRows | None:
        """Return the rows of a CUDA device by its free memory, and None for any other.

        On the CPU they lie anyway, and Apple's MPS takes no float64, as most arrays of users have.

        >>> DeviceRows.on(torch.device("cpu")) is None
        True
        """
        if device.type != "cuda":
            return None
        free, _ = torch.cuda.mem_get_info(device)
        return cls(device, int(_SHARE * free))

    def of(self, array: np.ndarray) -> Tensor | None:
        """Return an array on the device, in its own type; None where it has no room."""
        key = id(array)
        if key in self._kept and self._kept[key][0]() is array:
            return self._kept[key][1]
        if self._num_bytes + array.nbytes > self._most:
            return None
        tensor = torch.tensor(np.ascontiguousarray(array), device=self._device)
        num_bytes = array.nbytes
        self._num_bytes += num_bytes
        self._kept[key] = weakref.ref(array, lambda _: self._forget(key, num_bytes)), tensor
        return tensor

    def joined(self, arrays: Sequence[np.ndarray]) -> Tensor | None:
        """Return several arrays one below the other; None where they are not all on the device."""
        tensors = [self.of(array) for array in arrays]
        if sum(array.nbytes for array in arrays) > self._most:
            return None
        found = [tensor for tensor in tensors if tensor is not None]
        is_alike = len({(tensor.dtype, tensor.shape[1:]) for tensor in found}) == 1
        return torch.cat(found) if is_alike and len(found) == len(arrays) else None

    def _forget(self, key: int, num_bytes: int) -> None:
        if self._kept.pop(key, None) is not None:
            self._num_bytes -= num_bytes

    def __reduce__(self) -> tuple[type[DeviceRows], tuple[torch.device, int]]:
        """Leave the rows out: they belong to this process."""
        return DeviceRows, (self._device, self._most)
