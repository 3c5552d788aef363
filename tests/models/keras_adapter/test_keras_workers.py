"""Keras models over many parties and rounds: nothing is traced anew, memory is flat."""

from __future__ import annotations

from typing import Any

import numpy as np
import psutil
import pytest
from keras_samples import (
    CLASSES,
    X,
    layers,
    on_tensorflow,
    sequential,
)

from fusion_nb import RunSpec, federate
from fusion_nb.models.keras.adapter import keras
from fusion_nb.runs.build import build


class TestWorkers:
    @on_tensorflow
    def test_a_further_party_or_round_traces_nothing(self) -> None:
        traced = []

        class Spy(layers.Layer):
            def call(self, x: Any) -> Any:
                traced.append(x.shape)
                return x

        keras.utils.set_random_seed(0)
        model = keras.Sequential([layers.Input((4,)), Spy(), layers.Dense(3)])
        sizes = [9, 10, 11, 13, 17, 22, 30]
        parts = [(np.resize(X, (n, 4)), np.resize(CLASSES, n)) for n in sizes]
        run = federate(model, parts, rounds=2, batch_size=8, lr=0.1)
        before = len(traced)
        run.more(3).wait()
        again = len(traced) - before
        assert before <= 16
        # Workers are made anew for more rounds, and so is their graph: once for whole batches, once
        # for any other.
        assert again <= 6

    @pytest.mark.slow
    @pytest.mark.parametrize("options", [{"optimizer": "adam"}, {"fusion": "feddyn"}])
    def test_memory_is_flat_over_two_hundred_rounds(self, options: dict[str, Any]) -> None:
        model = sequential(layers.BatchNormalization(), layers.Dropout(0.2), layers.Dense(3))
        spec = RunSpec(data="data", parties=4, batch_size=8, **options)
        federation = build(spec, {"model": model, "data": (X, CLASSES)})
        process = psutil.Process()
        seen = [
            process.memory_info().rss / 2**20
            for record in federation.rounds(240)
            if record.round % 20 == 0
        ]
        warm = seen[2:]
        assert max(warm) - warm[0] < 8, f"MiB every 20 rounds: {[round(size) for size in seen]}"
