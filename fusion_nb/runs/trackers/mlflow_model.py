"""An exported model as a model of MLflow, which loads and predicts without any pickle."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError
from fusion_nb.models import lookup
from fusion_nb.runs import predicting
from fusion_nb.version import __version__

#: Kind of a column -> MLflow's type of it.
_COLUMN = {"number": "double", "flag": "boolean", "date": "datetime", "category": "string"}


class FusedModel:
    """A model of an export, with the schema of its rows."""

    def __init__(self, folder: Path) -> None:
        self.schema = DataSchema.from_json(json.loads((folder / "schema.json").read_text()))
        if self.schema.rows.kind in ("documents", "structured"):
            raise ValueError("its rows are no table and no array")
        self._model = lookup.wrap(_native(folder), "the exported model")
        labels = self.schema.labels
        one = np.zeros((1, *self.schema.rows.shape), self.schema.rows.dtype or np.float32)
        targets = np.zeros((1, *labels.shape), labels.dtype or np.float32)
        optimizer = self._model.defaults["optimizer"]
        self._model.check((one, targets), self.schema, lr=0.01, optimizer=optimizer)
        self._weights = self._model.get_weights()
        self.packages = tuple(self._model.packages)

    def predict(self, model_input: Any, params: Any = None) -> Any:
        """Return the predictions for a frame, or for an array of rows, as `run.predict` does."""
        return predicting.predict(
            self._model, self._weights, self.schema, model_input, scores=False
        )


def _native(folder: Path) -> Any:
    """Return the framework's own model of an export. Raises ModelError without a readable one."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    endings = lookup.suffixes()
    problem = ModelError("no file of the export holds a whole model")
    for name in sorted(card["files"], key=lambda name: "whole" not in name):
        if Path(name).suffix in endings:
            try:
                return lookup.find(str(folder / name), {})
            except ModelError as error:  # a class of a notebook, say, which another process has not
                problem = error
    raise problem


def _load_pyfunc(path: str) -> FusedModel:
    """Return the model in a folder: MLflow calls a function of this name."""
    return FusedModel(Path(path))


def save(export: Path, target: Path) -> str:
    """Write an exported model as one of MLflow; return why there can be none, or "".

    It is read and tried before.
    """
    import mlflow.pyfunc

    try:
        model = FusedModel(export)
        signature = _signature(model.schema)
        if model.schema.table is None:
            shape, dtype = model.schema.rows.shape, model.schema.rows.dtype or "float32"
            model.predict(np.zeros((1, *shape), dtype))
    except Exception as error:  # a framework may raise anything where it can't predict
        return str(error).partition("\n")[0].replace(f"{export}/", "") or type(error).__name__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about examples of rows: ours stay with the parties
        mlflow.pyfunc.save_model(
            str(target),
            loader_module=__name__,
            data_path=str(export),
            signature=signature,
            pip_requirements=[f"fusion_nb=={__version__}", *model.packages],
        )
    shutil.rmtree(target / "__pycache__", ignore_errors=True)
    return ""


def _signature(schema: DataSchema) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    rows, labels = schema.rows, schema.labels
    inputs: list[Any]
    if schema.table is not None:
        inputs = [
            ColSpec(_COLUMN.get(column.kind, "string"), column.name, required=False)
            for column in schema.table.columns
        ]
    elif rows.columns:
        inputs = [ColSpec("double", name) for name in rows.columns]
    else:
        inputs = [TensorSpec(np.dtype(rows.dtype or "float32"), (-1, *rows.shape))]
    if labels.classes:
        outputs = [ColSpec("string", "label")]
    else:
        is_class = labels.kind == "classes"
        kind, shape = ("int64", ()) if is_class else ("float32", labels.shape)
        outputs = [TensorSpec(np.dtype(kind), (-1, *shape))]
    return ModelSignature(Schema(inputs), Schema(outputs))
