"""Division: loaded data as the shares of parties, with test rows held back, and tables encoded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fusion_nb.core import documents, seeds
from fusion_nb.core import rows as rows_of
from fusion_nb.core.items import Unreadable
from fusion_nb.core.options import signature_options
from fusion_nb.core.rounds.drift import Drift
from fusion_nb.core.types.table import TableSchema
from fusion_nb.data import splits
from fusion_nb.data.arrays import DataSet
from fusion_nb.data.loading import Source, read, row_keys
from fusion_nb.data.skews import applying
from fusion_nb.data.skews import plan as plans
from fusion_nb.data.tabular import encoding
from fusion_nb.errors import SplitError, option

_DEFAULT_PARTIES = 4


@dataclass(frozen=True)
class Share:
    """One party's part of the data: its training and test rows, and the labels of both."""

    party: str
    train: DataSet
    test: DataSet | None
    labels: tuple[np.ndarray, np.ndarray]
    drift: Drift | None = None


@dataclass(frozen=True)
class Division:
    """Data that was divided among parties, its tables not encoded yet."""

    source: Source
    shares: list[Share]
    notes: tuple[str, ...]


def divide(
    namespace: Mapping[str, Any],
    *,
    data: str,
    data_handler: str,
    label: str,
    split: str,
    parties: int | None,
    holdout: float,
    seed: int,
    may_fail: bool,
    is_encoded: bool,
    needs_label: bool = True,
    keeps_missing: bool = False,
) -> Division:
    """Load data and divide it among parties.

    may_fail: a party whose rows can't be read is kept, and fails when it trains
    is_encoded: the columns of a table are encoded later, and may be of any kind
    needs_label: refuse a table in which no column is plainly the label
    keeps_missing: leave a number that is missing NaN, and do not refuse it
    """
    plan = plans.parse(split)
    function, options = plan.function, plan.options
    # An option of this kind names a column or variable; the split is given its values.
    per_row = next(
        (o.name for o in signature_options(function) if o.is_per_row and o.name in options), ""
    )
    key = str(options.get(per_row, ""))
    source = read(
        data,
        namespace,
        handler=data_handler,
        label=label,
        key=key,
        may_fail=may_fail,
        is_encoded=is_encoded,
        needs_label=needs_label,
        keeps_missing=keeps_missing,
    )
    if source.parties is not None:
        shares = _given_shares(source, source.parties, plan.name, parties, holdout, seed)
        made = Division(source, shares, (*source.notes, f"split: as given, {len(shares)} parties"))
        return skewed(made, plan.skews, seed)
    keys = row_keys(source, key, namespace) if key else None
    if keys is not None:
        options[per_row] = keys
    chosen = None
    if plan.skews:
        chosen = applying.kept(plan.skews, source.labels["", "train"], seed)
        if keys is not None:
            keys = options[per_row] = keys[chosen]
    draw = functools.partial(function, **options)
    shares = _drawn_shares(source, plan.name, draw, keys, parties, holdout, seed, chosen)
    return skewed(Division(source, shares, source.notes), plan.skews, seed)


def skewed(found: Division, skews: applying.Skews, seed: int) -> Division:
    """Return a division whose parties' rows are changed by skews, and the notes about that.

    Raises SplitError for rows that a skew can't change.
    """
    if not skews:
        return found
    source, num = found.source, len(found.shares)
    changing = [name for name, skew in skews if applying.changes_rows(skew)]
    readable = [share for share in found.shares if not isinstance(share.train, Unreadable)]
    pool = source.train if source.train is not None else rows_of.concat([s.train for s in readable])
    spreads = applying.spreads(changing[0], pool) if changing else []
    shares = []
    for number, share in enumerate(found.shares):
        if not isinstance(share.train, Unreadable):
            place = (number, num)
            train: Any = share.train
            test: Any = share.test
            if changing:
                key = share.party
                train = applying.changed(skews, train, spreads, place, ("train", key), seed)
                test = applying.changed(skews, test, spreads, place, ("test", key), seed)
            drift = applying.drift(skews, share.labels[0], place, share.party, seed)
            share = replace(share, train=train, test=test, drift=drift)
        shares.append(share)
    num_rows = sum(len(y) for (_, which), y in source.labels.items() if which == "train")
    num_kept = sum(len(y) for share in shares for y in share.labels)
    notes = applying.notes(skews, num, num_rows if source.parties is None else num_kept, num_kept)
    if changing and source.test is not None:
        notes.append(f"split: the central test set is not changed by {' and '.join(changing)}")
    return Division(source, shares, (*found.notes, *notes))


def encoded(found: Division, text: str, name: str, table: TableSchema | None) -> Division:
    """Return a division whose tables are encoded by the statistics of all training rows.

    text: the option;  name: of the data, for messages;  table: an encoding that was fitted before
    """
    source, shares = found.source, found.shares
    forms = source.forms
    if forms is None:
        raise encoding.no_table(name, text)
    with_test = [share for share in shares if share.test is not None]
    training: list[Any] = [share.train for share in shares]
    tests: list[Any] = [share.test for share in with_test]
    tests += [] if source.test is None else [source.test]
    table = table or encoding.fit(text, training, forms)
    made = encoding.encode(table, source.schema, training, tests, forms)
    rows = iter(made.rows)
    shares = [replace(share, train=next(rows)) for share in shares]
    shares = [share if share.test is None else replace(share, test=next(rows)) for share in shares]
    test = None if source.test is None else next(rows)
    return Division(
        replace(source, schema=made.schema, test=test), shares, (*found.notes, *made.notes)
    )


def with_own_tags(
    shares: list[Share], notes: tuple[str, ...]
) -> tuple[list[Share], tuple[str, ...]]:
    """Return shares of documents whose tags differ, where parties number theirs alike; and notes.

    gensim's tutorials number documents from 0, and so does each party.
    """
    readable = [share for share in shares if isinstance(share.train, tuple)]
    if not documents.number_alike({share.party: share.train[0] for share in readable}):
        return shares, notes
    told_apart = [replace(share, train=_tagged(share, share.train)) for share in shares]
    if any(share.test is not None for share in shares):
        told_apart = [replace(share, test=_tagged(share, share.test)) for share in told_apart]
    note = (
        "documents: several parties have documents of the same numbers, so the party's name goes "
        f"before each: the number 0 of {shares[0].party} is '{shares[0].party} 0'"
    )
    return told_apart, (*notes, note)


def _tagged(share: Share, rows: Any) -> Any:
    """Return documents with the party's name before their numbers."""
    if not isinstance(rows, tuple):
        return rows
    return documents.with_party(rows[0], share.party), rows[1]


def _given_shares(
    source: Source,
    given: Mapping[str, tuple[DataSet, DataSet | None]],
    split: str,
    num_parties: int | None,
    holdout: float,
    seed: int,
) -> list[Share]:
    """Return the shares of data that the user has already divided."""
    if split != "iid":
        raise SplitError(
            f"{option('split', split)}, but the data is already split",
            f"leave {option('split')} out",
        )
    if num_parties not in (None, len(given)):
        raise SplitError(
            f"{option('parties', num_parties)}, but the data has {len(given)}",
            f"use {option('parties', len(given))}",
        )
    shares = []
    for party, (train, test) in given.items():
        y = source.labels[party, "train"]
        if isinstance(train, Unreadable):
            shares.append(Share(party, train, None, (y, y)))
            continue
        if test is None:
            share = _held_back(party, train, y, np.arange(len(y)), holdout, seed)
        else:
            both = rows_of.guarded(train), rows_of.guarded(test)
            share = Share(party, *both, (y, source.labels[party, "test"]))
        shares.append(share)
    return shares


def _drawn_shares(
    source: Source,
    split: str,
    draw: Callable[..., splits.Parts],
    keys: np.ndarray | None,
    num_parties: int | None,
    holdout: float,
    seed: int,
    chosen: np.ndarray | None,
) -> list[Share]:
    """Return the shares of a pool that a split divides. `split` is how messages call it.

    chosen: the rows that are divided; None for all
    """
    assert source.train is not None
    every = source.labels["", "train"]
    y = every if chosen is None else every[chosen]
    natural = [] if keys is None else [str(key) for key in np.unique(keys)]
    num_parties = num_parties or len(natural) or _DEFAULT_PARTIES
    if num_parties > len(y):
        raise SplitError(
            f"{option('parties', num_parties)}, but there are only {len(y)} rows",
            "use fewer parties",
        )
    is_natural = len(natural) == num_parties
    names = natural if is_natural else [f"party {i + 1}" for i in range(num_parties)]
    parts = draw(y, num_parties, seeds.stream(seed, "split"))
    splits.check(parts, len(y), names, split)
    return [
        _held_back(
            name,
            source.train,
            every,
            np.asarray(rows, dtype=int) if chosen is None else chosen[rows],
            holdout,
            seed,
        )
        for name, rows in zip(names, parts, strict=True)
    ]


def _held_back(
    party: str, pool: DataSet, y: np.ndarray, rows: np.ndarray, holdout: float, seed: int
) -> Share:
    """Return the share of a party that has these rows of a pool, some held back as test rows."""
    train, test = splits.holdout(y, rows, holdout, seeds.stream(seed, "holdout", party))
    own_test = rows_of.take(pool, test) if len(test) else None
    return Share(party, rows_of.take(pool, train), own_test, (y[train], y[test]))
