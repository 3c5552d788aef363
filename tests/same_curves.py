"""Show that a change of the code leaves every curve as it was, to the last digit.

This script is for large refactorings. It runs many short federations, and stores what each one came
to. After the change it runs them again, and tells what is no longer the same. It takes a minute.

    python tests/same_curves.py record curves.json     # before the change
    python tests/same_curves.py compare curves.json    # after it; status 1 if anything differs
    python tests/same_curves.py compare curves.json --only "fusion krum"    # some cases, by name

Three things of each run are compared: the final weights, the history without its times, and the
exported card without dates, versions and times. Some cases are expected to be refused: of these,
the class of the error is compared.

The digits are those of one machine with one set of packages, so a file is of no use elsewhere. The
script imports only what users import, so it does not depend on where the package keeps its modules.
It tests the package that Python finds: set PYTHONPATH to the root of a clone to choose that one.
"""
# ruff: noqa: E402 - the environment is set before any framework is imported

from __future__ import annotations

import argparse
import contextlib
import difflib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Sums in one thread do not depend on what else the machine does.
for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ[_name] = "1"
os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "agg"}
os.environ |= {"CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"}

import numpy as np
import torch
from torch import nn

import fusion_nb

Arrays = dict[str, np.ndarray]
#: The record of a case: three digests and what explains them, or the class of an error.
Entry = dict[str, Any]
PARTS = ("weights", "history", "card")

# --------------------------------------------------------------------------------------------------
# Models and rows


def net() -> nn.Module:
    """Return a small network whose first weights are always the same."""
    return _seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)))


def linear() -> nn.Module:
    return _seeded(lambda: nn.Linear(5, 1))


def normalized() -> nn.Module:
    return _seeded(
        lambda: nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    )


def dropping() -> nn.Module:
    return _seeded(
        lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3))
    )


def cnn() -> nn.Module:
    def make() -> nn.Module:
        first = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*first, nn.Flatten(), nn.Dropout(0.2), nn.Linear(36, 3))

    return _seeded(make)


def _seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return make()


def dense() -> Any:
    return _keras_model("relu", normalizes=False)


def dense_normalized() -> Any:
    return _keras_model("tanh", normalizes=True)


def _keras_model(activation: str, normalizes: bool) -> Any:
    import keras

    layers = keras.layers
    between = [layers.BatchNormalization(name="normal")] if normalizes else []
    first, last = layers.Dense(8, activation=activation, name="first"), layers.Dense(3, name="last")
    model = keras.Sequential([layers.Input((5,)), first, *between, last], name="network")
    rng = np.random.default_rng(0)
    model.set_weights(
        [rng.normal(size=w.shape) / 2 if w.ndim > 1 else w for w in model.get_weights()]
    )
    return model


def bag_of_words() -> Any:
    return _doc2vec(dm=0)


def in_order() -> Any:
    return _doc2vec(dm=1, window=2)


def _doc2vec(**options: Any) -> Any:
    from gensim.models.doc2vec import Doc2Vec

    return Doc2Vec(vector_size=8, min_count=1, epochs=4, sample=0, workers=1, seed=1, **options)


def _classes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    x = rng.normal(size=(count, 5)) + np.eye(3, 5)[y] * 2
    return x.astype(np.float32), y


def _numbers() -> tuple[np.ndarray, np.ndarray]:
    x, _ = _classes(120)
    return x, (x @ np.array([1.0, -2.0, 0.5, 0.0, 1.0]) + 0.3).astype(np.float32)


def _images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(96) % 3
    x = rng.normal(size=(96, 1, 8, 8)) + np.eye(3, 8)[y][:, None, :, None] * 2
    return x.astype(np.float32), y


def _frame() -> Any:
    import pandas as pd

    x, y = _classes(120)
    columns = {f"x{i}": x[:, i] for i in range(5)}
    return pd.DataFrame(
        columns | {"kind": y, "device": np.array([f"d{i % 5}" for i in range(120)])}
    )


def _texts() -> tuple[list[str], list[str]]:
    topics = {"sea": "boat wave sail fish tide shore", "farm": "cow field barn wheat horse hay"}
    rng = np.random.default_rng(0)
    labels = [("sea", "farm")[i % 2] for i in range(36)]
    common = ["the", "and", "with", "over", "near", "under"]
    drawn = [[*rng.choice(topics[label].split(), 9), *rng.choice(common, 6)] for label in labels]
    return [" ".join(words) for words in drawn], labels


def _by_party() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the rows of four parties, of which the last two call the classes by other names."""
    parts = {f"p{i + 1}": _classes(30 + 6 * i, seed=i) for i in range(4)}
    return {name: (x, y if name in ("p1", "p2") else (y + 1) % 3) for name, (x, y) in parts.items()}


#: Rows by the name that a case gives; made when they are needed.
DATA: dict[str, Callable[[], Any]] = {
    "classes": lambda: _classes(160),
    "tested": lambda: (_classes(120), _classes(45, seed=9)),
    "numbers": _numbers,
    "images": _images,
    "frame": _frame,
    "by party": _by_party,
    "texts": lambda: _texts()[0],
    "labelled texts": _texts,
}
#: Variables of the notebook that options name.
VARIABLES: dict[str, Any] = {
    "public": _classes(48, seed=5)[0],
    "keys": np.array([f"key {i * i % 7}" for i in range(160)]),
    "groups": {"p1": "a", "p2": "a", "p3": "b", "p4": "b"},
}


# --------------------------------------------------------------------------------------------------
# A fusion and a split of a user's own


@fusion_nb.fusion
def middle(weights: Arrays, updates: Iterable[Any], *, share: float = 1.0) -> Arrays:
    """Move the weights part of the way to the median of the parties' weights."""
    parties = list(updates)
    medians = {name: np.median([p.weights[name] for p in parties], axis=0) for name in weights}
    return {name: (w + share * (medians[name] - w)).astype(w.dtype) for name, w in weights.items()}


@fusion_nb.split
def in_turn(
    labels: np.ndarray, num_parties: int, rng: np.random.Generator, *, mix: float = 0.0
) -> list[np.ndarray]:
    """Deal the rows out one by one, after a part of them is shuffled."""
    rows = np.arange(len(labels))
    count = round(mix * len(rows))
    rows[:count] = rng.permutation(rows[:count])
    return [rows[i::num_parties] for i in range(num_parties)]


# --------------------------------------------------------------------------------------------------
# The outcome of a case


@dataclass(frozen=True)
class Outcome:
    """The compared parts of a case: the final weights, the rounds, and the card as written."""

    weights: Mapping[str, Any]
    rounds: list[dict[str, Any]]
    card: str = ""

    def entry(self, folder: Path) -> Entry:
        history = json.dumps([_exact(found) for found in self.rounds], indent=1)
        card = _normal(self.card, folder)
        return {
            "weights": _digest(self.weights),
            "history": hashlib.sha256(history.encode()).hexdigest(),
            "card": hashlib.sha256(card.encode()).hexdigest(),
            "final": {"rounds": len(self.rounds), **self.rounds[-1]["metrics"]},
            "history_text": history,
            "card_text": card,
        }


def outcome_of(run: Any, folder: Path, more: Mapping[str, Any] | None = None) -> Outcome:
    """Return what a run that has ended came to; `more` are arrays to count among the weights."""
    files = run.export(str(folder / "export"))
    card = next(Path(file) for file in files if Path(file).name == "CARD.md")
    weights = dict(run.weights) | dict(more or {})
    rounds = [_plain(record) for record in run.history]
    return Outcome(weights, rounds, card.read_text(encoding="utf-8"))


def _plain(record: Any) -> dict[str, Any]:
    """Return a round without its time."""
    return {
        "round": record.round,
        "metrics": dict(record.metrics),
        "party_metrics": {party: dict(metrics) for party, metrics in record.party_metrics.items()},
        "cohort": list(record.cohort),
        "bytes": [record.bytes_up, record.bytes_down, record.bytes_fedavg],
        "failures": [[failure.party, failure.error] for failure in record.failures],
        "silent": list(record.silent),
        "changes": {name: str(value) for name, value in record.changes.items()},
    }


def _exact(value: Any) -> Any:
    """Return what JSON can hold; a number that is not whole becomes text with all its digits."""
    if isinstance(value, Mapping):
        return {str(name): _exact(found) for name, found in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(found) for found in value]
    return repr(float(value)) if isinstance(value, float | np.floating) else value


def _digest(weights: Mapping[str, Any]) -> str:
    """Return the digest of names, dtypes, shapes and bytes, in their order."""
    found = hashlib.sha256()
    for name, value in weights.items():
        array = np.ascontiguousarray(value)
        found.update(f"{name}|{array.dtype.str}|{np.shape(value)}|".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def _normal(card: str, folder: Path) -> str:
    """Return a card without what is other each time: dates, times, versions, folders, servers."""
    card = card.replace(str(folder.resolve()), "FOLDER").replace(str(folder), "FOLDER")
    card = re.sub(r"^Written \S+\. ", "Written DATE. ", card, flags=re.MULTILINE)
    card = re.sub(r"^Made with .*$", "Made with VERSIONS.", card, flags=re.MULTILINE)
    card = re.sub(r"http://\S*127\.0\.0\.1:\d+", "SERVER", card)
    return re.sub(r"\b\d+(\.\d+)? (s|seconds)\b", "TIME", card)


# --------------------------------------------------------------------------------------------------
# Cases that are one run of a spec


@dataclass(frozen=True)
class Case:
    """One run of a spec.

    model, data: makers above;  options: those of the spec, over the defaults
    act:  does something else with the run than to train it to its end
    also: returns other arrays of the run that count among its weights
    refused: an error is expected
    """

    options: Mapping[str, Any]
    model: Callable[[], Any] = net
    data: str = "classes"
    act: Callable[[Any], Any] = lambda run: run.start().wait()
    also: Callable[[Any], Arrays] = field(default=lambda run: {})
    refused: bool = False

    def __call__(self, folder: Path) -> Outcome:
        model = self.model()
        shared = {"model": "model", "data": "rows", "rounds": 3, "lr": 0.1}
        if self.data != "by party":
            shared["parties"] = 4
        if "texts" not in self.data:
            shared["batch_size"] = 16
        if "ensemble" in self.options:
            shared.pop("rounds")
        names = {**VARIABLES, "model": model, "rows": DATA[self.data]()}
        run = fusion_nb.Run(fusion_nb.RunSpec(**shared | dict(self.options)), names)
        self.act(run)
        return outcome_of(run, folder, self.also(run))


def own_models(run: Any) -> Arrays:
    """Return the weights of the parties' own models."""
    found: Arrays = {}
    for party in run.parties:
        model = party.model
        is_torch = isinstance(model, nn.Module)
        arrays = model.state_dict() if is_torch else dict(enumerate(model.get_weights()))
        found |= {f"{party.id}/{name}": np.asarray(array) for name, array in arrays.items()}
    return found


def predictions(run: Any) -> Arrays:
    """Return what a run's model makes of a few rows."""
    rows = VARIABLES["public"][:7]
    if not isinstance(run.model, nn.Module):
        return {"predictions": np.asarray(run.model.predict(rows, verbose=0))}
    with torch.no_grad():
        return {"predictions": run.model(torch.as_tensor(rows)).numpy()}


def neighbours(run: Any) -> Arrays:
    """Return the documents near a text, and how near they are."""
    found = run.similar("boat wave fish", topn=5)
    return {
        "tags": np.array([f"{tag} {party}" for tag, party, _ in found]),
        "near": np.array([c for *_, c in found]),
    }


def change_between(run: Any) -> None:
    run.step()
    run.change(lr=0.02, epochs=2)
    run.step()
    run.change(fusion="median", fraction=0.5)
    run.resume().wait()


def stop_then_more(run: Any) -> None:
    """Stop the run in the middle of a round, after its first whole one; then add two."""

    def stop(run: Any) -> None:
        if len(run.records) == 1:
            end()
            run.stop(wait=False)

    end = run.subscribe(stop)
    run.start().wait()
    run.more(2).wait()


def stop_after_step(run: Any) -> None:
    run.step()
    run.step()
    run.stop()


def end_then_more(run: Any) -> None:
    run.start().wait()
    run.more(2).wait()


def step_thrice(run: Any) -> None:
    for _ in range(3):
        run.step()


def end_then_step(run: Any) -> None:
    run.start().wait()
    run.step()
    run.stop()


def best_model(run: Any) -> Arrays:
    """Return the weights of the best round."""
    return {f"best/{name}": array for name, array in run.best.weights.items()}


CASES: dict[str, Callable[[Path], Outcome]] = {}


def fusions(*texts: str, **options: Any) -> None:
    """Add a case for each fusion, on parties with unlike rows."""
    each("fusion", *texts, split="dirichlet:alpha=1", **options)


def each(option: str, *texts: str, **given: Any) -> None:
    """Add a case for each text that an option can have."""
    for text in texts:
        case(f"{option} {text}", **{option: text, **given})


def case(name: str, model: Callable[[], Any] = net, data: str = "classes", **options: Any) -> None:
    """Add one case; `act`, `also` and `refused` are its own, all others are options of the spec."""
    own = {key: options.pop(key) for key in ("act", "also", "refused") if key in options}
    CASES[name] = Case(options, model=model, data=data, **own)


# The table is wrapped by hand.
# fmt: off
fusions("fedavg", "iter_avg", "median", "geometric_median")
fusions("centered_clip", "centered_clip:tau=0.2,iterations=2")
fusions("fedprox:mu=0.5", "scaffold", "scaffold:lr=0.5", "feddyn:alpha=0.1", "fednova")
fusions("fedavgm:beta=0.5", "fedadam:lr=0.05", "fedyogi", "fedadagrad", "qfedavg:q=0.5")
fusions("trimmed_mean:beta=0.25", "krum:f=1", "multikrum:f=1,m=2", parties=5)
fusions("bucketing:s=2+krum:f=0", "bucketing:s=2+geometric_median", parties=5)
fusions("bucketing:s=3+centered_clip", parties=5)
fusions("bulyan:f=1", parties=7)
fusions("dynamic:threshold=0.02", "dynamic:threshold=0.05,check_every=2,partial=false", rounds=5)
fusions("fda:theta=0.05", "fda:theta=0.05,monitor=naive", "fda:theta=0.05,monitor=sketch", rounds=6)
fusions("lag:xi=0.5,memory=2", "cmfl:threshold=0.7", "cmfl:threshold=1,decay=true", rounds=5)
fusions("middle:share=0.5")
case("fusion fednova with momentum", fusion="fednova", optimizer="sgd:momentum=0.9",
    split="quantity:alpha=1")
case("fusion scaffold on a cnn", cnn, "images", fusion="scaffold", rounds=2)
case("fusion feddyn of half the parties", fusion="feddyn", fraction=0.5, rounds=4)
case("fusion fedadam on a cnn", cnn, "images", fusion="fedadam", rounds=2)

each("split", "iid", "dirichlet:alpha=0.3", "shards:per_party=2", "quantity:alpha=0.7",
    "by_key:key=keys")
each("split", "in_turn:mix=0.5")
case("split by a column", data="frame", label="kind", split="by_key:key=device", parties=3,
    fraction=0.7)

each("personal", "finetune:epochs=2", "ditto:lambda=0.5", "apfl:alpha=0.5", "ifca:clusters=2",
    also=own_models)
each("personal", "fedper:layers=2.*", also=own_models)
each("personal", "fedbn", model=normalized, also=own_models)
case("personal ditto with scaffold", personal="ditto:lambda=0.1", fusion="scaffold", rounds=2,
    also=own_models)
case("personal finetune with fda", personal="finetune", fusion="fda:theta=0.05", also=own_models)
each("share", "best:groups=2", "best:key=groups", "best:groups=2,epochs=1", data="by party",
    also=own_models)

each("ensemble", "mean", "vote", "stack:holdout=0.3", "distill:data=public,epochs=3", epochs=2,
    also=predictions)
case("ensemble distill of two rounds", ensemble="distill:data=public,epochs=2", rounds=2,
    also=predictions)
case("ensemble mean of numbers", linear, "numbers", ensemble="mean", lr=0.02, also=predictions)

each("adversary", "label_flip:2", "bit_flip:1", "sign_flip:num=1,scale=2", "noise:num=1,sigma=0.5",
    parties=5)
each("adversary", "ipm:num=2,epsilon=0.5", "alie:num=2,z=1", "mimic:2", parties=5,
    fusion="trimmed_mean:beta=0.2")
each("adversary", "alie:2", parties=6)

case("faults dropout", dropout=0.4, parties=5)
case("faults dropout with quorum", dropout=0.3, quorum=0.4, parties=5, seed=3)
case("faults stragglers left out", straggler="0.5:epochs=1", epochs=2, rounds=2)
case("faults stragglers of use", straggler="0.5:epochs=uniform", epochs=3, fusion="fedprox:mu=0.1",
    rounds=2)
case("faults quorum not reached", dropout=0.9, quorum=1.0, parties=5, refused=True)

each("engine", "local:workers=1", "local:workers=2", "vectorized:stack=2",
    split="dirichlet:alpha=1")
each("engine", "process:workers=2", split="dirichlet:alpha=1", rounds=2)
each("engine", "auto", model=normalized)
case("engine process with scaffold", engine="process:workers=2", fusion="scaffold", rounds=2)
case("engine vectorized with scaffold", engine="vectorized", fusion="scaffold", fraction=0.5,
    parties=5)
case("engine vectorized with adam", engine="vectorized", optimizer="adam", lr=0.01)
case("engine vectorized with dropout", dropping, engine="vectorized")
case("engine vectorized with batch normalization", normalized, engine="vectorized")
case("engine auto of many parties", parties=10, fraction=0.8)
case("engine vectorized with ditto", engine="vectorized", personal="ditto", rounds=2,
    also=own_models)

each("baseline", "central", "local", "central,local", rounds=2)
case("baseline with a test set", data="tested", baseline="central,local", fraction=0.5)
case("rounds evaluated now and then", evaluate_every=2, evaluate_rows=9, rounds=4)
case("rounds until", until="accuracy >= 0.6", rounds=7, lr=0.3)
case("rounds with patience", patience=1, monitor="accuracy", rounds=8, lr=0.3, also=best_model)
case("rounds of some parties", fraction=0.4, quorum=0.5, parties=5, rounds=4, seed=7)
case("rounds of a few batches", local_steps=3, holdout=0.3)
case("changes in the spec", changes="2:lr=0.02;3:fusion=fedprox:mu=0.1;4:epochs=2;4:fraction=0.5",
    rounds=4)
case("changes between rounds", rounds=4, act=change_between)
case("stop and more", rounds=4, fusion="scaffold", act=stop_then_more)
case("stop after a step", rounds=4, baseline="local", act=stop_after_step)
case("more", rounds=2, fusion="fedadam", keep_optimizer=True, optimizer="sgd:momentum=0.9",
    act=end_then_more)
case("step", rounds=3, personal="ifca:clusters=2", act=step_thrice, also=own_models)
case("step after the end", rounds=2, until="loss < 100", act=end_then_step)

case("torch numbers", linear, "numbers", lr=0.02)
case("torch cnn with adam", cnn, "images", optimizer="adam", lr=0.01, rounds=2)
case("torch cnn with adam kept", cnn, "images", optimizer="adam", lr=0.01, keep_optimizer=True,
    rounds=2)
case("torch dropout", dropping, optimizer="AdamW:weight_decay=0.1", lr=0.01)
case("torch bfloat16", precision="bf16")
case("torch loss by name", linear, "numbers", loss="l1", lr=0.02, rounds=2)

case("keras fedavg", dense, rounds=2)
case("keras adam", dense_normalized, "tested", optimizer="adam", lr=0.01, keep_optimizer=True,
    rounds=2)
case("keras fedprox", dense, fusion="fedprox:mu=0.5", rounds=2, parties=3)
case("keras scaffold", dense, fusion="scaffold", rounds=2, parties=3)
case("keras fedbn", dense_normalized, personal="fedbn", rounds=2, parties=3, also=own_models)
case("keras ensemble", dense, ensemble="mean", parties=3, also=predictions)

case("doc2vec", bag_of_words, "texts", parties=3, lr=0.05, also=neighbours)
case("doc2vec in order", in_order, "labelled texts", parties=3, fusion="doc2vec:eta=2,limit=0",
    lr=0.05)
case("doc2vec averaged", bag_of_words, "texts", parties=3, fusion="fedavg", baseline="central",
    rounds=2, lr=0.05)
case("doc2vec with a schedule", bag_of_words, "texts", parties=2, schedule="0+2,2+2", rounds=4,
    lr=0.05)
case("doc2vec and more", in_order, "texts", parties=2, min_parties=2, lr=0.05, act=end_then_more)

case("refused an unknown fusion", fusion="fedavgg", refused=True)
case("refused an option of no fusion", fusion="fedprox:nu=1", refused=True)
case("refused too few parties", fusion="bulyan:f=1", refused=True)
case("refused scaffold with adam", fusion="scaffold", optimizer="adam", refused=True)
case("refused personal and share", personal="ditto", share="best", refused=True)
case("refused a schedule for torch", schedule="0+3", refused=True)
case("refused doc2vec for torch", fusion="doc2vec", refused=True)
case("refused bfloat16 in stacks", engine="vectorized", precision="bf16", refused=True)
case("refused a model of other rows", linear, "images", refused=True)
# fmt: on


# --------------------------------------------------------------------------------------------------
# Cases that begin in other ways: from Python, a file, a cell, the command line, the service

CELL = """from torch import nn
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 6), nn.ReLU(), nn.Linear(6, 10))
"""


def other(name: str) -> Callable[[Callable[[Path], Outcome]], Callable[[Path], Outcome]]:
    """Add a function to the cases."""

    def add(function: Callable[[Path], Outcome]) -> Callable[[Path], Outcome]:
        CASES[name] = function
        return function

    return add


@other("federate with objects")
def _federate(folder: Path) -> Outcome:
    options: dict[str, Any] = {"optimizer": "sgd:momentum=0.5", "split": "shards"}
    run = fusion_nb.federate(
        net(), _classes(120), parties=3, rounds=2, loss=nn.CrossEntropyLoss(), **options
    )
    return outcome_of(run, folder)


@other("federate with parties' rows")
def _federate_parties(folder: Path) -> Outcome:
    run = fusion_nb.federate(
        net(), list(_by_party().values()), fusion="fedavgm", rounds=2, background=True
    )
    return outcome_of(run.wait(), folder)


@other("federate with a file of rows")
def _federate_file(folder: Path) -> Outcome:
    x, y = _classes(90)
    np.savez(folder / "rows.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    run = fusion_nb.federate(
        net(), str(folder / "rows.npz"), data_handler="npz", parties=3, rounds=2
    )
    return outcome_of(run, folder)


@other("yaml")
def _yaml(folder: Path) -> Outcome:
    spec = fusion_nb.RunSpec(
        data="rows", parties=3, rounds=2, lr=0.1, fusion="fedprox:mu=0.1", split="shards"
    )
    again = fusion_nb.RunSpec.from_yaml(spec.to_yaml())
    run = fusion_nb.Run(again, {"model": net(), "rows": _classes(120)}).start().wait()
    outcome = outcome_of(run, folder)
    texts = [run.spec.to_yaml(), run.spec.to_cell(), run.spec.to_python()]
    return Outcome(outcome.weights, outcome.rounds, "\n".join([outcome.card, *texts]))


@other("cell")
def _cell(folder: Path) -> Outcome:
    options = (
        "--rounds 2 --parties 3 --lr 0.1 --split dirichlet:alpha=0.5 --baseline central --name run"
    )
    with _shell() as ask:
        ask(f"%%fusion {options}\n{CELL}")
        ask("%fusion more run --rounds 1")
        return outcome_of(ask("run.wait()"), folder)


@other("cell with variables")
def _cell_with_variables(folder: Path) -> Outcome:
    with _shell(net=net(), rows=_classes(120), num=2) as ask:
        ask("%fusion --model net --data rows --rounds {num} -p 3 -e 2 -a iter_avg --name first")
        ask("cell = first.spec.to_cell().replace('%fusion run', '%fusion run --name second')")
        ask("get_ipython().run_cell(cell).raise_error()")
        return outcome_of(ask("second.wait()"), folder)


@other("command line")
def _command_line(folder: Path) -> Outcome:
    spec = fusion_nb.RunSpec(
        parties=3, rounds=2, lr=0.1, split="shards", fusion="scaffold", code=CELL
    )
    (folder / "spec.yaml").write_text(spec.to_yaml(), encoding="utf-8")
    command = [_program(), "run", "spec.yaml", "--export", "export"]
    done = subprocess.run(
        command, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        raise ChildProcessError(done.stdout + done.stderr)
    stored = (folder / "export/card.json").read_text(encoding="utf-8")
    found = json.loads(stored, object_hook=_Fields)["history"]
    weights = torch.load(folder / "export/model.pt", weights_only=True)
    card = (folder / "export/CARD.md").read_text(encoding="utf-8")
    arrays = {name: tensor.numpy() for name, tensor in weights.items()}
    return Outcome(arrays, [_plain(record) for record in found], card)


class _Fields(dict[str, Any]):
    """A mapping whose entries are attributes too, as those of a round are."""

    __getattr__ = dict.__getitem__


@other("service and its client")
def _service(folder: Path) -> Outcome:
    from fusion_nb.service.client import Client

    with _server(folder) as url, Client(url) as client:
        test = _classes(30, seed=9)
        found = client.start_aggregator(
            net(), parties=2, rounds=2, lr=0.1, fusion="fedprox:mu=0.1", test=test
        )
        client.start_party(found, _classes(45, seed=1), party="a")
        client.start_party(found, (_classes(60, seed=2), _classes(15, seed=3)), party="b")
        client.train(found)
        rounds = [_plain(record) for record in client.rounds(found)]
        return Outcome(client.weights(found), rounds)


@other("service and a cell")
def _service_cell(folder: Path) -> Outcome:
    with _server(folder) as url, _shell(net=net(), rows=_classes(120)) as ask:
        options = "--model net --data rows -p 3 --rounds 2 --baseline local --name far"
        ask(f"%fusion {options} --service {url}")
        return outcome_of(ask("far.wait()"), folder)


@contextlib.contextmanager
def _shell(**variables: Any) -> Iterator[Callable[[str], Any]]:
    """Yield a function that runs a cell in IPython, and returns what the cell ends with."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    shell = InteractiveShell.instance(config=config)
    shell.reset()

    def ask(cell: str) -> Any:
        with capture_output():
            done = shell.run_cell(cell)
        done.raise_error()
        return done.result

    ask("%load_ext fusion_nb")
    shell.push(variables)
    try:
        yield ask
    finally:
        ask("%unload_ext fusion_nb")


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[str]:
    """Yield the address of a `fusion-nb serve` of its own, with the credentials in it."""
    command = [_program(), "serve", "--port", "0", "--state", str(folder / "state")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment()
    )
    assert process.stdout is not None
    reader = None
    too_long = threading.Timer(60, process.kill)
    too_long.start()
    try:
        said, address, secrets = "", None, []
        for line in process.stdout:
            said += line
            address = re.search(r"(http://127\.0\.0\.1:\d+)", said)
            secrets = re.findall(r"CLIENT_(?:ID|SECRET)=(\S+)", said)
            if address and len(secrets) == 2:
                break
        else:
            raise ChildProcessError(said)
        too_long.cancel()
        # Or a full pipe would hold the server.
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        yield address[1].replace("://", f"://{':'.join(secrets)}@")
    finally:
        too_long.cancel()
        process.terminate()
        process.wait(240)
        if reader is not None:
            reader.join(240)
        process.stdout.close()


def _program() -> str:
    """Return the path of `fusion-nb`, which is installed beside the interpreter."""
    return str(Path(sys.executable).parent / "fusion-nb")


def _environment() -> dict[str, str]:
    """Return the environment in which child processes import the same package as this one."""
    package = fusion_nb.__file__ or ""
    paths = [str(Path(package).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONWARNINGS": ""}


# --------------------------------------------------------------------------------------------------
# The two verbs


def say(line: str) -> None:
    """Write a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def measure(name: str) -> Entry:
    """Run a case, and return what it came to. An error is an entry too."""
    make = CASES[name]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        before = time.perf_counter()
        try:
            found = make(folder).entry(folder)
        except Exception as error:
            found = {"error": type(error).__name__}
            if not getattr(make, "refused", False):
                found["unexpected"] = "".join(traceback.format_exception(error))
        else:
            if getattr(make, "refused", False):
                found["unexpected"] = "it was expected to be refused, and was not"
    return found | {"seconds": round(time.perf_counter() - before, 2)}


def differences(name: str, old: Entry, new: Entry) -> list[str]:
    """Return lines that tell what is other than before; none if nothing is."""
    if "error" in old or "error" in new:
        told = _indented(new.get("unexpected", ""))
        if old.get("error") == new.get("error") and not told:
            return []
        outcomes = [found.get("error", "a run that ended well") for found in (old, new)]
        return [f"{name}: {outcomes[0]} before, {outcomes[1]} now", *told]
    parts = [part for part in PARTS if old[part] != new[part]]
    if not parts:
        return []
    lines = [f"{name}: {', '.join(parts)}"]
    if "history" in parts:
        lines.append(f"    final metrics: {old['final']} before, {new['final']} now")
        lines += _diff(old["history_text"], new["history_text"], most=12)
    if "card" in parts:
        lines += _diff(old["card_text"], new["card_text"], most=24)
    return lines


def _diff(old: str, new: str, most: int) -> list[str]:
    lines = list(
        difflib.unified_diff(old.splitlines(), new.splitlines(), "before", "now", lineterm="", n=0)
    )
    left = [f"... and {len(lines) - most} more lines"] if len(lines) > most else []
    return [f"    {line}" for line in [*lines[:most], *left]]


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]


def record(path: Path, names: list[str]) -> int:
    """Run cases and store what they come to; those in the file that are not run again stay."""
    known: dict[str, Entry] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    found: dict[str, Entry] = {}
    for name in names:
        found[name] = measure(name)
        say(f"{found[name]['seconds']:6.2f} s  {name}  {found[name].get('error', '')}")
        for line in _indented(found[name].get("unexpected", "")):
            say(line)
    kept = {name: entry for name, entry in known.items() if name in CASES and name not in found}
    path.write_text(json.dumps(kept | found, indent=1), encoding="utf-8")
    failed = [name for name in names if "unexpected" in found[name]]
    say(f"{len(found)} recorded, {len(failed)} not as expected {', '.join(failed)}".rstrip())
    return int(bool(failed))


def compare(path: Path, names: list[str], only: str) -> int:
    """Run cases again, and say what is other than in the file."""
    before: dict[str, Entry] = json.loads(path.read_text(encoding="utf-8"))
    equal, differ, failed = 0, 0, 0
    for name in sorted(name for name in before if only in name and name not in CASES):
        differ += 1
        say(f"{name}: in the file alone")
    for name in names:
        if name not in before:
            differ += 1
            say(f"{name}: not in the file")
            continue
        found = measure(name)
        lines = differences(name, before[name], found)
        failed += (is_failed := "unexpected" in found)
        differ += bool(lines) and not is_failed
        equal += not lines and not is_failed
        for line in lines:
            say(line)
    say(f"{equal} equal, {differ} differ, {failed} failed")
    return int(bool(differ or failed))


def main() -> int:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", choices=["record", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--only", default="", metavar="SUBSTRING", help="only cases with this in their names"
    )
    given = parser.parse_args()
    names = [name for name in CASES if given.only in name]
    if not names:
        parser.error(f"no case holds {given.only!r}")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    begun = time.perf_counter()
    status = (
        record(given.file, names)
        if given.verb == "record"
        else compare(given.file, names, given.only)
    )
    say(f"{time.perf_counter() - begun:.0f} s in all")
    return status


if __name__ == "__main__":
    sys.exit(main())
