"""Trees in LightGBM's text: counted, checked, taken apart and put together, without LightGBM."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_END = "end of trees"
_LAST = "pandas_categorical:null\n"
#: Numbers of a leaf, and of a split, that a factor multiplies.
_VALUES = ("leaf_value", "internal_value")
#: Fields of a tree with a number for each leaf, and for each split.
_PER_LEAF = ("leaf_value",)
_PER_SPLIT = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
#: Fields of a tree that only reports tell, likewise; each may be empty.
_TOLD_PER_LEAF = ("leaf_weight", "leaf_count")
_TOLD_PER_SPLIT = ("split_gain", "internal_value", "internal_weight", "internal_count")
_TOLD = (*_TOLD_PER_LEAF, *_TOLD_PER_SPLIT)
#: Fields of whole numbers.
_WHOLE = (
    "split_feature",
    "decision_type",
    "left_child",
    "right_child",
    "leaf_count",
    "internal_count",
)
#: The largest whole number, and the most classes.
_MAX_WHOLE, _MAX_CLASSES = 2**31 - 1, 10_000
#: Types of splits by a number: which way a missing one goes, and what counts as missing.
_DECISIONS = frozenset({0.0, 2.0, 4.0, 6.0, 8.0, 10.0})
#: Objectives, as a header names them.
_OBJECTIVES = frozenset(
    {"binary", "multiclass", "regression", "regression_l1", "huber", "fair", "quantile", "mape"}
)


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
        added = [_rewritten(tree, factor) for other, factor in others for tree in other.trees]
        return LightGBMTrees(self.header, (*self.trees, *added), self.tail)

    def rewritten(self) -> LightGBMTrees:
        """Return the booster in text that was written here alone, of trees without a fault."""
        fields, count = self.fields, self.num_features
        number = int(fields["num_class"])
        name, *options = fields["objective"].split()
        told = [f"num_class:{number}"] if name == "multiclass" else []
        for option in options:
            if option.startswith("sigmoid:") and name == "binary":
                told = [f"sigmoid:{float(option.removeprefix('sigmoid:'))!r}"]
        header = (
            "tree",
            "version=v4",
            f"num_class={number}",
            f"num_tree_per_iteration={number}",
            "label_index=0",
            f"max_feature_idx={count - 1}",
            f"objective={' '.join([name, *told])}",
            f"feature_names={' '.join(f'Column_{i}' for i in range(count))}",
            f"feature_infos={' '.join(['none'] * count)}",
        )
        tail = "\n\nfeature_importances:\n\nparameters:\nend of parameters\n\n" + _LAST
        return LightGBMTrees(header, tuple(_rewritten(tree, 1.0) for tree in self.trees), tail)

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
            if each > _MAX_CLASSES:  # of a booster without trees
                return f"it has {each:,} classes, and {_MAX_CLASSES:,} are allowed"
            name, *options = fields["objective"].split()
            if name not in _OBJECTIVES or "sqrt" in options:
                return f"its objective is {fields['objective'][:40]!r}"
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


def _rewritten(tree: str, factor: float) -> str:
    """Return a tree whose leaves are multiplied by a factor, in numbers that were read here.

    LightGBM ends the process for text that it can't read: no word of a party's reaches it.
    """
    fields = _fields(tree)
    lines = [f"num_leaves={int(fields['num_leaves'])}", "num_cat=0"]
    for name in (*_PER_SPLIT, *_PER_LEAF, *_TOLD):
        values = _numbers(fields.get(name, ""))
        if name in _TOLD and not len(values):
            continue  # LightGBM reads a field that is there, and ends the process where it is empty
        if name in _VALUES:
            values = values * factor
        words = map(str, values.astype(int)) if name in _WHOLE else map(repr, values.tolist())
        lines.append(f"{name}={' '.join(words)}")
    shrinkage = float(fields.get("shrinkage", "1"))
    return "\n".join([*lines, "is_linear=0", f"shrinkage={shrinkage * factor!r}"])


def _tree_fault(tree: str, num_features: int) -> str:
    fields = _fields(tree)
    leaves = int(fields["num_leaves"])
    if leaves < 1 or int(fields["num_cat"]) or int(fields.get("is_linear", "0")):
        return "a tree has categories, or linear leaves"
    arrays = {name: _numbers(fields[name]) for name in (*_PER_LEAF, *_PER_SPLIT)}
    told = {name: _numbers(fields.get(name, "")) for name in _TOLD}
    thresholds = arrays["threshold"]
    # LightGBM splits present from missing numbers by an infinite one, to which all are smaller.
    finite = arrays | {"threshold": thresholds[~np.isposinf(thresholds)]}
    everything = [*finite.values(), *told.values(), _numbers(fields.get("shrinkage", "1"))]
    if not all(np.isfinite(array).all() for array in everything):
        return "a tree holds numbers that are not finite"
    lengths = dict.fromkeys((*_PER_LEAF, *_TOLD_PER_LEAF), leaves) | dict.fromkeys(
        (*_PER_SPLIT, *_TOLD_PER_SPLIT), leaves - 1
    )
    if any(len(array) != lengths[name] for name, array in arrays.items()) or any(
        len(array) not in (0, lengths[name]) for name, array in told.items()
    ):
        return "a tree's arrays have different lengths"
    whole = [(arrays | told)[name] for name in _WHOLE]
    if any(((array != np.floor(array)) | (abs(array) > _MAX_WHOLE)).any() for array in whole):
        return "an index or a count is no whole number"
    if not set(arrays["decision_type"].tolist()) <= _DECISIONS:
        return "a tree splits by categories"
    features = arrays["split_feature"]
    if ((features < 0) | (features >= num_features)).any():
        return "a tree splits by a feature that is not there"
    return _nodes_fault(arrays["left_child"], arrays["right_child"], leaves)


def _nodes_fault(left: np.ndarray, right: np.ndarray, leaves: int) -> str:
    """Return what is wrong with the children of splits, or "": negative numbers are leaves."""
    if leaves == 1:
        return ""
    children, own = np.concatenate([left, right]), np.concatenate([np.arange(leaves - 1.0)] * 2)
    expected = sorted([*range(1, leaves - 1), *(-leaf - 1 for leaf in range(leaves))])
    is_later = (children[children >= 0] > own[children >= 0]).all()
    if sorted(children.tolist()) != expected or not is_later:
        return "a tree's nodes don't form a tree"
    return ""
