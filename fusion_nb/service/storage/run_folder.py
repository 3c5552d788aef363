"""One aggregator's folder: what was registered, what the run has come to, and the weights of its
last whole round.

aggregator.json       who started it, its kind of model and its options
model.pt|.keras|...   the model as it was sent;  test.npz: the aggregator's own test rows
parties/0001/         party.json, data.npz|..., handler.py
run.json              where the run stands, as the server knows it
begun.json            what it was begun with, and outcome.json: how it ended, as the worker process
                      knows it
rounds.jsonl          one record a line
weights-3.npz         the fused weights of round 3;  best-2.npz: those of the best round
trained.pt|...        a model of the right form, into which any of these weights go
log.txt               what the worker process had to say
"""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fusion_nb.core.types import Weights
from fusion_nb.service.errors import UnknownError
from fusion_nb.service.request_fields import MODELS
from fusion_nb.service.storage import atomic

_NUMBERED = re.compile(r"-(\d+)\.npz$")


class Folder:
    """The files of one aggregator. Whoever reads a file finds it whole, whenever its writer was
    killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parties = path / "parties"

    @property
    def about(self) -> dict[str, Any]:
        """Who started it, its kind of model, and its options."""
        return atomic.read_json(self.path / "aggregator.json")

    @property
    def model(self) -> Path:
        """The model as the client sent it."""
        return self.path / MODELS[self.about["model_type"]]

    @property
    def test(self) -> Path | None:
        """The aggregator's own test rows, or None."""
        path = self.path / "test.npz"
        return path if path.exists() else None

    def registered(self) -> list[dict[str, Any]]:
        """Return what is known of each party, in the order of registration."""
        there = sorted(path for path in self.parties.iterdir() if (path / "party.json").exists())
        return [{**atomic.read_json(path / "party.json"), "path": path} for path in there]

    def delete_data(self) -> None:
        """Delete all that parties sent; what is known of them stays."""
        for party in self.registered():
            for path in party["path"].iterdir():
                if path.name != "party.json":
                    path.unlink()
        for name in ("test.npz", "log.txt"):  # what was printed may quote rows
            (self.path / name).unlink(missing_ok=True)

    # What a run leaves

    def forget_run(self) -> None:
        """Remove what an earlier run left, before one begins."""
        for pattern in (
            "rounds.jsonl",
            "begun.json",
            "outcome.json",
            "weights-*",
            "best-*",
            "trained.*",
            "model-*",
        ):
            for path in self.path.glob(pattern):
                path.unlink()

    def add_line(self, line: str) -> None:
        """Add a record."""
        with (self.path / "rounds.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def keep_round(self, number: int, line: str, weights: Weights, best: bool) -> None:
        """Keep the weights of a round and then its record, so that there are weights for every
        record.
        """
        kept = ["weights", "best"] if best else ["weights"]
        for kind in kept:
            atomic.write(self.path / f"{kind}-{number}.npz", lambda file: write_npz(file, weights))
        self.add_line(line)
        for kind in kept:
            for path in self.path.glob(f"{kind}-*.npz"):
                if _number(path) < number:
                    path.unlink()

    def lines(self, after: int = 0) -> tuple[list[str], int]:
        """Return the records that are whole, from a place in the file on, and the place where they
        end.

        What was measured after the last round comes as that round's record once more, which
        replaces the first.
        """
        try:
            with (self.path / "rounds.jsonl").open("rb") as file:
                file.seek(after)
                text = file.read()
        except FileNotFoundError:
            return [], 0
        whole = text[: text.rfind(b"\n") + 1]
        lines = whole.decode().splitlines()
        if len(lines) > 1 and round_of(lines[-1]) == round_of(lines[-2]):
            del lines[-2]
        return lines, after + len(whole)

    def weights(self, which: str = "last") -> tuple[Path, int]:
        """Return the file of weights of the last or the best whole round, and that round.

        Raises UnknownError before the first whole round.
        """
        # In this order: each file that is found has a record by then, unless its writer was killed
        # before that.
        found = sorted((_number(path), path) for path in self.path.glob(f"{_KIND[which]}-*.npz"))
        lines = self.lines()[0]
        last = round_of(lines[-1]) if lines else 0
        # The last file may be of a round whose record was not written any more.
        there = [(number, path) for number, path in found if number <= last]
        if not there:
            raise UnknownError(
                "there are no weights yet", "they are there from the first whole round on"
            )
        number, path = there[-1]
        return path, number

    def read(self, which: str = "last") -> tuple[bytes, int]:
        """Return an .npz with the weights of the last or best whole round, and that round.

        Raises UnknownError before the first whole round.
        """
        while True:
            path, number = self.weights(which)
            with suppress(FileNotFoundError):  # a further round has taken its place meanwhile
                return path.read_bytes(), number

    def read_weights(self, which: str = "last") -> tuple[Weights, int]:
        """Return the weights that are in what `read` returns, and their round."""
        content, number = self.read(which)
        return read_npz(io.BytesIO(content)), number

    def mend(self) -> None:
        """Cut off half a line, and remove half-written files, that a killed process left."""
        atomic.sweep(self.path)
        path = self.path / "rounds.jsonl"
        if path.exists():
            whole = self.lines()[1]
            if whole < path.stat().st_size:
                with path.open("rb+") as file:
                    file.truncate(whole)


_KIND = {"last": "weights", "best": "best"}


def _number(path: Path) -> int:
    found = _NUMBERED.search(path.name)
    return int(found[1]) if found else 0


def write_npz(file: BinaryIO, arrays: Weights) -> None:
    """Write arrays as an .npz; unlike numpy's own way it takes any names, `file` too."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def read_npz(path: Path | BinaryIO) -> Weights:
    """Return the arrays in a file that `write_npz` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def aggregators(state: Path) -> Iterator[Folder]:
    """Yield the folders of all aggregators there are."""
    for path in sorted((state / "aggregators").iterdir()):
        if (path / "aggregator.json").exists():
            yield Folder(path)


def remove(folder: Folder) -> None:
    """Remove a folder with all that is in it."""
    shutil.rmtree(folder.path, ignore_errors=True)


def round_of(line: str) -> int:
    """Return the number of the round that a record is of."""
    return int(json.loads(line)["round"])
