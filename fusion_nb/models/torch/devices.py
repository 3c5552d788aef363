"""The device that a PyTorch model is trained on."""

from __future__ import annotations

import torch

from fusion_nb.errors import OptionError


def find(name: str) -> torch.device:
    """Return the device of a name; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises OptionError.
    """
    if name != "auto":
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
            return device
        except (RuntimeError, AssertionError) as error:
            raise OptionError(
                f"there is no device {name!r} here",
                "use auto, cpu, cuda or mps",
                option="device",
                value=name,
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
