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


def sklearn_model() -> Small:
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="log_loss"), _numbers(), np.arange(30) % 3


def naive_bayes() -> Small:
    from sklearn.naive_bayes import GaussianNB

    return GaussianNB(), _numbers(), np.arange(30) % 3


def xgboost_model() -> Small:
    from xgboost import XGBClassifier

    # A part of the rows for each tree, so that the seed has something to decide.
    return XGBClassifier(max_depth=2, subsample=0.5), _numbers(), np.arange(30) % 3


def lightgbm_model() -> Small:
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(
        num_leaves=3, min_child_samples=2, subsample=0.5, subsample_freq=1, verbosity=-1
    )
    return model, _numbers(), np.arange(30) % 3


def _numbers() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


#: How to make a small model of each framework.
MAKERS: dict[str, Callable[[], Small]] = {
    "doc2vec": doc2vec_model,
    "keras": keras_model,
    "lightgbm": lightgbm_model,
    "naive_bayes": naive_bayes,
    "sklearn": sklearn_model,
    "torch": torch_model,
    "xgboost": xgboost_model,
}
#: Fusions for weights or rows of another kind -> one of MAKERS. All others are for numbers.
MODEL_OF_FUSION = {"bagging": "xgboost", "doc2vec": "doc2vec", "sum": "naive_bayes"}
