"""The encoding `auto`: one-hot categories, numbers that are filled and in standard units."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from fusion_nb.core.types.table import ColumnSchema, TableSchema
from fusion_nb.data.tabular import sums
from fusion_nb.data.tabular.columns import ColumnForm
from fusion_nb.data.tabular.sums import NumberFacts, PartyTable
from fusion_nb.errors import DataError, OptionError, nearest, option

_FILLS = ("mean", "median")
_SCALES = ("standard", "minmax", "none")
#: The privacy rule that holds where a single party can't keep it.
_MIN_PARTIES = 2


class Auto:
    """Encode the columns of a table alike at all parties, by statistics of their training rows.

    Parties report counts, sums and histograms, and never a row. A number becomes one input, in
    standard units; a date is days since 1970-01-01; yes and no are 1 and 0; and a category becomes
    an input for each of its names. The rare names, and those that too few parties have, become
    "other" together. Where something is missing, the number is filled, and an input of its own
    marks it. A column that is the same in all training rows is left out.
    """

    def __init__(
        self,
        *,
        impute: Annotated[
            str, Field(description="fill a missing number with the mean or the median")
        ] = "mean",
        scale: Annotated[
            str,
            Field(
                description="standard: minus the mean, divided by the standard deviation; minmax: "
                "from 0 to 1; none"
            ),
        ] = "standard",
        min_count: Annotated[
            int, Field(ge=1, description="a category of fewer training rows is rare")
        ] = 5,
        min_parties: Annotated[
            int, Field(ge=1, description="a category that fewer parties have is not named")
        ] = _MIN_PARTIES,
        max_categories: Annotated[
            int, Field(ge=1, description="the most names of a column, the commonest ones")
        ] = 100,
    ) -> None:
        _check("impute", impute, _FILLS)
        _check("scale", scale, _SCALES)
        self.impute, self.scale = impute, scale
        self.min_count, self.min_parties = min_count, min_parties
        self.max_categories = max_categories

    def fit(self, parties: Sequence[PartyTable], forms: Mapping[str, ColumnForm]) -> TableSchema:
        """Return the encoding that all parties take over, from their reports.

        forms: what each column is at all of them
        Raises OptionError for more parties than there are, DataError where no column is of use.
        """
        wanted = self.min_parties
        if wanted > max(_MIN_PARTIES, len(parties)):
            raise OptionError(
                f"{option('tabular', f'auto:min_parties={wanted}')}, but there are {len(parties)}",
                "no category would be named: use fewer",
            )
        columns: list[ColumnSchema] = []
        left_out: list[tuple[str, str]] = []
        for name, form in forms.items():
            found = self._column(parties, name, form)
            if isinstance(found, str):
                left_out.append((name, found))
            else:
                columns.append(found)
        if not columns:
            said = ", ".join(f"{name}: {reason}" for name, reason in left_out)
            raise DataError(
                f"no column of the table is of use ({said})",
                "give columns that differ from row to row",
                option="tabular",
            )
        return TableSchema(tuple(columns), tuple(left_out))

    def _column(
        self, parties: Sequence[PartyTable], name: str, form: ColumnForm
    ) -> ColumnSchema | str:
        """Return how a column is encoded, or why it is left out."""
        if form.kind == "empty":
            return "no value in any row"
        if form.kind == "category":
            return self._categories(parties, name, form)
        return self._numbers(parties, name, form)

    def _numbers(
        self, parties: Sequence[PartyTable], name: str, form: ColumnForm
    ) -> ColumnSchema | str:
        facts = NumberFacts.union([party.numbers(name) for party in parties])
        if not facts.count:
            return "no value in any training row"
        has_missing = facts.missing > 0
        if facts.low == facts.high and not has_missing:
            return "the same in all training rows"
        found = sums.spread(parties, name, facts)
        fill, error = found.mean, 0.0
        if self.impute == "median":
            median = sums.quantile(parties, name, facts, 0.5)
            fill, error = median.value, median.error
        center, unit = self._center_and_unit(form, facts, found)
        return ColumnSchema(
            name,
            "number" if form.kind == "empty" else form.kind,
            facts.count,
            facts.missing,
            found.mean,
            found.sd,
            fill=fill,
            filled_with=self.impute if has_missing else "",
            fill_error=error,
            center=center,
            unit=unit,
        )

    def _center_and_unit(
        self, form: ColumnForm, facts: NumberFacts, found: sums.Spread
    ) -> tuple[float, float]:
        if form.kind == "flag" or self.scale == "none":
            return 0.0, 1.0
        if self.scale == "minmax":
            return facts.low, (facts.high - facts.low) or 1.0
        # A deviation that rounding alone explains is none, as in scikit-learn's StandardScaler.
        rounding = math.ulp(max(abs(facts.low), abs(facts.high)))
        return found.mean, found.sd if found.sd > rounding else 1.0

    def _categories(
        self, parties: Sequence[PartyTable], name: str, form: ColumnForm
    ) -> ColumnSchema | str:
        reports = [party.categories(name) for party in parties]
        counts: Counter[str] = Counter()
        holders: Counter[str] = Counter()
        for report in reports:
            counts.update(report.counts)
            holders.update(report.counts.keys())
        if not counts:
            return "no value in any training row"
        missing = sum(report.missing for report in reports)
        wanted = min(self.min_parties, len(parties))
        common = [c for c in counts if counts[c] >= self.min_count and holders[c] >= wanted]
        in_order = _in_order(counts, form)
        place = {category: i for i, category in enumerate(in_order)}
        common.sort(key=lambda category: (-counts[category], place[category]))
        kept = {*common[: self.max_categories]}
        categories = tuple(category for category in in_order if category in kept)
        num_grouped = len(counts) - len(kept)
        if not kept and not missing:
            if max(counts.values()) < self.min_count:
                return f"{len(counts)} categories, none of which is common"
            return (
                f"{len(counts)} categories, none of which has {self.min_count} rows or more and is "
                f"at {wanted} parties or more"
            )
        if len(counts) == 1 and not missing:
            return "the same in all training rows"
        return ColumnSchema(
            name,
            "category",
            counts.total(),
            missing,
            categories=categories,
            num_grouped=num_grouped,
        )


def _in_order(counts: Mapping[str, int], form: ColumnForm) -> list[str]:
    """Return categories in the user's order; those without one by size or by name."""
    given = [category for category in form.order if category in counts]
    others = counts.keys() - {*given}
    if form.is_numeric_text:
        return [*given, *sorted(others, key=lambda text: (float(text), text))]
    return [*given, *sorted(others)]


def _check(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise OptionError(
            f"{option('tabular', f'auto:{name}={value}')} is not allowed",
            f"{nearest(value, allowed)}{name} is one of: {', '.join(allowed)}",
            option="tabular",
            value=value,
            allowed=allowed,
        )
