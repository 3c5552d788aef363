"""The rows of one party, read where they are: the kernel is told facts about them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.core import registry, seeds
from fusion_nb.core import rows as rows_of
from fusion_nb.core.facts import Facts
from fusion_nb.core.schema import DataSchema
from fusion_nb.data import agreement, handlers, source_kinds, splits, table_files
from fusion_nb.data.arrays import DataSet, Given
from fusion_nb.data.parts import Part, convert, without_table
from fusion_nb.data.reports import Report, report
from fusion_nb.data.tables import ReadOptions
from fusion_nb.errors import DataError, option


@dataclass(frozen=True)
class PartyRows:
    """The rows of a party in the form that its file has: training rows, and test rows or None."""

    party: str
    train: Given
    test: Given | None

    @classmethod
    def read(cls, party: str, path: str, label: str = "") -> PartyRows:
        """Read a .npz, .csv or .parquet file. Raises DataError for another one."""
        suffix = Path(path).suffix.lower()
        raw: source_kinds.Raw
        if suffix == ".npz":
            train, test = handlers.read(registry.get("datasets", "npz"), path)
            raw = source_kinds.recognise_pair(train)
            own = None if test is None else source_kinds.recognise_pair(test)
        elif suffix in table_files.READERS:
            raw, own = source_kinds.Table(table_files.read(Path(path))), None
        else:
            raise DataError(
                f"{path} is no file that rows are read from",
                f"give one that ends in .npz, {', '.join(table_files.READERS)}",
            )
        # Whether the model takes rows in which numbers are missing is known in the kernel.
        how = ReadOptions(label, keeps_missing=True)
        rows, _ = without_table(raw, party, how)
        made = convert(Part(party, "train", rows, party, f"{party} ", how))
        if own is None:
            return cls(party, made, None)
        rows, _ = without_table(own, party, how)
        where = f"{party} (test rows)"
        return cls(party, made, convert(Part(party, "test", rows, where, f"{party} test ", how)))

    def facts(self) -> list[dict[str, Any]]:
        """Return the facts about the rows from which all parties agree on a schema."""
        return [asdict(report(given)) for given in (self.train, self.test) if given is not None]

    def in_form(
        self, schema: DataSchema, holdout: float, seed: int
    ) -> tuple[DataSet, DataSet | None]:
        """Return training and test rows in the agreed form; some are held back if need be."""
        rows, y = agreement.apply(schema, self.train)
        if self.test is not None:
            return rows_of.guarded(rows), rows_of.guarded(agreement.apply(schema, self.test)[0])
        stream = seeds.stream(seed, "holdout", self.party)
        train, test = splits.holdout(y, np.arange(len(y)), holdout, stream)
        return rows_of.take(rows, train), rows_of.take(rows, test) if len(test) else None


def reports_of(facts: Sequence[Mapping[str, Any]], party: str) -> list[Report]:
    """Return a party's reports from the facts that it sent. Raises DataError for other data."""
    try:
        return [_report(found) for found in facts]
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(
            f"the facts that {party} reports about its rows can't be read: {error}",
            "use the same version of fusion_nb at all parties",
        ) from error


def agreed_schema(reports: Sequence[Report]) -> tuple[DataSchema, list[str]]:
    """Return what rows and labels are at every party, and notes."""
    schema = agreement.agree(reports)
    if schema.rows.kind in ("documents", "structured"):
        raise DataError(
            f"the parties' rows are {schema.rows.kind}, and a running federation takes arrays",
            f"train on them in one kernel, without {option('engine', 'flower')}",
        )
    return schema, agreement.notes(reports, schema)


def stand_in(schema: DataSchema, num_rows: int) -> DataSet:
    """Return rows of zeros that have the form of a party's rows, without a copy of each.

    A model is tried on them, and their number is the party's.
    """
    rows, labels = schema.rows, schema.labels
    row = np.zeros(rows.shape, dtype=rows.dtype or "float32")
    x = np.broadcast_to(row, (num_rows, *rows.shape))
    if labels.kind == "none":
        return x, np.zeros(num_rows, dtype=np.int64)
    ends = labels.values or labels.edges or (labels.low or 0.0,)
    values = np.asarray(ends, dtype=labels.dtype or "float32")
    shape = (num_rows, *labels.shape)
    return x, np.resize(values, shape)


def _report(found: Mapping[str, Any]) -> Report:
    given: dict[str, Any] = _with_tuples(found)
    given |= {name: _facts(found[name]) for name in ("rows", "labels")}
    return Report(**given)


def _facts(found: Mapping[str, Any]) -> Facts:
    given: dict[str, Any] = _with_tuples(found)
    given["parts"] = tuple((str(name), _facts(part)) for name, part in found["parts"])
    return Facts(**given)


def _with_tuples(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}
