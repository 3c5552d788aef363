"""A small model of each framework with rows and labels, for tests that run over all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fusion_nb.core import documents

#: A model, its rows, and their labels.
Small = tuple[Any, np.ndarray, np.ndarray]


def torch_model() -> Small:
    from torch import nn

    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))
    return module, _numbers(), np.arange(30) % 3


def doc2vec_model() -> Small:
    from gensim.models.doc2vec import Doc2Vec

    rng = np.random.default_rng(0)
    words = [tuple(f"w{number}" for number in rng.integers(0, 20, 15)) for _ in range(30)]
    rows = [documents.Document(text, (f"tag {i}",)) for i, text in enumerate(words)]
    model = Doc2Vec(vector_size=6, min_count=1, epochs=3)
    return model, documents.array(rows), np.arange(30) % 3


def keras_model() -> Small:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(6),
            layers.BatchNormalization(),
            layers.Dropout(0.1),
            layers.Dense(3),
        ]
    )
    return model, _numbers(), np.arange(30) % 3


def _numbers() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


#: How to make a small model of each framework.
MAKERS: dict[str, Callable[[], Small]] = {
    "doc2vec": doc2vec_model,
    "keras": keras_model,
    "torch": torch_model,
}
