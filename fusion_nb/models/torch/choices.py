"""The values that options of a PyTorch model may have, by option."""

from __future__ import annotations

from collections.abc import Mapping

from fusion_nb.models.torch import losses, optimizers, sending
from fusion_nb.models.torch.precision import NAMES as PRECISIONS

CHOICES: Mapping[str, list[str]] = {
    "optimizer": optimizers.NAMES,
    "loss": sorted(losses.LOSSES),
    "precision": PRECISIONS,
    "send": sending.CHOICES,
}
