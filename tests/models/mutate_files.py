"""A child process that reads mutants of valid files of models, and reports how each one ended.

    python tests/models/mutate_files.py KIND FIRST COUNT FOLDER

It writes the number of a mutant before it reads it, so that the parent knows which one ended the
process. A mutant is a function of its number alone.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import resource
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

#: Bytes of address space beyond those that the frameworks take, and of memory that a read may add.
ADDRESS_SPACE, MEMORY = 3 << 30, 600 << 20
_NUMBERS = [0, 1, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**40, 10**5, 10**9]


def torch_files(folder: Path) -> list[bytes]:
    import torch
    from torch import nn

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Linear(4, 3))
    others = [nn.LSTM(3, 2, 2), nn.TransformerEncoderLayer(4, 2, 8), nn.Embedding(5, 2)]
    found = []
    for module in [net, *others]:
        path = folder / "valid.pt"
        torch.save(module, path)
        found.append(path.read_bytes())
    return found


def keras_files(folder: Path) -> list[bytes]:
    import keras

    inputs = [keras.layers.Input((6,)), keras.layers.Input((5, 3)), keras.layers.Input((4, 4, 1))]
    dense = [keras.layers.Dense(4), keras.layers.BatchNormalization(), keras.layers.Dense(3)]
    lstm = [keras.layers.LSTM(3), keras.layers.Dropout(0.2), keras.layers.Dense(2)]
    conv = [keras.layers.Conv2D(2, 2), keras.layers.Flatten(), keras.layers.Dense(2)]
    found = []
    for first, layers in zip(inputs, (dense, lstm, conv), strict=True):
        path = folder / "valid.keras"
        keras.Sequential([first, *layers]).save(path)
        found.append(path.read_bytes())
    return found


def doc2vec_files(folder: Path) -> list[bytes]:
    from gensim.models.doc2vec import Doc2Vec, TaggedDocument

    from fusion_nb.models.doc2vec import files

    modes: list[dict[str, Any]] = [
        {"dm": 0},
        {"dm": 1, "hs": 1},
        {"dm": 1, "dm_concat": 1, "window": 2},
        {"dm": 0, "dbow_words": 1, "hs": 1, "negative": 0},
    ]
    documents = [TaggedDocument(["a", "bb", f"c{i}"], [f"t{i}"]) for i in range(8)]
    found = []
    for mode in modes:
        model = Doc2Vec(documents, vector_size=4, min_count=1, epochs=1, workers=1, **mode)
        for format in ("gensim", "doc2vec"):
            path = folder / "valid.doc2vec"
            files.save(model, path, format)
            found.append(path.read_bytes())
    return found


_ROWS = np.random.default_rng(0).normal(size=(60, 4))
_LABELS = np.arange(60) % 3


def sklearn_files(folder: Path) -> list[bytes]:
    import skops.io
    from sklearn.linear_model import LogisticRegression, SGDClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    last = [SGDClassifier(), LogisticRegression(), GaussianNB(), MLPClassifier(3, max_iter=2)]
    made = [make_pipeline(StandardScaler(), each).fit(_ROWS, _LABELS) for each in last]
    return [bytes(skops.io.dumps(model)) for model in made]


def xgboost_files(format: str) -> list[bytes]:
    import xgboost

    made = xgboost.XGBClassifier(n_estimators=2, max_depth=2).fit(_ROWS, _LABELS)
    own = xgboost.XGBRegressor(n_estimators=2, max_depth=3).fit(_ROWS, _ROWS[:, 0])
    return [bytes(model.get_booster().save_raw(format)) for model in (made, own)]


def lightgbm_files(folder: Path) -> list[bytes]:
    import lightgbm

    made = lightgbm.LGBMClassifier(n_estimators=2, verbosity=-1).fit(_ROWS, _LABELS)
    own = lightgbm.LGBMRegressor(n_estimators=2, verbosity=-1).fit(_ROWS, _ROWS[:, 0])
    return [model.booster_.model_to_string().encode() for model in (made, own)]


def readers(kind: str) -> tuple[Callable[[Path], list[bytes]], str, Callable[[Path], None]]:
    """Return a maker of valid files of a kind, their suffix, and what is done with one."""
    if kind == "torch":
        from fusion_nb.models.torch import files as torch_reader

        return torch_files, ".pt", lambda path: _use_torch(torch_reader.load(path))
    if kind == "keras":
        from fusion_nb.models.keras import files as keras_reader

        return keras_files, ".keras", lambda path: _use_keras(keras_reader.load(path))
    if kind == "sklearn":
        from fusion_nb.models.sklearn import files as sklearn_reader

        return sklearn_files, ".skops", lambda path: _use_estimator(sklearn_reader.load(path))
    if kind.startswith("xgboost"):
        from fusion_nb.models.xgboost import files as xgboost_reader

        format = "ubj" if kind.endswith("ubj") else "json"
        return (
            lambda folder: xgboost_files(format),
            f".{format}",
            lambda path: _use_estimator(xgboost_reader.load(path)),
        )
    if kind == "lightgbm":
        from fusion_nb.models.lightgbm import files as lightgbm_reader

        return lightgbm_files, ".txt", lambda path: _use_estimator(lightgbm_reader.load(path))
    from fusion_nb.models.doc2vec import files as doc2vec_reader

    return doc2vec_files, ".doc2vec", lambda path: _use_doc2vec(doc2vec_reader.load(path))


def _use_estimator(model: Any) -> None:
    """Predict, as the adapter of its framework does."""
    from fusion_nb.models import lookup

    adapter = type(lookup.wrap(model, "model")).from_checkpoint(model)
    with contextlib.suppress(AttributeError, TypeError, IndexError):  # as of any damaged estimator
        model.predict(_ROWS)
    adapter.get_weights()


def _use_torch(module: Any) -> None:
    {name: tensor.numpy().sum() for name, tensor in module.state_dict().items()}


def _use_keras(model: Any) -> None:
    [array.sum() for array in model.get_weights()]


def _use_doc2vec(model: Any) -> None:
    """Train and infer: gensim's compiled code follows every index of the file."""
    from fusion_nb.core.documents import Document
    from fusion_nb.models.doc2vec.training import Trainer

    if not model.wv.index_to_key or model.epochs > 100 or model.layer1_size > 10_000:
        return
    words = tuple(str(word) for word in model.wv.index_to_key) * 3
    tags = tuple(f"d{n}" for n in range(model.dm_tag_count if model.dm_concat else 1))
    vectors = np.zeros((len(tags), model.vector_size), dtype=np.float32)
    trainer = Trainer(model)
    trainer.train_all([Document(words, tags)], vectors, 1, (0.02, 0.01), 0, lambda: None)
    trainer.infer(Document(words, tags))


def say(line: str) -> None:
    """Write a line at once: the process may end with the next call."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


# Mutations


def mutant(valid: bytes, number: int) -> bytes:
    """Return a damaged file: its bytes changed, or those of a part inside a zip archive."""
    rng = np.random.default_rng(number)
    if valid[:2] == b"PK" and rng.random() < 0.8:
        with zipfile.ZipFile(io.BytesIO(valid)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        chosen = list(parts)[rng.integers(len(parts))]
        large = [name for name in parts if name.endswith((".pkl", ".json", ".h5", ".safetensors"))]
        if rng.random() < 0.8:
            chosen = large[rng.integers(len(large))]
        is_text = chosen.endswith(".json") and rng.random() < 0.8
        change = _with_other_value if is_text else _with_other_bytes
        parts[chosen] = change(parts[chosen], rng)
        written = io.BytesIO()
        method = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
        with zipfile.ZipFile(written, "w", method) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
        return written.getvalue()
    return _with_other_bytes(valid, rng)


def _with_other_bytes(content: bytes, rng: np.random.Generator) -> bytes:
    """Return content with some bytes changed, cut out, repeated, or replaced by large numbers."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        if not changed:
            break
        place = int(rng.integers(len(changed)))
        choice = rng.integers(6)
        if choice < 2:
            changed[place] = int(rng.integers(256))
        elif choice == 2:
            width = int(rng.choice([1, 2, 4, 8]))
            number = _NUMBERS[rng.integers(len(_NUMBERS))] % 2 ** (8 * width)
            changed[place : place + width] = number.to_bytes(width, "little")
        elif choice == 3:
            del changed[place : place + int(rng.integers(1, 40))]
        elif choice == 4:
            end = place + int(rng.integers(1, 60))
            changed[place:place] = changed[place:end]
        else:
            special = rng.choice(np.array([np.nan, np.inf, 3e38, -3e38], dtype="<f4"))
            place -= place % 4
            changed[place : place + 4] = special.tobytes()
    return bytes(changed)


def _with_other_value(content: bytes, rng: np.random.Generator) -> bytes:
    """Return JSON with one value replaced, so that the rest is still read."""
    found = json.loads(content)
    places: list[tuple[Any, Any]] = []

    def visit(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            places.append((value, key))
            if isinstance(inner, dict | list):
                visit(inner)

    visit(found)
    for _ in range(rng.integers(1, 4)):
        holder, key = places[rng.integers(len(places))]
        others: list[Any] = [*_NUMBERS, "", "x" * 1000, None, True, [], {}, [[]], 1e308, "relu"]
        holder[key] = others[rng.integers(len(others))]
    return json.dumps(found).encode()


def main(kind: str, first: str, count: str, folder: str) -> None:
    faulthandler.enable()
    make, suffix, use = readers(kind)
    valid = make(Path(folder))
    path = Path(folder, f"mutant{suffix}")
    for content in valid:  # everything is imported and warm before the limit is set
        path.write_bytes(content)
        use(path)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    from fusion_nb.errors import ModelError

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(int(first), int(first) + int(count)):
        say(str(number))
        path.write_bytes(mutant(valid[number % len(valid)], number))
        try:
            use(path)
            say("taken")
        except ModelError as error:
            is_clear = "\n" not in error.message and bool(error.hint) and path.name in error.message
            say("refused" if is_clear else f"unclear {error.message!r}")
        except (ArithmeticError, ValueError, RuntimeError) as error:
            # The weights of a file that was taken may be as bad as those of any model.
            say(f"raised {type(error).__name__} {str(error)[:200]!r}")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    say(f"memory {grown}")


if __name__ == "__main__":
    main(*sys.argv[1:])
