"""Added metrics and weights of classes of Keras models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb.errors import FusionError
from fusion_nb.models.keras.adapter import keras

sk = pytest.importorskip("sklearn.metrics")
layers = keras.layers


def data(count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 4)).astype(np.float32)
    return x, (x[:, 0] + rng.normal(size=count) > 1).astype(np.int64)


def model(outputs: int, activation: str | None = None) -> Any:
    keras.utils.set_random_seed(0)
    return keras.Sequential([layers.Input((4,)), layers.Dense(outputs, activation=activation)])


OPTIONS: dict[str, Any] = {"rounds": 1, "lr": 0.3, "parties": 3}


@pytest.mark.parametrize(
    ("outputs", "activation"),
    [
        (1, "sigmoid"),
        (2, None),
        *(pytest.param(*form, marks=pytest.mark.slow) for form in ((1, None), (2, "softmax"))),
    ],
)
def test_yes_or_no_in_any_form(outputs: int, activation: str | None) -> None:
    metrics = "auc,f1,recall:average=binary,log_loss"
    run = fusion_nb.federate(model(outputs, activation), data(), metrics=metrics, **OPTIONS)
    frame, last = run.predictions(), run.history.last()
    labels, scores = (frame["label"] == "1").to_numpy().astype(int), frame["1"].to_numpy()
    assert last["auc"] == pytest.approx(sk.roc_auc_score(labels, scores), abs=2e-3)
    assert last["f1"] == pytest.approx(sk.f1_score(labels, scores > 0.5, average="macro"))
    assert last["recall_binary"] == pytest.approx(sk.recall_score(labels, scores > 0.5))
    assert last["log_loss"] == pytest.approx(last["loss"], rel=1e-4)


def test_the_run_is_the_same_without_them() -> None:
    runs = [
        fusion_nb.federate(model(2), data(), metrics=metrics, **OPTIONS)
        for metrics in ("", "auc,f1")
    ]
    for name in runs[0].history.metrics():
        assert runs[0].history[name] == runs[1].history[name]


def test_several_inputs() -> None:
    one, other = layers.Input((4,), name="one"), layers.Input((4,), name="other")
    joined = layers.Dense(2)(layers.Concatenate()([one, other]))
    x, y = data()
    rows = {"one": x, "other": x[::-1].copy()}
    run = fusion_nb.federate(
        keras.Model({"one": one, "other": other}, joined), (rows, y), metrics="auc", **OPTIONS
    )
    frame = run.predictions()
    expected = sk.roc_auc_score(frame["label"] == "1", frame["1"])
    assert run.history["auc"][-1] == pytest.approx(expected, abs=2e-3)


def test_several_outputs_are_refused() -> None:
    x, y = data()
    inputs = layers.Input((4,))
    both = keras.Model(inputs, {"a": layers.Dense(2)(inputs), "b": layers.Dense(2)(inputs)})

    class Items:
        def __len__(self) -> int:
            return len(x)

        def __getitem__(self, row: int) -> Any:
            return x[row], {"a": y[row], "b": y[row]}

    both.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with pytest.raises(FusionError, match="several outputs"):
        fusion_nb.federate(both, Items(), metrics="auc", **OPTIONS)


@pytest.mark.parametrize(("outputs", "activation"), [(1, "sigmoid"), (2, "softmax")])
def test_class_weights_are_those_of_keras(outputs: int, activation: str) -> None:
    x, y = data()
    options = {"rounds": 1, "lr": 0.5, "parties": 1, "batch_size": 1000, "optimizer": "sgd"}
    run = fusion_nb.federate(
        model(outputs, activation), (x, y), class_weights="balanced", **options
    )
    rows, labels = run.federation.parties[0].train
    counts = np.bincount(labels)
    weights = len(labels) / (2 * counts)
    alone = model(outputs, activation)
    name = "binary_crossentropy" if outputs == 1 else "sparse_categorical_crossentropy"
    alone.compile(keras.optimizers.SGD(0.5), name, jit_compile=False)
    target = labels.reshape(-1, 1) if outputs == 1 else labels
    alone.train_on_batch(rows, target, sample_weight=weights[labels])
    for found, right in zip(run.model.get_weights(), alone.get_weights(), strict=True):
        assert found == pytest.approx(right, abs=1e-5)


def test_class_weights_of_a_loss_of_ones_own_are_refused() -> None:
    def own(target: Any, output: Any) -> Any:
        return keras.losses.sparse_categorical_crossentropy(target, output)

    with pytest.raises(FusionError, match="can't weigh rows by their class"):
        fusion_nb.federate(
            model(2, "softmax"), data(), loss=own, class_weights="balanced", **OPTIONS
        )
