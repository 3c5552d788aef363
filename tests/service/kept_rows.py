"""Parties that keep their rows, for tests: their files, the facts about them, and plain calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import requests
from serving import Server

from fusion_nb.core.files.tree_file import pack_tree
from fusion_nb.data.at_party import PartyRows

NAMES = ["St. Mary", "clinic 2", "clinic 3"]
TOKEN = "t" * 32


def rows_of(number: int, count: int = 48) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    y = np.arange(count) % 3
    x = rng.normal(size=(count, 5)) + np.stack([y == 0, y == 1, y == 2, y, y], 1)
    return x.astype("float32"), y


def save_kept(folder: Path, number: int) -> Path:
    """Write the rows of a party."""
    path = folder / f"{number}.npz"
    x, y = rows_of(number)
    np.savez(path, x_train=x, y_train=y)
    return path


def save_net(folder: Path) -> Path:
    """Write a small model for these rows."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    path = folder / "model.pt"
    torch.save(nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), path)
    return path


def facts_of(path: Path, name: str = NAMES[0], **others: Any) -> bytes:
    """Return the facts about the rows of a file, as a party sends them."""
    rows = PartyRows.read(name, str(path))
    told = {"name": name, "num_rows": len(rows.train.labels), "facts": rows.facts()}
    return pack_tree(told | others, "facts")


def register(
    server: Server, aggregator_id: str, facts: bytes, name: str = NAMES[0], **fields: Any
) -> requests.Response:
    """Register a party that keeps its rows."""
    given = {"keeps_rows": "true", "token": TOKEN, "party": name, **fields}
    files = fields.pop("files", {"facts": ("facts", facts)})
    given.pop("files", None)
    data = {"aggregator_id": aggregator_id, **given}
    return server.call("POST", "/start-party", data=data, files=files)


def poll(
    server: Server, aggregator_id: str, node: str, *, after: str = "", **other: Any
) -> requests.Response:
    """Ask for the next message."""
    params = {"party": other.get("party", NAMES[0]), "node": node, "after": after}
    headers = {"X-Fusion-Token": other.get("token", TOKEN)}
    return server.call("GET", f"/messages/{aggregator_id}", params=params, headers=headers)


def reply(
    server: Server, aggregator_id: str, message: str, body: bytes, **other: Any
) -> requests.Response:
    """Send the reply to a message."""
    return server.call(
        "POST",
        f"/messages/{aggregator_id}/{message}",
        params={"party": other.get("party", NAMES[0])},
        headers={
            "X-Fusion-Token": other.get("token", TOKEN),
            "Content-Type": "application/octet-stream",
        },
        data=body,
    )
