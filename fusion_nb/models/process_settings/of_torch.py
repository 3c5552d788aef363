"""PyTorch's settings of a whole process by which the same steps come to other numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def found() -> dict[str, Any]:
    """Return those of this process, as values that can be pickled."""
    import torch

    return {
        "dtype": str(torch.get_default_dtype()),
        "device": str(torch.get_default_device()),
        "precision": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "only_warns": torch.is_deterministic_algorithms_warn_only_enabled(),
        "has_mkldnn": torch.backends.mkldnn.enabled,
        "num_threads": torch.get_num_threads(),
    }


def take(settings: Mapping[str, Any]) -> None:
    """Give this process settings that `found` returned in another one."""
    import torch

    before = found()
    new = {name: value for name, value in settings.items() if value != before[name]}
    if "dtype" in new:
        torch.set_default_dtype(getattr(torch, new["dtype"].removeprefix("torch.")))
    if "device" in new:
        # "cpu" would set up a mode that looks at every call, where None ends one.
        torch.set_default_device(None if new["device"] == "cpu" else new["device"])
    if "precision" in new:
        torch.set_float32_matmul_precision(new["precision"])
    if {"deterministic", "only_warns"} & new.keys():
        torch.use_deterministic_algorithms(
            settings["deterministic"], warn_only=settings["only_warns"]
        )
    if "has_mkldnn" in new:
        torch.backends.mkldnn.enabled = new["has_mkldnn"]
    if "num_threads" in new:
        torch.set_num_threads(new["num_threads"])
