"""A run as files: the fused model in its framework's own format, and beside it everything needed to
trust it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fusion_nb.core import arithmetic
from fusion_nb.core.types import Weights
from fusion_nb.errors import ExportError, nearest
from fusion_nb.reporting.parties import KINDS
from fusion_nb.reporting.result import Result, markdown_table


def check_target(path: str, formats: Sequence[str], known: Sequence[str], overwrite: bool) -> Path:
    """Return the folder to write. Raises ExportError for an unknown format, or a folder that can't
    be written.
    """
    for format in formats:
        if format not in known:
            raise ExportError(
                f"no format is called {format!r}",
                f"{nearest(format, known)}there are: {', '.join(known)}",
            )
    folder = Path(path).expanduser()
    if folder.suffix in {
        ".pt",
        ".pth",
        ".safetensors",
        ".onnx",
        ".pt2",
        ".keras",
        ".h5",
        ".doc2vec",
        ".d2v",
    }:
        raise ExportError(
            f"{path!r} is a file name, and an export is a folder: the model with its card beside "
            "it",
            f"use export({str(folder.with_suffix(''))!r}); the formats are: {', '.join(known)}",
        )
    if folder.exists() and not overwrite:
        raise ExportError(
            f"{path!r} already exists", "choose another name, or say overwrite=True (--overwrite)"
        )
    if folder.exists():
        _check_replaceable(folder)
    parent = folder.resolve().parent
    existing = next(p for p in [parent, *parent.parents] if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ExportError(f"the folder {existing} can't be written to", "choose one that is yours")
    return folder


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


def write(
    path: str,
    result: Result,
    model: Any,
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
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise ExportError(
            f"{path!r} can't be written ({error.strerror})", "choose a folder that is yours"
        ) from error
    try:
        for format in formats:
            model.save(draft / model.formats[format], weights, format)
        _beside(draft, result, model, weights, round)
        draft.chmod(0o755)
        _swap(draft, folder)
    except OSError as error:
        raise ExportError(
            f"{path!r} can't be written ({error.strerror})", "choose a folder that is yours"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return sorted(folder.iterdir())


def _files(folder: Path) -> list[Path]:
    """Return all files in a folder, those of folders inside it included (a SavedModel is one)."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _beside(draft: Path, result: Result, model: Any, weights: Weights, round: int) -> None:
    result.chart().save(draft / "chart.png")
    result.history.to_frame().to_csv(draft / "history.csv")
    files = {
        path.relative_to(draft).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in _files(draft)
    }
    card = _card(result, model, weights, round, files)
    (draft / "card.json").write_text(json.dumps(card, indent=2, allow_nan=False), encoding="utf-8")
    parties = markdown_table(result.parties.table(result.monitor, limit=len(result.parties)))
    gains = "\n".join(result.parties.gains(result.monitor))
    (draft / "CARD.md").write_text(_readable(card, parties, gains), encoding="utf-8")


def _swap(draft: Path, folder: Path) -> None:
    """Put the finished draft in the folder's place; an older export is only removed once the new
    one is there.
    """
    if not folder.exists():
        draft.rename(folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
    folder.rename(old / "export")
    try:
        draft.rename(folder)
    except OSError:
        (old / "export").rename(
            folder
        )  # if this fails too, the old export stays where it is: nothing is deleted
        raise
    shutil.rmtree(old, ignore_errors=True)


def _card(
    result: Result, model: Any, weights: Weights, round: int, files: dict[str, str]
) -> dict[str, Any]:
    def finite(metrics: dict[str, float]) -> dict[str, float | None]:
        return {name: value if math.isfinite(value) else None for name, value in metrics.items()}

    return {
        "name": result.name,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": result.status,
        "reason": result.reason,
        "round": round,
        "best_round": result.best_round,
        "monitor": result.monitor,
        "shown": list(result.metrics),
        "metrics": finite(result.history[round - 1].metrics if round else {}),
        "spec": result.spec,
        "chosen": result.chosen,
        "cell": result.cell,
        "notes": list(result.notes),
        "parties": [
            {
                "party": party.id,
                "num_examples": party.num_examples,
                "num_test": party.num_test,
                "label_counts": party.label_counts,
                **{kind: finite(found) for kind in KINDS if (found := getattr(party, kind))},
            }
            for party in result.parties
        ],
        "history": json.loads(result.history.to_json()),
        "weights": {
            "sha256": arithmetic.digest(weights),
            "initial_sha256": result.initial_sha256,
            "entries": {name: [str(array.dtype), *array.shape] for name, array in weights.items()},
        },
        "files": files,
        "versions": _versions(model.packages),
        "platform": platform.platform(),
    }


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("fusion_nb", "numpy", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def _readable(card: dict[str, Any], parties: str, gains: str) -> str:
    """Return the card as Markdown for people."""
    metrics = ", ".join(
        f"{name} {value:.4g}" for name, value in card["metrics"].items() if value is not None
    )
    body = card["cell"].replace("```", "'''")
    monitor = card["monitor"]
    options = "\n".join(
        f"| {name} | {value} |"
        for name, value in (card["spec"] | card["chosen"]).items()
        if name != "code" and value != ""
    )
    rounds = "\n".join(
        "| "
        + " | ".join([str(r["round"]), *(_cell(r["metrics"].get(m)) for m in card["shown"])])
        + " |"
        for r in card["history"]
    )
    num_parties, reason = len(card["parties"]), f" ({card['reason']})" if card["reason"] else ""
    versions = ", ".join(f"{name} {number}" for name, number in card["versions"].items())
    fusion = card["chosen"]["fusion"]
    return f"""# {card["name"]}: a model fused by {fusion} over {num_parties} parties

Written {card["created"]}. Status: {card["status"]}{reason}.
The weights are those of round {card["round"]}: {metrics}.

![curves](chart.png)

## To repeat it
```
{body}
```
{"".join(f"- {note}{chr(10)}" for note in card["notes"])}
## Options
| option | value |
|---|---|
{options}

## Parties
{parties}

Local: the party's own model after its last local training, before fusion. All on the party's own
{"documents that it trained on" if monitor == "self_rank" else "test rows"}.
{gains}

## Rounds
| round | {" | ".join(card["shown"])} |
|---|---|---|
{rounds}

## Weights
SHA-256 of the fused weights: `{card["weights"]["sha256"]}`
(first weights: `{card["weights"]["initial_sha256"]}`)

Made with {versions} on {card["platform"]}.
"""


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
