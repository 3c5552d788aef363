"""The loss that a PyTorch model is trained with: inferred, named, or given as a callable."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from torch import Tensor

from fusion_nb.core.schema import LabelSchema
from fusion_nb.errors import ModelError, nearest
from fusion_nb.models import inference
from fusion_nb.models.torch.objectives import output_forms, own_targets
from fusion_nb.models.torch.objectives.loss_names import (
    LOSSES,
    NAMES_IN_TORCH,
    CountedLoss,
    known_name,
    name_of,
    placed,
    setting,
)
from fusion_nb.models.torch.objectives.objective import Objective
from fusion_nb.models.torch.objectives.output_forms import form, last_layer, sums_to_one
from fusion_nb.models.torch.objectives.targets import Targets

__all__ = ["LOSSES", "Objective", "form", "infer", "named"]


def infer(output: Tensor, labels: LabelSchema) -> Objective:
    """Return the loss that fits a model's output and the labels.

    Raises ModelError where none does.
    """
    output_forms.check_softmax(output)
    if labels.kind == "shares" and _are_shares(output, labels):
        return _of_shares(output)
    decision = inference.decide(tuple(output.shape), labels, class_axis=1, may_ignore=True)
    if decision.task == "classes":
        return _classifier(output, decision.ignored)
    if decision.task == "binary":
        return _binary(output, decision.why)
    return replace(_chosen("mse", decision.why), warning=decision.warning)


def named(loss: Any, output: Tensor, labels: LabelSchema) -> Objective:
    """Return the loss that the user named, or gave as a callable of (output, target).

    Raises ModelError.
    """
    output_forms.check_softmax(output)
    if callable(loss):
        loss = placed(loss() if isinstance(loss, type) else loss, output)
        known = known_name(loss)
        if not known:
            return _own(loss, output, labels)
        ignored = setting(loss, "ignore_index", inference.NOT_COUNTED)
        return _known(
            Objective(name_of(loss), loss, LOSSES[known][1], why="as given"),
            known,
            output,
            labels,
            ignored,
        )
    known = NAMES_IN_TORCH.get(str(loss).rpartition(".")[2], str(loss))
    if known not in LOSSES:
        raise ModelError(
            f"no loss is called {loss!r}",
            f"{nearest(known, LOSSES)}there are: {', '.join(LOSSES)}; or name a function of "
            "(output, target)",
            option="loss",
            value=loss,
            allowed=sorted(LOSSES),
        )
    width = output.shape[1] if output.ndim > 1 else 1
    return _known(
        _chosen(known, "as named"), known, output, labels, inference.left_out(labels, width)
    )


def _known(
    objective: Objective, known: str, output: Tensor, labels: LabelSchema, ignored: int | None
) -> Objective:
    """Return the objective of one of PyTorch's losses.

    Raises ModelError where it can't compare these outputs with these labels.
    """
    if objective.task == "classes":
        made = _of_classes(objective, known, output, labels, ignored)
    else:
        made = _of_numbers(objective, known, output, labels)
    return replace(made, warning=output_forms.doubt(known, output) or made.warning)


def _of_classes(
    objective: Objective, known: str, output: Tensor, labels: LabelSchema, ignored: int | None
) -> Objective:
    shape = tuple(output.shape)
    if _are_shares(output, labels):
        return _with_shares(objective, known, labels)
    ignored = _present(ignored, labels)
    counted = labels if ignored is None else labels.without(ignored)
    if labels.values == (ignored,):
        raise ModelError(
            f"the loss {objective.name} leaves out all labels: they are {ignored}",
            "give rows with other labels, or another ignore_index",
        )
    if (
        output.ndim < 2
        or not labels.are_whole
        or not inference.name_places(shape, labels, class_axis=1)
    ):
        why = f"the loss {objective.name} compares class numbers with one output for each class"
        raise inference.misfit(shape, labels, why, class_axis=1)
    inference.check_classes(shape, counted, class_axis=1)
    return _leaving_out(replace(objective, targets=Targets("classes")), ignored)


def _of_numbers(objective: Objective, known: str, output: Tensor, labels: LabelSchema) -> Objective:
    """Return the objective of a loss that compares outputs with labels one by one."""
    shape = tuple(output.shape)
    is_binary = objective.task == "binary"
    if labels.one_hot and shape[1:] == (labels.one_hot,):
        targets = Targets("one_hot", labels.one_hot)
        made = replace(objective, task="classes", targets=targets)
    else:
        if not inference.same_size(shape, labels) or (labels.one_hot > 2):
            why = f"the loss {objective.name} wants as many outputs as numbers in each label"
            raise inference.misfit(shape, labels, why, class_axis=1)
        has_accuracy = labels.are_binary or not is_binary
        targets = Targets("like_output")
        made = replace(objective, targets=targets, has_accuracy=has_accuracy)
        low, high = labels.scaled
        if is_binary and not 0 <= low <= high <= 1:
            raise ModelError(
                f"the loss {objective.name} wants labels 0 and 1, and they run from {low:g} to "
                f"{high:g}",
                "give the model one output for each class, and use cross_entropy",
            )
    if known == "bce":
        output_forms.check_probabilities(objective.name, output)
    return replace(made, zero_one=known == "bce")


def _own(loss: Any, output: Tensor, labels: LabelSchema) -> Objective:
    """Return the user's callable with the task that follows from output and labels."""
    made = Objective(
        name_of(loss), loss, "own", zero_one=last_layer(output) == "Sigmoid", why="as given"
    )
    ignored = setting(loss, "ignore_index")
    ignored = _present(ignored if isinstance(ignored, int) else None, labels)
    counted = labels if ignored is None else labels.without(ignored)
    if labels.one_hot:
        is_class = output.shape[1:] == (labels.one_hot,)
        targets = Targets("one_hot", labels.one_hot)
        return replace(made, task="classes" if is_class else "own", targets=targets)
    if labels.kind == "shares" and _are_shares(output, labels):
        return replace(made, task="classes", targets=Targets("shares"))
    try:
        decision = inference.decide(
            tuple(output.shape), counted, class_axis=1, may_ignore=ignored is None
        )
    except ModelError:
        return made
    if decision.task != "classes":
        return replace(made, task=decision.task, targets=own_targets.fitting(loss, output, labels))
    left_out = decision.ignored if ignored is None else ignored
    has_places = labels.shape == tuple(output.shape[2:])
    # A loss of the user's own knows labels with the channel that they came with.
    targets = Targets("classes" if has_places else "as_given", ignored=left_out)
    return replace(made, task="classes", targets=targets)


def _classifier(output: Tensor, ignored: int | None) -> Objective:
    """Return the loss for class numbers that fits a model's last layer."""
    last = last_layer(output)
    if last == "LogSoftmax" or sums_to_one(output.exp()):
        made = _chosen("nll", "the model ends in LogSoftmax")
    elif last == "Softmax" or sums_to_one(output):
        why = "the model ends in Softmax; without it training would be more stable"
        made = _chosen("nll_of_probabilities", why)
    elif last == "Sigmoid":
        return _yes_or_no_for_each(output, ignored)
    else:
        made = _chosen("cross_entropy", "the model ends in logits")
    made = replace(made, targets=Targets("classes"), warning=output_forms.wrong_axis(output))
    return _leaving_out(made, ignored)


def _yes_or_no_for_each(output: Tensor, ignored: int | None) -> Objective:
    """Return the loss for class numbers and a Sigmoid over the outputs of the classes."""
    num_classes = output.shape[1]
    if ignored is not None:
        raise ModelError(
            f"the model ends in Sigmoid over {num_classes} classes, and labels of {ignored} mark "
            "places to leave out",
            "leave Sigmoid out of the model, for cross_entropy",
        )
    chosen = _chosen("bce", "the model ends in Sigmoid: a yes or no for each class")
    return replace(
        chosen,
        task="classes",
        targets=Targets("one_hot", num_classes),
        warning=(
            f"warning: the model ends in Sigmoid, and a label is one of {num_classes} classes: "
            "each output is trained by itself, and the largest one is the prediction; leave "
            "Sigmoid out for cross_entropy"
        ),
    )


def _binary(output: Tensor, why: str) -> Objective:
    targets = Targets("like_output")
    if last_layer(output) == "Sigmoid":
        return replace(_chosen("bce", f"{why}; the model ends in Sigmoid"), targets=targets)
    chosen = replace(_chosen("bce_logits", f"{why}; the model ends in logits"), targets=targets)
    if bool(((output > 0) & (output < 1)).all()):
        line = "warning: all outputs lie between 0 and 1; if they are probabilities, say --loss bce"
        return replace(chosen, warning=line)
    return chosen


def _of_shares(output: Tensor) -> Objective:
    """Return the loss for shares of classes that fits a model's last layer."""
    last, why = last_layer(output), "labels are shares of classes"
    if last == "Sigmoid":
        made = replace(_chosen("bce", f"{why}; the model ends in Sigmoid"), task="classes")
    elif last == "Softmax" or sums_to_one(output):
        made = _chosen("nll_of_probabilities", f"{why}; the model ends in Softmax")
    else:
        # Log-probabilities are what they were after another LogSoftmax.
        made = _chosen("cross_entropy", why)
    return replace(made, targets=Targets("shares"))


def _with_shares(objective: Objective, known: str, labels: LabelSchema) -> Objective:
    if known == "nll":
        raise ModelError(
            f"the loss {objective.name} compares class numbers, and the labels are shares of "
            "classes",
            "name the loss cross_entropy, which takes shares; or give class numbers",
        )
    warning = ""
    if labels.kind == "flags" and len(labels.shape) == 1:
        warning = (
            f"warning: the loss {objective.name} compares shares of classes, and the labels of a "
            "row are several yes or no; the loss for these is bce_logits"
        )
    return replace(objective, targets=Targets("shares"), warning=warning)


def _are_shares(output: Tensor, labels: LabelSchema) -> bool:
    """Return whether labels may say for each output how much of its class there is."""
    low, high = labels.scaled
    return output.ndim > 1 and labels.shape == output.shape[1:] and 0 <= low <= high <= 1


def _present(ignored: int | None, labels: LabelSchema) -> int | None:
    """Return the ignored label, or None where no label is it.

    Raises ModelError where it means something else.
    """
    if ignored is None or not labels.are_whole or not inference.holds(labels, ignored):
        return None
    if labels.scale != 1 and ignored:
        raise ModelError(
            f"all labels are 0 or {labels.high:g}, which are read as no and yes, and the loss "
            f"ignores {ignored}",
            f"give masks in which places beside {ignored} have at least two classes, or leave "
            "ignore_index out",
        )
    return ignored


def _leaving_out(objective: Objective, ignored: int | None) -> Objective:
    """Return an objective whose loss leaves labels out, and is 0 where none is left."""
    if ignored is None:
        return objective
    loss = objective.loss
    which = "labels that the loss ignores"
    is_guess = LOSSES.get(objective.name, (None,))[0] is loss
    if is_guess:
        which = f"labels: {ignored} is taken for a mark (ignore_index): such labels"
        loss = functools.partial(loss, ignore_index=ignored)
    return replace(
        objective,
        loss=CountedLoss(loss, ignored),
        targets=replace(objective.targets, ignored=ignored),
        remark=(
            f"{which} count neither in loss nor in accuracy. Means of metrics over parties count "
            "each party's other labels, and means of weights its rows"
        ),
    )


def _chosen(name: str, why: str) -> Objective:
    loss, task = LOSSES[name]
    return Objective(name, loss, task, name == "bce", why, targets=_default_targets(task))


def _default_targets(task: str) -> Targets:
    return Targets("classes" if task == "classes" else "like_output")
