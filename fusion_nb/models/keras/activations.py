"""A first pass of a Keras model from a file, whose operations are counted before they are run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import keras

from fusion_nb.models.activations import Activations, source_of
from fusion_nb.models.keras import trees


def check(model: keras.Model, x: Any) -> None:
    """Raise ModelError where a model from a file would make too much of rows.

    x: an array of rows, or several of equal length where the model has several inputs
    Nothing else is wrong here: the pass that follows says whether the rows fit.
    """
    path = source_of(model)
    if path is None:
        return
    count = _in_graph if keras.backend.backend() == "tensorflow" else _in_torch
    for is_training in (False, True):
        count(model, x, Activations(path, len(trees.leaves(x)[0]), is_training))


def counting(activations: Activations) -> AbstractContextManager[Any]:
    """Return a context in which the operations of this thread are counted before they are run.

    Only PyTorch's are: TensorFlow knows shapes without running anything.
    """
    if keras.backend.backend() != "torch":
        return nullcontext()
    from fusion_nb.models.torch_activations import CountedOperations

    return CountedOperations(activations)


def _in_graph(model: keras.Model, x: Any, activations: Activations) -> None:
    """Count the operations of a graph, which is made and not run."""
    import tensorflow as tf  # type: ignore[import-untyped]

    graphs: list[Any] = []

    def run(rows: Any) -> Any:
        graphs.append(tf.compat.v1.get_default_graph())
        with keras.StatelessScope():
            return model(rows, training=activations.is_training)

    traced = tf.function(run, autograph=False)
    with suppress(Exception):  # the operations before a mistake are in the graph all the same
        traced.get_concrete_function(trees.mapped(lambda a: tf.TensorSpec(a.shape, a.dtype), x))
    for graph in graphs:
        for operation in _operations(graph):
            count = sum(map(_bytes, operation.outputs))
            activations.add(count, f"operation {operation.name}")


def _operations(graph: Any) -> Any:
    yield from graph.get_operations()
    for function in getattr(graph, "_functions", {}).values():  # the bodies of loops
        inner = getattr(function, "graph", None)
        if inner is not None:
            yield from _operations(inner)


def _bytes(tensor: Any) -> int:
    size = tensor.shape.num_elements()
    return (size or 0) * (tensor.dtype.size or 0)


def _in_torch(model: keras.Model, x: Any, activations: Activations) -> None:
    """Run the operations, without values where that works, each after it was counted."""
    for device in ("meta", "cpu"):
        with activations.deciding(), counting(activations), _apart(device):
            ones = trees.mapped(lambda array: keras.ops.ones(array.shape), x)
            model(ones, training=activations.is_training)
            return


@contextmanager
def _apart(device: str) -> Iterator[None]:
    """Run operations on a device, and leave the model's variables as they are."""
    import torch

    with keras.StatelessScope(), torch.no_grad(), keras.device(device):
        yield
