"""The meaning of a model's outputs: logits, probabilities or numbers, and losses that doubt it."""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_nb.errors import ModelError
from fusion_nb.models.torch.objectives.loss_names import known_name
from fusion_nb.models.torch.objectives.objective import Objective

#: Operations that only change the view of a tensor; the one before them decides its meaning.
_VIEWS = (
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Squeeze",
    "Unsqueeze",
    "Clone",
    "Alias",
    "Transpose",
    "Permute",
    "Select",
    "Slice",
    "Index",
    "Clamp",
    "Expand",
    "ToCopy",
)
#: Forms of outputs that hold a number for each of several classes.
CLASS_FORMS = ("nll", "cross_entropy", "nll_of_probabilities", "logits_of_shares")


def form(objective: Objective, output: Tensor) -> str:
    """Return the meaning of outputs: the name of the loss that takes such outputs, or "numbers".

    Outputs of a model with a loss of the user's own mean what a loss for the same task takes.
    "logits_of_shares" is for a yes or no for each of several classes.
    """
    known = known_name(objective.loss)
    if objective.task == "classes" and objective.targets.kind == "one_hot" and known:
        return "logits_of_shares" if known == "bce_logits" else "nll_of_probabilities"
    if objective.name in ("nll", "bce", "bce_logits", "nll_of_probabilities", "cross_entropy"):
        return objective.name
    if objective.task == "binary":
        return "bce" if objective.zero_one else "bce_logits"
    if objective.task != "classes":
        return "numbers"
    return "nll_of_probabilities" if sums_to_one(output) else "cross_entropy"


def sums_to_one(output: Tensor) -> bool:
    """Return whether outputs are probabilities of several classes."""
    total = output.detach().sum(1)
    return bool((output >= 0).all()) and torch.allclose(total, torch.ones_like(total), atol=1e-3)


def last_layer(output: Tensor) -> str:
    """Return "Sigmoid", "Softmax" or "LogSoftmax" where the output was made by it, or "".

    Reshapes after it are ignored.
    """
    node = output.grad_fn
    while node is not None and node.name().startswith(_VIEWS) and node.next_functions:
        node = node.next_functions[0][0]
    name = node.name() if node is not None else ""
    if name.startswith(("Sigmoid", "Hardsigmoid")):
        return "Sigmoid"
    return next((known for known in ("Softmax", "LogSoftmax") if name.startswith(known)), "")


def check_softmax(output: Tensor) -> None:
    """Raise ModelError for a softmax over one output."""
    constant = {"Softmax": 1.0, "LogSoftmax": 0.0}.get(last_layer(output))
    if constant is not None and bool((output == constant).all()):
        raise ModelError(
            f"the model ends in a {last_layer(output)} over one output, which is always "
            f"{constant:g}",
            "use Sigmoid, or leave it out; or give the model an output for each class",
        )


def wrong_axis(output: Tensor) -> str:
    """Return a warning where a softmax is over another axis than that of the classes, or ""."""
    last = last_layer(output)
    shares = {"Softmax": output, "LogSoftmax": output.exp()}.get(last)
    if shares is None or sums_to_one(shares):
        return ""
    return (
        f"warning: the model ends in {last}, and a row's outputs for the classes are not "
        f"probabilities that sum to 1: give {last} dim=1"
    )


def check_probabilities(name: str, output: Tensor) -> None:
    """Raise ModelError where outputs of a loss of probabilities are none."""
    low, high = (float(number) for number in output.detach().aminmax())
    if low < 0 or high > 1:
        raise ModelError(
            f"the loss {name} wants probabilities, and the model's outputs run from {low:.2g} to "
            f"{high:.2g}",
            "end the model in Sigmoid, or name the loss bce_logits",
        )


def doubt(known: str, output: Tensor) -> str:
    """Return a warning where one of PyTorch's losses wants outputs of another form, or ""."""
    last = last_layer(output)
    if known == "nll" and not (output.ndim > 1 and sums_to_one(output.exp())):
        return (
            "warning: the loss nll wants log-probabilities, and the model does not end in "
            "LogSoftmax"
        )
    if known == "nll_of_probabilities" and not (output.ndim > 1 and sums_to_one(output)):
        return (
            "warning: the loss nll_of_probabilities wants probabilities that sum to 1, and the "
            "model does not end in Softmax"
        )
    if known == "cross_entropy" and last != "LogSoftmax":
        last = last or ("Softmax" if output.ndim > 1 and sums_to_one(output) else "")
        other = "nll_of_probabilities" if last == "Softmax" else "bce, with one-hot labels"
    elif known == "bce_logits":
        other = "bce"
    else:
        return ""
    if not last:
        return ""
    return (
        f"warning: the loss {known} wants logits, and the model ends in {last}: leave {last} out "
        f"of the model, or name the loss {other}"
    )
