"""Files of the schema of IBM's federated-learning-lib, written for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml

_RNG = np.random.default_rng(0)


def aggregator(**hyperparams: Any) -> dict[str, Any]:
    """Return an aggregator's configuration; `fusion` names another handler."""
    fusion = hyperparams.pop("fusion", "IterAvgFusionHandler")
    local = hyperparams.pop("local", {"training": {"epochs": 2, "batch_size": 16, "lr": 0.1}})
    general = {"rounds": 3, "num_parties": 2, "max_timeout": 60} | hyperparams
    return {
        "connection": {
            "name": "FlaskConnection",
            "path": "ibmfl.connection.flask_connection",
            "sync": False,
            "info": {"ip": "127.0.0.1", "port": 5000, "tls_config": {"enable": False}},
        },
        "fusion": {"name": fusion, "path": "ibmfl.aggregator.fusion.a_handler"},
        "hyperparams": {"global": general, "local": local},
        "protocol_handler": {
            "name": "ProtoHandler",
            "path": "ibmfl.aggregator.protohandler.proto_handler",
        },
    }


def party(number: int, data: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """Return a party's configuration."""
    return {
        "aggregator": {"ip": "127.0.0.1", "port": 5000},
        "connection": {
            "name": "FlaskConnection",
            "path": "ibmfl.connection.flask_connection",
            "info": {"ip": "127.0.0.1", "port": 8085 + number, "tls_config": {"enable": False}},
        },
        "data": data,
        "local_training": {
            "name": "LocalTrainingHandler",
            "path": "ibmfl.party.training.local_training_handler",
        },
        "protocol_handler": {
            "name": "PartyProtocolHandler",
            "path": "ibmfl.party.party_protocol_handler",
        },
    } | parts


def npz(path: str, handler: str = "MnistPytorchDataHandler") -> dict[str, Any]:
    """Return the `data` of a party with an .npz file."""
    module = "ibmfl.util.data_handlers.mnist_pytorch_data_handler"
    return {"name": handler, "path": module, "info": {"npz_file": path}}


def write(path: Path, config: dict[str, Any]) -> str:
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


def write_rows(path: Path) -> str:
    """Write the rows of a party, and return the path."""
    x = _RNG.normal(size=(50, 3)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    np.savez(path, x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:])
    return str(path)


def write_federation(folder: Path, **hyperparams: Any) -> list[str]:
    """Write an aggregator's file, and those of two parties with .npz files."""
    files = [write(folder / "config_agg.yml", aggregator(**hyperparams))]
    for number in range(2):
        write_rows(folder / f"data_party{number}.npz")
        config = party(number, npz(f"data_party{number}.npz"))
        files.append(write(folder / f"config_party{number}.yml", config))
    return files
