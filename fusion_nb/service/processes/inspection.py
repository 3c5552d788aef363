"""The process that inspects uploads before training, and writes models in other formats.

Each request is one line of JSON on standard input, and so is each answer on the channel. The server
itself never reads models or rows: a file that crashes or exhausts its reader affects this process
only.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from fusion_nb.core import arithmetic
from fusion_nb.core.files import storage
from fusion_nb.core.registry import parse
from fusion_nb.core.rows import size
from fusion_nb.data import arrays
from fusion_nb.data.arrays import DataSet
from fusion_nb.errors import DataError, ModelError, OptionError, nearest
from fusion_nb.errors import option as marked
from fusion_nb.models import lookup
from fusion_nb.models.base import Model
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import MODEL_OPTIONS, RunSpec
from fusion_nb.service.errors import to_wire
from fusion_nb.service.model_types import framework_of_type, model_type_of
from fusion_nb.service.processes import sandbox
from fusion_nb.service.processes.facts import check_facts
from fusion_nb.service.processes.inspection_pool import BEGUN
from fusion_nb.service.storage import uploads
from fusion_nb.service.storage.round_files import Which
from fusion_nb.service.storage.run_folder import RunFolder


def check_model(path: str, limit: int) -> dict[str, Any]:
    """Check a draft of an aggregator's folder: its model, the model's options, and its test rows.

    limit: bytes of each archive after unpacking
    Returns the formats of the model's weights, that of the whole model, and the names of options
    that it does not have: the original clients send an optimizer for every model.
    """
    folder = RunFolder(Path(path))
    about = folder.about
    uploads.check_unpacked(folder.model, "model_file", limit)
    with contextlib.chdir(path):
        native = _load_model(folder.model)
    model_type = model_type_of(lookup.framework_of(native))
    if model_type != about["model_type"]:
        raise DataError(f"model_file holds a {model_type} model", f"give model_type={model_type}")
    spec = RunSpec(**about["options"])
    adapter = lookup.wrap(native, "model", **{name: getattr(spec, name) for name in MODEL_OPTIONS})
    arithmetic.check_finite(adapter.get_weights())
    has_optimizer = "optimizer" in adapter.supported_options
    if has_optimizer:
        _check_optimizer(spec.optimizer, adapter)
    if folder.test is not None:
        _check_test_rows(folder.test, limit, adapter)
    formats = ["json", "npz", *adapter.download_formats]
    return {
        "formats": formats,
        "whole_format": adapter.whole_format,
        "unused": [] if has_optimizer else ["optimizer"],
    }


def _load_model(path: Path) -> Any:
    """Return the framework's own model of a file in the current folder."""
    try:
        return lookup.find(path.name, {})
    except ModelError as error:
        # The error's own hint is for a notebook: it suggests a variable.
        adapter = lookup.adapter(lookup.suffixes()[path.suffix])
        raise ModelError(error.message, adapter.upload_hint) from None


def _check_optimizer(text: str, adapter: Model) -> None:
    name = parse(text)[0].rpartition(".")[2].lower()
    known = adapter.choices.get("optimizer", [])
    if name and name not in known:
        raise OptionError(
            f"{marked('optimizer', text)} is not allowed",
            f"{nearest(name, known)}there are: {', '.join(known)}",
            allowed=known,
        )


def _check_test_rows(path: Path, limit: int, adapter: Model) -> None:
    uploads.check_unpacked(path, "test", limit)
    hint = "save it with np.savez(path, x_test=..., y_test=...)"
    try:
        stored = storage.read_npz(path)
    except Exception:  # zipfile and numpy raise many types for a damaged or hostile file
        raise DataError("test can't be read as .npz", hint) from None
    if not {"x_test", "y_test"} <= stored.keys():
        raise DataError("test lacks x_test or y_test", hint)
    rows = stored["x_test"], stored["y_test"]
    arrays.to_arrays(rows, "test", keeps_missing=adapter.takes_missing)


def check_party(path: str, party: str, limit: int) -> dict[str, Any]:
    """Check a draft of a party's folder against the aggregator's model.

    limit: bytes of its archive after unpacking
    Returns the number of its training rows and the shape of one, or nothing for a custom data
    handler, which is a program and is not run here.
    """
    folder, draft = RunFolder(Path(path)), Path(party)
    about = {**json.loads((draft / "party.json").read_text(encoding="utf-8")), "path": draft}
    uploads.check_unpacked(draft / about["file"], "data", limit)
    if (draft / "handler.py").exists():
        uploads.check_module(draft / "handler.py", about["handler"])
        return {}
    with contextlib.chdir(draft):
        train, test = sandbox.read_rows(about)
    with contextlib.chdir(path):
        model = lookup.find(folder.model.name, {})
    options = folder.about["options"]
    given = {name: value for name, value in options.items() if name in (*MODEL_OPTIONS, "lr")}
    spec = RunSpec(**given, model="model", data="data")
    name = about["party"]
    # The training rows stand in for test rows, because a class that only other parties have rows of
    # is no mistake of this party's.
    Run(spec, {"model": model, "data": {name: (train, train)}}, name="run")
    is_numbers = isinstance(train, tuple) and not isinstance(train[0], list)
    read = functools.partial(
        arrays.to_arrays, keeps_missing=lookup.takes_missing("model", {"model": model})
    )
    shape = _shape(read(train, name)) if is_numbers else []
    if test is not None and is_numbers:
        other = _shape(read(test, f"{name} (test rows)"))
        if other != shape:
            line = (
                f"test rows of {name} have shape {tuple(other)}, its training rows {tuple(shape)}"
            )
            raise DataError(line, "give all rows the same shape")
    return {"num_examples": size(train), "form": shape}


def _shape(rows: DataSet) -> list[int]:
    """Return the shape of one row; rows of a Dataset have none that is known."""
    return list(rows[0].shape[1:]) if isinstance(rows, tuple) else []


def convert(path: str, which: Which, format: str, target: str) -> dict[str, Any]:
    """Write the weights of the last or best round as JSON, or as a model of its own framework."""
    folder = RunFolder(Path(path))
    weights, number = folder.rounds.read_weights(which)
    if format == "json":
        # orjson passes arrays without axes to `default`.
        text = orjson.dumps(
            weights, default=lambda array: array.tolist(), option=orjson.OPT_SERIALIZE_NUMPY
        )
        Path(target).write_bytes(text)
        return {"round": number}
    with contextlib.chdir(path):
        native = lookup.find(folder.trained.name, {})
    adapter = lookup.adapter(lookup.framework_of(native)).from_checkpoint(native)
    adapter.save(Path(target), weights, format)
    return {"round": number}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "model": check_model,
    "party": check_party,
    "facts": check_facts,
    "convert": convert,
}


def _load_framework(path: str) -> None:
    """Load the framework of an aggregator's model, which takes seconds once in a process."""
    framework = framework_of_type(RunFolder(Path(path)).about.get("model_type", ""))
    if framework:
        lookup.adapter(framework)


def main(max_memory: str = "0") -> None:
    """Answer requests until the server closes standard input."""
    sandbox.limit_process(int(max_memory))
    channel = sandbox.open_channel()
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)  # the server is gone, and nobody waits for the upload that is being read

    threading.Thread(target=listen, daemon=True).start()
    while True:
        request = json.loads(requests.get())
        try:
            _load_framework(request["path"])
            os.write(channel, BEGUN)
            answer = {"ok": TASKS[request.pop("task")](**request)}
        except BaseException as error:
            answer = {"failed": to_wire(sandbox.to_error(error))}
        os.write(channel, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
