"""A party whose replies in training are wrong: `MODE=nan python hostile_party.py party ...`."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.cli import main
from fusion_nb.core.files.tree_file import pack_tree, unpack_tree
from fusion_nb.runs.party.program import PartyProgram

honest = PartyProgram.answer


def hostile(self: PartyProgram, content: bytes, run: int = 0) -> bytes:
    body = honest(self, content, run)
    tree: Any = unpack_tree(body, "its reply")
    mode = Path(os.environ["MODE_FILE"]).read_text().strip()
    if tree.get("reply") != "Update" or not tree["fields"]["weights"]:
        return body
    weights = tree["fields"]["weights"]
    name = next(iter(weights))
    if mode == "nan":
        weights[name] = np.full_like(weights[name], np.nan)
    elif mode == "shape":
        weights[name] = np.zeros((2, 2), weights[name].dtype)
    elif mode == "names":
        weights["more"] = weights.pop(name)
    elif mode == "rows":
        tree["fields"]["num_examples"] = -5
    elif mode == "pickle":
        return pickle.dumps(tree)
    elif mode == "oversize":
        weights[name] = np.zeros(1_000_000, np.float32)
    return pack_tree(tree, "reply")


if __name__ == "__main__":
    PartyProgram.answer = hostile  # type: ignore[method-assign]
    main()
