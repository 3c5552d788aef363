"""Uploads that would run code, exhaust memory, or do not fit."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from serving import Server
from torch import nn
from upload_files import archive, assert_refused, npy, npz, saved

MARK = Path("/tmp/fusion_nb_was_here")


class Bomb:
    """A pickle that runs a program when it is read."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, (f"touch {MARK}",)


@pytest.fixture(autouse=True)
def no_upload_ran() -> Iterator[None]:
    MARK.unlink(missing_ok=True)
    yield
    assert not MARK.exists(), "an upload ran a program"


def understated(content: bytes) -> bytes:
    """Return an archive whose entries declare a wrong, small size, in both places of a zip file."""
    found = bytearray(archive(**{"x_train.npy": content}))
    for start, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = found.find(start) + offset
        found[at : at + 4] = struct.pack("<I", 100)
    return bytes(found)


class Net(nn.Module):
    """A class of the client's own, which can't be read without its code."""


def hooked() -> nn.Module:
    network = nn.Linear(2, 2)
    network.register_forward_hook(Bomb())  # type: ignore[arg-type]
    return network


def keras_with_lambda() -> bytes:
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {
            "layers": [
                {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "x"}}
            ]
        },
    }
    return archive(
        **{
            "config.json": json.dumps(config).encode(),
            "metadata.json": b"{}",
            "model.weights.h5": b"",
        }
    )


X = np.zeros((6, 28, 28), np.uint8)


Y = np.arange(6)


#: Files that are sent as models: name -> (model_type, content).
MODELS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a pickle that runs a program": ("pytorch", lambda: pickle.dumps(Bomb())),
    "a saved object that runs a program": ("pytorch", lambda: saved(Bomb())),
    "the same in the old format": (
        "pytorch",
        lambda: saved(Bomb(), _use_new_zipfile_serialization=False),
    ),
    "a module with a hook that runs a program": ("pytorch", lambda: saved(hooked())),
    "a module of another class": ("pytorch", lambda: saved(Net())),
    "a state dict": ("pytorch", lambda: saved(nn.Linear(2, 2).state_dict())),
    "a tensor": ("pytorch", lambda: saved(torch.zeros(3))),
    "half a model": ("pytorch", lambda: saved(nn.Linear(20, 20))[:600]),
    "nothing": ("pytorch", lambda: b""),
    "noise": ("pytorch", lambda: np.random.default_rng(0).bytes(5000)),
    "weights that are not finite": ("pytorch", lambda: saved(not_finite())),
    "a PyTorch model as Keras's": ("keras", lambda: saved(nn.Linear(2, 2))),
    "a Lambda layer": ("keras", keras_with_lambda),
    "an archive with a path outside": (
        "keras",
        lambda: archive(**{"../../evil": b"x", "config.json": b"{}"}),
    ),
    "a model that bursts": ("keras", lambda: archive(**{"model.weights.h5": bytes(30 << 20)})),
    "HDF5 that is none": ("keras", lambda: b"\x89HDF\r\n\x1a\n" + bytes(100)),
    "gensim with a program": ("doc2vec", lambda: pickle.dumps(Bomb())),
    "gensim with a program inside": ("doc2vec", lambda: pickle.dumps({"wv": Bomb()})),
    "gensim that is a list": ("doc2vec", lambda: pickle.dumps([1, 2, 3])),
    "gensim cut short": ("doc2vec", lambda: pickle.dumps(list(range(1000)))[:500]),
    "a module name that would be imported": (
        "doc2vec",
        lambda: b"cos\nsystem\n(S'touch " + bytes(MARK) + b"'\ntR.",
    ),
}


#: Files that are sent as a party's rows: name -> (handler, content).
ROWS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "an array of objects": (
        "npz",
        lambda: npz(x_train=np.array([Bomb()] * 6, dtype=object), y_train=Y),
    ),
    "labels that are objects": (
        "npz",
        lambda: npz(x_train=X, y_train=np.array([Bomb()] * 6, dtype=object)),
    ),
    "a pickle": ("npz", lambda: pickle.dumps(Bomb())),
    "an archive that bursts": ("npz", lambda: archive(**{"x_train.npy": bytes(40 << 20)})),
    "an archive that lies about its size": (
        "npz",
        lambda: understated(npy((3, 28, 28), body=bytes(30 << 20))),
    ),
    "an array that says it is huge": ("npz", lambda: archive(**{"x_train.npy": npy((1 << 40,))})),
    "an array of negative size": ("npz", lambda: archive(**{"x_train.npy": npy((-5, 3))})),
    "an archive cut short": ("npz", lambda: npz(x_train=X, y_train=Y)[:-300]),
    "an archive with a path outside": (
        "npz",
        lambda: archive(**{"../../x_train.npy": npy((1,), body=b"1")}),
    ),
    "a gzip that bursts": ("wikipedia", lambda: gzip.compress(bytes(40 << 20))),
    "a gzip cut short": (
        "wikipedia",
        lambda: gzip.compress(np.random.default_rng(0).bytes(9000))[:4000],
    ),
    "rows of another form": ("npz", lambda: npz(x_train=np.zeros((6, 3)), y_train=Y)),
    "test rows of another form": (
        "npz",
        lambda: npz(x_train=X, y_train=Y, x_test=np.zeros((2, 3)), y_test=Y[:2]),
    ),
    "more labels than rows": ("npz", lambda: npz(x_train=X, y_train=np.arange(9))),
    "no rows": ("npz", lambda: npz(x_train=X[:0], y_train=Y[:0])),
    "no labels": ("npz", lambda: npz(x_train=X)),
    "labels that the model has no output for": ("npz", lambda: npz(x_train=X, y_train=Y + 90)),
    "negative labels": ("npz", lambda: npz(x_train=X, y_train=Y - 3)),
    "rows that are not finite": (
        "npz",
        lambda: npz(x_train=np.full((6, 28, 28), np.nan), y_train=Y),
    ),
    "labels that are not finite": ("npz", lambda: npz(x_train=X, y_train=np.full(6, np.inf))),
    "numbers that are complex": ("npz", lambda: npz(x_train=X.astype(complex), y_train=Y)),
    "images that are none": ("mnist_pytorch", lambda: npz(x_train=np.zeros((6, 5, 5)), y_train=Y)),
    "text for a model of images": (
        "wikipedia",
        lambda: b'{"title": "a", "text": "some words here"}\n',
    ),
    "XML that expands": (
        "wikipedia",
        lambda: (
            b'<!DOCTYPE a [<!ENTITY b "'
            + b"b" * 9999
            + b'"><!ENTITY c "'
            + b"&b;" * 9999
            + b'">]><a>&c;</a>'
        ),
    ),
    "noise": ("npz", lambda: np.random.default_rng(1).bytes(3000)),
    "nothing": ("npz", lambda: b""),
}


def not_finite() -> nn.Module:
    network = nn.Linear(2, 2)
    nn.init.constant_(network.bias, float("nan"))
    return network


class TestModelFiles:
    @pytest.mark.parametrize("name", MODELS)
    def test_is_refused(self, server: Server, name: str) -> None:
        kind, content = MODELS[name]
        before = sorted(path.name for path in (server.state / "aggregators").iterdir())
        assert_refused(
            server.start_aggregator(content(), model_type=kind, fusion_algorithm=""), server
        )
        assert sorted(path.name for path in (server.state / "aggregators").iterdir()) == before

    def test_the_class_that_is_not_allowed_is_named(self, server: Server) -> None:
        answer = server.start_aggregator(saved(Bomb()))
        assert "posix.system" in answer.json()["error"]


class TestRowsFiles:
    @pytest.fixture(scope="class")
    def aggregator_id(self, server: Server, model_file: Path) -> str:
        return server.new_aggregator(model_file, num_parties=100)

    @pytest.mark.parametrize("name", ROWS)
    def test_is_refused(self, server: Server, aggregator_id: str, name: str) -> None:
        handler, content = ROWS[name]
        assert_refused(server.start_party(aggregator_id, content(), handler), server)
        assert server.status(aggregator_id)["remaining"] == 100
        assert not list((server.state / "aggregators" / aggregator_id).rglob("data*"))

    def test_rows_of_another_shape_than_other_parties_rows(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.new_aggregator(model_file)
        assert server.start_party(aggregator_id, rows_file).ok
        answer = server.start_party(aggregator_id, npz(x_train=np.zeros((6, 784)), y_train=Y))
        assert answer.json()["error"].endswith("those of party 1 (28, 28)")

    @pytest.mark.parametrize(
        "name",
        [
            "../../../../tmp/evil.npz",
            "/etc/passwd",
            "a\x00b",
            "名前 🙂.npz",
            "x" * 5000,
            "",
            'a";b.npz',
            "con\r\nx",
        ],
    )
    def test_the_name_of_the_file_is_ignored(
        self, server: Server, model_file: Path, rows_file: Path, name: str
    ) -> None:
        aggregator_id = server.new_aggregator(model_file)
        fields = {"aggregator_id": aggregator_id, "data_handler_class_name": "npz"}
        answer = server.call(
            "POST", "/start-party", data=fields, files={"data": (name, rows_file.read_bytes())}
        )
        assert answer.status_code in (200, 400)
        kept = {path.name for path in (server.state / "aggregators" / aggregator_id).rglob("*")}
        assert kept <= {"aggregator.json", "model.pt", "parties", "0001", "party.json", "data.npz"}

    def test_code_is_refused_unless_it_is_allowed(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.new_aggregator(model_file)
        code = f"open({str(MARK)!r}, 'w')\nclass Mine: ...\n"
        answer = server.start_party(
            aggregator_id, rows_file, "Mine", files={"custom_data_handler": ("h.py", code)}
        )
        assert answer.status_code == 422
        assert "--allow-custom-code" in answer.json()["hint"]

    def test_handlers_that_read_no_file_are_refused(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.new_aggregator(model_file)
        assert server.start_party(aggregator_id, rows_file, "digits").status_code == 400
        assert server.start_party(aggregator_id, rows_file, "os:system").status_code == 400
        assert server.start_party(aggregator_id, rows_file, f"{__file__}:Bomb").status_code == 400
