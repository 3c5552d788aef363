"""Loading of data that a user names (a variable, a data set, files), before it is partitioned."""

from __future__ import annotations

import glob
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fusion_nb.core import registry
from fusion_nb.core.schema import DataSchema
from fusion_nb.data import arrays, frames, handlers, source_kinds, table_files, tables, texts
from fusion_nb.data.arrays import DataSet
from fusion_nb.data.parts import Part, agreed, convert, converted, without_table
from fusion_nb.data.refusals import FILE_ENDINGS, no_such_data, of_no_party, paths_in
from fusion_nb.data.reports import listed
from fusion_nb.data.source_kinds import Parties, Pool, Table
from fusion_nb.data.tables import ReadOptions
from fusion_nb.data.tabular.columns import ColumnForm
from fusion_nb.data.unwrapping import Unwrapping
from fusion_nb.errors import DataError, NameNotFoundError, nearest

#: The value of the option `data` where none was given.
_DEFAULT_DATA = "digits"


#: Variables of the notebook itself, which are lists and dicts.
_OF_IPYTHON = ("In", "Out")
_PLAIN = ReadOptions()
#: The labels of a party whose rows can't be read.
_NO_LABELS = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Source:
    """The data of a federation before it is partitioned: one pool, or rows for each party.

    train, test: of the pool; test may also be the aggregator's own rows beside parties'
    parties: (training rows, test rows or None) by party, or None for a pool
    labels: of each data set, decoded, by (party, "train" or "test"); the party of a pool is ""
    schema:  what rows and labels are in all of them
    columns: of a table, by name;  notes: sentences;  batch_size: of loaders, or None
    forms:   of the columns of a table that is encoded later, or None
    """

    train: DataSet | None = None
    test: DataSet | None = None
    parties: Mapping[str, tuple[DataSet, DataSet | None]] | None = None
    labels: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)
    schema: DataSchema = field(default_factory=DataSchema)
    columns: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    batch_size: int | None = None
    forms: Mapping[str, ColumnForm] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes in order where labels were text."""
        return self.schema.labels.classes


def read(
    text: str,
    namespace: Mapping[str, Any],
    *,
    handler: str = "",
    label: str = "",
    key: str = "",
    may_fail: bool = False,
    is_encoded: bool = False,
    needs_label: bool = True,
    keeps_missing: bool = False,
) -> Source:
    """Load the data that `text` names: a variable, a registered data set, or files.

    text: several files, `.npz` or tables, are separated by commas or matched by `*`, one for each
    party
    handler: the data handler to read it with: a registered name, a class in the namespace, or
    `module:Class`
    label, key: columns of a DataFrame that hold the label, and the id to partition by
    may_fail: a party whose rows can't be read is kept, and fails when it trains
    is_encoded: the columns of a table are encoded later, and may be of any kind
    needs_label: refuse a table in which no column is plainly the label
    keeps_missing: leave a number that is missing NaN, and do not refuse it
    Raises DataError or NameNotFoundError before any training.
    """
    how = ReadOptions(label, key, is_encoded, needs_label, keeps_missing)
    if handler:
        return _read_handler(handler, namespace, "" if text == _DEFAULT_DATA else text, how)
    if text in namespace:
        return _read_variable(text, namespace, how, may_fail=may_fail)
    if text.partition(":")[0] in registry.names("datasets"):
        return _read_handler(text, {}, "", replace(_PLAIN, keeps_missing=keeps_missing))
    paths = _paths(text)
    if all(path.lower().endswith(FILE_ENDINGS) for path in paths):
        return _read_files(paths, text, how, namespace)
    variables = [name for name, value in namespace.items() if looks_like_data(name, value)]
    raise no_such_data(text, [*registry.names("datasets"), *variables])


def looks_like_data(name: str, value: Any) -> bool:
    """Return whether a variable can be partitioned among parties, judged by its type alone."""
    if name.startswith("_") or name in _OF_IPYTHON:
        return False
    if inspect.isclass(value) or inspect.ismodule(value):
        return False
    if isinstance(value, list) and texts.holds_documents(value):
        return True
    if type(value).__name__ == "ClientApp" and type(value).__module__.startswith("flwr."):
        return True
    parts = list(value.values()) if isinstance(value, dict) else value
    if isinstance(parts, list | tuple) and 1 <= len(parts) <= 100:
        is_pair = isinstance(parts, tuple) and len(parts) == 2
        return (is_pair and all(hasattr(part, "shape") for part in parts)) or all(
            not isinstance(part, list | dict) and looks_like_data(name, part) for part in parts
        )
    is_torch = any(kind.__module__.startswith("torch.utils.data") for kind in type(value).__mro__)
    return is_torch or frames.is_frame(value)


def kind_of(value: Any) -> handlers.Kind | Literal[""]:
    """Return the kind of rows in a variable: numbers, documents, or "" where both are possible."""
    if hasattr(value, "columns"):  # a table: which column is text is decided when it is read
        return ""
    parts = list(value.values()) if isinstance(value, dict) else value
    first = parts[:1] if isinstance(parts, list | tuple) else ()
    is_text = any(texts.holds_documents(part) for part in (parts, *first))
    return "documents" if is_text else "numbers"


def row_keys(source: Source, name: str, namespace: Mapping[str, Any]) -> np.ndarray:
    """Return one key for each row, from a column of the data or a variable of that name.

    Raises NameNotFoundError where there is neither, or DataError for rows without a key.
    """
    if name not in source.columns and name not in namespace:
        raise _no_column(name, list(source.columns))
    keys = source.columns[name] if name in source.columns else arrays.column(namespace[name], name)
    if keys.dtype != object and not np.issubdtype(keys.dtype, np.floating):
        return keys
    # None, NaN and pandas' NA are the values that are missing or differ from themselves.
    if missing := sum(key is None or key != key or str(key) == "<NA>" for key in keys.tolist()):
        raise DataError(
            f"{missing} rows have no value of {name!r}", "fill or drop those rows first"
        )
    return np.array([str(key) for key in keys]) if keys.dtype == object else keys


def _read_handler(
    name: str, namespace: Mapping[str, Any], path: str, how: ReadOptions = _PLAIN
) -> Source:
    return _read_pool(_pool_of(handlers.read(handlers.find(name, namespace), path)), name, how)


def _pool_of(pairs: tuple[handlers.Pair, handlers.Pair | None]) -> Pool:
    train, test = pairs
    recognise = source_kinds.recognise_pair
    return Pool(recognise(train), None if test is None else recognise(test))


def _paths(text: str) -> list[str]:
    parts = [os.path.expanduser(part.strip()) for part in text.split(",")]
    return [path for part in parts for path in (sorted(glob.glob(part)) or [part])]


def _pool_in_file(path: str) -> Pool:
    if path.lower().endswith(".npz"):
        return _pool_of(handlers.read(registry.get("datasets", "npz"), path))
    return Pool(Table(table_files.read(Path(path))))


def _read_files(
    paths: Sequence[str] | Mapping[str, str],
    text: str,
    how: ReadOptions,
    namespace: Mapping[str, Any],
) -> Source:
    named = paths if isinstance(paths, Mapping) else {Path(path).stem: path for path in paths}
    pools = {party: _pool_in_file(path) for party, path in named.items()}
    if len(paths) == 1 and named is not paths:
        return _read_keyed_pool(next(iter(pools.values())), text, how, namespace)
    if len(pools) < len(paths):
        raise DataError(
            "two of the files have the same name, and parties are named by file",
            "rename one of them",
        )
    return _read_parties(Parties(pools), text, replace(how, key=""))


def _read_variable(
    name: str, namespace: Mapping[str, Any], how: ReadOptions, *, may_fail: bool
) -> Source:
    value = namespace[name]
    if isinstance(value, os.PathLike):
        return read(
            os.fspath(value),
            {},
            label=how.label,
            key=how.key,
            is_encoded=how.is_encoded,
            needs_label=how.needs_label,
            keeps_missing=how.keeps_missing,
        )
    if paths := paths_in(value):
        return _read_files(paths, name, how, namespace)
    unwrapping = Unwrapping(name)
    found = source_kinds.recognise(unwrapping.rows(value), name)
    if isinstance(found, Parties):
        source = _read_parties(found, name, replace(how, key=""), may_fail=may_fail)
    else:
        source = _read_keyed_pool(found, name, how, namespace)
    is_shadowing = name in registry.names("datasets")
    note = (f"data: your variable {name!r}, not the set of that name",) if is_shadowing else ()
    return replace(
        source,
        notes=(*note, *unwrapping.notes, *source.notes),
        batch_size=unwrapping.batch_size,
    )


def _read_keyed_pool(
    pool: Pool, name: str, how: ReadOptions, namespace: Mapping[str, Any]
) -> Source:
    """Return a pool whose table, if it is one, keeps the columns that a split may follow."""
    if not isinstance(pool.train, Table):
        return _read_pool(pool, name, how)
    columns = tables.columns(pool.train.frame, name)
    if how.key and how.key not in columns and how.key not in namespace:
        raise _no_column(how.key, list(columns))
    return replace(_read_pool(pool, name, how), columns=columns)


def _read_pool(pool: Pool, name: str, how: ReadOptions = _PLAIN) -> Source:
    rows, notes = without_table(pool.train, name, how)
    parts = [Part("", "train", rows, f"{name} (training rows)", "", how)]
    if pool.test is not None:
        where = f"{name} (test rows)"
        rows, _ = without_table(pool.test, where, how)
        parts.append(Part("", "test", rows, where, "test ", how))
    try:
        found = agreed([(part, convert(part)) for part in parts])
    except DataError as error:
        raise of_no_party(error) from error.__cause__
    return Source(
        found.rows["", "train"],
        found.rows.get(("", "test")),
        labels=found.labels,
        schema=found.schema,
        notes=(*pool.notes, *notes, *found.notes),
        forms=found.forms,
    )


def _read_parties(
    given: Parties, name: str, how: ReadOptions = _PLAIN, *, may_fail: bool = False
) -> Source:
    if not given.pools:
        raise DataError(
            "the list of parties' data sets is empty", "give one data set for each party"
        )
    parts = []
    chosen: dict[str, list[str]] = {}
    for party, pool in given.pools.items():
        where = f"{party} (test rows)"
        rows, said = without_table(pool.train, party, how)
        for note in (*pool.notes, *said):
            chosen.setdefault(note, []).append(party)
        parts.append(Part(party, "train", rows, party, f"{party} ", how))
        if pool.test is not None:
            rows, _ = without_table(pool.test, where, how)
            parts.append(Part(party, "test", rows, where, f"{party} test ", how))
    if given.test is not None:
        rows, _ = without_table(given.test, "the test set", how)
        parts.append(Part("", "test", rows, "the test set", "test ", how))
    readable, failed = converted(parts, may_fail=may_fail)
    if len(failed) == len(given.pools):
        raise next(iter(failed.values())).error
    found = agreed(readable)
    parties: dict[str, tuple[DataSet, DataSet | None]] = {
        party: (failed[party], None)
        if party in failed
        else (found.rows[party, "train"], found.rows.get((party, "test")))
        for party in given.pools
    }
    warnings = [f"warning: {rows.error.redacted().message}" for rows in failed.values()]
    return Source(
        test=found.rows.get(("", "test")),
        parties=parties,
        labels={**found.labels, **{(party, "train"): _NO_LABELS for party in failed}},
        schema=found.schema,
        notes=(*given.notes, *_shared(chosen, len(given.pools)), *found.notes, *warnings),
        forms=found.forms,
    )


def _shared(notes: Mapping[str, Sequence[str]], count: int) -> list[str]:
    """Return notes about parties, each with the parties' names unless it is about all of them."""
    return [
        note if len(parties) == count else f"{note}, at {listed(parties)}"
        for note, parties in notes.items()
    ]


def _no_column(name: str, columns: Sequence[str]) -> NameNotFoundError:
    return NameNotFoundError(
        f"there is no column and no variable {name!r} to divide by",
        f"{nearest(name, columns)}columns: {', '.join(columns)}"
        if columns
        else "give the name of an array of ids",
        option="split",
        allowed=columns,
    )
