"""Data handlers of images and of `.npz` files."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import numpy as np

from fusion_nb.core.files.npz_sizes import check_npz
from fusion_nb.core.files.ordinary import open_ordinary
from fusion_nb.data.arrays import Arrays
from fusion_nb.data.handlers import DataHandler
from fusion_nb.errors import DataError, missing_extra, option, private

_MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
_MNIST_SHA256 = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"


class Digits(DataHandler):
    """1,797 handwritten digits that come with the package, 360 of them test rows.

    Images are (N, 1, 28, 28) float32 in [0, 1].
    Source: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998 (8 x 8 pixels there, enlarged here so that models written for MNIST fit).
    """

    def get_data(self) -> tuple[Arrays, Arrays]:
        """Return the training and the test rows; which is which never changes."""
        with (
            (files("fusion_nb") / "assets" / "digits.npz").open("rb") as file,
            np.load(file) as stored,
        ):
            small, y = stored["images"].astype(np.float64) / 16, stored["labels"].astype(np.int64)
        enlarge = _bilinear(small.shape[1], 28)
        x = np.ascontiguousarray((enlarge @ small @ enlarge.T)[:, None], dtype=np.float32)
        order = np.random.default_rng(0).permutation(len(y))
        test, train = order[:360], order[360:]
        return (x[train], y[train]), (x[test], y[test])


class Npz(DataHandler):
    """A `.npz` file of arrays: x_train, y_train and, for a central test set, x_test, y_test."""

    def __init__(self, path: str) -> None:
        self.path = path

    def get_data(self) -> tuple[Arrays, Arrays | None]:
        """Return the arrays as they are stored.

        Raises DataError for a file that can't be read or lacks an array.
        """
        arrays = _load(Path(self.path))
        for needed in ("x_train", "y_train"):
            if needed not in arrays:
                raise DataError(
                    f"{self.path} has no array {needed!r}; it has {', '.join(arrays) or 'none'}",
                    "save it with np.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)",
                )
        test = (
            (arrays["x_test"], arrays["y_test"]) if {"x_test", "y_test"} <= arrays.keys() else None
        )
        return (arrays["x_train"], arrays["y_train"]), test


class Mnist(DataHandler):
    """MNIST, 60,000 training and 10,000 test rows, or the rows of a file like it.

    Images are (N, 1, 28, 28) float32 in [0, 1]. The file holds x_train, y_train, x_test, y_test;
    images of (N, 28, 28), (N, 28, 28, 1) or (N, 1, 28, 28), as bytes or as numbers in [0, 1];
    labels as numbers or one-hot. Read from `path`, or `$FUSION_NB_DATA/mnist.npz`, or downloaded
    once into a cache.
    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", 1998.
    """

    _shape = (1, 28, 28)

    def __init__(self, path: str = "") -> None:
        self.path = path

    def get_data(self) -> tuple[Arrays, Arrays | None]:
        """Return images with a channel axis.

        Raises DataError for a file whose images are not 28 x 28, or if the download fails.
        """
        train, test = Npz(self.path or self._find()).get_data()
        return self._images(train), None if test is None else self._images(test)

    def _images(self, rows: Arrays) -> Arrays:
        x, y = rows
        if x.shape[1:] not in ((28, 28), (28, 28, 1), (1, 28, 28)):
            raise DataError(
                f"MNIST images are 28 x 28, and these rows have shape {x.shape[1:]}",
                f"use {option('data_handler', 'npz')}",
            )
        return _scaled(x).reshape(-1, *self._shape), y.astype(np.int64)

    def _find(self) -> str:
        if stored := in_folder("mnist.npz"):
            return stored
        import pooch

        try:
            return str(
                pooch.retrieve(
                    _MNIST_URL, _MNIST_SHA256, fname="mnist.npz", path=pooch.os_cache("fusion_nb")
                )
            )
        except (OSError, ValueError) as error:
            raise DataError(
                f"MNIST could not be downloaded ({type(error).__name__})",
                "set FUSION_NB_DATA to a folder that holds mnist.npz, or use "
                f"{option('data', 'digits')}, which needs no network",
            ) from error


class MnistKeras(Mnist):
    """MNIST with channels last, as Keras's layers take images.

    Images are (N, 28, 28, 1) float32 in [0, 1]. It reads the same files as `mnist`.
    Source: LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
    Recognition", 1998.
    """

    _shape = (28, 28, 1)


class Cifar10Keras(DataHandler):
    """CIFAR-10, 50,000 training and 10,000 test rows, or the rows of a file like it.

    Images are (N, 32, 32, 3) float32 in [0, 1]. The file holds x_train, y_train, x_test, y_test;
    images of (N, 32, 32, 3) or (N, 3, 32, 32), as bytes or as numbers in [0, 1]; labels as numbers,
    also of (N, 1), or one-hot. Read from `path`, or `$FUSION_NB_DATA/cifar10.npz`, or by Keras's
    loader, which downloads it once.
    Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    def __init__(self, path: str = "") -> None:
        self.path = path

    def get_data(self) -> tuple[Arrays, Arrays | None]:
        """Return images with channels last.

        Raises DataError for a file whose images are not 32 x 32 with 3 channels, or if the download
        fails.
        """
        path = self.path or in_folder("cifar10.npz")
        train, test = Npz(path).get_data() if path else self._download()
        return self._images(train), None if test is None else self._images(test)

    def _images(self, rows: Arrays) -> Arrays:
        x, y = rows
        if x.shape[1:] == (3, 32, 32):
            x = np.moveaxis(x, 1, -1)
        if x.shape[1:] != (32, 32, 3):
            line = (
                "CIFAR-10 images are 32 x 32 with 3 channels, and these rows have shape "
                f"{x.shape[1:]}"
            )
            raise DataError(line, f"use {option('data_handler', 'npz')}")
        return np.ascontiguousarray(_scaled(x)), y.astype(np.int64)

    def _download(self) -> tuple[Arrays, Arrays]:
        try:
            from keras.datasets import cifar10

            found: tuple[Arrays, Arrays] = cifar10.load_data()
            return found
        except ModuleNotFoundError as error:
            raise missing_extra(error, "the data set 'cifar10_keras'") from error
        except Exception as error:  # Keras's loader raises several kinds without a network
            raise DataError(
                f"CIFAR-10 could not be downloaded ({type(error).__name__})",
                "set FUSION_NB_DATA to a folder that holds cifar10.npz, or use "
                f"{option('data', 'digits')}, which needs no network",
            ) from error


def _scaled(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32) / np.float32(255 if x.dtype == np.uint8 else 1)


def in_folder(name: str) -> str:
    """Return the path of a file in $FUSION_NB_DATA, or an empty string."""
    folder = os.environ.get("FUSION_NB_DATA", "")
    stored = Path(folder) / name
    return str(stored) if folder and stored.is_file() else ""


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with open_ordinary(path) as file:
            _check_start(path, start := file.read(6))
            file.seek(0)
            if start.startswith(b"PK"):
                check_npz(path, file)
                file.seek(0)
            # allow_pickle=False: an array of Python objects is a program, and reading data must not
            # run one.
            stored = np.load(file, allow_pickle=False)
            if not isinstance(stored, np.lib.npyio.NpzFile):
                raise DataError(
                    f"{path} holds a single array",
                    "save several with np.savez(path, x_train=..., ...)",
                )
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise DataError(f"there is no file {path}", f"the current folder is {Path.cwd()}") from None
    except DataError:
        raise
    except Exception as error:  # a damaged or hostile file makes zip and numpy raise any kind
        if "Object arrays" in str(error):
            raise DataError(
                f"{path} holds an array of Python objects, which is not read because it could "
                "run code",
                "save it as numbers: np.stack(rows) gives one array where all rows have the same "
                "shape",
            ) from None
        raise DataError(
            f"{path} can't be read as .npz ({private(_first_line(error))})",
            "is it complete? save it again with np.savez",
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _check_start(path: Path, start: bytes) -> None:
    """Raise DataError for a file that begins neither as .npz nor as .npy does.

    numpy would advise to read it in a way that runs code.
    """
    if start[:2] == b"PK" or start == b"\x93NUMPY":
        return
    raise DataError(
        f"{path} can't be read as .npz: it is no such file",
        "save arrays with np.savez(path, x_train=..., y_train=...); a table is read with pandas "
        "(pandas.read_csv), and given as a DataFrame",
    )


def _bilinear(small: int, large: int) -> np.ndarray:
    """Return the (large, small) matrix that enlarges a line of pixels, their centres aligned."""
    position = np.clip((np.arange(large) + 0.5) * small / large - 0.5, 0, small - 1)
    left = np.minimum(position.astype(int), small - 2)
    matrix = np.zeros((large, small))
    matrix[np.arange(large), left] = 1 - (position - left)
    matrix[np.arange(large), left + 1] = position - left
    return matrix
