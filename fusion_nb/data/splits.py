"""Splits: ways to divide rows among parties, each one function.

A split takes the labels, the number of parties and a random generator, and returns one array of row
indices for each party; together they hold every row exactly once. A split of your own is such a
function under `@fusion_nb.split`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from fusion_nb.core import registry
from fusion_nb.core.options import PER_ROW
from fusion_nb.core.protocols import Skew
from fusion_nb.errors import OptionError, SplitError, option

Parts = list[np.ndarray]

#: How often a random split is drawn before a party without rows is left for `check` to refuse.
_TRIES = 100


def iid(labels: np.ndarray, num_parties: int, rng: np.random.Generator) -> Parts:
    """Shuffle the rows and deal them out evenly: every party gets the same mix.

    Source: the IID partition of McMahan, Moore, Ramage, Hampson, Aguera y Arcas,
    "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017.
    """
    return np.array_split(rng.permutation(len(labels)), num_parties)


def dirichlet(
    labels: np.ndarray,
    num_parties: int,
    rng: np.random.Generator,
    *,
    alpha: Annotated[
        float,
        Field(description="how even: 100 is nearly iid, 0.1 leaves each party a few classes", gt=0),
    ] = 0.5,
) -> Parts:
    """Give each party a share of every class, drawn from a Dirichlet distribution.

    Source: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification", 2019; per class as in Li, Diao, Chen, He, "Federated Learning on Non-IID
    Data Silos", ICDE 2022.
    """
    need_classes(labels, "dirichlet")

    def draw() -> Parts:
        parts: list[list[np.ndarray]] = [[] for _ in range(num_parties)]
        for label in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == label))
            shares = rng.dirichlet(np.full(num_parties, alpha))
            cuts = (np.cumsum(shares)[:-1] * len(rows)).round().astype(int)
            for part, chunk in zip(parts, np.split(rows, cuts), strict=True):
                part.append(chunk)
        return [rng.permutation(np.concatenate(part)) for part in parts]

    return until_none_empty(draw)


def shards(
    labels: np.ndarray,
    num_parties: int,
    rng: np.random.Generator,
    *,
    per_party: Annotated[
        int,
        Field(description="shards, and so at most about this many classes, for each party", ge=1),
    ] = 2,
) -> Parts:
    """Sort the rows by label, cut them into equal shards and deal each party some of them.

    Each party has few classes: the pathological non-IID partition.
    Source: McMahan, Moore, Ramage, Hampson, Aguera y Arcas, "Communication-Efficient Learning of
    Deep Networks from Decentralized Data", AISTATS 2017.
    """
    need_one_label_each(labels, "shards")
    # Shuffled first, or the order in the file would decide which rows of a class share a shard.
    shuffled = rng.permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    pieces = np.array_split(by_label, num_parties * per_party)
    order = rng.permutation(len(pieces)).reshape(num_parties, per_party)
    return [rng.permutation(np.concatenate([pieces[i] for i in mine])) for mine in order]


def quantity(
    labels: np.ndarray,
    num_parties: int,
    rng: np.random.Generator,
    *,
    alpha: Annotated[
        float,
        Field(
            description="how even the sizes are: 100 is nearly equal, 0.1 is a giant and dwarfs",
            gt=0,
        ),
    ] = 0.5,
) -> Parts:
    """Give parties the same mix but different numbers of rows, drawn from a Dirichlet distribution.

    Source: Li, Diao, Chen, He, "Federated Learning on Non-IID Data Silos: An Experimental Study",
    ICDE 2022.
    """

    def draw() -> Parts:
        shares = rng.dirichlet(np.full(num_parties, alpha))
        cuts = (np.cumsum(shares)[:-1] * len(labels)).round().astype(int)
        return np.split(rng.permutation(len(labels)), cuts)

    return until_none_empty(draw)


def by_key(
    labels: np.ndarray,
    num_parties: int,
    rng: np.random.Generator,
    *,
    key: Annotated[
        str,
        Field(description="a DataFrame column, or a variable with one id for each row"),
        PER_ROW,
    ],
) -> Parts:
    """Keep rows with the same key (device, hospital, writer) together: a natural partition.

    With fewer parties than keys, whole keys are dealt out, the largest first and to the party that
    is the smallest then; keys of one size are dealt out in random order.
    """
    keys = np.asarray(key)
    names, member = np.unique(keys, return_inverse=True)
    if len(keys) != len(labels):
        raise SplitError(
            f"the key has {len(keys)} values for {len(labels)} rows",
            "give one key for each row",
            option="split",
        )
    if num_parties > len(names):
        raise SplitError(
            f"{num_parties} parties, but the key has only {len(names)} different values",
            f"use {option('parties', len(names))} or fewer",
            option="parties",
            value=num_parties,
        )
    if num_parties == len(names):
        return [np.flatnonzero(member == i) for i in range(len(names))]
    parts: list[list[np.ndarray]] = [[] for _ in range(num_parties)]
    sizes = np.zeros(num_parties)
    counts = np.bincount(member)
    for i in sorted(rng.permutation(len(names)), key=lambda i: -counts[i]):
        smallest = int(np.argmin(sizes))
        parts[smallest].append(np.flatnonzero(member == i))
        sizes[smallest] += counts[i]
    return [np.concatenate(part) for part in parts]


def holdout(
    labels: np.ndarray, rows: np.ndarray, fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Divide one party's rows into training rows and its own test rows, stratified by label.

    A party with two rows or more keeps at least one of each; a party with one row trains on it.
    """
    num_test = min(max(round(fraction * len(rows)), 1), len(rows) - 1) if fraction else 0
    if num_test <= 0:
        return rows, rows[:0]
    shuffled = rng.permutation(rows)
    # Rows sorted by label are taken at equal steps: each class gives its share, and the number is
    # exact.
    is_flat = labels.ndim == 1
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")] if is_flat else shuffled
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[np.floor((np.arange(num_test) + rng.random()) * len(rows) / num_test).astype(int)] = True
    return rng.permutation(by_label[~chosen]), by_label[chosen]


def check(parts: Any, num_rows: int, names: Sequence[str], how: str) -> None:
    """Raise SplitError unless every row is at exactly one party and no party is empty.

    parts: the result of the split `how`, which may be a user's function;  names: of the parties
    """
    fault, hint = _fault(parts, num_rows, names)
    if fault:
        raise SplitError(
            f"the split {how!r} does not give every row to exactly one of {len(names)} parties: "
            f"{fault}",
            hint or "return one array of row indices for each party, without overlap and gaps",
            option="split",
            value=how,
        )
    empty = [name for name, part in zip(names, parts, strict=True) if not len(part)]
    if empty:
        shown = ", ".join(empty[:3]) + (" ..." if len(empty) > 3 else "")
        raise SplitError(
            f"the split {how!r} leaves {len(empty)} of {len(names)} parties without rows ({shown})",
            "use fewer parties, a more even split (a larger alpha, or iid), or another seed",
            option="split",
            value=how,
        )


def _fault(parts: Any, num_rows: int, names: Sequence[str]) -> tuple[str, str]:
    """Return what is wrong with the parts of a split, and a hint where there is a special one."""
    if not isinstance(parts, list | tuple):
        return f"it returned {type(parts).__name__}, not a list of arrays", ""
    if len(parts) != len(names):
        return f"{len(parts)} arrays for {len(names)} parties", ""
    arrays = {}
    for name, part in zip(names, parts, strict=True):
        try:
            rows = arrays[name] = np.asarray(part)
        except ValueError:
            return f"the rows of {name} are no list of numbers", ""
        if rows.dtype == bool:
            return f"the rows of {name} are a mask", "return np.flatnonzero(mask) in its place"
        if rows.ndim != 1 or (len(rows) and not np.issubdtype(rows.dtype, np.integer)):
            return f"the rows of {name} are {rows.dtype} of shape {rows.shape}, not row indices", ""
    together = np.sort(np.concatenate([rows.astype(int) for rows in arrays.values()]))
    if np.array_equal(together, np.arange(num_rows)):
        return "", ""
    return _misplaced(arrays, num_rows), ""


def _misplaced(arrays: Mapping[str, np.ndarray], num_rows: int) -> str:
    """Return which row is at no party, at two, or does not exist."""
    holders: dict[int, str] = {}
    for name, rows in arrays.items():
        for row in rows.tolist():
            if not 0 <= row < num_rows:
                return f"{name} has row {row}, and there are {num_rows}, counted from 0"
            if row in holders:
                if holders[row] == name:
                    return f"row {row} is twice at {name}"
                return f"row {row} is at {holders[row]} and {name}"
            holders[row] = name
    return f"row {next(row for row in range(num_rows) if row not in holders)} is at no party"


def need_one_label_each(labels: np.ndarray, name: str) -> None:
    """Raise SplitError where a row has several labels; `name` is the split's."""
    if labels.ndim != 1:
        raise SplitError(
            f"the split {name!r} divides by label, and these rows have several labels each",
            "use iid, quantity or by_key",
            option="split",
            value=name,
        )


def need_classes(labels: np.ndarray, name: str) -> None:
    """Raise SplitError where labels are no classes, one of each row; `name` is the split's."""
    need_one_label_each(labels, name)
    if np.issubdtype(labels.dtype, np.integer):
        return
    why = "there are no labels" if np.isnan(labels).all() else "these labels are measurements"
    raise SplitError(
        f"the split {name!r} divides by class, and {why}",
        "use iid, quantity, shards (by sorted label) or by_key",
        option="split",
        value=name,
    )


def until_none_empty(draw: Callable[[], Parts]) -> Parts:
    """Return the first parts that are drawn without an empty one, or else the last ones."""
    for _ in range(_TRIES):
        parts = draw()
        if min(len(part) for part in parts):
            break
    return parts


def promote(function: Any) -> Any:
    """Return the function if it can be a split, or a class derived from `Skew`.

    Raises OptionError for one of another form.
    """
    if inspect.isclass(function) and issubclass(function, Skew):
        return function
    if inspect.isclass(function) or not callable(function):
        name = function.__name__ if inspect.isclass(function) else type(function).__name__
        raise OptionError(
            f"{name} is no function, and a split is one",
            "write @split above def name(labels, num_parties, rng)",
        )
    parameters = inspect.signature(function).parameters.values()
    if sum(p.kind is not p.KEYWORD_ONLY for p in parameters) != 3:
        raise OptionError(
            f"the function {function.__name__} can't be a split",
            "write it as (labels, num_parties, rng), options after a *; it returns one array of "
            "row indices a party",
        )
    return function


split = registry.decorator("splits", promote)
split.__doc__ = """Register a split under its own name, for `--split name`.

>>> @split
... def in_order(labels, num_parties, rng):
...     return np.array_split(np.arange(len(labels)), num_parties)
>>> function, options = registry.bind("splits", "in_order")
>>> [part.tolist() for part in function(np.zeros(5), 2, np.random.default_rng(0))]
[[0, 1, 2], [3, 4]]
"""
