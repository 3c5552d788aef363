"""Labels in the form in which a loss compares them with outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fusion_nb.core.rows import IgnoredAfterFirst

Kind = Literal["classes", "one_hot", "shares", "like_output", "as_shaped", "as_given"]


@dataclass(frozen=True)
class Targets:
    """How labels become the targets of a loss.

    kind:    "classes" are class numbers, one for each place; "one_hot" rows of 0 and 1, and
             "shares" numbers that say how much of each class; "like_output" numbers in the shape of
             outputs, and "as_shaped" in their own; "as_given" is for a loss of the user's own
    columns: of one-hot rows;  ignored: the class number that does not count, or None
    are_next: each place of outputs is compared with the label of the next place, as in a causal
             language model, and the first label with none
    """

    kind: Kind = "as_given"
    columns: int = 0
    ignored: int | None = None
    are_next: bool = False

    @property
    def ignored_label(self) -> int | None:
        """The class number that does not count, as `rows.num_counted` takes it, or None."""
        if self.ignored is None or not self.are_next:
            return self.ignored
        return IgnoredAfterFirst(self.ignored)

    def of(self, y: Tensor, output: Tensor) -> Tensor:
        """Return labels in the type and shape that the loss compares with such an output."""
        y = y[:, 1:] if self.are_next else y
        if self.kind == "classes":
            return self.classes(y, output)
        if self.kind == "one_hot":
            return _one_hot(y, self.columns).to(output.dtype)
        if self.kind == "as_given":
            return y.to(output.dtype) if y.is_floating_point() else y
        y = y.to(output.dtype)
        if self.kind == "as_shaped":
            return y.reshape(-1) if y.shape[1:] == (1,) else y
        return y if self.kind == "shares" else y.reshape(output.shape)

    def classes(self, y: Tensor, output: Tensor) -> Tensor:
        """Return the class number for each place of outputs."""
        if y.dtype == torch.int64 and y.shape == output.shape[:1] and output.ndim == 2:
            return y
        if y.shape == output.shape:
            return (y.int() if y.dtype == torch.bool else y).argmax(1)
        return y.reshape(output.shape[:1] + output.shape[2:]).long()

    def counted(self, classes: Tensor) -> Tensor:
        """Return which class numbers count."""
        if self.ignored is None:
            return torch.ones_like(classes, dtype=torch.bool)
        return classes != self.ignored


def _one_hot(y: Tensor, columns: int) -> Tensor:
    """Return class numbers as rows of 0 and 1, which a Dataset's labels may be already."""
    if y.ndim > 1 and y.shape[1] == columns:
        return y
    numbers = torch.arange(columns, device=y.device)
    return y.unsqueeze(1) == numbers.reshape(1, columns, *[1] * (y.ndim - 1))
