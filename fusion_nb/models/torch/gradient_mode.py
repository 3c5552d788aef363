"""PyTorch's recording of gradients, which an earlier cell may have switched off."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable[..., Any])


def with_gradients(function: Function) -> Function:
    """Let a function record gradients, whatever the mode outside; its tensors are ordinary ones."""

    @functools.wraps(function)
    def recording(*args: Any, **kwargs: Any) -> Any:
        with torch.inference_mode(False), torch.enable_grad():
            return function(*args, **kwargs)

    return cast(Function, recording)
