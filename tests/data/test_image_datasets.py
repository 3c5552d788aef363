"""The data sets of images: their shapes, their files, and the errors without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_nb import federate
from fusion_nb.data.image_datasets import Cifar10Keras, Digits, Mnist, MnistKeras
from fusion_nb.errors import DataError


def test_digits_are_those_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    (x, y), (x_test, y_test) = Digits().get_data()
    assert x.shape == (1437, 1, 28, 28)
    assert x_test.shape == (360, 1, 28, 28)
    assert x.dtype == np.float32
    assert 0 <= x.min() < x.max() <= 1
    original = datasets.load_digits()
    counts = np.bincount(np.concatenate([y, y_test])).tolist()
    assert counts == np.bincount(original.target).tolist()
    # Enlarging keeps the mean, but for the rounding of edges.
    mean = np.concatenate([x, x_test]).mean()
    assert np.isclose(mean, original.images.mean() / 16, atol=0.01)


class TestMnist:
    def test_it_has_the_class_counts_that_are_published(self, mnist: Path) -> None:
        (x, y), test = Mnist().get_data()
        counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert np.bincount(y).tolist() == counts
        assert test is not None
        assert x.max() == 1.0

    def test_a_failed_download_says_how_to_do_without(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import pooch

        def fail(*arguments: Any, **options: Any) -> None:
            raise ConnectionError("no network")

        monkeypatch.delenv("FUSION_NB_DATA", raising=False)
        monkeypatch.setattr(pooch, "retrieve", fail)
        with pytest.raises(DataError, match="--data digits, which needs no network"):
            Mnist().get_data()

    def test_images_of_another_size_are_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", x_train=np.zeros((2, 32, 32)), y_train=[0, 1])
        with pytest.raises(DataError, match="28 x 28"):
            Mnist(str(tmp_path / "a.npz")).get_data()


class TestImagesForKeras:
    @pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (1, 28, 28)])
    @pytest.mark.parametrize("kind", [np.uint8, np.float64])
    @pytest.mark.parametrize("one_hot", [True, False])
    def test_a_file_like_mnist_is_read(
        self, tmp_path: Path, shape: Any, kind: Any, one_hot: bool
    ) -> None:
        path = _mnist_like(tmp_path, shape, kind, one_hot=one_hot)
        (found, _), _ = MnistKeras(path).get_data()
        assert found.shape == (20, 28, 28, 1)
        assert found.max() <= 1

    @pytest.mark.parametrize("one_hot", [True, False])
    def test_a_file_like_mnist_trains_a_keras_model(self, tmp_path: Path, one_hot: bool) -> None:
        keras = pytest.importorskip("keras")
        path = _mnist_like(tmp_path, (28, 28), np.uint8, one_hot=one_hot)
        flat = [keras.layers.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
        run = federate(
            keras.Sequential(flat), path, data_handler="mnist_keras", parties=2, rounds=1
        )
        assert run.result().chosen["fusion"] == "fedavg"

    @pytest.mark.parametrize("shape", [(32, 32, 3), (3, 32, 32)])
    def test_a_file_like_cifar10_is_read_and_trains_a_keras_model(
        self, tmp_path: Path, shape: Any
    ) -> None:
        keras = pytest.importorskip("keras")
        x = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
        y = (np.arange(20) % 10)[:, None]
        path = str(tmp_path / "some.npz")
        np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
        (found, _), _ = Cifar10Keras(path).get_data()
        assert found.shape == (20, 32, 32, 3)
        flat = [keras.layers.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10)]
        run = federate(
            keras.Sequential(flat), path, data_handler="cifar10_keras", parties=2, rounds=1
        )
        assert run.history["accuracy"]

    def test_images_of_another_size_are_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "some.npz", x_train=np.zeros((4, 8, 8)), y_train=np.arange(4))
        for handler in (MnistKeras, Cifar10Keras):
            with pytest.raises(DataError, match=r"these rows have shape \(8, 8\)"):
                handler(str(tmp_path / "some.npz")).get_data()


def _mnist_like(folder: Path, shape: tuple[int, ...], kind: Any, *, one_hot: bool) -> str:
    """Write a file of 20 images and return its path."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 784))
    x = (pixels if kind == np.uint8 else pixels / 255).astype(kind).reshape(20, *shape)
    y = np.arange(20) % 10
    labels = np.eye(10)[y] if one_hot else y
    np.savez(folder / "some.npz", x_train=x, y_train=labels, x_test=x[:10], y_test=labels[:10])
    return str(folder / "some.npz")
