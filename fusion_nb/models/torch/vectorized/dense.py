"""Stacks of fully connected networks, trained by batched matrix products written out by hand.

A small network's step is little arithmetic and much reading of its weights: here they are read once
in the forward pass, once in the backward pass, and changed in place by the product that is their
gradient.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from fusion_nb.models.torch.copying import copies
from fusion_nb.models.torch.losses import LOSSES, Objective
from fusion_nb.models.torch.vectorized.batches import StackedBatch

#: Activation -> its function, and its slope as a function of its output.
_ACTIVATIONS: dict[object, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "relu": (torch.relu_, lambda h: h > 0),
    "tanh": (torch.tanh_, lambda h: 1 - h * h),
    "sigmoid": (torch.sigmoid_, lambda h: h * (1 - h)),
}
_MODULES = {nn.ReLU: "relu", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid"}
_FUNCTIONS = {
    **dict.fromkeys((torch.relu, F.relu, "relu"), "relu"),
    **dict.fromkeys((torch.tanh, F.tanh, "tanh"), "tanh"),
    **dict.fromkeys((torch.sigmoid, F.sigmoid, "sigmoid"), "sigmoid"),
}
#: Calls that may flatten rows; the trial's comparison of numbers shows whether they do.
_FLATTENING = {torch.flatten, "flatten", "view", "reshape", torch.reshape}


@dataclass(frozen=True)
class Layer:
    """A linear layer by its entries' names, and the activation after it, if any."""

    weight: str
    bias: str | None
    activation: str = ""


class Dense:
    """Gradients and steps of stacked networks of linear layers, for cross-entropy."""

    def __init__(self, layers: list[Layer]) -> None:
        self._layers = layers

    @classmethod
    def of(cls, module: nn.Module, objective: Objective) -> Dense | None:
        """Return the trainer of such a module, or None for one of another form.

        module: a copy, whose forward() is followed once; it is left in training mode
        """
        if (
            objective.name not in ("cross_entropy", "nll")
            or objective.targets.kind != "classes"
            or objective.weights is not None
            or objective.loss is not LOSSES[objective.name][0]
        ):
            return None
        try:
            graph = fx.symbolic_trace(module.train()).graph
        except Exception:  # a forward that can't be followed
            return None
        layers: list[Layer] = []
        ends_in_logs = False
        for node in graph.nodes:
            kind = _kind(node, module)
            if kind == "linear":
                name = str(node.target)
                has_bias = module.get_submodule(name).bias is not None
                layers.append(Layer(f"{name}.weight", f"{name}.bias" if has_bias else None))
            elif kind in _ACTIVATIONS and layers and not layers[-1].activation:
                layers[-1] = Layer(layers[-1].weight, layers[-1].bias, kind)
            elif kind == "log_softmax":
                ends_in_logs = True
            elif kind not in ("flatten", "ends") or (kind == "flatten" and layers):
                return None
        is_chain = len(layers) == len({layer.weight for layer in layers})
        is_whole = (
            bool(layers) and not layers[-1].activation and ends_in_logs == (objective.name == "nll")
        )
        return cls(layers) if is_chain and is_whole else None

    def step(self, trained: Mapping[str, Tensor], batch: StackedBatch, lr: float) -> Tensor:
        """Do one step of plain SGD in place; return each network's loss."""
        losses, outer = self._outer(trained, batch)
        for layer, inputs, delta in outer:
            trained[layer.weight].baddbmm_(delta.mT, inputs, alpha=-lr)
            if layer.bias:
                trained[layer.bias].sub_(delta.sum(1), alpha=lr)
        return losses

    def first_step(
        self, shared: Mapping[str, Tensor], batch: StackedBatch, lr: float
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Do the first step of networks that start from the same weights.

        Return the new weights in stacks, and the losses. The forward pass is one product for all,
        and the stacks are first written with the step done.
        """
        losses, outer = self._outer(shared, batch)
        stacks: dict[str, Tensor] = {}
        for layer, inputs, delta in outer:
            weight = shared[layer.weight]
            stacks[layer.weight] = stack = weight.new_empty(len(batch.x), *weight.shape)
            for i in range(len(batch.x)):
                torch.addmm(weight, delta[i].T, inputs[i], alpha=-lr, out=stack[i])
            if layer.bias:
                stacks[layer.bias] = shared[layer.bias] - lr * delta.sum(1)
        return stacks, losses

    def __call__(
        self, trained: Mapping[str, Tensor], others: Mapping[str, Tensor], batch: StackedBatch
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Return the gradient of each entry, and each network's loss."""
        losses, outer = self._outer({**trained, **others}, batch)
        gradients: dict[str, Tensor] = {}
        for layer, inputs, delta in outer:
            gradients[layer.weight] = torch.bmm(delta.mT, inputs)
            if layer.bias:
                gradients[layer.bias] = delta.sum(1)
        return {name: gradients[name] for name in trained}, losses

    def _outer(
        self, entries: Mapping[str, Tensor], batch: StackedBatch
    ) -> tuple[Tensor, list[tuple[Layer, Tensor, Tensor]]]:
        """Return the losses, and for each layer its inputs and the gradient of its outputs.

        A layer's weights may be changed as soon as it was returned: the backward pass through it is
        done.
        """
        inputs = [batch.x.flatten(2)]
        for layer in self._layers:
            output = _linear(
                inputs[-1], entries[layer.weight], entries[layer.bias] if layer.bias else None
            )
            inputs.append(_ACTIVATIONS[layer.activation][0](output) if layer.activation else output)
        logs = F.log_softmax(inputs.pop(), 2)
        target = batch.y.unsqueeze(2)
        losses = -(logs.gather(2, target).squeeze(2) * batch.shares).sum(1)
        delta = logs.exp_()
        delta.scatter_add_(2, target, torch.full_like(target, -1, dtype=delta.dtype))
        delta *= batch.shares.unsqueeze(2)
        found = []
        for i in reversed(range(len(self._layers))):
            found.append((self._layers[i], inputs[i], delta))
            if i:
                slope = (
                    _ACTIVATIONS[self._layers[i - 1].activation][1]
                    if self._layers[i - 1].activation
                    else None
                )
                delta = torch.matmul(delta, entries[self._layers[i].weight])
                delta = delta.mul_(slope(inputs[i])) if slope else delta
        return losses, found


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return a linear layer's output for weights of all networks (2 dimensions), or of each (3)."""
    if weight.ndim == 2:
        return F.linear(x, weight, bias)
    return (
        torch.bmm(x, weight.mT) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, weight.mT)
    )


def _kind(node: fx.Node, module: nn.Module) -> str:
    """Return the kind of operation of a node of a traced module; "" for an unknown one."""
    if node.op in ("placeholder", "output"):
        return "ends"
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        if isinstance(layer, nn.LogSoftmax):
            return "log_softmax" if layer.dim in (1, -1) else ""
        known = {nn.Linear: "linear", nn.Flatten: "flatten", nn.Identity: "ends", **_MODULES}
        return known.get(type(layer), "")
    if node.target in (F.log_softmax, torch.log_softmax):
        dim = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
        return "log_softmax" if dim in (1, -1) else ""
    if node.target in _FLATTENING:
        return "flatten"
    if (node.op == "call_method" and node.target == "size") or node.target in (
        operator.getitem,
        getattr,
    ):
        return "ends"
    return _FUNCTIONS.get(node.target, "")


class DenseWay:
    """Looks once for the way in stacks that a fully connected network has with an objective."""

    def __init__(self) -> None:
        self._found: tuple[Objective | None, Dense | None] = (None, None)

    def of(self, module: nn.Module, objective: Objective) -> Dense | None:
        """Return the way, or None for any other module. The module itself is not run."""
        if self._found[0] is not objective:
            self._found = (objective, Dense.of(copies.copied(module), objective))
        return self._found[1]
