"""The process that looks at uploads before anything is trained, and writes models in other formats.

One JSON object a line comes in, and one goes out for each: what is wrong with an upload, or what is
known of it. Models and rows are never read in the server itself: what breaks or bloats a reader
breaks this process alone.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from fusion_nb.core import arithmetic, registry
from fusion_nb.core.registry import parse
from fusion_nb.core.rows import size
from fusion_nb.data import arrays
from fusion_nb.errors import DataError, ModelError, OptionError, nearest
from fusion_nb.models import lookup
from fusion_nb.runs.run import Run
from fusion_nb.runs.spec import MODEL_OPTIONS, RunSpec
from fusion_nb.service.processes import sandbox
from fusion_nb.service.request_fields import TYPES
from fusion_nb.service.storage import uploads
from fusion_nb.service.storage.run_folder import Folder, read_npz


def look_at_model(path: str, limit: int) -> dict[str, Any]:
    """Check a draft of an aggregator's folder: its model, the options of a model, and the
    aggregator's test rows.

    limit: bytes that each archive may have once it is unpacked
    """
    folder = Folder(Path(path))
    about = folder.about
    uploads.check_unpacked(folder.model, "model_file", limit)
    try:
        native = lookup.find(str(folder.model), {})
    except ModelError as error:
        # A notebook would be told to name a variable instead, which a client of the service does
        # not have.
        hints = {
            "pytorch": "send torch.save(model, path), of torch.nn's own classes (nn.Sequential, "
            "say)",
            "keras": "send model.save('model.keras'), of Keras's own layers",
            "doc2vec": "send what a gensim Doc2Vec's save(path, separately=[]) wrote",
        }
        raise ModelError(error.message, hints[about["model_type"]]) from None
    kind = TYPES[lookup.framework_of(native)]
    if kind != about["model_type"]:
        raise DataError(f"model_file holds a {kind} model", f"give model_type={kind}")
    spec = RunSpec(**about["options"])
    given = {name: getattr(spec, name) for name in MODEL_OPTIONS}
    adapter = lookup.wrap(native, "model", **given)
    arithmetic.check_finite(adapter.get_weights())
    name = parse(spec.optimizer)[0].rpartition(".")[2].lower()
    known = adapter.choices.get("optimizer", ())
    if name and name not in known:
        raise OptionError(
            f"optimizer {spec.optimizer!r} is not allowed",
            f"{nearest(name, known)}there are: {', '.join(known)}",
        )
    if folder.test is not None:
        _look_at_test(folder.test, limit)
    return {}


def _look_at_test(path: Path, limit: int) -> None:
    uploads.check_unpacked(path, "test", limit)
    hint = "save it with np.savez(path, x_test=..., y_test=...)"
    try:
        stored = read_npz(path)
    except Exception:  # whatever a damaged or hostile file makes zip and numpy raise
        raise DataError("test can't be read as .npz", hint) from None
    if not {"x_test", "y_test"} <= stored.keys():
        raise DataError("test lacks x_test or y_test", hint)
    arrays.to_arrays((stored["x_test"], stored["y_test"]), "test")


def look_at_party(path: str, party: str, limit: int) -> dict[str, Any]:
    """Check a draft of a party's folder against the model; return its training rows' number, and
    the form of one.

    A handler of the client's own is a program, which is not run here: all that is looked at is
    whether it is there.
    """
    folder, draft = Folder(Path(path)), Path(party)
    about = {**json.loads((draft / "party.json").read_text(encoding="utf-8")), "path": draft}
    uploads.check_unpacked(draft / about["file"], "data", limit)
    if (draft / "handler.py").exists():
        uploads.check_module(draft / "handler.py", about["handler"])
        return {}
    train, test = sandbox.rows_of(about)
    wanted = {
        name: value
        for name, value in folder.about["options"].items()
        if name in (*MODEL_OPTIONS, "lr")
    }
    spec = RunSpec(**wanted, model=str(folder.model), data="data")
    name = about["party"]
    # Its own rows stand in for test rows: a class that only other parties train on is no fault of
    # this one.
    Run(spec, {"data": {name: (train, train)}}, name="run")
    rows: Any = (
        arrays.to_arrays(train, name)
        if isinstance(train, tuple) and not isinstance(train[0], list)
        else train
    )
    found = list(rows[0].shape[1:]) if isinstance(rows, tuple) and hasattr(rows[0], "shape") else []
    if test is not None and isinstance(rows, tuple) and hasattr(rows[0], "shape"):
        x = arrays.to_arrays(test, f"{name} (test rows)")[0]
        if list(x.shape[1:]) != found:
            line = f"test rows of {name} have shape {x.shape[1:]}, its training rows {tuple(found)}"
            raise DataError(line, "give all the same form")
    return {"num_examples": size(train), "form": found}


def convert(path: str, which: str, format: str, target: str) -> dict[str, Any]:
    """Write the weights of the last or best round as JSON, or in a format of the model's own
    framework.
    """
    folder = Folder(Path(path))
    weights, number = folder.read_weights(which)
    if format == "json":
        # Arrays without axes are all that orjson leaves to the function.
        text = orjson.dumps(
            weights, default=lambda array: array.tolist(), option=orjson.OPT_SERIALIZE_NUMPY
        )
        Path(target).write_bytes(text)
        return {"round": number}
    native = lookup.find(str(folder.path / f"trained{folder.model.suffix}"), {})
    adapter = registry.get("models", lookup.framework_of(native)).from_checkpoint(native)
    adapter.save(Path(target), weights, format)
    return {"round": number}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "model": look_at_model,
    "party": look_at_party,
    "convert": convert,
}


def main(max_memory: str = "0") -> None:
    """Answer until there is nobody to ask any more."""
    sandbox.be_expendable(int(max_memory))
    answers = sandbox.own_channel()
    questions: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            questions.put(line)
        os._exit(0)  # the server is gone, and nobody waits for what is being read

    threading.Thread(target=listen, daemon=True).start()
    while True:
        asked = json.loads(questions.get())
        folders = [Path(asked[name]) for name in ("party", "target", "path") if name in asked]
        try:
            answer = {"ok": TASKS[asked.pop("task")](**asked)}
        except BaseException as error:
            answer = {"failed": sandbox.told(error, *folders)}
        os.write(answers, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
