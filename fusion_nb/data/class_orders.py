"""The order of classes that labels of a Categorical bring with them."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.data.reports import Report


def merged(reports: Sequence[Report], in_order: Sequence[str]) -> tuple[str, ...]:
    """Return classes in the order of the data sets' Categoricals, the first one's first.

    in_order: all classes, in the order of those that no Categorical names
    """
    own = [name for report in reports for name in report.class_order if name in in_order]
    return tuple(dict.fromkeys([*own, *in_order]))


def conflicts(reports: Sequence[Report], classes: Sequence[str]) -> list[str]:
    """Return a warning about data sets whose order is another one than that of the classes."""
    place = {name: number for number, name in enumerate(classes)}
    others = []
    for report in reports:
        places = [place[name] for name in report.class_order if name in place]
        if places != sorted(places):
            others.append(report.where)
    if not others:
        return []
    first = next(report.where for report in reports if report.class_order)
    return [
        f"warning: the categories of the labels of {', '.join(others)} have another order than "
        f"those of {first}, which is that of the classes"
    ]
