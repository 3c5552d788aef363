"""The predictions of outputs of Keras models, and the joint outputs of several models.

Only Keras's own operations and layers are used, so that the file of a joint model can be read
without fusion_nb.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fusion_nb.models.combining import TIE, TINY


def predictions(output: Any, task: str, logits: bool) -> Any:
    """Return the predictions of outputs: probabilities of classes or of yes, or the numbers."""
    if not logits:
        return output
    return keras.ops.softmax(output, axis=-1) if task == "classes" else keras.ops.sigmoid(output)


def outputs(predicted: Any, task: str, logits: bool) -> Any:
    """Return outputs with these predictions: the reverse of `predictions`."""
    if not logits:
        return predicted
    likely = keras.ops.clip(predicted, TINY, 1 - TINY if task == "binary" else 1.0)
    return keras.ops.log(likely) - (keras.ops.log(1 - likely) if task == "binary" else 0.0)


def joined(found: Sequence[Any], shares: np.ndarray, rule: str, task: str, logits: bool) -> Any:
    """Return the joint outputs of several models' symbolic ones, of the same meaning.

    shares: the weight of each model (models,), or of each for each class (classes, models); never
            trained
    rule:   "mean" of the predictions, or "vote" for the most probable class
    task:   classes, binary or numbers;  logits: outputs are logits, not probabilities
    """
    ops = keras.ops
    # In half precision, 1 - TINY would be 1.
    dtype = "float64" if found[0].dtype == "float64" else "float32"
    is_flat = len(found[0].shape) == 1
    wide = [ops.cast(ops.expand_dims(output, -1) if is_flat else output, dtype) for output in found]
    stacked = ops.stack([predictions(output, task, logits) for output in wide], axis=-1)
    if rule == "vote":
        if task == "classes":
            chosen = ops.one_hot(ops.argmax(stacked, axis=-2), stacked.shape[-2], dtype=dtype)
            voted = ops.swapaxes(chosen, -1, -2)
        else:
            voted = ops.cast(ops.greater(stacked, 0.5), dtype)
        stacked = (voted + TIE * stacked) / (1 + TIE)
    places = "xyzuvw"[: len(stacked.shape) - 3]
    sizes = stacked.shape[1:-1]
    counting = keras.layers.EinsumDense(
        f"b{places}cm,cm->b{places}c",
        output_shape=sizes,
        name="shares",
        dtype=dtype,
        trainable=False,
    )
    together = counting(stacked)
    counting.kernel.assign(np.broadcast_to(shares, (sizes[-1], len(found))))
    if task == "classes":
        together = ops.maximum(together, TINY)
        together = together / ops.sum(together, axis=-1, keepdims=True)
    elif task == "binary":
        together = ops.clip(together, TINY, 1 - TINY)
    joint = outputs(together, task, logits)
    return ops.squeeze(joint, -1) if is_flat else joint
