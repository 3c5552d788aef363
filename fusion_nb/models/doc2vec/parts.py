"""The parts of a stored Doc2Vec, and the checks without which gensim's compiled code is not called.

That code takes indices, pointers and lengths as they come: an index outside its array, a window
larger than its buffers, or a weight that is not finite ends the process. So a model is built anew
from plain parts, each of which is held against all others first.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gensim.models.doc2vec import Doc2Vec
from gensim.models.keyedvectors import KeyedVectors

from fusion_nb.errors import ModelError

_MAX_COUNT = 10**15


@dataclass(frozen=True)
class Bound:
    """The smallest and the largest value of a setting.

    kind: int, float or bool;  default: of files that lack it; they are refused without one
    """

    low: float
    high: float
    kind: type = int
    default: Any = None
    may_be_none: bool = False

    def check(self, name: str, value: Any) -> Any:
        """Return a setting as a plain number. Raises ModelError, which tells the allowed range."""
        if value is None and self.may_be_none:
            return None
        value = self.default if value is None else value
        number = _plain(value)
        if number is None or not self.low <= number <= self.high:
            allowed = f"{self.low:,} to {self.high:,}"
            shown = repr(value)[:40] if isinstance(value, numbers.Number | str) else "no number"
            raise ModelError(
                f"its {name} is {shown}, and {allowed} is allowed",
                "set it on the model, and save that again",
            )
        if self.kind is int and number != int(number):
            raise ModelError(f"its {name} is {number}, which is no whole number", "save it again")
        return self.kind(number)


#: The settings of a Doc2Vec. gensim's compiled code has buffers for 10,000 words of a document, and
#: keeps the numbers as 32-bit integers.
SETTINGS: Mapping[str, Bound] = {
    "vector_size": Bound(1, 10_000),
    "alpha": Bound(0, 10, float),
    "min_alpha": Bound(0, 10, float),
    "window": Bound(1, 10_000),
    "min_count": Bound(0, 2**31 - 1),
    "max_final_vocab": Bound(1, 2**31 - 1, may_be_none=True),
    "sample": Bound(0, 2**31 - 1, float),
    "seed": Bound(0, 2**32 - 1),
    "hs": Bound(0, 1),
    "negative": Bound(0, 1_000),
    "ns_exponent": Bound(-10, 10, float),
    "dm_concat": Bound(0, 1),
    "dm_tag_count": Bound(1, 1_000),
    "dbow_words": Bound(0, 1),
    "epochs": Bound(1, 10_000),
    "shrink_windows": Bound(0, 1, bool, True),
    "sg": Bound(0, 1),
    "cbow_mean": Bound(0, 1, default=1),
}
#: Counters that gensim keeps beside them.
COUNTERS: Mapping[str, Bound] = {
    "corpus_count": Bound(0, _MAX_COUNT, default=0),
    "corpus_total_words": Bound(0, _MAX_COUNT, default=0),
    "train_count": Bound(0, _MAX_COUNT, default=0),
    "total_train_time": Bound(0, 10**12, float, 0.0),
    "min_alpha_yet_reached": Bound(0, 10, float, 0.025),
    "effective_min_count": Bound(0, _MAX_COUNT, default=1),
}
#: Inputs of the hidden layer, and sums in it: gensim's buffers with dm_concat have room for 5,000
#: positions on each side, and a loss is measured on 200 words with `negative` rows each.
_MAX_LAYER, _MAX_DRAWN, _MAX_CONCAT_WINDOW = 1_000_000, 1_000_000, 5_000
#: Weights beyond this are those of no model: products of them would not be finite.
_MAX_WEIGHT = 1e9


def check_settings(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a Doc2Vec as plain numbers.

    Raises ModelError for one that gensim's compiled code can't hold.
    """
    settings = {name: bound.check(name, found.get(name)) for name, bound in SETTINGS.items()}
    if settings["dm_concat"] and settings["window"] > _MAX_CONCAT_WINDOW:
        raise ModelError(
            f"its window is {settings['window']:,}, and with dm_concat 1 to {_MAX_CONCAT_WINDOW:,} "
            "is allowed",
            "make the model with a smaller window",
        )
    if layer_size(settings) > _MAX_LAYER:
        raise ModelError(
            f"its hidden layer has {layer_size(settings):,} inputs, and {_MAX_LAYER:,} are allowed",
            "make the model with a smaller window, dm_tag_count or vector_size",
        )
    if layer_size(settings) * settings["negative"] > _MAX_DRAWN:
        raise ModelError(
            f"its negative={settings['negative']:,} and a hidden layer of "
            f"{layer_size(settings):,} inputs are too much: {_MAX_DRAWN:,} is allowed for their "
            "product",
            "make the model with a smaller negative, window or vector_size",
        )
    return settings


def layer_size(settings: Mapping[str, Any]) -> int:
    """Return the number of inputs of the hidden layer."""
    size = int(settings["vector_size"])
    if settings["sg"] or not settings["dm_concat"]:
        return size
    return (settings["dm_tag_count"] + 2 * settings["window"]) * size


@dataclass
class Parts:
    """A stored Doc2Vec as plain values.

    settings:   `SETTINGS` and `COUNTERS` by name
    words:      of the vocabulary, in the order of their rows;  tags: of the documents
    arrays:     by name, such as `syn1neg` or `wv.vectors`
    codes, points: the path of each word in the Huffman tree, with hierarchical softmax
    """

    settings: Mapping[str, Any]
    words: Sequence[Any]
    tags: Sequence[Any]
    arrays: dict[str, np.ndarray]
    codes: Sequence[np.ndarray] = field(default_factory=list)
    points: Sequence[np.ndarray] = field(default_factory=list)


def revive(parts: Parts) -> Doc2Vec:
    """Return the Doc2Vec with these parts. Raises ModelError where they do not go together."""
    settings = check_settings(parts.settings)
    counters = {
        name: bound.check(name, parts.settings.get(name)) for name, bound in COUNTERS.items()
    }
    _check_words(parts, settings)
    _check_arrays(parts, settings)
    if settings["hs"] and parts.words:
        _check_tree(parts)
    return _built(parts, settings, counters)


def _built(parts: Parts, settings: Mapping[str, Any], counters: Mapping[str, Any]) -> Doc2Vec:
    given = {name: value for name, value in settings.items() if name not in ("sg", "cbow_mean")}
    model = Doc2Vec(**given, dm=1 - settings["sg"], workers=1)
    model.cbow_mean = settings["cbow_mean"]
    for name, value in counters.items():
        setattr(model, name, value)
    arrays = parts.arrays
    for part, keys in (("wv", parts.words), ("dv", parts.tags)):
        vectors = KeyedVectors(settings["vector_size"])
        vectors.index_to_key = list(keys)
        vectors.key_to_index = {key: row for row, key in enumerate(keys)}
        vectors.next_index = len(keys)
        if f"{part}.vectors" in arrays:
            vectors.vectors = arrays[f"{part}.vectors"]
        vectors.vectors_lockf = arrays.get(f"{part}.vectors_lockf", np.ones(1, dtype=np.float32))
        start = f"{part}.expandos."
        vectors.expandos = {
            name.removeprefix(start): array
            for name, array in arrays.items()
            if name.startswith(start)
        }
        setattr(model, part, vectors)
    if settings["hs"] and parts.words:
        model.wv.expandos |= {"code": list(parts.codes), "point": list(parts.points)}
    for name in ("syn1", "syn1neg"):
        if name in arrays:
            setattr(model, name, arrays[name])
    if settings["negative"] and parts.words:
        model.make_cum_table()
    return model


def _check_words(parts: Parts, settings: Mapping[str, Any]) -> None:
    if any(type(word) is not str for word in parts.words):
        raise ModelError("a word of its vocabulary is no text", "save it again")
    if any(type(tag) not in (str, int) for tag in parts.tags):
        raise ModelError("a tag of its documents is neither text nor a number", "save it again")
    if any(type(tag) is int and tag != row for row, tag in enumerate(parts.tags)):
        raise ModelError("a number of its documents is not that of its row", "save it again")
    for what, keys in (("word", parts.words), ("tag", parts.tags)):
        if len(set(keys)) != len(keys):
            raise ModelError(f"a {what} of it has two rows", "save it again")
    if settings["dm_concat"] and parts.words and "\0" not in parts.words:
        raise ModelError("it has dm_concat, and lacks the word for empty places", "save it again")


def _check_arrays(parts: Parts, settings: Mapping[str, Any]) -> None:
    """Raise ModelError where an array lacks the type and size that gensim relies on."""
    num_words, num_tags = len(parts.words), len(parts.tags)
    size, layer = settings["vector_size"], layer_size(settings)
    wanted: dict[str, tuple[type, tuple[int, ...]]] = {}
    if num_tags:
        wanted["dv.vectors"] = (np.float32, (num_tags, size))
    if num_words:
        wanted |= {
            "wv.vectors": (np.float32, (num_words, size)),
            "wv.expandos.count": (np.int64, (num_words,)),
            "wv.expandos.sample_int": (np.uint32, (num_words,)),
        }
        if settings["negative"]:
            wanted["syn1neg"] = (np.float32, (num_words, layer))
        if settings["hs"]:
            wanted["syn1"] = (np.float32, (num_words, layer))
    for name, (kind, shape) in wanted.items():
        array = parts.arrays.get(name)
        if array is None:
            raise ModelError(f"it lacks {name}", "is it complete? save it again")
        if array.shape != shape or array.dtype != kind:
            raise ModelError(
                f"{name} is no array of {shape} of {kind.__name__}", "is it complete? save it again"
            )
    _check_values(parts, wanted, num_words, num_tags)


def _check_values(parts: Parts, wanted: Mapping[str, Any], num_words: int, num_tags: int) -> None:
    """Drop arrays that no model needs. Raise ModelError for numbers that no model has."""
    for name, array in list(parts.arrays.items()):
        part = name.partition(".")[0]
        count = {"wv": num_words, "dv": num_tags}.get(part, -1)
        is_lock = name.endswith(".vectors_lockf")
        is_per_row = array.ndim == 1 and (len(array) == count or (is_lock and len(array) == 1))
        is_kept = name in wanted or (is_lock and is_per_row and array.dtype == np.float32)
        is_kept = is_kept or (".expandos." in name and is_per_row and array.dtype.kind in "iuf")
        if not is_kept:
            del parts.arrays[name]
            continue
        parts.arrays[name] = array = np.ascontiguousarray(array)
        if array.dtype.kind == "f" and not _all_within(array, _MAX_WEIGHT):
            raise ModelError(
                f"{name} holds numbers that are not finite, or beyond {_MAX_WEIGHT:g}",
                "train the model with a smaller alpha",
            )
    counts = parts.arrays.get("wv.expandos.count")
    if num_words and counts is not None and not (0 < counts.min() <= counts.max() <= _MAX_COUNT):
        raise ModelError("the count of a word is not 1 or more", "is it complete? save it again")


def _check_tree(parts: Parts) -> None:
    """Raise ModelError where the path of a word leaves the rows of `syn1`."""
    num_words = len(parts.words)
    hint = "is it complete? save it again"
    if not len(parts.codes) == len(parts.points) == num_words:
        raise ModelError("a word of it lacks its path in the Huffman tree", hint)
    lengths = [len(code) for code in parts.codes]
    if lengths != [len(point) for point in parts.points] or max(lengths) > max(num_words, 1):
        raise ModelError("a path in its Huffman tree has a wrong length", hint)
    for name, paths, kind, limit in (
        ("code", parts.codes, np.uint8, 2),
        ("point", parts.points, np.uint32, num_words),
    ):
        if any(path.dtype != kind or not path.flags.c_contiguous for path in paths):
            raise ModelError(f"a {name} in its Huffman tree is no {kind.__name__}", hint)
        if any(len(path) and int(path.max()) >= limit for path in paths):
            raise ModelError(f"a {name} in its Huffman tree is {limit:,} or more", hint)


def _all_within(array: np.ndarray, limit: float) -> bool:
    # min and max are NaN where any number is, and need no array of flags.
    return not array.size or bool(-limit <= array.min() and array.max() <= limit)


def _plain(value: Any) -> float | None:
    """Return a number as Python's own type, or None for anything else."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) not in (bool, int, float):
        return None
    return value if math.isfinite(value) else None
