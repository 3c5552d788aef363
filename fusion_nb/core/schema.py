"""The agreement about the data: what rows and labels are, at every party alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from fusion_nb.core import documents, guesses
from fusion_nb.core.facts import Facts, text_of
from fusion_nb.core.items import read_labels
from fusion_nb.core.types.table import TableSchema

RowKind = Literal["numbers", "whole numbers", "flags", "image bytes", "documents", "structured"]
LabelKind = Literal["classes", "flags", "numbers", "mask", "rows", "shares", "none"]

#: Labels of bytes in the shape of an image are pixels where they have more values than this.
_MAX_PLACE_CLASSES = 64
#: Fields by which a model understands its rows and labels.
_MEANING = ("kind", "shape", "columns", "scale", "classes", "one_hot")
#: Class names that a note spells out.
_NAMED = 20


@dataclass(frozen=True)
class RowSchema:
    """The form of rows.

    kind:      "flags" are the numbers 0 and 1, "structured" rows dicts or several arrays
    shape:     of one row;  columns: names in order, or ()
    low, high: over all parties, None where not all rows were read
    scale:     numbers are divided by it before a model sees them
    dtype:     that arrays have at every party, or ""
    parts:     of structured rows, what each of `columns` is
    has_missing: some numbers are NaN, since they are missing
    """

    kind: RowKind = "numbers"
    shape: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    scale: float = 1.0
    dtype: str = ""
    parts: tuple[RowSchema, ...] = ()
    has_missing: bool = False

    @classmethod
    def of(cls, facts: Facts, columns: tuple[str, ...] = ()) -> RowSchema:
        """Return what rows are, by the facts about all of them."""
        if facts.parts:
            names = tuple(name for name, _ in facts.parts)
            return cls("structured", columns=names, parts=tuple(cls.of(p) for _, p in facts.parts))
        has_bytes = "uint8" in facts.dtypes
        is_pixels = (
            has_bytes and facts.is_whole and facts.within(0, 255) and guesses.are_pixels(facts)
        )
        kind: RowKind = "numbers"
        if is_pixels:
            kind = "image bytes"
        elif facts.is_whole:
            kind = "flags" if facts.within(0, 1) else "whole numbers"
        low, high = (None, None) if facts.is_sample else (facts.low, facts.high)
        dtype, scale = ("uint8", 255.0) if is_pixels else (facts.dtype, 1.0)
        made = cls(kind, facts.shape, columns, low, high, scale, dtype)
        return replace(made, has_missing=facts.has_missing)

    @property
    def may_be_indices(self) -> bool:
        """Whether all are whole numbers, which an Embedding may look up."""
        return self.kind in ("whole numbers", "flags", "image bytes")

    @property
    def scale_note(self) -> str:
        """The sentence for the user where rows are scaled, or ""."""
        scaled = [
            name for name, part in zip(self.columns, self.parts, strict=False) if part.scale != 1
        ]
        if self.scale == 1 and not scaled:
            return ""
        of_parts = f" of {', '.join(scaled)}" if scaled else ""
        return (
            f"rows: bytes{of_parts} from 0 to 255 are scaled to [0, 1], as those of images; give "
            "float32 to keep them as they are"
        )

    def notes(self) -> list[str]:
        """Return what was guessed, as sentences; see also `scale_note`."""
        if self.parts:
            named = zip(self.columns, self.parts, strict=False)
            return [f"input {name}: {note}" for name, part in named for note in part.notes()]
        if self.dtype == "uint8" and self.scale == 1:
            seen = "" if self.high is None else f" up to {self.high:g}"
            return [
                f"rows: bytes{seen} are taken for numbers, not for pixels, and are not scaled; if "
                "they are pixels, divide them by 255"
            ]
        if self.dtype == "uint16" and len(self.shape) > 1:
            return ["rows: images of uint16 are not scaled; divide them by their highest value"]
        if self._are_plain_pixels:
            return [
                f"rows: whole numbers up to {self.high:g} of {self.dtype} are not scaled; if they "
                "are pixels, divide them by 255, or give them as uint8"
            ]
        return []

    @property
    def _are_plain_pixels(self) -> bool:
        """Whether they look like pixels, but for their dtype."""
        axes = [size for size in self.shape if size > 1]
        is_image = len(axes) > 1 or (
            self.dtype.startswith("float") and int(np.prod(self.shape)) >= guesses.MIN_FLAT_SIZE
        )
        low, high = self.low or 0.0, self.high or 0.0
        is_range = low >= 0 and guesses.MIN_FLAT_PIXEL <= high <= 255
        return self.kind == "whole numbers" and is_image and is_range


@dataclass(frozen=True)
class LabelSchema:
    """The form of labels.

    kind:    "classes" are class numbers, "flags" several of 0 and 1 a row, "mask" 0 and `scale` for
             no and yes, "rows" those that are rows as well, "shares" the shares of classes (soft
             labels), "numbers" measurements
    shape:   of one label;  low, high, edges: the lowest and the highest, and the two of each
    values:  the different whole numbers over all parties, or None for measurements or very many
    classes: names in order where labels were text;  one_hot: the number of columns where they were
             written as rows of 0 and 1, else 0
    scale:   numbers are divided by it before a loss sees them;  dtype: of arrays, or ""
    are_bools: they were False and True, which are 0 and 1 in arrays
    """

    kind: LabelKind = "none"
    shape: tuple[int, ...] = ()
    low: float | None = None
    high: float | None = None
    values: tuple[int, ...] | None = None
    classes: tuple[str, ...] = ()
    one_hot: int = 0
    scale: float = 1.0
    dtype: str = ""
    edges: tuple[float, ...] = ()
    are_bools: bool = False

    @classmethod
    def of(cls, facts: Facts, rows: RowSchema, *, are_rows: bool = False) -> LabelSchema:
        """Return what labels are, by the facts about all of them. Text has its numbers already.

        are_rows: every label equals its row
        """
        if facts.low is None or facts.high is None:
            return cls(dtype=facts.dtype)
        shape = () if facts.shape == (1,) else facts.shape
        made = cls(
            "numbers", shape, facts.low, facts.high, facts.values, (), 0, 1.0, facts.dtype,
            facts.edges,
        )  # fmt: skip
        are_pixels = are_rows or (
            facts.dtypes == ("uint8",)
            and guesses.same_shape(shape, rows.shape)
            and (facts.values is None or len(facts.values) > _MAX_PLACE_CLASSES)
        )
        if rows.kind == "image bytes" and are_pixels and facts.within(0, 255):
            return replace(made, kind="rows", scale=rows.scale)
        if not guesses.name_classes(facts):
            return replace(made, kind="shares" if facts.are_shares else "numbers", values=None)
        are_bools = facts.dtypes == ("bool",)
        made = replace(made, kind="classes", dtype="int64", are_bools=are_bools)
        if facts.is_one_hot:
            width = shape[0]
            numbers = tuple(range(width))
            top = float(width - 1)
            return replace(
                made, shape=(), low=0.0, high=top, values=numbers, one_hot=width,
                edges=tuple(dict.fromkeys([0.0, 1.0, top - 1, top])),
            )  # fmt: skip
        if shape and facts.within(0, 1):
            return replace(made, kind="flags")
        if shape and facts.high == 255 and set(facts.values or (1,)) <= {0, 255}:
            return replace(made, kind="mask", scale=255.0)
        return made

    @property
    def are_whole(self) -> bool:
        """Whether they name classes, or say yes or no, and are not measurements."""
        return self.kind in ("classes", "flags", "mask")

    @property
    def are_binary(self) -> bool:
        """Whether each number says yes or no."""
        is_pair = self.kind == "classes" and set(self.values or (2,)) <= {0, 1}
        return is_pair or self.kind in ("flags", "mask")

    @property
    def ndim(self) -> int:
        """The number of axes of an array of labels."""
        return 1 + len(self.shape)

    @property
    def scaled(self) -> tuple[float, float]:
        """The lowest and the highest number that a loss sees; (0, 0) without a label."""
        return (self.low or 0.0) / self.scale, (self.high or 0.0) / self.scale

    def number(self) -> dict[str, int]:
        """Return the number of each class whose name is text."""
        return {name: number for number, name in enumerate(self.classes)}

    def numbered(self, y: np.ndarray) -> np.ndarray:
        """Return an array of labels in the agreed form: classes as numbers, a column flattened."""
        if y.dtype.kind in "OUST" and self.classes:
            number = self.number()
            return np.array([number[text_of(name)] for name in y.reshape(-1)], dtype=np.int64)
        if y.dtype.kind in "OUST" and self.kind == "numbers":
            return np.array([float(text_of(text)) for text in y.reshape(-1)])
        y = y[:, 0] if y.shape[1:] == (1,) else y
        if self.one_hot and y.ndim == 2:
            return np.asarray(y.argmax(1), dtype=np.int64)
        return y.astype(self.dtype) if self.dtype and y.dtype.name != self.dtype else y

    def without(self, ignored: int) -> LabelSchema:
        """Return the labels without a number that a loss ignores."""
        if not self.are_whole or not self.edges:
            return self
        values = None
        if self.values is not None:
            values = tuple(value for value in self.values if value != ignored)
        edges = tuple(edge for edge in self.edges if edge != ignored)
        if not edges:
            return replace(self, values=values)
        made = replace(self, values=values, low=edges[0], high=edges[-1], edges=edges)
        is_binary = self.shape and self.kind == "classes" and set(values or (2,)) <= {0, 1}
        return replace(made, kind="flags") if is_binary else made

    def notes(self) -> list[str]:
        """Return what was guessed, as sentences."""
        notes = []
        if self.classes:
            some = [f"{number} is {name!r}" for number, name in enumerate(self.classes[:_NAMED])]
            rest = "; see run.classes" if len(self.classes) > _NAMED else ""
            notes.append(f"classes: {', '.join(some)}{rest}")
        if doubtful := guesses.doubtful_names(self.classes):
            notes.append(
                f"warning: each text is a class of its own, but {doubtful}; put the labels right "
                "first where that is a slip, as frame[label].str.strip().str.lower() does"
            )
        if self.kind == "mask":
            notes.append(
                "labels: masks of 0 and 255 are read as no and yes; for two classes of other "
                "numbers, number them from 0"
            )
        if self.kind == "rows":
            notes.append(
                "labels: bytes in the form of the rows are scaled to [0, 1] with them; class "
                "numbers are given as int64"
            )
        if self.kind == "shares":
            notes.append(
                "labels: each is a row of shares that sum to 1, and is taken for the shares of "
                "classes; for measurements name the loss mse"
            )
        return notes


@dataclass(frozen=True)
class DataSchema:
    """The form of rows and labels, settled once over all parties and the test set.

    table: of rows that were made from a table's columns, how, or None
    """

    rows: RowSchema = field(default_factory=RowSchema)
    labels: LabelSchema = field(default_factory=LabelSchema)
    table: TableSchema | None = None

    @classmethod
    def of(cls, data: Any) -> DataSchema:
        """Settle the schema over one data set of numbers: arrays `(x, y)`, or one that is read."""
        if documents.are(data):
            labels = LabelSchema.of(Facts.of(np.asarray(data[1])), RowSchema("documents"))
            return cls(RowSchema("documents"), labels)
        if not isinstance(data, tuple) or isinstance(data[0], tuple | dict):
            stored, facts = (
                (np.asarray(data[1]), Facts.of_tree(data[0]))
                if isinstance(data, tuple)
                else read_labels(data)
            )
            rows = RowSchema.of(facts)
            return cls(rows, LabelSchema.of(Facts.of(stored), rows))
        x, y = (np.asarray(column) for column in data)
        rows = RowSchema.of(Facts.of(x, with_values=False))
        return cls(rows, LabelSchema.of(Facts.of(y), rows, are_rows=guesses.equal_rows(x, y)))

    def notes(self) -> list[str]:
        """Return what was guessed about the data whatever the model is, as sentences."""
        return [*self.rows.notes(), *self.labels.notes()]

    def describe(self) -> str:
        """Return the schema in one line."""
        return "; ".join(self._parts())

    def __str__(self) -> str:
        return "\n".join(self._parts())

    def _parts(self) -> list[str]:
        rows, labels = self.rows, self.labels
        parts = [f"rows: {rows.kind}" + (f" of shape {rows.shape}" if rows.shape else "")]
        if self.table is not None:
            parts.append(self.table.describe())
        elif rows.columns:
            parts.append(f"columns: {', '.join(rows.columns)}")
        if rows.scale != 1:
            parts.append(f"rows are divided by {rows.scale:g}")
        parts.append(
            f"labels: {labels.kind}" + (f" of shape {labels.shape}" if labels.shape else "")
        )
        if labels.classes:
            parts.append(f"classes in the order of the outputs: {', '.join(labels.classes)}")
        if labels.scale != 1:
            parts.append(f"labels are divided by {labels.scale:g}")
        return parts

    def differences(self, other: DataSchema) -> list[str]:
        """Return where another schema gives rows or labels another meaning, as sentences."""
        found = []
        both: dict[str, tuple[Any, Any]] = {
            "rows": (self.rows, other.rows),
            "labels": (self.labels, other.labels),
        }
        for part, (first, second) in both.items():
            mine, theirs = asdict(first), asdict(second)
            names = [name for name in _MEANING if name in mine and mine[name] != theirs[name]]
            found += [f"{part}: {name} was {mine[name]}, and is {theirs[name]}" for name in names]
        if self.table != other.table:
            found.append("rows: the columns of the table had other statistics")
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the schema as plain data."""
        made = asdict(self)
        if self.table is None:
            del made["table"]
        if not self.labels.are_bools:
            del made["labels"]["are_bools"]
        return made

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> DataSchema:
        """Return the schema that `to_json` wrote, also after a way through JSON."""
        rows = _read(found["rows"])
        rows["parts"] = tuple(RowSchema(**_read(part)) for part in rows.get("parts", ()))
        table = TableSchema.from_json(found["table"]) if found.get("table") else None
        return cls(RowSchema(**rows), LabelSchema(**_read(found["labels"])), table)


def _read(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a schema, with tuples for the lists of JSON."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}
