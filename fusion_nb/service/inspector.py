"""The process that looks at uploads before anything is trained, and writes models in other formats.

One JSON object a line comes in, and one goes out for each: what is wrong with an upload, or what is known of it.
Models and rows are never read in the server itself: what breaks or bloats a reader breaks this process alone.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fusion_nb import registry
from fusion_nb import weights as arithmetic
from fusion_nb.data import size
from fusion_nb.errors import DataError, OptionError, nearest
from fusion_nb.models import base as models
from fusion_nb.registry import parse
from fusion_nb.run import Run
from fusion_nb.service import child
from fusion_nb.service.fields import TYPES
from fusion_nb.service.folder import Folder, read_npz
from fusion_nb.sources import arrays
from fusion_nb.spec import OF_MODEL, RunSpec


def look_at_model(path: str) -> dict[str, Any]:
    """Check a draft of an aggregator's folder: its model, the options of a model, and the aggregator's test rows."""
    folder = Folder(Path(path))
    about = folder.about
    native = models.find(str(folder.model), {})
    kind = TYPES[models.framework_of(native)]
    if kind != about["model_type"]:
        raise DataError(f"model_file holds a {kind} model", f"give model_type={kind}")
    spec = RunSpec(**about["options"])
    given = {name: getattr(spec, name) for name in OF_MODEL}
    adapter = models.wrap(native, "model", **given)
    arithmetic.check_finite(adapter.get_weights())
    name = parse(spec.optimizer)[0].rpartition(".")[2].lower()
    known = getattr(adapter, "choices", {}).get("optimizer", ())
    if name and name not in known:
        raise OptionError(
            f"optimizer {spec.optimizer!r} is not allowed", f"{nearest(name, known)}there are: {', '.join(known)}"
        )
    if folder.test is not None:
        stored = read_npz(folder.test)
        if not {"x_test", "y_test"} <= stored.keys():
            raise DataError("test lacks x_test or y_test", "save it with np.savez(path, x_test=..., y_test=...)")
        arrays.to_arrays((stored["x_test"], stored["y_test"]), "test")
    return {}


def look_at_party(path: str, party: str) -> dict[str, Any]:
    """Check a draft of a party's folder against the model and the parties before it.

    Returns its number of training rows, and the form of one of them.
    """
    folder, draft = Folder(Path(path)), Path(party)
    about = {**json.loads((draft / "party.json").read_text(encoding="utf-8")), "path": draft}
    train, test = child.rows_of(about)
    wanted = {name: value for name, value in folder.about["options"].items() if name in (*OF_MODEL, "lr")}
    spec = RunSpec(**wanted, model=str(folder.model), data="data")
    name = about["party"]
    # Its own rows stand in for test rows: a class that only other parties train on is no fault of this one.
    Run(spec, {"data": {name: (train, train)}}, name="run")
    rows = arrays.to_arrays(train, name) if isinstance(train, tuple) and not _is_text(train) else train
    found = list(rows[0].shape[1:]) if isinstance(rows, tuple) and hasattr(rows[0], "shape") else []
    others = [other["form"] for other in folder.registered() if "form" in other]
    if others and found != others[0]:
        line = f"rows of {name} have shape {tuple(found)}, those of other parties {tuple(others[0])}"
        raise DataError(line, "give all the same form")
    if test is not None and isinstance(rows, tuple) and hasattr(rows[0], "shape"):
        x, _ = arrays.to_arrays(test, f"{name} (test rows)")
        if list(x.shape[1:]) != found:
            line = f"test rows of {name} have shape {x.shape[1:]}, its training rows {tuple(found)}"
            raise DataError(line, "give all the same form")
    return {"num_examples": size(train), "form": found}


def _is_text(rows: tuple[Any, Any]) -> bool:
    return isinstance(rows[0], list)


def convert(path: str, which: str, format: str, target: str) -> dict[str, Any]:
    """Write the weights of the last or best round in a format of the model's own framework."""
    folder = Folder(Path(path))
    native = models.find(str(folder.path / f"trained{folder.model.suffix}"), {})
    adapter = registry.get("models", models.framework_of(native)).taken_up(native)
    weights, number = folder.read_weights(which)
    adapter.save(Path(target), weights, format)
    return {"round": number}


TASKS: dict[str, Callable[..., dict[str, Any]]] = {"model": look_at_model, "party": look_at_party, "convert": convert}


def main(max_memory: str = "0") -> None:
    """Answer until there is nobody to ask any more."""
    child.be_expendable(int(max_memory))
    answers = child.own_channel()
    for line in sys.stdin:
        asked = json.loads(line)
        folders = [Path(asked[name]) for name in ("party", "path") if name in asked]
        try:
            answer = {"ok": TASKS[asked.pop("task")](**asked)}
        except BaseException as error:
            traceback.print_exc()
            answer = {"failed": child.told(error, *folders)}
        os.write(answers, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
