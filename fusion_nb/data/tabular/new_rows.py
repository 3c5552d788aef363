"""Rows that come after training, encoded as those that a model was trained on."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core.types.table import ColumnSchema, TableColumns, TableSchema
from fusion_nb.data import frames
from fusion_nb.data.tabular.columns import ColumnForm, Table, conform, read_table
from fusion_nb.data.tabular.encoding import GAPS, to_float32
from fusion_nb.errors import DataError, nearest

#: The file of an encoding in the folder of an export, and the number of its layout.
FILE, FORMAT = "encoding.json", 1
_WORDS = {"number": "numbers", "flag": "flags", "date": "dates", "category": "categories"}


@dataclass(frozen=True)
class Encoding:
    """How the columns of a table become the inputs of an exported model, without any run.

    columns: the names of the columns that a frame must have, in any order; others are not used
    inputs:  the names of the model's inputs, in order
    classes: the names of the classes in the order of the model's outputs, or ()
    table:   each column, with its statistics
    """

    table: TableSchema
    classes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that a frame must have."""
        return self.table.names

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the model's inputs, in order."""
        return self.table.inputs

    def transform(self, frame: Any) -> np.ndarray:
        """Return the model's inputs (rows, inputs) as float32, of a frame with the same columns.

        frame: of pandas, polars or pyarrow
        Raises DataError where a column is missing, or of another kind than in training.
        """
        return encode(self.table, frame, "the frame")


def load_encoding(folder: str | Path) -> Encoding:
    """Return the encoding that was exported with a model, from its folder or from its file.

    Raises DataError where there is none.
    """
    path = Path(folder).expanduser()
    path = path / FILE if path.is_dir() else path
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise DataError(
                f"{path} has the format {found['format']}, and this version reads {FORMAT}",
                "use the version of fusion_nb that wrote it",
            )
        return Encoding(TableSchema.from_json(found["table"]), tuple(found["classes"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"there is no encoding in {path} ({type(error).__name__})",
            "give the folder of an export of a run with tabular='auto'",
        ) from None


def encode(schema: TableSchema, frame: Any, where: str) -> np.ndarray:
    """Return the inputs of a model for the rows of a frame.

    Categories that are not listed are read as "other"; a warning says so, and tells of gaps in
    columns that had none in training.
    where: how messages call the frame. Raises DataError where a column is missing, or of another
    kind than in training.
    """
    columns = _columns(schema, frame, where)
    _warn_of_unseen(schema, columns, where)
    _warn_of_gaps(schema, columns, where)
    return to_float32(schema, columns)


def _columns(schema: TableSchema, frame: Any, where: str) -> TableColumns:
    found = frames.to_pandas(frame)
    if found is None:
        raise DataError(
            f"{where} is {type(frame).__name__}, and the model was trained on a table",
            f"give a DataFrame with the columns {', '.join(schema.names)}",
        )
    found = frames.with_text_names(found, where)
    names = [str(name) for name in found.columns]
    if lacking := [name for name in schema.names if name not in names]:
        raise DataError(
            f"{where} has no column {', '.join(map(repr, lacking))}, which the model was trained "
            "on",
            f"{nearest(lacking[0], names)}it has: {', '.join(names)}",
        )
    table = read_table(found[list(schema.names)], where)
    for column in schema:
        _check_kind(column, table)
    return conform(table, {column.name: ColumnForm(column.kind) for column in schema})


def _check_kind(column: ColumnSchema, table: Table) -> None:
    """Raise DataError for a column of another kind than in training."""
    kind, values = table.forms[column.name].kind, table.values[column.name]
    if kind in ("empty", column.kind) or {kind, column.kind} == {"number", "flag"}:
        is_flag = column.kind == "flag" and kind == "number"
        if not is_flag or np.isin(values[~np.isnan(values)], (0.0, 1.0)).all():
            return
    raise DataError(
        f"{table.where}: the column {column.name!r} holds {_WORDS.get(kind, kind)}, and the model "
        f"was trained on {_WORDS[column.kind]}",
        {
            "category": f"give frame[{column.name!r}].astype(str)",
            "number": f"give pandas.to_numeric(frame[{column.name!r}])",
            "date": f"give pandas.to_datetime(frame[{column.name!r}])",
            "flag": f"give true and false, or 0 and 1, in frame[{column.name!r}]",
        }[column.kind],
    )


def _warn_of_unseen(schema: TableSchema, columns: TableColumns, where: str) -> None:
    found = {c.name: c.unseen(columns[c.name]) for c in schema}
    said = [
        f"{name} ({', '.join(map(repr, some[:3]))}{', ...' if len(some) > 3 else ''})"
        for name, some in found.items()
        if some
    ]
    if said:
        warnings.warn(
            f"{where} holds categories that were rare or absent in training, and are read as other"
            f": {', '.join(said)}",
            UserWarning,
            stacklevel=_level_of_caller(),
        )


def _warn_of_gaps(schema: TableSchema, columns: TableColumns, where: str) -> None:
    found = {column.name: column.num_unmarked(columns[column.name]) for column in schema}
    if said := ", ".join(f"{name} ({count} rows)" for name, count in found.items() if count):
        warnings.warn(
            f"{where} lacks values of columns that no training row lacked: {said}; {GAPS}",
            UserWarning,
            stacklevel=_level_of_caller(),
        )


def _level_of_caller() -> int:
    """Return the stack level, as `warnings.warn` counts it, of the call from outside this package.

    So the warning names the user's own line, and is shown once for each of them.
    """
    package = __name__.partition(".")[0]
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] != package:
            return level
        level, frame = level + 1, frame.f_back
    return level
