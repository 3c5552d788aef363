"""The statistics of parties' tables, of each party and of all together, without any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion_nb.core import registry
from fusion_nb.core.schema import LabelSchema
from fusion_nb.data.division import Division, Share, divide
from fusion_nb.data.tabular import sums
from fusion_nb.data.tabular.columns import ColumnForm
from fusion_nb.data.tabular.hiding import hidden
from fusion_nb.data.tabular.sums import NumberFacts, PartyTable
from fusion_nb.errors import DataError, option, plain_line

if TYPE_CHECKING:
    import pandas as pd

#: The column for all parties together, the rows for missing values and for rare categories, and a
#: count that is hidden for the sake of another one.
TOGETHER, MISSING, RARE, HIDDEN = "together", "(missing)", "(rare)", "hidden"
#: Splits that need no labels.
_WITHOUT_LABELS = ("iid", "by_key", "quantity")
_QUARTILES = {"25%": 0.25, "median": 0.5, "75%": 0.75}


@dataclass(frozen=True)
class Statistics:
    """The statistics of tables, from the counts and sums that parties report.

    numbers:    by column and party: rows, missing, mean, sd (that of the population, as pandas'
                `std(ddof=0)`), and the quartiles, each within the range of the column divided by
                2^20. Flags are 0 and 1.
    dates:      the same of dates; sd is in days
    categories: by column and category, the number of rows at each party and together
    A count below `min_count` is shown as "<5" say, the statistics of so few numbers not at all; and
    what would give such a count away is "hidden".
    """

    numbers: pd.DataFrame
    dates: pd.DataFrame
    categories: pd.DataFrame
    notes: tuple[str, ...] = ()

    @property
    def _tables(self) -> list[pd.DataFrame]:
        return [t for t in (self.numbers, self.dates, self.categories) if len(t)]

    def __repr__(self) -> str:
        tables = [table.to_string(na_rep="", float_format=_short) for table in self._tables]
        lines = "\n\n".join([*tables, *self.notes]).split("\n")
        return "\n".join(map(plain_line, lines))

    def _repr_html_(self) -> str:
        from markupsafe import escape

        tables = [table.to_html(na_rep="", float_format=_short) for table in self._tables]
        return "".join([*tables, *(f"<div>{escape(note)}</div>" for note in self.notes)])


def describe(namespace: Mapping[str, Any], *, min_count: int = 5, **options: Any) -> Statistics:
    """Return the statistics of a table that is divided among parties as a run divides it.

    options: data, data_handler, label, split, parties and seed, as in `RunSpec`
    Raises DataError for data that is no table.
    """
    found = divide(
        namespace,
        **options,
        holdout=0.0,
        may_fail=False,
        is_encoded=True,
        needs_label=registry.parse(options["split"])[0] not in _WITHOUT_LABELS,
    )
    if found.source.forms is None:
        raise DataError(
            f"{option('data', options['data'])} is no table, and statistics are those of the "
            "columns of a DataFrame",
            "give a DataFrame; %fusion split shows the labels of any data",
        )
    return _Describing(found, options["label"] or "label", min_count).statistics()


class _Describing:
    """Makes the tables of statistics of divided data."""

    def __init__(self, found: Division, label: str, min_count: int) -> None:
        self._min_count = min_count
        while label in (found.source.forms or {}):
            label = f"{label} (label)"
        form = _label_form(found.source.schema.labels)
        self._forms = {**(found.source.forms or {}), label: form}
        self._names = [share.party for share in found.shares]
        labels = found.source.schema.labels
        self._tables = [PartyTable(_columns(share, label, labels)) for share in found.shares]
        self._notes = (
            *found.notes,
            f"counts below {min_count} are not shown; "
            "%fusion split --tabular auto tells how many inputs the columns become",
        )

    def statistics(self) -> Statistics:
        """Return all of them."""
        import pandas as pd

        numbers = self._numbers(("number", "flag"))
        dates = self._numbers(("date",))
        for name in ("mean", *_QUARTILES):
            dates[name] = pd.to_datetime(dates[name].astype(float), unit="D").dt.round("s")
        return Statistics(numbers, dates, self._categories(), self._notes)

    def _of_kind(self, kinds: Sequence[str]) -> list[str]:
        return [name for name, form in self._forms.items() if form.kind in kinds]

    def _numbers(self, kinds: Sequence[str]) -> pd.DataFrame:
        import pandas as pd

        rows: dict[tuple[str, str], dict[str, Any]] = {}
        for name in self._of_kind(kinds):
            facts = [table.numbers(name) for table in self._tables]
            missing = self._shown(np.array([[f.missing for f in facts]]))[0]
            num_rows = self._shown(np.array([[f.count + f.missing for f in facts]]))[0]
            counts = np.array([[f.count for f in facts]])
            few = hidden(_with_sum(counts), self._min_count)[0]
            each = [*([table] for table in self._tables), self._tables]
            parties = [*self._names, TOGETHER]
            every = [*facts, NumberFacts.union(facts)]
            for i, party in enumerate(parties):
                found = {"rows": num_rows[i], "missing": missing[i]}
                rows[name, party] = found | _measured(each[i], name, every[i], is_few=bool(few[i]))
        columns = ["rows", "missing", "mean", "sd", *_QUARTILES]
        index = pd.MultiIndex.from_tuples(rows, names=["column", "party"]) if rows else None
        return pd.DataFrame([*rows.values()], index=index, columns=columns)

    def _categories(self) -> pd.DataFrame:
        import pandas as pd

        rows: dict[tuple[str, str], list[Any]] = {}
        for name in self._of_kind(("category",)):
            facts = [table.categories(name) for table in self._tables]
            every = sorted({category for part in facts for category in part.counts})
            order = self._forms[name].order
            every = [*(c for c in order if c in every), *(c for c in every if c not in order)]
            counts = {c: [part.counts.get(c, 0) for part in facts] for c in every}
            common = {c: n for c, n in counts.items() if sum(n) >= self._min_count}
            if rare := [n for c, n in counts.items() if c not in common]:
                common[RARE] = np.sum(rare, axis=0).tolist()
            if any(part.missing for part in facts):
                common[MISSING] = [part.missing for part in facts]
            shown = self._shown(np.array([*common.values()]))
            rows |= {(name, c): row for c, row in zip(common, shown, strict=True)}
        index = pd.MultiIndex.from_tuples(rows, names=["column", "category"]) if rows else None
        return pd.DataFrame([*rows.values()], index=index, columns=[*self._names, TOGETHER])

    def _shown(self, counts: np.ndarray) -> list[list[Any]]:
        """Return counts of parties with their sum, and text where one is not shown."""
        whole = _with_sum(counts)
        mask = hidden(whole, self._min_count)
        few = f"<{self._min_count}"
        return [
            [
                (few if count < self._min_count else HIDDEN) if is_hidden else int(count)
                for count, is_hidden in zip(row, at, strict=True)
            ]
            for row, at in zip(whole, mask, strict=True)
        ]


def _with_sum(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([counts, counts.sum(1, keepdims=True)], axis=1)


def _measured(
    parties: Sequence[PartyTable], name: str, facts: NumberFacts, *, is_few: bool
) -> dict[str, float]:
    """Return mean, deviation and quartiles; NaN where there are too few numbers."""
    if is_few or not facts.count:
        return dict.fromkeys(("mean", "sd", *_QUARTILES), np.nan)
    spread = sums.spread(parties, name, facts)
    found = {word: sums.quantile(parties, name, facts, q) for word, q in _QUARTILES.items()}
    return {
        "mean": spread.mean,
        "sd": spread.sd,
        **{word: quantile.value for word, quantile in found.items()},
    }


def _label_form(labels: LabelSchema) -> ColumnForm:
    """Return what the labels are as a column of the table."""
    if labels.shape or (labels.values == (0,) and not labels.classes):  # there is none
        return ColumnForm("empty")
    if not labels.are_whole or labels.values is None:
        return ColumnForm("number")
    return ColumnForm("category", labels.classes or tuple(map(str, labels.values)))


def _columns(share: Share, label: str, labels: LabelSchema) -> dict[str, np.ndarray]:
    """Return the columns of all rows of a party, its labels included."""
    parts: list[Any] = [share.train, *([] if share.test is None else [share.test])]
    found = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    form = _label_form(labels)
    y = np.concatenate([part[1] for part in parts])
    if form.kind == "category":
        names = dict(zip(labels.values or (), form.order, strict=True))
        return {**found, label: np.array([names[int(value)] for value in y], dtype=object)}
    return {**found, label: y.astype(float) if form.kind == "number" else y}


def _short(value: float) -> str:
    return f"{value:.6g}"
