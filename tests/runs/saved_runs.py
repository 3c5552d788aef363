"""Parts that tests of checkpoints share: runs that are saved, cut short on disk, and resumed."""

from __future__ import annotations

import errno
import functools
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import MAKERS

from fusion_nb import Run, RunSpec
from fusion_nb.core.files import tree_file
from fusion_nb.core.history import to_dict
from fusion_nb.runs.checkpoints.resume import SavedSpec

NUM_ROUNDS = 4


def classes(count: int = 120, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(count) % 3
    x = rng.normal(size=(count, 5)) + np.eye(3, 5)[y] * 2
    return x.astype(np.float32), y


def texts() -> list[str]:
    rng = np.random.default_rng(0)
    words = np.array(["boat", "wave", "sail", "fish", "tide", "cow", "field", "barn", "hay"])
    return [" ".join(rng.choice(words, 12)) for _ in range(36)]


def torch_model() -> Any:
    """Return a network whose first weights differ each time."""
    from torch import nn

    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def dense_model() -> Any:
    """Return a network that parties can train as one batched program."""
    from torch import nn

    return nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))


def keras_model() -> Any:
    """Return a network whose first weights differ each time."""
    import keras

    return keras.Sequential(
        [
            keras.layers.Input((5,)),
            keras.layers.Dense(6, activation="relu", name="first"),
            keras.layers.BatchNormalization(name="normal"),
            keras.layers.Dense(3, name="last"),
        ]
    )


def doc2vec_model() -> Any:
    from gensim.models.doc2vec import Doc2Vec

    return Doc2Vec(vector_size=4, min_count=1, epochs=3, workers=1, seed=1)


#: Models of `small_models` that are trained without batches.
NOT_NETWORKS = ("lightgbm", "naive_bayes", "sklearn", "xgboost")


def small(name: str) -> Any:
    return MAKERS[name]()[0]


MODELS = {
    "torch": torch_model,
    "dense": dense_model,
    "keras": keras_model,
    "doc2vec": doc2vec_model,
    **{name: functools.partial(small, name) for name in NOT_NETWORKS},
}


@dataclass(frozen=True)
class Case:
    """A run.

    options:  those of its spec;  anew: those that it is given anew when it is taken up
    is_seeded: whether its first weights must be given again, since they are not taken over
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    framework: str = "torch"
    anew: Mapping[str, Any] = field(default_factory=dict)
    is_seeded: bool = False

    @property
    def spec(self) -> RunSpec:
        defaults: dict[str, Any] = {"model": "model", "data": "rows", "parties": 6}
        if self.framework != "naive_bayes":
            defaults["lr"] = 0.05
        if self.framework not in ("doc2vec", *NOT_NETWORKS):
            defaults["batch_size"] = 12
        if "ensemble" not in self.options:
            defaults["rounds"] = NUM_ROUNDS
        return RunSpec(**{**defaults, **self.options})

    def namespace(self) -> dict[str, Any]:
        rows = texts() if self.framework == "doc2vec" else classes()
        return {
            "rows": rows,
            "public": classes(30, seed=5)[0],
            "model": self.model(),
        }

    def model(self) -> Any:
        if self.framework == "torch" and self.is_seeded:
            import torch

            with torch.random.fork_rng([]):
                torch.manual_seed(0)
                return torch_model()
        return MODELS[self.framework]()

    def start(self, folder: Path | None, model: Any = None) -> Run:
        """Train the run to its end; keep every checkpoint where a folder is given."""
        spec = self.spec
        if folder is not None:
            spec = spec.model_copy(update={"checkpoint": f"{folder}:keep=100"})
        names = self.namespace() | ({} if model is None else {"model": model})
        return Run(spec, names).start().wait()

    def resume(self, folder: Path) -> Run:
        """Take up the run with new objects, and train it to its end."""
        given = {"checkpoint": f"{folder}:keep=100", **self.anew}
        return SavedSpec.read(folder, given).make_run(self.namespace()).start().wait()


def run_in(folder: Path, **options: Any) -> Run:
    case = Case({"checkpoint": str(folder), **options}, is_seeded=True)
    return Run(case.spec, case.namespace())


def full_from(round: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk be full when a round is written, from this one on."""
    write = tree_file.write_safetensors
    count = 0

    def fails(file: Any, *content: Any) -> None:
        nonlocal count
        count += Path(file.name).name == "weights.safetensors"  # one for each round
        if count >= round:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, *content)

    monkeypatch.setattr(tree_file, "write_safetensors", fails)


def cut(folder: Path, round: int) -> None:
    """Remove all checkpoints after a round, as if the process had been killed then."""
    for path in folder.glob("round-*"):
        if int(path.name.removeprefix("round-")) > round:
            shutil.rmtree(path)


def timeless(run: Run) -> str:
    """Return the history without its times, as text."""
    return str([to_dict(replace(record, seconds=0.0)) for record in run.history])


def own_weights(run: Run) -> list[Any]:
    """Return the weights of the parties' own models, and all else that they keep."""
    holders = run.federation.post_training.parties or run.federation.parties
    return [digest(holder.own_model_weights(run.weights, len(run.history))) for holder in holders]


def digest(thing: Any) -> Any:
    """Return a thing with its arrays as bytes, so that two can be compared."""
    if isinstance(thing, Mapping):
        return {name: digest(value) for name, value in thing.items()}
    if isinstance(thing, list | tuple):
        return [digest(value) for value in thing]
    if isinstance(thing, np.ndarray | np.generic):
        return (str(thing.dtype), thing.shape, thing.tobytes())
    return thing


def assert_same(found: Run, expected: Run) -> None:
    assert timeless(found) == timeless(expected)
    assert digest(found.weights) == digest(expected.weights)
    assert digest(found.best.weights) == digest(expected.best.weights)
    assert found.best.round == expected.best.round
    assert own_weights(found) == own_weights(expected)
    assert (found.status, found.reason) == (expected.status, expected.reason)
    assert found.planned == expected.planned


def both_saved(folder: Path, case: Case, other: Case) -> tuple[Path, Path, Run]:
    """Save a run and another one; return the folder of each, and the first as it ended."""
    whole = case.start(folder / "first")
    other.start(folder / "other")
    return folder / "first", folder / "other", whole
