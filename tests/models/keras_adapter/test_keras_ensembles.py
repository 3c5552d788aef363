"""Ensembles of Keras models: their joint predictions, and their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_samples import layers, on_tensorflow

from fusion_nb import Run, RunSpec
from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.keras.adapter import keras

RNG = np.random.default_rng(0)


X = RNG.normal(size=(240, 4)).astype(np.float32)


CLASSES = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5)


TRUTHS = {"classes": CLASSES, "yes": X[:, 0] > 0, "numbers": X[:, 0] * 2 - X[:, 1]}


def network(outputs: int = 3, last: str | None = None) -> Any:
    model = keras.Sequential(
        [layers.Input((4,)), layers.Dense(8, activation="tanh"), layers.Dense(outputs, last)]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(size=w.shape) / 2 for w in model.get_weights()])
    return model


def finished(ensemble: str, model: Any, truth: str = "classes", **options: Any) -> Run:
    y = TRUTHS[truth]
    names = {"model": model, "data": ((X[:180], y[:180]), (X[180:], y[180:])), "public": X[:60]}
    defaults: dict[str, Any] = {
        "data": "data",
        "lr": 0.1,
        "parties": 3,
        "epochs": 3,
        "optimizer": "sgd",
    }
    return (
        Run(RunSpec(**defaults | {"ensemble": ensemble, "split": "iid"} | options), names)
        .start()
        .wait()
    )


def outputs_of(model: Any) -> np.ndarray:
    """Return the outputs for the test rows, without the graph that `predict` would trace."""
    return keras.ops.convert_to_numpy(model(X[180:]))


def members(run: Run) -> list[Any]:
    return [layer for layer in run.model.layers if layer.name.startswith("members_")]


def softmax(outputs: np.ndarray) -> np.ndarray:
    likely = np.exp(outputs - outputs.max(-1, keepdims=True))
    return likely / likely.sum(-1, keepdims=True)


def sigmoid(outputs: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-outputs))


@pytest.mark.parametrize(
    ("truth", "outputs", "last", "predicted"),
    [
        ("classes", 3, None, softmax),
        ("yes", 1, "sigmoid", np.asarray),
        pytest.param("classes", 3, "softmax", np.asarray, marks=pytest.mark.slow),
        pytest.param("yes", 1, None, sigmoid, marks=pytest.mark.slow),
        ("numbers", 1, None, np.asarray),
    ],
)
def test_mean_is_the_mean_of_the_members_predictions(
    truth: str, outputs: int, last: str | None, predicted: Any
) -> None:
    options = {"loss": "binary_crossentropy"} if truth == "yes" else {}
    run = finished("mean", network(outputs, last), truth, **options, lr=0.05)
    found = members(run)
    assert len(found) == 3
    apart = [predicted(outputs_of(member)) for member in found]
    assert not np.allclose(apart[0], apart[1], atol=1e-3)
    together = predicted(run.model.predict(X[180:], verbose=0))
    assert np.allclose(together, np.mean(apart, axis=0), atol=1e-5)


def test_a_vote_goes_to_the_class_that_most_members_name() -> None:
    run = finished("vote", network(), split="dirichlet:alpha=0.5", epochs=1)
    named = np.stack([outputs_of(member).argmax(1) for member in members(run)])
    counts = np.stack([(named == label).sum(0) for label in range(3)])
    ordered = np.sort(counts, axis=0)
    clear = ordered[-1] > ordered[-2]
    assert clear.sum() > 0
    assert (named != named[0]).any(), "members that always agree show nothing"
    assert (run.model.predict(X[180:], verbose=0).argmax(1) == counts.argmax(0))[clear].all()


def test_a_stack_weighs_members_by_class_with_no_negative_share() -> None:
    run = finished("stack", network(), split="dirichlet:alpha=0.5", epochs=5)
    assert len(run.history) == 2
    shares = run.weights["shares"]
    assert shares.shape == (3, 3)
    assert (shares >= 0).all()
    kept = np.flatnonzero(shares.any(axis=0))
    apart = np.stack([softmax(outputs_of(member)) for member in members(run)])
    summed = np.einsum("mbc,cm->bc", apart, shares[:, kept])
    expected = np.maximum(summed, 1e-9) / np.maximum(summed, 1e-9).sum(1, keepdims=True)
    assert np.allclose(softmax(run.model.predict(X[180:], verbose=0)), expected, atol=1e-4)


@pytest.mark.parametrize(
    "rule", ["stack", *(pytest.param(rule, marks=pytest.mark.slow) for rule in ("mean", "vote"))]
)
def test_the_exported_model_has_the_accuracy_of_the_chart(rule: str) -> None:
    run = finished(rule, network())
    right = (run.model.predict(X[180:], verbose=0).argmax(1) == CLASSES[180:]).mean()
    assert right == pytest.approx(run.history["accuracy"][-1])
    assert run.model.evaluate(X[180:], CLASSES[180:], verbose=0)[0] == pytest.approx(
        run.history["loss"][-1], rel=1e-4
    ), "it is compiled with the loss of its members"


@pytest.mark.parametrize(
    "rule", ["mean", *(pytest.param(rule, marks=pytest.mark.slow) for rule in ("vote", "stack"))]
)
def test_a_keras_file_of_an_ensemble_is_read_in_safe_mode(rule: str, tmp_path: Path) -> None:
    run = finished(rule, network(), epochs=1)
    run.export(str(tmp_path / "out"), ["keras", "weights"])
    again = keras.models.load_model(tmp_path / "out" / "model.keras", safe_mode=True)
    expected = run.model.predict(X, verbose=0)
    assert np.allclose(again.predict(X, verbose=0), expected, atol=1e-6)
    again.set_weights([np.zeros_like(w) for w in again.get_weights()])
    again.load_weights(tmp_path / "out" / "model.weights.h5")
    assert np.allclose(again.predict(X, verbose=0), expected, atol=1e-6)


@on_tensorflow
@pytest.mark.slow
def test_a_saved_model_predicts_the_same(tmp_path: Path) -> None:
    import tensorflow

    run = finished("vote", network(), epochs=1)
    run.export(str(tmp_path / "out"), ["savedmodel"])
    [folder] = {path.parent for path in (tmp_path / "out").rglob("saved_model.pb")}
    loaded = tensorflow.saved_model.load(str(folder))
    assert np.allclose(loaded.serve(X).numpy(), run.model.predict(X, verbose=0), atol=1e-5)


@pytest.mark.slow
def test_distilling_teaches_one_model_and_leaves_its_optimizer_alone() -> None:
    model = network()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    averaged = finished("", network(), rounds=1, epochs=20, split="shards")
    run = finished("distill:data=public,epochs=30,lr=0.01", model, epochs=20, split="shards")
    assert [layer.name for layer in run.model.layers] == [layer.name for layer in model.layers]
    assert not np.allclose(run.model.get_weights()[0], averaged.model.get_weights()[0], atol=1e-3)
    assert type(run.model.optimizer).__name__ == "Adam"
    assert run.model.predict(X, verbose=0).shape == (240, 3)


def test_vote_of_a_model_in_half_precision_is_finite() -> None:
    body = [
        layers.Input((4,)),
        layers.Dense(8, activation="tanh", dtype="mixed_float16"),
        layers.Dense(3),
    ]
    run = finished("vote", keras.Sequential(body), epochs=1)
    assert np.isfinite(run.history["loss"]).all()


@on_tensorflow  # PyTorch runs it to see what comes out, and so it can be traced
def test_a_model_that_keras_cannot_trace_is_refused_with_a_hint() -> None:
    @keras.saving.register_keras_serializable("tests")
    class Counting(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.last = layers.Dense(3)

        def call(self, x: Any) -> Any:
            return self.last(np.asarray(keras.ops.convert_to_numpy(x)) * 1.0)

    model = Counting()
    model(X[:1])
    with pytest.raises(ModelError, match="Counting"):
        finished("mean", model)


def test_vote_among_numbers_is_refused() -> None:
    with pytest.raises(OptionError, match="ensemble='vote'"):
        finished("vote", network(1), "numbers")
