"""Trees in XGBoost's JSON: counted, checked, taken apart and put together, without XGBoost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

#: Arrays of a tree with an entry for each node.
_PER_NODE = (
    "base_weights",
    "default_left",
    "left_children",
    "loss_changes",
    "parents",
    "right_children",
    "split_conditions",
    "split_indices",
    "split_type",
    "sum_hessian",
)


#: Arrays of a tree that splits by categories, and numbers that describe a tree.
_EMPTY = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_NUMBERS = ("num_deleted", "num_feature", "num_nodes", "size_leaf_vector")
#: The children of a leaf, and the most classes.
_NO_CHILD, _MAX_CLASSES = -1, 10_000


class XGBoostTrees:
    """The trees of a booster, in the order in which it adds them up.

    Trees of one iteration lie between two numbers of `iteration_indptr`, and `tree_info` says to
    which class each of them belongs: both are kept when trees are put together.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document

    @classmethod
    def read(cls, raw: bytes) -> XGBoostTrees:
        """Return the trees in JSON. Raises ValueError for text that is none of XGBoost's."""
        made = cls(json.loads(raw))
        try:
            is_sound = isinstance(made._model["trees"], list) and isinstance(made._params, dict)
        except (KeyError, TypeError):
            is_sound = False
        if not is_sound:
            raise ValueError("it is no booster of trees")
        return made

    def write(self) -> bytes:
        """Return the booster as JSON."""
        return json.dumps(self.document, separators=(",", ":")).encode()

    @property
    def _model(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["learner"]["gradient_booster"]["model"]
        return found

    @property
    def _params(self) -> dict[str, Any]:
        found: dict[str, Any] = self.document["learner"]["learner_model_param"]
        return found

    @property
    def num_features(self) -> int:
        """Numbers of a row."""
        return int(self._params["num_feature"])

    @property
    def num_trees(self) -> int:
        """The number of trees."""
        return len(self._model["trees"])

    @property
    def form(self) -> tuple[str, ...]:
        """The parts in which boosters must agree whose trees are put together."""
        learner = self.document["learner"]
        names = ("num_class", "num_feature", "num_target", "base_score")
        return (learner["objective"]["name"], *(str(self._params.get(name)) for name in names))

    def added_to(self, earlier: int) -> XGBoostTrees:
        """Return the booster without its first trees: those that were added to them."""
        made = XGBoostTrees(_without_trees(self.document))
        made._append(self, earlier, 1.0)
        return made

    def joined(self, others: Iterable[tuple[XGBoostTrees, float]]) -> XGBoostTrees:
        """Return this booster with the trees of others after its own, each times a factor."""
        made = XGBoostTrees(_without_trees(self.document))
        made._append(self, 0, 1.0)
        for other, factor in others:
            made._append(other, 0, factor)
        return made

    def _append(self, other: XGBoostTrees, start: int, factor: float) -> None:
        model, theirs = self._model, other._model
        for info, tree in zip(theirs["tree_info"][start:], theirs["trees"][start:], strict=True):
            added = _rewritten(tree, factor)
            added["id"] = len(model["trees"])
            model["trees"].append(added)
            model["tree_info"].append(info)
        ends = theirs.get("iteration_indptr", [0, *range(1, other.num_trees + 1)])
        begin = model["iteration_indptr"][-1]
        model["iteration_indptr"] += [begin + end - start for end in ends if end > start]
        model["gbtree_model_param"]["num_trees"] = str(len(model["trees"]))
        model["gbtree_model_param"]["num_parallel_tree"] = theirs["gbtree_model_param"].get(
            "num_parallel_tree", "1"
        )

    def fault(self) -> str:
        """Return what is wrong with the trees, or "".

        Everything that XGBoost's compiled code relies on is looked at: sizes, indices of features
        and of children, and that each tree is one.
        """
        try:
            return self._fault()
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            return f"a part of it is missing or of another kind ({error})"

    def _fault(self) -> str:
        model = self._model
        gbtree, trees = model["gbtree_model_param"], model["trees"]
        if self.document["learner"]["gradient_booster"]["name"] != "gbtree":
            return "its booster is not gbtree"
        if int(gbtree["num_trees"]) != len(trees) or len(model["tree_info"]) != len(trees):
            return "it declares another number of trees than it holds"
        groups = max(int(self._params["num_class"]), 1)
        if groups > _MAX_CLASSES:
            return f"it has {groups:,} classes, and {_MAX_CLASSES:,} are allowed"
        if any(type(info) is not int or not 0 <= info < groups for info in model["tree_info"]):
            return "a tree belongs to no class"
        ends = model.get("iteration_indptr", [0, len(trees)])
        if ends[0] != 0 or ends[-1] != len(trees) or any(np.diff(ends) < 0):
            return "its iterations don't fit its trees"
        if not 1 <= int(gbtree.get("num_parallel_tree", 1)) <= max(len(trees), 1):
            return "it grows more trees at once than it holds"
        if any(model.get("cats", {}).get("enc", [])):
            return "it holds categories"
        found = (_tree_fault(tree, self.num_features) for tree in trees)
        return next((fault for fault in found if fault), "")


def _without_trees(document: dict[str, Any]) -> dict[str, Any]:
    learner = dict(document["learner"])
    booster = dict(learner["gradient_booster"])
    model = dict(booster["model"])
    model |= {"trees": [], "tree_info": [], "iteration_indptr": [0]}
    model["gbtree_model_param"] = dict(model["gbtree_model_param"])
    return {
        **document,
        "learner": learner | {"gradient_booster": booster | {"model": model}},
    }


def _rewritten(tree: dict[str, Any], factor: float) -> dict[str, Any]:
    """Return a tree whose leaves are multiplied by a factor, without parts that are not known."""
    made = {name: tree[name] for name in (*_PER_NODE, *_EMPTY)}
    param = tree["tree_param"]
    made["tree_param"] = {name: str(int(param[name])) for name in _NUMBERS}
    if factor == 1:
        return made
    leaves = np.asarray(tree["left_children"]) < 0
    weights = np.asarray(tree["base_weights"], float)
    conditions = np.asarray(tree["split_conditions"], float)
    made["base_weights"] = (weights * factor).tolist()
    made["split_conditions"] = np.where(leaves, conditions * factor, conditions).tolist()
    return made


def _tree_fault(tree: dict[str, Any], num_features: int) -> str:
    param = tree["tree_param"]
    count = int(param["num_nodes"])
    if count < 1 or any(len(tree[name]) != count for name in _PER_NODE):
        return "a tree's arrays have different lengths"
    if int(param["size_leaf_vector"]) > 1 or any(len(tree[name]) for name in _EMPTY):
        return "a tree has vectors in its leaves, or categories"
    if int(param["num_feature"]) != num_features:
        return "a tree is of other features"
    if any(tree["split_type"]):
        return "a tree splits by categories"
    left, right, parents = (
        _whole(tree[name]) for name in ("left_children", "right_children", "parents")
    )
    features = _whole(tree["split_indices"])
    numbers = [*tree["base_weights"], *tree["split_conditions"]]
    if not all(type(number) in (int, float) and math.isfinite(number) for number in numbers):
        return "a tree holds numbers that are not finite"
    inner = left >= 0
    if (features[inner] >= num_features).any() or (features < 0).any():
        return "a tree splits by a feature that is not there"
    return "" if _are_a_tree(left, right, parents) else "a tree's nodes don't form a tree"


def _are_a_tree(left: np.ndarray, right: np.ndarray, parents: np.ndarray) -> bool:
    """Return whether each node that is a child is one of one node before it, its parent."""
    inner = left >= 0
    # XGBoost takes -1 alone for a leaf's, and goes to the node of any other number.
    if (left[~inner] != _NO_CHILD).any() or (right[~inner] != _NO_CHILD).any():
        return False
    children = np.concatenate([left[inner], right[inner]])
    own = np.concatenate([np.flatnonzero(inner)] * 2)
    if (children >= len(left)).any() or len(np.unique(children)) != len(children):
        return False
    return not ((children <= own).any() or (parents[children] != own).any())


def _whole(numbers: list[Any]) -> np.ndarray:
    found = np.asarray(numbers)
    if found.dtype.kind not in "iu":
        raise TypeError("an index is no whole number")
    return found.astype(np.int64)
