"""Keras models as files: written in Keras's own formats, and read without running code."""

from __future__ import annotations

import shutil
import warnings
import zipfile
from pathlib import Path

import keras

from fusion_nb.errors import ExportError, ModelError
from fusion_nb.models.keras import declared
from fusion_nb.models.keras.probe import first_line

FORMATS = {"keras": "model.keras", "weights": "model.weights.h5"}
if keras.backend.backend() == "tensorflow":
    FORMATS["savedmodel"] = "model_savedmodel"


def save(model: keras.Model, path: Path, format: str) -> None:
    """Write a model in one of FORMATS. Raises ExportError where the format can't hold it."""
    try:
        if format == "keras":
            model.save(path)
        elif format == "weights":
            _save_weights(model, path)
        else:
            model.export(path, verbose=False)
    except OSError:
        raise
    except Exception as error:  # Keras raises anything that it meets inside the model
        line = f"this model can't be written as {format!r}: {first_line(error)}"
        raise ExportError(line, "weights always work") from error


def _save_weights(model: keras.Model, path: Path) -> None:
    """Write the file that `model.save_weights` writes.

    The HDF5 library ends the process later on where the disk was full while it wrote. A `.keras`
    file is written by Python, and holds the same file of weights, made in memory. A model of layers
    without a configuration has no such file.
    """
    whole = path.with_name("whole.keras")
    try:
        try:
            model.save(whole)
        except OSError:
            raise
        except Exception:
            model.save_weights(path)
            return
        with zipfile.ZipFile(whole) as archive, path.open("wb") as file:
            shutil.copyfileobj(archive.open("model.weights.h5"), file)
    finally:
        whole.unlink(missing_ok=True)


def load(path: Path) -> keras.Model:
    """Return the model in a `.keras` file, in Keras's safe mode: Keras's own layers, and no code.

    Raises ModelError for a file that is damaged, or holds more than that.
    """
    try:
        with warnings.catch_warnings():
            # Keras warns that an optimizer's state is not read, but a party's is new anyway.
            warnings.simplefilter("ignore")
            declared.check(path)
            try:
                found = keras.saving.load_model(path, safe_mode=True)
            # Its loss or metrics may be somebody's own; then the model is read without them.
            except Exception:
                found = keras.saving.load_model(path, compile=False, safe_mode=True)
    except ModelError:
        raise
    # A damaged or hostile file makes zip, json, h5py and Keras raise anything.
    except Exception as error:
        if not zipfile.is_zipfile(path):
            raise ModelError(
                f"{path} is no .keras file", "write one with model.save('model.keras')"
            ) from None
        raise ModelError(
            f"{path} is refused: {first_line(error)}",
            "layers of Keras's own, and registered ones, are read; build others in the notebook "
            "and name the variable",
        ) from None
    if not isinstance(found, keras.Model):
        raise ModelError(f"{path} holds {type(found).__name__}, not a model", "save a keras.Model")
    return found
