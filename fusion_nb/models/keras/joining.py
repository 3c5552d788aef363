"""What outputs of Keras models predict, and the layer that joins those of several models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from fusion_nb.joint import TIE, TINY


def predictions(output: Any, task: str, logits: bool) -> Any:
    """Return what outputs predict: probabilities of classes or of yes, or the numbers themselves."""
    if not logits:
        return output
    return keras.ops.softmax(output, axis=-1) if task == "classes" else keras.ops.sigmoid(output)


def outputs(predicted: Any, task: str, logits: bool) -> Any:
    """Return outputs that predict this: the reverse of `predictions`."""
    if not logits:
        return predicted
    likely = keras.ops.clip(predicted, TINY, 1 - TINY if task == "binary" else 1.0)
    return keras.ops.log(likely) - (keras.ops.log(1 - likely) if task == "binary" else 0.0)


@keras.saving.register_keras_serializable(package="fusion_nb")
class Joined(keras.layers.Layer):
    """Turns the outputs of several models into joint ones of the same meaning; what it does is in its configuration.

    shares: how much each model counts (models,), or counts for each class (classes, models); a weight, never trained
    rule:   "mean" of the predictions, or "vote" for the most probable class
    task:   classes, binary or numbers;  logits: outputs are logits, not probabilities
    """

    def __init__(self, shares: Any, rule: str, task: str, logits: bool, **options: Any) -> None:
        # Of half precision, 1 - TINY would be 1.
        super().__init__(**{"dtype": "float32"} | options)
        self._given = np.asarray(shares, dtype=np.float32)
        self._rule, self._task, self._logits = rule, task, logits

    def get_config(self) -> dict[str, Any]:
        """Return what the layer is made again from."""
        own = {"shares": self._given.tolist(), "rule": self._rule, "task": self._task, "logits": self._logits}
        return {**super().get_config(), **own}

    def build(self, input_shape: Any) -> None:
        """Make the shares a weight, so that files of weights alone hold them."""

        def given(shape: Any, dtype: Any = None) -> Any:
            return keras.ops.convert_to_tensor(self._given, dtype=dtype)

        self.shares = self.add_weight(shape=self._given.shape, initializer=given, trainable=False, name="shares")
        self.built = True

    def call(self, found: Sequence[Any]) -> Any:
        """Return the joint outputs."""
        ops, task = keras.ops, self._task
        stacked = ops.stack([predictions(output, task, self._logits) for output in found], axis=-1)
        if self._rule == "vote" and task == "classes":
            voted = ops.one_hot(ops.argmax(stacked, axis=-2), stacked.shape[-2], dtype=stacked.dtype)
            stacked = (ops.swapaxes(voted, -1, -2) + TIE * stacked) / (1 + TIE)
        elif self._rule == "vote":
            stacked = (ops.cast(stacked > 0.5, stacked.dtype) + TIE * stacked) / (1 + TIE)
        together = ops.sum(stacked * ops.cast(self.shares, stacked.dtype), axis=-1)
        if task == "classes":
            together = ops.maximum(together, TINY)
            together = together / ops.sum(together, axis=-1, keepdims=True)
        elif task == "binary":
            together = ops.clip(together, TINY, 1 - TINY)
        return outputs(together, task, self._logits)
