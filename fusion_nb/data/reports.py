"""Reports: the facts about a party's data set from which all parties agree on a schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fusion_nb.core.facts import Facts
from fusion_nb.core.guesses import equal_rows
from fusion_nb.data.arrays import Given

#: Names that a message lists.
_SHOWN = 5


@dataclass(frozen=True)
class Report:
    """The facts about one data set; no row can be read from it.

    where:    how messages call it;  rows, labels: facts about both
    columns:  names of the columns of x, or ();  is_trained_on: False for test rows
    are_rows: every label equals its row;  are_items: rows come one at a time, of any shape
    class_order: the names of classes in the order of a Categorical, or ()
    """

    where: str
    rows: Facts
    labels: Facts
    columns: tuple[str, ...] = ()
    is_trained_on: bool = True
    are_rows: bool = False
    are_items: bool = False
    class_order: tuple[str, ...] = ()


def report(given: Given) -> Report:
    """Return the report about a data set."""
    return Report(
        given.where,
        given.facts,
        Facts.of(given.labels),
        given.columns,
        given.is_trained_on,
        isinstance(given.rows, tuple)
        and isinstance(given.rows[0], np.ndarray)
        and equal_rows(given.rows[0], given.labels),
        not isinstance(given.rows, tuple),
        given.class_order,
    )


def listed(names: Sequence[str]) -> str:
    """Return names as a list in words; the later ones of many are counted."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
