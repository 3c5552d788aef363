"""The sizes that a `.keras` file declares, counted before Keras allocates any of it.

Keras builds the whole model from the file's configuration, and reads the weights into it only then:
a file of 40 kB can ask for a layer of 30,000 x 30,000 weights.
"""

from __future__ import annotations

import json
import math
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fusion_nb.core.files import file_sizes
from fusion_nb.errors import ModelError
from fusion_nb.models.activations import Activations, TooManyActivationsError, source_of
from fusion_nb.models.keras import activations, copies, trees

_CONFIG = "config.json"
#: Bytes of the configuration: one of a large model has a few hundred kB.
_MAX_CONFIG = 20 * 2**20


def check(path: Path) -> None:
    """Raise ModelError for a `.keras` file that declares more than its size allows.

    Raises what zipfile, json and Keras raise for a damaged file.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        file_sizes.check_declared(path, file_sizes.unpacked_bytes(entries))
        names = [entry.filename for entry in entries]
        if len(set(names)) != len(names):
            raise ValueError("it holds two files of one name")
        if archive.getinfo(_CONFIG).file_size > _MAX_CONFIG:
            raise ModelError(
                f"{path} is refused: its configuration has more than {_MAX_CONFIG:,} bytes",
                "save it again with model.save(path)",
            )
        config = json.loads(archive.read(_CONFIG))
        stored = _stored_bytes(archive, names)
    file_sizes.check_declared(path, stored, "its stored weights")
    if not isinstance(config, dict):
        raise TypeError("its configuration is no mapping")
    inner = {name: value for name, value in config.items() if name != "compile_config"}
    built = _built_bytes(lambda: keras.saving.deserialize_keras_object(inner, safe_mode=True), path)
    file_sizes.check_declared(path, built, "its layers")


def check_rows(model: keras.Model, x: Any) -> None:
    """Raise ModelError where an unbuilt model from a file would be too large for such rows.

    x: an array of rows; several inputs are not counted, since a file holds no unbuilt model of them
    Nothing else is wrong here: building the model says whether the rows fit.
    """
    path = source_of(model)
    if path is None or trees.is_tree(x):
        return

    def build() -> Any:
        other = copies.renewed(model)
        other.build((None, *x.shape[1:]))
        return other

    try:
        built = _built_bytes(build, path)
    except TooManyActivationsError:
        raise
    except Exception:
        return
    file_sizes.check_declared(path, built, "its layers")


def _stored_bytes(archive: zipfile.ZipFile, names: list[str]) -> int:
    """Return the bytes of the arrays in the file of weights, which may be packed or left empty.

    Raises ModelError where some lie elsewhere: not every version of Keras looks for that.
    """
    import h5py

    total = 0

    def add(name: str, item: Any) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            _check_place(archive, name, item.is_virtual or bool(item.external))
            total += int(item.nbytes)
        else:
            for key in item:
                link = item.get(key, getlink=True)
                _check_place(archive, f"{name}/{key}", not isinstance(link, h5py.HardLink))

    for name in names:
        if name.endswith(".h5"):
            with archive.open(name) as file, h5py.File(file, "r") as stored:
                add("", stored)
                stored.visititems(add)
    return total


def _check_place(archive: zipfile.ZipFile, name: str, is_elsewhere: bool) -> None:
    """Raise ModelError for weights that a file only points to: they may be any file's content."""
    if is_elsewhere:
        raise ModelError(
            f"{archive.filename} is refused: its weights {name.strip('/')[:80]!r} are a link, or "
            "lie in another file",
            "save it again with model.save(path)",
        )


def _built_bytes(build: Callable[[], Any], path: Path) -> int:
    """Return the bytes of the variables of the model that a function builds."""
    passed = Activations(path, 1, is_training=False)
    counted: list[int] = []
    failed: list[BaseException] = []

    def count() -> None:
        # Variables have shapes here, and no values yet.
        try:
            # PyTorch calls a layer to know its shapes, and with values where it needs them.
            with activations.counting(passed), keras.StatelessScope(initialize_variables=False):
                built = build()
                variables = built.variables if isinstance(built, keras.Layer) else []
                counted.append(sum(_bytes(v.shape, v.dtype) for v in variables))
        except BaseException as error:
            failed.append(error)

    # Keras keeps the names of layers and the variables without values for each thread, so those of
    # this count are gone with its thread.
    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    passed.check()
    if failed:
        raise failed[0]
    return counted[0]


def _bytes(shape: Any, dtype: str) -> int:
    width = {"bfloat16": 2, "string": 8}.get(dtype) or np.dtype(dtype).itemsize
    return math.prod(shape) * width
