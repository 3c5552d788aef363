"""Estimators as files of skops: no pickle, and nothing that runs code is read."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from fusion_nb.core.files import file_sizes
from fusion_nb.errors import ExportError, ModelError, missing_extra
from fusion_nb.models.sklearn.lookup import parts_of

FORMATS = {"skops": "model.skops"}
#: Types that skops does not trust by itself, and that an estimator of a kind that is read may hold.
#: They are plain data: the losses and optimizers of linear models and networks.
ALLOWED = frozenset(
    {
        "sklearn.linear_model._sgd_fast.EpsilonInsensitive",
        "sklearn.linear_model._sgd_fast.Hinge",
        "sklearn.linear_model._sgd_fast.ModifiedHuber",
        "sklearn.linear_model._sgd_fast.SquaredEpsilonInsensitive",
        "sklearn.linear_model._sgd_fast.SquaredHinge",
        "sklearn._loss._loss.CyHalfBinomialLoss",
        "sklearn._loss._loss.CyHalfSquaredError",
        "sklearn._loss._loss.CyHuberLoss",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    }
)
#: Bytes of the description of a model, and its deepest nesting.
_MAX_SCHEMA, _MAX_DEPTH = 20 * 2**20, 60
_HINT = "write it with skops.io.dump(model, 'model.skops')"


def save(model: Any, path: Path, format: str) -> None:
    """Write a fitted estimator. Raises ExportError where skops can't hold it."""
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise missing_extra(error, "the format 'skops'") from error
    try:
        skops.io.dump(model, path)
    except OSError:
        raise
    except Exception as error:
        raise ExportError(
            f"this model can't be written as {format!r}: {_first_line(error)}",
            "give its parameters plain values",
        ) from error


def load(path: Path) -> Any:
    """Return the estimator in a file of skops.

    Raises ModelError, which names the reason, for a file with anything but an estimator that
    parties can train.
    """
    try:
        import skops.io
    except ModuleNotFoundError as error:
        raise missing_extra(error, "reading a .skops file") from error
    try:
        _check_sizes(path)
        others = sorted(set(skops.io.get_untrusted_types(file=path)) - ALLOWED)
        if others:
            raise ModelError(
                f"it holds {others[0]}, and only scikit-learn's own estimators are read",
                "build the model in the notebook, and name the variable",
            )
        found = skops.io.load(path, trusted=sorted(ALLOWED))
        if not isinstance(found, BaseEstimator):
            raise ModelError(f"it holds {type(found).__name__}, not an estimator", _HINT)
        parts_of(found)
    except ModelError as error:
        raise ModelError(f"{path} is refused: {error.message}", error.hint) from None
    except Exception as error:  # a damaged or hostile file makes zip, json and skops raise anything
        raise ModelError(
            f"{path} can't be read as a .skops file ({_first_line(error)})", _HINT
        ) from None
    return found


def _check_sizes(path: Path) -> None:
    """Raise ModelError for a file that declares more than its size allows."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        file_sizes.check_declared(path, file_sizes.unpacked_bytes(entries))
        names = [entry.filename for entry in entries]
        if len(set(names)) != len(names):
            raise ValueError("it holds two files of one name")
        if archive.getinfo("schema.json").file_size > _MAX_SCHEMA:
            raise ModelError(f"its description has more than {_MAX_SCHEMA:,} bytes", _HINT)
        _check_depth(json.loads(archive.read("schema.json")), 0)
        for entry in entries:
            if entry.filename.endswith(".npy"):
                _check_array(archive, entry)
            elif entry.filename != "schema.json":
                raise ModelError(f"it holds a file {entry.filename[:40]!r}", _HINT)


def _check_depth(found: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise ModelError("its description is nested too deeply", _HINT)
    inside = found.values() if isinstance(found, dict) else found
    if isinstance(found, dict | list):
        for part in inside:
            _check_depth(part, depth + 1)


def _check_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Raise ModelError for an array that declares more numbers than its file holds."""
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    if dtype.hasobject or file_sizes.count_bytes(shape, dtype.itemsize) > entry.file_size:
        raise ModelError("an array of it declares more numbers than it holds", _HINT)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]
