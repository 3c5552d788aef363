"""The call of a module on some rows, and which part of what it returns is its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fusion_nb.errors import ModelError
from fusion_nb.models.torch.precision import Precision


@dataclass(frozen=True)
class Forward:
    """Calls a module, and returns its output as one tensor with an entry for each row.

    precision: how it computes
    picks: whether the output is a part of what the module returns, such as `.logits`
    alone: how one row alone is taken: as several are (""); its row axis is put back ("axis"), since
           squeeze() in forward() removes it; or it is evaluated beside a copy of itself ("twice")
    num_axes: axes of the output for several rows, where `alone` is "axis"
    """

    precision: Precision
    picks: bool = False
    alone: Literal["", "axis", "twice"] = ""
    num_axes: int = 0

    def __call__(self, module: nn.Module, x: Tensor) -> Any:
        """Return the module's output, as the loss takes it."""
        if self.alone and len(x) == 1:
            return self._alone(module, x)
        return self._output(module, x)

    @property
    def exact(self) -> Forward:
        """The same call in the module's own precision, with rows as they are."""
        return replace(self, precision=Precision("float32", self.precision.device))

    def _output(self, module: nn.Module, x: Tensor) -> Any:
        returned = self.precision.run(module, x)
        if not self.picks:
            return returned
        output = main_output(returned, len(x))
        return self.precision.widened(output)

    def _alone(self, module: nn.Module, x: Tensor) -> Any:
        if self.alone == "twice" and not module.training:
            return self._output(module, torch.cat([x, x]))[:1]
        output = self._output(module, x)
        is_short = isinstance(output, Tensor) and output.ndim == self.num_axes - 1
        return output.unsqueeze(0) if self.alone == "axis" and is_short else output


def main_output(returned: Any, num_rows: int) -> Any:
    """Return the output in what a module returns.

    It is a tensor itself, that called `logits`, or the only one with an entry for each row.
    Raises ModelError where there are several, or none.
    """
    if isinstance(returned, Tensor):
        return returned
    named = parts(returned)
    if isinstance(named.get("logits"), Tensor):
        return named["logits"]
    found = {name: part for name, part in named.items() if _is_output(part, num_rows)}
    if len(found) == 1:
        return next(iter(found.values()))
    shapes = ", ".join(f"{name}: {tuple(part.shape)}" for name, part in found.items())
    held = f" with {len(found)} tensors ({shapes})" if found else ""
    raise ModelError(
        f"for {num_rows} rows the model returns {type(returned).__name__}{held}, and not one "
        "tensor with one entry a row",
        "return the one output, or call it logits; or give a loss that takes all of them",
    )


def parts(returned: Any) -> dict[str, Any]:
    """Return the named parts of what a module returns; those of a tuple are numbered."""
    if isinstance(returned, Mapping):
        return {str(name): part for name, part in returned.items()}
    if hasattr(returned, "_asdict"):
        return dict(returned._asdict())
    if isinstance(returned, tuple | list):
        return {str(position): part for position, part in enumerate(returned)}
    named = dict(getattr(returned, "__dict__", {}))
    if "logits" not in named and isinstance(getattr(returned, "logits", None), Tensor):
        named["logits"] = returned.logits
    return named


def _is_output(part: Any, num_rows: int) -> bool:
    return (
        isinstance(part, Tensor)
        and part.is_floating_point()
        and part.ndim > 0
        and len(part) == num_rows
    )
