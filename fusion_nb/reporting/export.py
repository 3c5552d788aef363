"""A run as a folder: the fused model in its framework's own formats, a card, the history and the
chart.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fusion_nb.core import builtin
from fusion_nb.core.files import file_names, storage
from fusion_nb.core.types import Weights
from fusion_nb.errors import ExportError, nearest
from fusion_nb.reporting import card
from fusion_nb.reporting.picture_file import unwritten
from fusion_nb.reporting.result import Result

#: Suffixes of files of models. A folder whose name ends in one was meant as a file.
_FILE_SUFFIXES = {".safetensors", ".onnx", ".pt2", ".h5"} | {
    suffix for framework in builtin.FRAMEWORKS.values() for suffix in framework.suffixes
}
#: A disk with fewer free bytes is full.
_NO_ROOM = 1 << 16


class Exportable(Protocol):
    """The part of a model's adapter that writes files."""

    @property
    def formats(self) -> Mapping[str, str]:
        """The formats that it writes, each with the name of its file."""

    @property
    def packages(self) -> Sequence[str]:
        """The packages whose versions the card tells."""

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights."""


def check_target(path: str, formats: Sequence[str], known: Sequence[str], overwrite: bool) -> Path:
    """Return the folder to write.

    Raises ExportError for a format that is not known, or a folder that can't be written.
    """
    for format in formats:
        if format not in known:
            raise ExportError(
                f"no format is called {format!r}",
                f"{nearest(format, known)}there are: {', '.join(known)}",
            )
    folder = _named(path)
    if folder.suffix in _FILE_SUFFIXES:
        raise ExportError(
            f"{path!r} is a file name, and an export is a folder: the model with its card beside "
            "it",
            f"use export({str(folder.with_suffix(''))!r}); the formats are: {', '.join(known)}",
        )
    if folder.is_symlink():
        raise ExportError(
            f"{path!r} is a link, and an export would replace it by a folder",
            f"give the folder that it leads to, {os.readlink(folder)!r}, or another name",
        )
    if folder.exists() and not overwrite:
        raise ExportError(
            f"{path!r} already exists",
            "choose another name, or say overwrite=True (--overwrite)",
            option="overwrite",
        )
    if folder.exists():
        _check_replaceable(folder)
    parent = folder.resolve().parent
    existing = next(p for p in [parent, *parent.parents] if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ExportError(f"the folder {existing} can't be written to", "choose one that is yours")
    return folder


def write(
    path: str,
    result: Result,
    model: Exportable,
    weights: Weights,
    round: int,
    formats: Sequence[str],
    overwrite: bool,
) -> list[Path]:
    """Write the export folder, whole or not at all, and return its files.

    model: the adapter that writes the formats;  round: the round that the weights are of
    Raises ExportError; files that existed before are untouched then.
    """
    folder = check_target(path, formats, list(model.formats), overwrite)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with storage.draft_folder(folder.parent, prefix=f".{folder.name}.") as draft:
            for format in formats:
                _save(model, draft / model.formats[format], weights, format)
            _write_report(draft, result, model, weights, round)
            storage.place_folder(draft, folder, replace=overwrite, mode=0o755)
    except OSError as error:
        raise unwritten(path, error) from error
    return sorted(folder.iterdir())


def path_text(path: object) -> str:
    """Return a path as text. Raises ExportError for anything else."""
    if not isinstance(path, str | bytes | os.PathLike):
        raise ExportError(
            f"{path!r} is not the name of a folder", 'give one, as in run.export("fused")'
        )
    return os.fsdecode(path)


def _named(path: str) -> Path:
    """Return the folder of a name. Raises ExportError for a name that some file system refuses."""
    shown = "".join(c if c.isprintable() else "?" for c in path[:80])
    try:
        folder = Path(path).expanduser()
    except RuntimeError as error:  # ~name of a user that does not exist
        raise ExportError(f"{shown!r} can't be written ({error})", "choose another name") from None
    fault = file_names.fault_of(folder)
    if fault:
        raise ExportError(
            f"{shown!r} can't be the name of a folder: {fault}",
            "choose another name, of letters, digits, '-' and '_', say",
        )
    return folder


def _save(model: Exportable, path: Path, weights: Weights, format: str) -> None:
    """Write one format. Raises OSError for a full disk, in whatever way the framework says it."""
    try:
        model.save(path, weights, format)
    except ExportError as error:
        reason = os.strerror(errno.ENOSPC)
        if reason in str(error) or shutil.disk_usage(path.parent).free < _NO_ROOM:
            raise OSError(errno.ENOSPC, reason) from error
        raise


def _check_replaceable(folder: Path) -> None:
    """Raise ExportError unless the folder holds an earlier export and nothing else."""
    try:
        written = {
            "card.json",
            "CARD.md",
            *json.loads((folder / "card.json").read_text(encoding="utf-8"))["files"],
        }
        others = sorted({path.relative_to(folder).as_posix() for path in _files(folder)} - written)
    except (OSError, ValueError, KeyError, TypeError):
        hint = "overwriting it could lose your files: choose another name"
        raise ExportError(f"{str(folder)!r} exists and is no earlier export", hint) from None
    if others:
        raise ExportError(
            f"{str(folder)!r} holds files that no export wrote: {', '.join(others[:3])}",
            "move them away",
        )


def _write_report(
    draft: Path, result: Result, model: Exportable, weights: Weights, round: int
) -> None:
    """Write chart, history, schema and card into the folder of the model's files."""
    (draft / "chart.png").write_bytes(result.chart().drawn("png"))
    for name, chart in result.parties.contributions.charts().items():
        (draft / f"{name}.png").write_bytes(chart.drawn("png"))
    schema = json.dumps(result.schema.to_json(), indent=2, allow_nan=False)
    (draft / "schema.json").write_text(schema, encoding="utf-8")
    if result.schema.table is not None:
        _write_encoding(draft / "encoding.json", result)
    result.history.to_frame().to_csv(draft / "history.csv")
    files = {
        path.relative_to(draft).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _files(draft)
    }
    made = card.as_dict(result, weights, round, files=files, packages=model.packages)
    (draft / "card.json").write_text(json.dumps(made, indent=2, allow_nan=False), encoding="utf-8")
    (draft / "CARD.md").write_text(card.as_markdown(made, result), encoding="utf-8")


def _write_encoding(path: Path, result: Result) -> None:
    """Write how a table's columns become the model's inputs, for `fusion_nb.load_encoding`."""
    assert result.schema.table is not None
    made = {
        "format": 1,
        "table": result.schema.table.to_json(),
        "classes": list(result.schema.labels.classes),
    }
    path.write_text(json.dumps(made, indent=2, allow_nan=False), encoding="utf-8")


def _files(folder: Path) -> list[Path]:
    """Return all files in a folder, those of folders inside it included (a SavedModel is one)."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
