"""`run.predict` gives labels in the user's own terms, for every task and form of rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import fusion_nb
from fusion_nb import Run
from fusion_nb.errors import DataError, ModelError, OptionError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def net(outputs: int, *last: nn.Module, inputs: int = 4) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, outputs), *last)


def trained(model: Any, data: Any, **options: Any) -> Run:
    return fusion_nb.federate(model, data, **{"parties": 3, "rounds": 8, "lr": 0.5, **options})


def outputs(run: Run, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(run.model(torch.from_numpy(x)))


def test_classes_are_numbers_or_the_users_names() -> None:
    run = trained(net(3), (X, Y))
    assert np.array_equal(run.predict(X), outputs(run, X).argmax(1))
    assert (run.predict(X) == Y).mean() > 0.9
    named = trained(net(2), (X, np.array(["no", "yes"])[Y]))
    expected = np.array(["no", "yes"])[outputs(named, X).argmax(1)]
    assert np.array_equal(named.predict(X), expected)
    scores = named.predict(X[:5], scores=True)
    assert list(scores.columns) == ["no", "yes"]
    assert np.allclose(scores, torch.softmax(torch.from_numpy(outputs(named, X[:5])), 1))


@pytest.mark.parametrize("last", [(), (nn.Sigmoid(),)])
def test_yes_or_no(last: Any) -> None:
    names = np.array(["ill", "well"])[Y]
    run = trained(net(1, *last), (X, names))
    is_well = outputs(run, X)[:, 0] > (0.5 if last else 0)
    assert np.array_equal(run.predict(X), np.where(is_well, "well", "ill"))
    scores = run.predict(X, scores=True)
    assert list(scores.columns) == ["ill", "well"]
    assert np.array_equal(scores["well"] > 0.5, is_well)
    numbers = trained(net(1, *last), (X, Y))
    assert np.array_equal(numbers.predict(X), (outputs(numbers, X)[:, 0] > (0.5 if last else 0)))


def test_measurements_and_several_of_a_row() -> None:
    one = trained(net(1), (X, X @ np.ones(4, np.float32)), lr=0.1)
    assert one.predict(X).shape == (60,)
    assert np.array_equal(one.predict(X), outputs(one, X)[:, 0])
    assert list(one.predict(X, scores=True).columns) == ["prediction"]
    two = trained(net(2), (X, X[:, :2] * 2), lr=0.1)
    assert np.allclose(two.predict(X), outputs(two, X))
    assert two.predict(X, scores=True).shape == (60, 2)


def test_flags_of_a_row() -> None:
    flags = (X[:, :3] > 0).astype(np.float32)
    run = trained(net(3), (X, flags), loss="bce_logits")
    assert run.predict(X).shape == (60, 3)
    assert np.array_equal(run.predict(X), outputs(run, X) > 0)


def test_a_frame_in_another_order_and_with_more_columns() -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(label=Y)
    run = trained(net(2), frame)
    expected = run.predict(X)
    assert np.array_equal(run.predict(frame), expected)
    turned = frame[["d", "label", "b", "a", "c"]].assign(text="more")
    assert np.array_equal(run.predict(turned), expected)
    with pytest.raises(DataError, match="no column 'c'"):
        run.predict(frame.drop(columns="c"))
    with pytest.raises(DataError, match="missing values, in the columns a"):
        run.predict(frame.assign(a=np.nan))


def test_bytes_of_images_are_scaled_as_in_training() -> None:
    images = RNG.integers(0, 256, (60, 6, 6), dtype=np.uint8)
    labels = (images.mean((1, 2)) > 127).astype(int)
    run = trained(nn.Sequential(nn.Flatten(), net(2, inputs=36)), (images, labels))
    scaled = (images / 255).astype(np.float32)
    assert np.array_equal(run.predict(images), outputs(run, scaled).argmax(1))
    assert np.array_equal(run.predict(scaled), run.predict(images))


def test_masks_are_in_the_users_numbers() -> None:
    images = RNG.normal(size=(40, 1, 4, 4)).astype(np.float32)
    masks = np.where(images[:, 0] > 0, 255, 0).astype(np.uint8)
    run = trained(nn.Conv2d(1, 1, 1), (images, masks[:, None]))
    assert set(np.unique(run.predict(images))) <= {0, 255}
    with pytest.raises(OptionError, match="several classes for each row"):
        run.predict(images, scores=True)


def test_an_ensemble_predicts_together() -> None:
    run = trained(net(2), (X, Y), ensemble="mean")
    assert np.array_equal(run.predict(X), outputs(run, X).argmax(1))


def test_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = net(2)

        def forward(self, a: Any, b: Any) -> Any:
            return self.layer(torch.cat([a, b], 1))

    run = trained(Two(), ((X[:, :2], X[:, 2:]), Y), epochs=2)
    assert run.predict((X[:, :2], X[:, 2:])).shape == (60,)
    with pytest.raises(DataError, match="inputs 0, 1, 2"):
        run.predict((X, X, X))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (X[:, :3], r"shape \(60, 3\).*shape \(4,\)"),
        (X[0], r"one row is given as x\[None\]"),
        (np.full((2, 4), np.nan), "NaN"),
        (np.array([["a"] * 4]), "not real numbers"),
        (pd.DataFrame({"a": [1.0]}), r"shape \(1, 1\)"),
        (1, r"the rows are int.*shape \(rows, 4\)"),
        ("a row", "the rows are str"),
        (None, "the rows are NoneType"),
        ({"a": X}, "the rows are dict"),
    ],
)
def test_rows_of_another_form_are_one_line(rows: Any, said: str) -> None:
    run = trained(net(2), (X, Y), rounds=1)
    with pytest.raises(DataError, match=f"(?s){said}"):
        run.predict(rows)


@pytest.mark.framework
def test_a_model_without_predictions_says_so() -> None:
    gensim = pytest.importorskip("gensim.models.doc2vec")
    run = fusion_nb.federate(
        gensim.Doc2Vec(vector_size=4, min_count=1),
        [["north sea wind", "wind north sea"]] * 2,
        rounds=1,
    )
    with pytest.raises(ModelError, match="makes no predictions"):
        run.predict(["a b"])


@pytest.mark.framework
def test_keras() -> None:
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    run = trained(model, (X, np.array(["no", "yes"])[Y]))
    expected = run.model.predict(X, verbose=0).argmax(1)
    assert np.array_equal(run.predict(X), np.array(["no", "yes"])[expected])
