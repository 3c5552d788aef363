"""Trees in LightGBM's text: counted, checked, taken apart and put together, without LightGBM."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_END = "end of trees"
#: Numbers of a leaf, and of a split, that a factor multiplies.
_VALUES = ("leaf_value", "internal_value")
#: Fields of a tree with a number for each leaf, and for each split.
_PER_LEAF = ("leaf_value",)
_PER_SPLIT = ("split_feature", "threshold", "decision_type", "left_child", "right_child")


@dataclass(frozen=True)
class LightGBMTrees:
    """The trees of a booster: a header, the text of each tree, and the parameters after them.

    As many trees as there are classes, one after the other, are an iteration.
    """

    header: tuple[str, ...]
    trees: tuple[str, ...]
    tail: str

    @classmethod
    def read(cls, raw: bytes) -> LightGBMTrees:
        """Return the trees in a booster's text. Raises ValueError for any other text."""
        text = raw.decode()
        if not text.startswith("tree\n") or f"\n{_END}" not in text:
            raise ValueError("it is no booster of trees")
        body, _, tail = text.partition(f"\n{_END}")
        header, *trees = body.split("\nTree=")
        lines = [line for line in header.splitlines() if line and not line.startswith("tree_sizes")]
        kept = tuple(tree.partition("\n")[2].strip("\n") for tree in trees)
        return cls(tuple(lines), kept, tail)

    def write(self) -> bytes:
        """Return the booster's text."""
        blocks = [f"Tree={number}\n{tree}\n\n\n" for number, tree in enumerate(self.trees)]
        sizes = " ".join(str(len(block.encode())) for block in blocks)
        lines = [*self.header, *([f"tree_sizes={sizes}"] if blocks else ["tree_sizes="])]
        return ("\n".join(lines) + "\n\n" + "".join(blocks) + _END + self.tail).encode()

    @property
    def fields(self) -> dict[str, str]:
        """The fields of the header."""
        return _fields("\n".join(self.header))

    @property
    def num_features(self) -> int:
        """Numbers of a row."""
        return int(self.fields["max_feature_idx"]) + 1

    @property
    def num_trees(self) -> int:
        """The number of trees."""
        return len(self.trees)

    @property
    def form(self) -> tuple[str, ...]:
        """The parts in which boosters must agree whose trees are put together."""
        names = ("objective", "num_class", "num_tree_per_iteration", "max_feature_idx")
        return tuple(self.fields.get(name, "") for name in names)

    def added_to(self, earlier: int) -> LightGBMTrees:
        """Return the booster without its first trees: those that were added to them."""
        return LightGBMTrees(self.header, self.trees[earlier:], self.tail)

    def joined(self, others: Iterable[tuple[LightGBMTrees, float]]) -> LightGBMTrees:
        """Return this booster with the trees of others after its own, each times a factor."""
        added = [_scaled(tree, factor) for other, factor in others for tree in other.trees]
        return LightGBMTrees(self.header, (*self.trees, *added), self.tail)

    def fault(self) -> str:
        """Return what is wrong with the trees, or "".

        Everything that LightGBM's compiled code relies on is looked at: sizes, indices of features
        and of children, and that each tree is one.
        """
        try:
            fields = self.fields
            each = int(fields["num_tree_per_iteration"])
            if int(fields["num_class"]) != each or each < 1 or len(self.trees) % each:
                return "it has not one tree for each class"
            if len(fields["feature_names"].split()) != self.num_features:
                return "it names another number of features than it has"
            found = (_tree_fault(tree, self.num_features) for tree in self.trees)
            return next((fault for fault in found if fault), "")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            return f"a part of it is missing or of another kind ({error})"


def _fields(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name: value for name, _, value in pairs}


def _numbers(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])


def _scaled(tree: str, factor: float) -> str:
    """Return a tree whose leaves are multiplied by a factor."""
    if factor == 1:
        return tree
    lines = []
    for line in tree.splitlines():
        name, _, value = line.partition("=")
        if name in _VALUES:
            value = " ".join(repr(float(number)) for number in _numbers(value) * factor)
        elif name == "shrinkage":
            value = repr(float(value) * factor)
        lines.append(f"{name}={value}")
    return "\n".join(lines)


def _tree_fault(tree: str, num_features: int) -> str:
    fields = _fields(tree)
    leaves = int(fields["num_leaves"])
    if leaves < 1 or int(fields["num_cat"]) or int(fields.get("is_linear", "0")):
        return "a tree has categories, or linear leaves"
    arrays = {name: _numbers(fields[name]) for name in (*_PER_LEAF, *_PER_SPLIT)}
    if not all(math.isfinite(value) for value in arrays["leaf_value"]):
        return "a tree holds numbers that are not finite"
    if len(arrays["leaf_value"]) != leaves or (
        any(len(arrays[name]) != leaves - 1 for name in _PER_SPLIT)
    ):
        return "a tree's arrays have different lengths"
    if np.isnan(arrays["threshold"]).any():
        return "a tree holds numbers that are not finite"
    features = arrays["split_feature"]
    if ((features < 0) | (features >= num_features)).any():
        return "a tree splits by a feature that is not there"
    children = np.concatenate([arrays["left_child"], arrays["right_child"]])
    own = np.concatenate([np.arange(leaves - 1.0)] * 2)
    expected = {*range(1, leaves - 1), *(-leaf - 1 for leaf in range(leaves))}
    if leaves > 1 and (
        len(children) != len(expected)
        or set(children.tolist()) != expected
        or (children[children >= 0] <= own[children >= 0]).any()
    ):
        return "a tree's nodes don't form a tree"
    return ""
