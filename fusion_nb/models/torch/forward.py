"""The call of a module on some rows, and which part of what it returns is its output."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fusion_nb.errors import ModelError
from fusion_nb.models.torch import trees
from fusion_nb.models.torch.precision import Precision


@dataclass(frozen=True)
class Forward:
    """Calls a module, and returns its output as one tensor with an entry for each row.

    precision: how it computes
    picks: whether the output is a part of what the module returns, such as `.logits`
    spread: whether forward() takes rows of several parts as one argument, or each part as one, by
           position ("args") or by name
    alone: how one row alone is taken: as several are (""); its row axis is put back ("axis"), since
           squeeze() in forward() removes it; or it is evaluated beside a copy of itself ("twice")
    num_axes: axes of the output for several rows, where `alone` is "axis"
    needs_gradients: whether forward() computes gradients itself, in evaluation too
    tokens: "" for an output whose classes come second; "next" or "same" for a language model, whose
           classes come last: each place predicts the next token, or the label of its own
    """

    precision: Precision
    picks: bool = False
    spread: Literal["", "args", "names"] = ""
    alone: Literal["", "axis", "twice"] = ""
    num_axes: int = 0
    needs_gradients: bool = False
    tokens: Literal["", "next", "same"] = ""

    def __call__(self, module: nn.Module, x: Any) -> Any:
        """Return the module's output, as the loss takes it."""
        if self.alone and trees.num_rows(x) == 1:
            return self._alone(module, x)
        return self._output(module, x)

    @property
    def exact(self) -> Forward:
        """The same call in the module's own precision, with rows as they are."""
        return replace(self, precision=self.precision.exact)

    def returned(self, module: nn.Module, x: Any) -> Any:
        """Return all that the module returns."""
        if self.needs_gradients and not torch.is_grad_enabled():
            with torch.enable_grad():
                return trees.mapped(Tensor.detach, self.returned(module, x))
        if not self.spread:
            return self.precision.run(module, x)
        if self.spread == "args":
            return self.precision.run(lambda parts: module(*parts), x)
        return self.precision.run(lambda parts: module(**parts), x)

    def _output(self, module: nn.Module, x: Any) -> Any:
        returned = self.returned(module, x)
        if not self.picks:
            return self.arranged(returned)
        output = main_output(returned, trees.num_rows(x))
        return self.arranged(self.precision.widened(output))

    def arranged(self, output: Any) -> Any:
        """Return a language model's output (rows, places, classes) with its classes second.

        The last place, which has no next token, is left out. Other outputs are not changed.
        """
        if not self.tokens:
            return output
        found = output.transpose(1, 2)
        return found[..., :-1] if self.tokens == "next" else found

    def _alone(self, module: nn.Module, x: Any) -> Any:
        if self.alone == "twice" and not module.training:
            return self._output(module, trees.twice(x))[:1]
        output = self._output(module, x)
        is_short = isinstance(output, Tensor) and output.ndim == self.num_axes - 1
        return output.unsqueeze(0) if self.alone == "axis" and is_short else output


def spread_of(module: nn.Module, x: Any) -> Literal["", "args", "names"]:
    """Return how a module's forward() takes rows.

    Raises ModelError where it has no parameters for their parts.
    """
    if isinstance(x, Tensor):
        return ""
    try:
        signature = inspect.signature(module.forward)
    except (TypeError, ValueError):
        return ""
    required = [
        p
        for p in signature.parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    is_named = isinstance(x, Mapping)
    try:
        signature.bind(**x) if is_named else signature.bind(*x)
    except TypeError as error:
        meant_by_name = is_named and any(name in signature.parameters for name in x)
        if len(required) == 1 and not meant_by_name:
            return ""
        named = ", ".join(signature.parameters)
        parts_of = f"the inputs {', '.join(map(str, x))}" if is_named else f"{len(x)} inputs"
        raise ModelError(
            f"rows have {parts_of}, and forward({named}) does not take them: {error}",
            "give forward() a parameter for each input, by name where rows are dicts",
        ) from error
    return "names" if is_named else "args"


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
