"""Containers around data (loaders, grouped frames, lists of single rows), replaced by their rows.

They are recognised by the names of their classes, so that no framework is imported for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusion_nb.core import rows as rows_of
from fusion_nb.data import frames, texts, token_rows
from fusion_nb.errors import DataError, private

#: Samplers of a DataLoader that draw each row once.
_WHOLE = ("SequentialSampler", "RandomSampler")


@dataclass
class Unwrapping:
    """The replacement of containers in one variable, with notes for the user.

    name: of the variable;  batch_size: of the loaders, or None
    """

    name: str
    notes: list[str] = field(default_factory=list)
    batch_size: int | None = None

    def rows(self, value: Any) -> Any:
        """Return a value of the user's with its containers replaced. Raises DataError."""
        if (tokens := token_rows.read(value, self.notes)) is not None:
            return tokens
        if isinstance(value, dict) and not is_structured(value):
            return {key: self.rows(part) for key, part in value.items()}
        if isinstance(value, list) and not texts.holds_documents(value):
            if are_samples(value):
                self._note("a list of single rows is taken as one data set")
                return _columns(value)
            return self._of_list(value)
        if isinstance(value, tuple):
            lists = [part for part in value if part is not None]
            if len(value) == 2 and lists and all(are_samples(part) for part in lists):
                return tuple(None if part is None else self.rows(part) for part in value)
            if are_parties_and_test(value):
                return tuple(None if part is None else self.rows(part) for part in value)
            return tuple(part if isinstance(part, list) else self.rows(part) for part in value)
        return self._of_object(value)

    def _of_list(self, value: list[Any]) -> Any:
        if value and all(_is_named_frame(part) for part in value):  # list(frame.groupby(...))
            return {str(_key(part[0])): part[1] for part in value}
        return [self.rows(part) for part in value]

    def _of_object(self, value: Any) -> Any:
        bases = {f"{b.__module__.partition('.')[0]}.{b.__name__}" for b in type(value).__mro__}
        if "torch.DataLoader" in bases:
            return self._of_loader(value)
        if "torch.IterableDataset" in bases:
            raise DataError(
                f"{type(value).__name__} is an IterableDataset, whose rows can't be read by their "
                "position",
                "give list(data) where it ends, or write __getitem__ and __len__",
            )
        if bases & {"keras.PyDataset", "keras.Sequence"}:
            return self._of_batches([value[i] for i in range(len(value))], type(value).__name__)
        if hasattr(value, "element_spec") and hasattr(value, "as_numpy_iterator"):
            return self._of_tensorflow(value)
        if bases & {"pandas.DataFrameGroupBy"}:
            return self._of_groups(value)
        if (found := frames.to_pandas(value)) is not None:
            return found
        if "datasets.Dataset" in bases and _has_plain_columns(value):
            self._note("the columns of the Dataset are read as a frame")
            return value.to_pandas()
        return value

    def _of_loader(self, loader: Any) -> Any:
        by_batch = loader.batch_sampler if hasattr(loader.batch_sampler, "sampler") else loader
        sampler = by_batch.sampler
        rows = self.rows(loader.dataset)
        if type(sampler).__name__ == "SubsetRandomSampler":
            rows = rows_of.take(_tuple_of(rows), np.asarray(sampler.indices, dtype=int))
        elif type(sampler).__name__ not in _WHOLE:
            raise DataError(
                f"{self.name} is a DataLoader that draws its rows by {type(sampler).__name__}, "
                "which a run does not do",
                f"give its rows: {self.name}.dataset",
            )
        self._batch_size(by_batch.batch_size)
        if getattr(loader.collate_fn, "__name__", "") not in ("default_collate", "default_convert"):
            self.notes.append(
                "warning: the collate_fn of the DataLoader is not used: rows are taken from its "
                ".dataset"
            )
        return rows

    def _of_tensorflow(self, value: Any) -> Any:
        if int(value.cardinality()) == -1:
            raise DataError(
                f"{self.name} is a tf.data.Dataset that never ends", "leave out its repeat()"
            )
        spec = value.element_spec
        kinds = [type(part).__name__ for part in spec] if isinstance(spec, tuple) else []
        if kinds != ["TensorSpec", "TensorSpec"]:
            raise DataError(
                f"{self.name} is a tf.data.Dataset whose items are no pairs (x, y) of tensors",
                "map its items to pairs: dataset.map(lambda item: (item['x'], item['y'])) say",
            )
        items = list(value.as_numpy_iterator())
        shapes = [part.shape.as_list() if part.shape.rank is not None else None for part in spec]
        if None in shapes:  # not told before the items are read
            is_batched = all(np.ndim(y) and len(x) == len(y) for x, y in items)
        else:
            x, y = (shape or [] for shape in shapes)
            # Two vectors of a fixed length are a row and its label, as no batch has rows of ().
            are_vectors = len(x) == len(y) == 1 and x[0] is not None
            is_batched = bool(x and y) and x[0] == y[0] and not are_vectors
        if is_batched:
            return self._of_batches(items, "tf.data.Dataset")
        self._note("the tf.data.Dataset is read to arrays")
        return _columns(items)

    def _of_batches(self, batches: list[Any], kind: str) -> Any:
        if not batches or any(not isinstance(b, tuple | list) or len(b) != 2 for b in batches):
            raise DataError(
                f"the batches of {kind} are no pairs (x, y)",
                "give arrays: (x, y)",
            )
        try:
            columns = tuple(np.concatenate([np.asarray(b[i]) for b in batches]) for i in (0, 1))
        except ValueError:
            raise DataError(
                f"the batches of {kind} have rows of several shapes",
                "pad or resize them to one shape first",
            ) from None
        self._note(f"the batches of the {kind} are read to arrays")
        self._batch_size(len(batches[0][0]))
        return columns

    def _of_groups(self, groups: Any) -> Any:
        given = groups.keys if isinstance(groups.keys, list) else [groups.keys]
        keys = [key for key in given if isinstance(key, str)]
        self._note(f"each group of {', '.join(keys) or 'the frame'} is a party")
        return {
            str(_key(key)): frame.drop(columns=[k for k in keys if k in frame.columns])
            for key, frame in groups
        }

    def _batch_size(self, size: int | None) -> None:
        if size and self.batch_size is None:
            self.batch_size = size
            self.notes.append(
                f"data: the rows behind the loader are taken, and its batch size {size}; "
                "another one is named with --batch-size"
            )

    def _note(self, text: str) -> None:
        if f"data: {text}" not in self.notes:
            self.notes.append(f"data: {text}")


def is_table(value: Any) -> bool:
    """Return whether a value is a DataFrame of pandas, which is not imported for it."""
    return any(
        base.__name__ == "DataFrame" and base.__module__.partition(".")[0] == "pandas"
        for base in type(value).__mro__
    )


def is_map_style(value: Any) -> bool:
    """Return whether a value gives rows one at a time.

    An array or a tensor does not: it is a column. Nor does a list: it means parties.
    """
    is_column = hasattr(value, "shape") or isinstance(value, list | tuple | dict | str | bytes)
    return hasattr(value, "__len__") and hasattr(value, "__getitem__") and not is_column


def are_parties_and_test(value: tuple[Any, ...]) -> bool:
    """Return whether a tuple is parties in a dict or a list, and the test rows beside them."""
    if len(value) != 2 or is_structured(value[0]):
        return False
    parties, test = value
    if isinstance(parties, dict):
        return True
    is_set = test is None or _is_set(test)
    return is_set and isinstance(parties, list) and len(parties) > 0 and all(map(_is_set, parties))


def _is_set(value: Any) -> bool:
    """Return whether an item of a list is a data set, and not a row."""
    if isinstance(value, tuple):
        if len(value) == 2 and is_structured(value[0]):
            return hasattr(value[1], "shape")
        shapes: list[tuple[int, ...]] = [getattr(part, "shape", ()) for part in value]
        return len(value) == 2 and all(shapes) and shapes[0][0] == shapes[1][0]
    is_loader = hasattr(value, "dataset") or hasattr(value, "element_spec")
    return is_loader or is_table(value) or is_map_style(value)


def is_structured(value: Any) -> bool:
    """Return whether a dict holds arrays of one length, which are columns of the same rows."""
    if not isinstance(value, dict) or not value:
        return False
    parts = list(value.values())
    are_arrays = all(hasattr(part, "shape") and not hasattr(part, "columns") for part in parts)
    return are_arrays and len({part.shape[0] if len(part.shape) else -1 for part in parts}) == 1


def are_samples(value: Any) -> bool:
    """Return whether a value is a list of single rows `(x, y)`, and not of parties' data sets."""
    return isinstance(value, list) and len(value) > 0 and all(map(_is_sample, value))


def _is_sample(item: Any) -> bool:
    if not isinstance(item, tuple | list) or len(item) != 2:
        return False
    x, y = item
    if isinstance(y, int | float | str | bytes | np.generic):
        return not isinstance(item, list) or hasattr(x, "shape")
    shapes = [getattr(part, "shape", None) for part in (x, y)]
    if shapes[0] is None or shapes[1] is None:
        return False
    return not len(shapes[1]) or not len(shapes[0]) or shapes[0][0] != shapes[1][0]


def _columns(samples: list[Any]) -> tuple[list[Any], list[Any]]:
    """Return single rows as two columns."""
    xs, ys = ([_array(sample[part]) for sample in samples] for part in (0, 1))
    return xs, ys


def _array(value: Any) -> Any:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value) if hasattr(value, "shape") else value


def _tuple_of(rows: Any) -> Any:
    """Return the tensors of torch's TensorDataset, and any other data set as it is."""
    tensors = getattr(rows, "tensors", None)
    if isinstance(tensors, tuple) and len(tensors) == 2:
        return tuple(np.asarray(tensor.detach().cpu()) for tensor in tensors)
    return rows


def _is_named_frame(part: Any) -> bool:
    return (
        isinstance(part, tuple)
        and len(part) == 2
        and hasattr(part[1], "columns")
        and not (hasattr(part[0], "shape") and len(part[0].shape) > 0)
    )


def _key(key: Any) -> Any:
    """Return the key of a group as text: pandas gives a tuple also for one column."""
    if isinstance(key, tuple):
        return key[0] if len(key) == 1 else ", ".join(map(str, key))
    return key


def _has_plain_columns(value: Any) -> bool:
    features: Mapping[str, Any] = value.features
    return all(type(feature).__name__ in ("Value", "ClassLabel") for feature in features.values())


def named(parties: Mapping[Any, Any]) -> dict[str, Any]:
    """Return parties by their names as text. Raises DataError where two have the same."""
    found: dict[str, Any] = {}
    for party, rows in parties.items():
        if str(party) in found:
            raise DataError(
                f"two parties are called {private(str(party))}, once as text and once as "
                "another kind of key",
                "give each a name of its own",
            )
        found[str(party)] = rows
    return found
