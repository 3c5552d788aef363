"""A Keras party's turn, through one model that is used again, beside a fresh model for each party;
and what stays.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

from benchmarks.speed.measure import sides
from benchmarks.speed.table import Row
from fusion_nb.core.schema import DataSchema

Arrays = tuple[np.ndarray, np.ndarray]
_BATCH = 32


def turns(train: Arrays, *, repetitions: int, rounds: int, num_rows: int = 500) -> list[Row]:
    """Compare the times of a turn: set the weights, train one pass, get the weights; and take what
    memory grows by.
    """
    from fusion_nb.models.keras.adapter import KerasModel, keras

    own = train[0][:num_rows].reshape(-1, 28, 28, 1), train[1][:num_rows]
    model = _network(keras)
    ours = KerasModel(model)
    ours.check(own, DataSchema.of(own), lr=1.0, optimizer="Adadelta")
    first, arrays = ours.get_weights(), model.get_weights()

    def turn() -> None:
        ours.set_weights(first)
        # The result holds a copy of the weights.
        ours.fit(own, epochs=1, batch_size=_BATCH, lr=1.0, optimizer="Adadelta", seed=1)

    def fresh() -> None:
        other = keras.models.clone_model(model)
        optimizer = keras.optimizers.Adadelta(learning_rate=1.0)
        other.compile(
            optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        other.set_weights(arrays)
        other.fit(*own, batch_size=_BATCH, epochs=1, verbose=0)
        other.get_weights()

    cases: dict[str, Callable[[], Any]] = {"ours": turn, "fresh": fresh}
    for case in cases.values():
        case()
    found = sides(cases, repetitions=repetitions)
    for _ in range(min(rounds, 40)):  # what frameworks keep for later is full by then
        turn()
    before = _megabytes()
    for _ in range(rounds):
        turn()
    grown = (_megabytes() - before) / rounds
    detail = f"{1e3 * found.median('ours'):.0f} ms against {1e3 * found.median('fresh'):.0f} ms"
    backend = keras.backend.backend()
    return [
        Row(
            f"Keras party's turn over a fresh model, CNN on {backend}",
            found.ratio("ours", "fresh"),
            0.58,
            0.50,
            detail=detail,
            discarded=found.discarded,
            is_noisy=found.is_noisy,
        ),
        Row(f"Keras: growth for each of {rounds} rounds", grown, 0.2, unit=" MB"),
    ]


def _network(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            *(layers.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu")),
            *(
                layers.Conv2D(64, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.SpatialDropout2D(0.25),
            ),
            *(layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dropout(0.5)),
            layers.Dense(10, activation="softmax"),
        ]
    )


def _megabytes() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6
