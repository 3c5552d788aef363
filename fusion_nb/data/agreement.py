"""The agreement on one schema over all data sets that belong together."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np

from fusion_nb.core.facts import DOCUMENTS, MAX_VALUES, TABLE, Facts, text_of
from fusion_nb.core.items import Relabelled
from fusion_nb.core.schema import DataSchema, LabelSchema, RowSchema
from fusion_nb.data import class_orders
from fusion_nb.data.arrays import DataSet, Given
from fusion_nb.data.reports import Report, listed
from fusion_nb.errors import DataError, private

#: Whole numbers written as text are classes where they are of at most this number of kinds.
_MAX_TEXT_CLASSES = 100
#: Names of a missing value, as text.
_MISSING = ("", "nan", "NaN", "None", "<NA>", "NaT")


def agree(reports: Sequence[Report]) -> DataSchema:
    """Return what rows and labels are at every party.

    Raises DataError, which names the data sets, where they differ.
    """
    first = reports[0]
    _check_kinds(reports)
    columns = _agreed_columns(reports)
    if DOCUMENTS in first.rows.dtypes:
        rows = RowSchema("documents")
    elif TABLE in first.rows.dtypes:
        rows = RowSchema("structured", columns=columns)  # until its columns are encoded
    else:
        _check_structure(reports)
        _check_shapes(reports)
        rows = RowSchema.of(Facts.union([report.rows for report in reports]), columns)
        _check_units({report.where: report.rows for report in reports})
    _check_one_form(reports)
    _check_masks(reports)
    if first.labels.is_text:
        return DataSchema(rows, _text_labels(reports))
    facts = Facts.union([report.labels for report in reports])
    are_rows = all(report.are_rows for report in reports)
    return DataSchema(rows, LabelSchema.of(facts, rows, are_rows=are_rows))


def apply(schema: DataSchema, given: Given) -> tuple[DataSet, np.ndarray]:
    """Return a data set in the agreed form, and its labels.

    Columns have the agreed order, labels of classes are numbers, and arrays one dtype.
    """
    labels = schema.labels.numbered(given.labels)
    if not isinstance(given.rows, tuple):
        if given.labels.dtype.kind in "OUST":
            texts = {text_of(label) for label in given.labels.reshape(-1).tolist()}
            number: Mapping[str, float] = schema.labels.number() or {
                text: float(text) for text in texts
            }
            return Relabelled(given.rows, number), labels
        return given.rows, labels
    x, wanted = given.rows[0], schema.rows
    if wanted.kind == "structured":
        return (x, labels), labels
    if given.columns and given.columns != wanted.columns:
        x = np.ascontiguousarray(x[:, [given.columns.index(name) for name in wanted.columns]])
    if wanted.dtype and x.dtype.name != wanted.dtype:
        x = x.astype(wanted.dtype)
    return (x, labels), labels


def bring_rows(schema: DataSchema, x: np.ndarray, where: str) -> np.ndarray:
    """Return rows without labels, read apart from the parties', in the units of the schema.

    Raises DataError for rows in other units.
    """
    own = RowSchema.of(Facts.of(x, with_values=False))
    if own.scale == schema.rows.scale:
        return x
    low, high = own.low or 0.0, own.high or 0.0
    if own.scale != 1:  # the parties' pixels are no bytes
        return x.astype(np.float32) / np.float32(own.scale)
    if 0 <= low <= high <= 1:
        return x.astype(np.float32) * np.float32(schema.rows.scale)
    if own.may_be_indices and 0 <= low <= high <= schema.rows.scale:
        return x
    raise DataError(
        f"the rows of {where} are {own.dtype} from {low:g} to {high:g}, and those of the parties "
        "bytes of images from 0 to 255",
        "give both the same units",
    )


def notes(reports: Sequence[Report], schema: DataSchema) -> list[str]:
    """Return what was guessed in the agreement, as sentences."""
    columns = schema.rows.columns
    moved = [r.where for r in reports if r.columns and r.columns != columns]
    are_named = any(r.columns for r in reports)
    unnamed = [r.where for r in reports if are_named and not r.columns]
    found = []
    if moved:
        found.append(
            f"columns: those of {listed(moved)} are brought into the order of those of "
            f"{next(r.where for r in reports if r.columns)}"
        )
    if unnamed:
        found.append(
            f"warning: the columns of {listed(unnamed)} have no names, and are taken to be in "
            f"the order {listed(columns)}"
        )
    mixed = [r.where for r in reports if schema.rows.scale != 1 and "uint8" not in r.rows.dtypes]
    if mixed:
        found.append(
            f"rows: the whole numbers of {listed(mixed)} are taken for bytes of images, as the "
            "others are"
        )
    if reports[0].labels.is_text and schema.labels.kind == "numbers":
        found.append("labels: text that is numbers is read as measurements")
    facts = [report.labels for report in reports]
    if schema.labels.kind == "classes" and all(map(_look_like_pixels, facts)):
        found.append(
            "labels: bytes are taken for class numbers, or for measurements where the model has "
            "an output for each, and are not scaled; if they are pixels, divide them by 255"
        )
    found += class_orders.conflicts(reports, schema.labels.classes)
    found += _doubtful_classes(reports, schema)
    return [*found, *schema.notes()]


def _check_structure(reports: Sequence[Report]) -> None:
    """Raise DataError unless rows are several arrays at all parties, of one form, or at none."""
    forms = [_form(report.rows) for report in reports]
    for report, form in zip(reports, forms, strict=True):
        if form != forms[0]:
            raise DataError(
                f"the inputs of {report.where} are {form or 'one array'}, and those of "
                f"{reports[0].where} {forms[0] or 'one array'}",
                "give all the same form",
            )


def _form(facts: Facts) -> str:
    """Return the inputs as text; by their names, so that a dict may have them in any order."""
    return ", ".join(f"{name} of shape {part.shape}" for name, part in sorted(facts.parts))


def _check_kinds(reports: Sequence[Report]) -> None:
    """Raise DataError where rows are documents, or tables, at some and numbers at others."""
    first = reports[0]
    for kind, word in ((DOCUMENTS, "documents"), (TABLE, "a table")):
        for report in reports:
            if (kind in report.rows.dtypes) != (kind in first.rows.dtypes):
                raise DataError(
                    f"the rows of one of {first.where} and {report.where} are {word}, and those "
                    "of the other are numbers",
                    "give all one form",
                )


def _check_shapes(reports: Sequence[Report]) -> None:
    """Raise DataError unless all arrays have rows of one shape."""
    arrays = [report for report in reports if not report.are_items]
    for report in arrays:
        shape, expected = report.rows.shape, arrays[0].rows.shape
        if shape != expected:
            raise DataError(
                f"rows of {report.where} have shape {shape}, those of {arrays[0].where} {expected}",
                "give all the same form; several inputs of one data set are written ((a, b), y)",
            )


def _agreed_columns(reports: Sequence[Report]) -> tuple[str, ...]:
    """Return the columns of the first data set that names them.

    Raises DataError for another data set that has other ones.
    """
    first = next((report for report in reports if report.columns), reports[0])
    for report in reports:
        if not report.columns or {*report.columns} == {*first.columns}:
            continue
        lacking = [name for name in first.columns if name not in report.columns]
        more = [name for name in report.columns if name not in first.columns]
        said = [f"{report.where} lacks {listed(lacking)}"] if lacking else []
        said += [f"{first.where} lacks {listed(more)}"] if more else []
        how = ")" if TABLE in first.rows.dtypes else ", fill_value=0)"
        raise DataError(
            f"the columns of {report.where} are not those of {first.where}: {', and '.join(said)}",
            f"give all the same columns, with frame.reindex(columns=...{how} say",
        )
    return first.columns


def _check_units(facts: Mapping[str, Facts], what: str = "rows") -> None:
    """Raise DataError where some rows are bytes of images, and others are no such numbers.

    facts: about one array of each data set, or about several, by how messages call the data set
    """
    first = next(iter(facts.values()))
    for name, _ in first.parts:
        _check_units({where: dict(f.parts)[name] for where, f in facts.items()}, f"inputs {name!r}")
    as_bytes = [where for where, found in facts.items() if "uint8" in found.dtypes]
    if not as_bytes or len(as_bytes) == len(facts):
        return
    of_bytes = [facts[where] for where in as_bytes]
    if "image bytes" not in [
        RowSchema.of(Facts.union(f)).kind for f in (of_bytes, [*facts.values()])
    ]:
        return
    for where, found in facts.items():
        is_like_bytes = found.is_whole and found.within(0, 255) and not found.within(0, 1)
        if where not in as_bytes and not is_like_bytes:
            low, high = found.low or 0, found.high or 0
            raise DataError(
                f"the {what} of {as_bytes[0]} are bytes of images from 0 to 255, and those of "
                f"{where} are {found.dtype} from {low:g} to {high:g}",
                "give all the same units: x.astype('float32') / 255 for the bytes say",
            )


def _check_one_form(reports: Sequence[Report]) -> None:
    """Raise DataError where labels differ in form: text and numbers, or several shapes."""
    first = reports[0]
    for report in reports:
        is_same = report.labels.is_text == first.labels.is_text
        if not is_same or _label_shape(report) != _label_shape(first):
            raise DataError(
                f"the labels of {report.where} are of another form than those of {first.where}: "
                f"{_label_form(report)}, and {_label_form(first)}",
                "give all one form",
            )


def _label_shape(report: Report) -> tuple[int, ...]:
    """Return the shape of a label; a column of one is a plain label."""
    return () if report.labels.shape == (1,) else report.labels.shape


def _label_form(report: Report) -> str:
    kind = "text" if report.labels.is_text else report.labels.dtype or "numbers"
    shape = _label_shape(report)
    return f"{kind} of shape {shape} each" if shape else f"one {kind} each"


def _check_masks(reports: Sequence[Report]) -> None:
    """Raise DataError where masks are of 0 and 255 at some, and of 0 and 1 at the others."""
    values = {report.where: {*(report.labels.values or ())} for report in reports}
    high = [where for where, found in values.items() if 255 in found and found <= {0, 255}]
    low = [where for where, found in values.items() if 1 in found and found <= {0, 1}]
    if (
        reports[0].labels.shape
        and high
        and low
        and all(found <= {0, 1} or found <= {0, 255} for found in values.values())
    ):
        raise DataError(
            f"the labels of {listed(high)} are masks of 0 and 255, and those of {listed(low)} of 0 "
            "and 1",
            "give all the same: (mask > 0) say",
        )


def _look_like_pixels(labels: Facts) -> bool:
    """Return whether labels are arrays of bytes of more kinds than classes have."""
    is_image = len([size for size in labels.shape if size > 1]) > 1
    return is_image and labels.dtypes == ("uint8",) and len(labels.values or ()) > 64


def _doubtful_classes(reports: Sequence[Report], schema: DataSchema) -> list[str]:
    """Return warnings of classes that may be one class spelled in two ways, or missing labels."""
    classes = schema.labels.classes
    found, alike = [], []
    spellings: dict[str, list[str]] = {}
    for name in classes:
        spellings.setdefault(_folded(name), []).append(name)
    for names in spellings.values():
        # Letters of both cases in one data set are meant so: "a" and "A" of handwriting.
        is_meant = {name.casefold() for name in names} == {names[0].casefold()} and any(
            len({*names} & {*report.labels.names}) > 1 for report in reports
        )
        if len(names) > 1 and not is_meant:
            alike.append(" and ".join(map(repr, names)))
    if alike:
        found.append(
            f"warning: the labels {listed(alike)} are classes of their own; if they are the same, "
            "spell them alike"
        )
    if missing := [name for name in classes if name.strip() in _MISSING]:
        found.append(
            f"warning: the label {missing[0]!r} is a class of its own; if it means that a label is "
            "missing, drop those rows"
        )
    return found


def _folded(name: str) -> str:
    """Return a class's name without case, blanks and the several ways to write a number."""
    text = unicodedata.normalize("NFC", " ".join(name.split())).casefold()
    numbers = _as_numbers({text})
    return text if numbers is None else str(numbers[text])


def _text_labels(reports: Sequence[Report]) -> LabelSchema:
    """Return what labels of text are: classes by name, or numbers that were written as text.

    Raises DataError for a label of test rows that no training row has.
    """
    if reports[0].labels.shape not in ((), (1,)):
        raise DataError(
            f"each label of {reports[0].where} is text of shape {reports[0].labels.shape}",
            "give one label for each row, or encode them as numbers",
        )
    trained_on = {n for report in reports if report.is_trained_on for n in report.labels.names}
    every = {name for report in reports for name in report.labels.names}
    numbers = _as_numbers(every)
    if numbers is not None:
        is_whole = all(number.is_integer() for number in numbers.values())
        if not is_whole or len(every) > _MAX_TEXT_CLASSES:
            low, high = min(numbers.values()), max(numbers.values())
            return LabelSchema("numbers", (), low, high, dtype="float64")
        in_order = sorted(trained_on, key=lambda name: (numbers[name], name))
    else:
        in_order = sorted(trained_on)
    classes = class_orders.merged(reports, in_order)
    for report in reports:
        if unknown := {*report.labels.names} - {*classes}:
            raise DataError(
                f"{report.where}: the label {private(repr(min(unknown)))} is in no training row",
                "check the labels",
            )
    top = len(classes) - 1
    values = tuple(range(top + 1)) if top < MAX_VALUES else None
    edges = tuple(dict.fromkeys(map(float, (0, min(1, top), max(0, top - 1), top))))
    return LabelSchema("classes", (), 0.0, float(top), values, classes, dtype="int64", edges=edges)


def _as_numbers(names: set[str]) -> dict[str, float] | None:
    """Return the numbers that texts are, or None where one is no finite number."""
    try:
        found = {name: float(name) for name in names}
    except ValueError:
        return None
    return found if all(np.isfinite(number) for number in found.values()) else None
