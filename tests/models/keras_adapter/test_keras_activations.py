"""Layers without weights that make gigabytes of a few rows are refused where a file holds them."""

from __future__ import annotations

import resource
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import fusion_nb  # noqa: E402
from fusion_nb.core.files import file_sizes  # noqa: E402
from fusion_nb.core.schema import DataSchema  # noqa: E402
from fusion_nb.errors import FusionError, ModelError  # noqa: E402
from fusion_nb.models.keras.adapter import KerasModel  # noqa: E402

layers = keras.layers
CLASSES = np.arange(40) % 3
IMAGE = (8, 8, 1)
#: Rows of a shape, and layers that make gigabytes of them.
HOSTILE: dict[str, tuple[tuple[int, ...], list[Any]]] = {
    "ZeroPadding2D": (IMAGE, [layers.ZeroPadding2D(30_000)]),
    "ZeroPadding1D": ((8, 2), [layers.ZeroPadding1D(10**9)]),
    "ZeroPadding3D": ((4, 4, 4, 1), [layers.ZeroPadding3D(2_000)]),
    "UpSampling2D": (IMAGE, [layers.UpSampling2D(10**4)]),
    "UpSampling2D, bilinear": (IMAGE, [layers.UpSampling2D(10**4, interpolation="bilinear")]),
    "Resizing": (IMAGE, [layers.Resizing(10**5, 10**5)]),
    "RepeatVector": ((8,), [layers.RepeatVector(10**9), layers.Dense(4)]),
    "CategoryEncoding": ((8,), [layers.CategoryEncoding(10**9, output_mode="one_hot")]),
    "MelSpectrogram": (
        (800,),
        [layers.MelSpectrogram(256, sequence_stride=1, sequence_length=256, num_mel_bins=10**6)],
    ),
    "STFTSpectrogram": (
        (800, 1),
        [
            layers.ZeroPadding1D(10**6),
            layers.STFTSpectrogram(frame_length=256, frame_step=1, fft_length=4096),
        ],
    ),
    "Conv2DTranspose": (IMAGE, [layers.Conv2DTranspose(1, 1, strides=10**4)]),
    "Cropping2D": (IMAGE, [layers.ZeroPadding2D(30_000), layers.Cropping2D(30_000)]),
    "many layers together": (
        IMAGE,
        [layers.ZeroPadding2D(1_500), *[layers.ReLU() for _ in range(20)]],
    ),
}


def saved(path: Path, shape: tuple[int, ...] | None, inner: list[Any]) -> Path:
    """Write a model of layers, which says the shape of its rows or takes any."""
    again = [type(layer).from_config(layer.get_config()) for layer in inner]
    # A model without weights would be refused for that.
    first = [*([keras.Input(shape)] if shape else []), layers.BatchNormalization()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unbuilt model has no weights yet
        keras.Sequential([*first, *again]).save(path)
    assert path.stat().st_size < 10**7
    return path


def rows_of(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.random.default_rng(0).uniform(size=(len(CLASSES), *shape)).astype(np.float32)
    return rows, CLASSES


def checked(path: Path, shape: tuple[int, ...]) -> KerasModel:
    model = KerasModel(KerasModel.load(path))
    rows = rows_of(shape)
    model.check(rows, DataSchema.of(rows), lr=0.1, optimizer="sgd")
    return model


class TestAHostileFile:
    @pytest.mark.parametrize("name", HOSTILE)
    @pytest.mark.parametrize(
        "says_shape",
        [
            pytest.param(True, id="shape"),
            pytest.param(False, id="any shape", marks=pytest.mark.slow),
        ],
    )
    def test_its_model_is_refused_before_it_makes_gigabytes(
        self, tmp_path: Path, name: str, says_shape: bool
    ) -> None:
        shape, inner = HOSTILE[name]
        path = saved(tmp_path / "model.keras", shape if says_shape else None, inner)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ModelError, match=r"model\.keras is refused: it.* may make") as caught:
            checked(path, shape)
        assert "\n" not in caught.value.message
        assert file_sizes.VARIABLE in caught.value.hint
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20

    def test_weights_that_the_rows_make_large_are_refused(self, tmp_path: Path) -> None:
        path = saved(tmp_path / "model.keras", None, [layers.Dense(20_000)])
        with pytest.raises(ModelError, match=r"its layers would take 1,60\d MB"):
            checked(path, (20_000,))

    def test_the_operation_and_the_limit_are_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(file_sizes.VARIABLE, str(10**12))
        path = saved(tmp_path / "model.keras", (4,), [layers.RepeatVector(10**9), layers.Dense(4)])
        with pytest.raises(
            ModelError,
            match=r"its operation \S+ would make 2,048,000 MB of 128 rows, and a model from a file "
            r"may make 1,000,000 MB",
        ) as caught:
            checked(path, (4,))
        assert f"{file_sizes.VARIABLE}=2048" in caught.value.hint

    def test_it_is_refused_where_it_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        inner = [layers.ZeroPadding2D(30_000), layers.GlobalMaxPooling2D(), layers.Dense(10)]
        saved(tmp_path / "model.keras", (28, 28, 1), inner)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(FusionError, match=r"model\.keras is refused: its operation"):
            fusion_nb.federate("model.keras", "digits", rounds=1, parties=2)


class TestAnotherFile:
    @pytest.mark.parametrize(
        ("shape", "inner"),
        [
            (IMAGE, [layers.ZeroPadding2D(2), layers.Conv2D(4, 3), layers.Flatten()]),
            pytest.param(
                IMAGE,
                [layers.UpSampling2D(3), layers.BatchNormalization(), layers.Flatten()],
                marks=pytest.mark.slow,
            ),
            pytest.param((6, 4), [layers.GRU(5), layers.Dropout(0.5)], marks=pytest.mark.slow),
        ],
        ids=["convolution", "batch normalization", "recurrent"],
    )
    def test_its_model_is_trained_as_one_of_the_notebook(
        self, tmp_path: Path, shape: tuple[int, ...], inner: list[Any]
    ) -> None:
        keras.utils.set_random_seed(0)
        path = saved(tmp_path / "model.keras", shape, [*inner, layers.Dense(3)])
        run = fusion_nb.federate(str(path), rows_of(shape), rounds=2, parties=2, seed=1)
        again = keras.models.load_model(path)
        other = fusion_nb.federate(again, rows_of(shape), rounds=2, parties=2, seed=1)
        assert run.history["loss"] == other.history["loss"]

    def test_a_model_of_the_notebook_may_make_what_it_likes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fusion_nb.models.activations.limit", lambda: 1000)
        path = saved(tmp_path / "model.keras", (64,), [layers.Dense(3)])
        with pytest.raises(ModelError, match=r"may make 1,000 bytes"):
            checked(path, (64,))
        model = KerasModel(keras.models.load_model(path))
        rows = rows_of((64,))
        assert model.check(rows, DataSchema.of(rows), lr=0.1, optimizer="sgd")
