"""The identity of a module and of a loss as text: see `fusion_nb.models.identity`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from torch import nn

from fusion_nb.models.identity.texts import KIND, of_choice, of_object, text
from fusion_nb.models.torch.objectives.loss_names import CountedLoss, known_name


def of_module(module: nn.Module) -> dict[str, dict[str, str]]:
    """Return the class and the settings of each layer, and which parameters are frozen."""
    found = {}
    for path, layer in module.named_modules():
        frozen = sorted(n for n, p in layer.named_parameters(recurse=False) if not p.requires_grad)
        settings = of_object(layer) | ({"frozen": ", ".join(frozen)} if frozen else {})
        found[f"layer {path}" if path else "model"] = settings
    return found


def of_loss(loss: Any) -> dict[str, str]:
    """Return a loss's name, and its settings that are not PyTorch's own defaults."""
    if isinstance(loss, CountedLoss):
        loss = loss.inner
    if not isinstance(loss, nn.Module):
        known = known_name(loss) if loss.__class__.__name__ == "function" else ""
        return {KIND: known} if known else of_choice(loss)
    found = of_object(loss)
    if known := known_name(loss):
        with suppress(TypeError):
            usual = of_object(type(loss)())
            found = {name: each for name, each in found.items() if usual.get(name) != each}
        found[KIND] = known
    return found | {name: text(buffer) for name, buffer in loss.named_buffers()}
