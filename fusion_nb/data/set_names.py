"""Names that people give to sets of rows, and to the columns of rows and labels in a dict."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

SetName = Literal["train", "validation", "test"]
Role = Literal["x", "y"]

#: Names of sets of rows, which are not names of parties -> which set.
_SETS: dict[str, SetName] = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "holdout": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
}
#: Words around the name of a set: "x_train", "train_loader", "trainset".
_AROUND = re.compile(r"^(x|df|ds)|(dataset|dataloader|loader|data|set|split|frame|df|ds|rows)$")
_X = (
    "x", "data", "image", "images", "feature", "features", "input", "inputs", "text", "texts",
    "document", "documents",
)  # fmt: skip
_Y = ("y", "label", "labels", "target", "targets")
#: Words that name the columns of a set of rows -> which of the two.
_ROLES: dict[str, Role] = {**dict.fromkeys(_X, "x"), **dict.fromkeys(_Y, "y")}


def set_of(key: Any) -> SetName | None:
    """Return which set of rows a name stands for, or None where it may be a party's."""
    text = re.sub(r"[\s_.-]+", "", str(key).lower())
    return _SETS.get(text) or _SETS.get(_AROUND.sub("", text))


def sets_of(value: Mapping[Any, Any]) -> dict[SetName, Any]:
    """Return the keys of a dict by the sets that they name; empty unless all do, and one trains."""
    names = [set_of(key) for key in value]
    if None in names or names.count("train") != 1:
        return {}
    return {name: key for name, key in zip(names, value, strict=True) if name is not None}


def columns_of(value: Mapping[Any, Any]) -> dict[SetName, dict[Role, Any]]:
    """Return the columns in a dict by set and role, as in `x_train`, `train_labels` or `X` and `y`.

    The result is empty where a set lacks rows or labels, or the values are no columns.
    """
    found: dict[SetName, dict[Role, Any]] = {}
    for key, column in value.items():
        parsed = _parsed(str(key))
        if parsed is None:
            continue
        name, role = parsed
        if role in found.setdefault(name, {}):
            return {}
        found[name][role] = column
    is_whole = "train" in found and all(len(columns) == 2 for columns in found.values())
    return (
        found if is_whole and all(_are_labels(columns["y"]) for columns in found.values()) else {}
    )


def _parsed(key: str) -> tuple[SetName, Role] | None:
    """Return the set and the role that the words of a key name, or None."""
    words = [word for word in re.split(r"[\s_.-]+", key.lower()) if word]
    roles = [_ROLES[word] for word in words if word in _ROLES]
    names = [_SETS[word] for word in words if word in _SETS]
    if len(roles) != 1 or len(names) > 1 or len(roles) + len(names) != len(words):
        return None
    return (names[0] if names else "train"), roles[0]


def _are_labels(y: Any) -> bool:
    """Return whether a value is a column of labels, and not a data set of a party called y."""
    if hasattr(y, "columns"):
        return len(y.columns) == 1
    return hasattr(y, "shape") or isinstance(y, list)
