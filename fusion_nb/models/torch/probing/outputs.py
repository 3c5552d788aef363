"""A first pass of a model over a few rows, and the cause where it fails."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fusion_nb.errors import ModelError, option
from fusion_nb.models.torch import trees
from fusion_nb.models.torch.forward import Forward, main_output
from fusion_nb.models.torch.losses import Objective

#: Words of torch's errors about the type of a tensor's numbers.
_TYPES = re.compile(
    r"scalar type|dtype|Long|long int|not implemented for|index tensor|must be inte"
)
#: The message of a layer that is given a dict or a tuple in place of a tensor.
_OF_TREE = re.compile(r"'(dict|tuple|list)' object has no attribute")
_NO_GRADIENT = "leave argmax(), round(), detach(), numpy() and no_grad() out of forward()"


def checked_output(forward: Callable[[], Any], x: Any, when: str) -> Any:
    """Return a model's result for some rows.

    Raises ModelError where the rows don't fit.
    """
    try:
        output = forward()
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as error:
        # Where torch itself complains, the rows don't fit; anything else is a bug in the user's
        # forward().
        is_attribute = isinstance(error, AttributeError)
        if not raised_by_torch(error) or (is_attribute and not _OF_TREE.match(str(error))):
            raise
        has_no_channels = isinstance(x, Tensor) and x.ndim == 3
        hint = "match the first layer to the rows, or the rows to it"
        if not isinstance(x, Tensor):
            hint = (
                "return (x, y) with one array x for each row, numpy.asarray(x) say, or give the "
                "model a forward() that takes these inputs"
            )
        raise ModelError(
            f"{when}the model does not take rows of {trees.described(x)}: {first_line(error)}",
            f"{hint} (images need a channel axis for Conv2d)" if has_no_channels else hint,
        ) from error
    if when:
        check_form(output, trees.num_rows(x), when)
    return output


def check_form(output: Any, num_rows: int, when: str = "") -> None:
    """Raise ModelError where an output is no single tensor with an entry for each row."""
    if not isinstance(output, Tensor) or output.ndim == 0 or len(output) != num_rows:
        what = (
            f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        )
        raise ModelError(
            f"{when}for {num_rows} rows the model returns {what}",
            "return one tensor with one entry a row",
        )


def evaluated_output(
    forward: Forward, returned: Any, x: Any
) -> tuple[Forward, Tensor, tuple[str, ...]]:
    """Return how the output is taken from a module's result, the output, and a remark.

    Raises ModelError for an output that a loss can't take.
    """
    remarks: tuple[str, ...] = ()
    if not isinstance(returned, Tensor):
        forward, whole = replace(forward, picks=True), returned
        returned = main_output(whole, trees.num_rows(x))
        remarks = (
            f"output: the tensor of shape {tuple(returned.shape)} in the {type(whole).__name__} "
            "that the model returns; return it alone to say otherwise",
        )
    check_form(returned, trees.num_rows(x))
    if not (returned.is_floating_point() or returned.is_complex()):
        raise ModelError(
            f"the model returns numbers of {returned.dtype}, which have no gradient",
            _NO_GRADIENT,
        )
    if not torch.isfinite(returned).all():
        raise ModelError(
            "the model's output is not finite before any training", "look for NaN in its weights"
        )
    return forward, returned, remarks


def checked_gradient(output: Tensor) -> None:
    """Raise ModelError for an output of a training that no gradient flows back from."""
    if not output.requires_grad:
        raise ModelError("while training, the model's output has no gradient", _NO_GRADIENT)


def checked_loss(objective: Objective, y: Tensor, output: Tensor) -> tuple[Tensor, Tensor]:
    """Return the target and the loss. Raises ModelError where the loss can't compare them."""
    try:
        target = objective.target(y, output)
        loss: Any = objective.loss(output, target)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if not raised_by_torch(error):
            raise
        raise ModelError(
            f"the loss {objective.name} can't compare the model's output with the labels: "
            f"{first_line(error)}",
            f"name another one with {option('loss')}, or give a function of (output, target)",
        ) from error
    check_loss(loss, objective.name)
    return target, loss


def check_loss(loss: Any, name: str) -> None:
    """Raise ModelError unless a loss is a single number with a gradient."""
    if not isinstance(loss, Tensor) or loss.ndim:
        raise ModelError(f"the loss {name} returns no single number", "use its reduction='mean'")
    if not loss.requires_grad:
        raise ModelError(
            f"the loss {name} has no gradient",
            "compute it from the output itself, without argmax(), detach() and no_grad()",
        )


def raised_by_torch(error: Exception) -> bool:
    """Return whether torch itself complained, and not the user's own forward()."""
    return "torch" in Path(traceback.extract_tb(error.__traceback__)[-1].filename).parts


def check_parts(probe: nn.Module, module: nn.Module) -> None:
    """Raise ModelError where a pass gave a copy parameters that its module does not have."""
    made = dict(probe.named_parameters()).keys() - dict(module.named_parameters()).keys()
    if made:
        raise ModelError(
            f"forward() makes the parameters {', '.join(sorted(made)[:3])} in its first call, "
            "and all parties must begin with the same ones",
            "make them in the constructor, where nn.LazyLinear and others take their sizes from "
            "the rows; or call the model on some rows once",
        )


def lacks_gradient(error: Exception) -> bool:
    """Return whether an error is that of a gradient computed where none is recorded."""
    return "does not require grad" in str(error)


def is_about_types(error: Exception) -> bool:
    """Return whether an error is about the type of a tensor's numbers."""
    return bool(_TYPES.search(str(error)))


def first_line(error: Exception) -> str:
    """Return the first line of an error's text."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
