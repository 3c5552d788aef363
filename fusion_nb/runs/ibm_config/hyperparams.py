"""Hyper-parameters of IBM's configuration files, with the defaults that its code has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fusion_nb.errors import OptionError

#: Its defaults, where they are others than ours.
ROUNDS, EPOCHS, BATCH_SIZE, LR = 1, 1, 128, 0.01
#: Tells a sentence about a key.
Tell = Callable[[str, str], None]
#: Keys of `global` that are read elsewhere, or decide nothing here.
_READ = {"rounds", "num_parties", "parties", "perc_quorum", "termination_accuracy"}
_ALGORITHM = {"byzantine_threshold"}


def of_global(given: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Return the options in `hyperparams: global`."""
    found: dict[str, Any] = {"rounds": _whole(given.get("rounds", ROUNDS), "rounds")}
    if (quorum := given.get("perc_quorum")) not in (None, 1, 1.0):
        found["quorum"] = quorum
    clauses = []
    if (least := given.get("termination_accuracy")) is not None:
        clauses.append(f"accuracy >= {least}")
    if "max_timeout" in given:
        tell("max_timeout", "parties train in this kernel, which waits for each of them")
    stopping = given.get("early_stopping")
    if isinstance(stopping, Mapping):
        clauses += _early_stopping(stopping, found, tell)
    if clauses:
        found["until"] = " and ".join(clauses)
    known = {*_READ, *_ALGORITHM, "max_timeout", "early_stopping"}
    for name in given.keys() - known:
        tell(name, "has no counterpart, and decides nothing here")
    return found


def of_local(given: Mapping[str, Any], tell: Tell) -> dict[str, Any]:
    """Return the options in `hyperparams: local`."""
    training, optimizer = _part(given, "training"), _part(given, "optimizer")
    epochs = _whole(training.get("epochs", EPOCHS), "epochs")
    found: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": _whole(training.get("batch_size", BATCH_SIZE), "batch_size"),
        "lr": training.get("lr", optimizer.get("lr", LR)),
    }
    if (steps := training.get("steps_per_epoch")) is not None:
        found["local_steps"] = epochs * _whole(steps, "steps_per_epoch")
        del found["epochs"]
    if "validation_split" in training:
        tell("validation_split", "a fifth of each party's rows is its test set: option holdout")
    for name in training.keys() - {"epochs", "batch_size", "lr", "steps_per_epoch"}:
        if name != "validation_split":
            tell(name, "has no counterpart, and decides nothing here")
    for name in given.keys() - {"training", "optimizer", "optimizer_params"}:
        tell(name, "belongs to the model: build it so in a cell")
    return found


def optimizer_options(given: Mapping[str, Any]) -> str:
    """Return `local: optimizer_params` in the notation of the option `optimizer`, or ""."""
    params = _part(given, "optimizer_params")
    pairs = [f"{name}={value}" for name, value in params.items() if name != "lr"]
    return ",".join(pair.replace(" ", "") for pair in pairs)


def _early_stopping(stopping: Mapping[str, Any], found: dict[str, Any], tell: Tell) -> list[str]:
    metric = str(stopping.get("monitor", "accuracy")).removeprefix("val_")
    metric = {"acc": "accuracy"}.get(metric, metric)
    found["monitor"] = metric
    if "window" in stopping or "min_delta" in stopping:
        found["patience"] = _whole(stopping.get("window", 5), "window")
    if stopping.get("min_delta"):
        tell("min_delta", "has no counterpart: any better round counts")
    if (value := stopping.get("value")) is None:
        return []
    return [f"{metric} {'<=' if stopping.get('mode') == 'min' else '>='} {value}"]


def _part(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = given.get(name) or {}
    if not isinstance(found, Mapping):
        raise OptionError(f"{name} holds {found!r}, and not options", f"write {name}: {{...}}")
    return found


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionError(f"{name}: {value!r} is not allowed", "give a whole number")
    return value
