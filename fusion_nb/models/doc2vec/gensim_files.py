"""gensim's own files: pickles, of which only plain arrays, numbers and texts are taken."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.errors import ModelError, option
from fusion_nb.models.doc2vec.parts import COUNTERS, SETTINGS, Parts
from fusion_nb.models.pickles import Call, Global, PickleReader

#: The names that gensim writes into the file of a Doc2Vec. A file with any other is refused.
_KNOWN = {
    "gensim.models.doc2vec": {"Doc2Vec"},
    "gensim.models.keyedvectors": {"KeyedVectors"},
    "gensim.utils": {"call_on_class_only"},
    "numpy": {"ndarray", "dtype", "float32", "float64", "int64", "uint32"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.random._pickle": {"__randomstate_ctor", "__bit_generator_ctor"},
    "numpy.random._mt19937": {"MT19937"},
    "builtins": {"int", "hash", "frozenset", "set"},
    "collections": {"defaultdict"},
    "_codecs": {"encode"},
}
_ARRAY = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_SCALAR = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
#: The types of the numbers in an array, as numpy writes them into a pickle or a header.
_DTYPES = {"f4", "f8", "i8", "i4", "u4", "u1", "b1"}
#: Arrays that gensim may have put into files of their own, `model.doc2vec.syn1neg.npy` say.
_BESIDE = ("syn1neg", "syn1", "wv.vectors", "wv.vectors_lockf", "dv.vectors", "dv.vectors_lockf")
_HINT = "is it complete? save it again"


def read(path: Path) -> Parts:
    """Return the parts of the Doc2Vec in a file that gensim wrote.

    Large arrays may lie beside it, where gensim puts them. Raises ModelError for a file that names
    anything but a Doc2Vec and numpy arrays, and PickleError for one that is damaged.
    """
    reader = PickleReader(path.read_bytes())
    found = reader.load()
    for name in reader.names:
        if name.name not in _KNOWN.get(name.module, ()):
            raise ModelError(
                f"it holds {_short(name)}, and only what gensim's own Doc2Vec is made of is read "
                "from a file",
                f"build the model in the notebook, and give the variable's name with "
                f"{option('model')}",
            )
    if not (isinstance(found, Call) and found.makes("gensim.models.doc2vec.Doc2Vec")):
        kind = _short(found.maker) if isinstance(found, Call) else type(found).__name__
        raise ModelError(f"it holds {kind}, not a Doc2Vec", "save a Doc2Vec with model.save(path)")
    if not found.is_new or found.args:
        raise ModelError("it can't be read as a gensim model (it has arguments)", _HINT)
    return _parts(_mapping(found.state, "its state"), path)


def _parts(state: dict[Any, Any], path: Path) -> Parts:
    stored = {part: _mapping(_vectors(state.get(part), part).state, part) for part in ("wv", "dv")}
    arrays: dict[str, np.ndarray] = {}
    for name in _BESIDE:
        part, _, last = name.rpartition(".")
        value = (stored[part] if part else state).get(last)
        array = _array(value) if value is not None else _beside(Path(f"{path}.{name}.npy"))
        if array is not None:
            arrays[name] = array
    for part, name, value in _expandos(stored):
        arrays[f"{part}.expandos.{name}"] = _array(value)
    words = _keys(stored["wv"], "words")
    expandos = stored["wv"].get("expandos") or {}
    has_tree = state.get("hs") == 1 and bool(words)
    return Parts(
        {name: _scalar(state.get(name)) for name in (*SETTINGS, *COUNTERS)},
        words,
        _keys(stored["dv"], "tags"),
        arrays,
        _paths(expandos.get("code")) if has_tree else [],
        _paths(expandos.get("point")) if has_tree else [],
    )


def _vectors(value: Any, part: str) -> Call:
    if isinstance(value, Call) and value.makes("gensim.models.keyedvectors.KeyedVectors"):
        return value
    raise ModelError(f"its {part} are no vectors of gensim's", _HINT)


def _mapping(value: Any, what: str) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise ModelError(f"{what} is no mapping", _HINT)
    return value


def _expandos(stored: dict[str, dict[Any, Any]]) -> Iterator[tuple[str, str, Any]]:
    for part, state in stored.items():
        for name, value in _mapping(state.get("expandos", {}), "expandos").items():
            if isinstance(name, str) and isinstance(value, Call) and not _is_of_objects(value):
                yield part, name, value


def _keys(state: dict[Any, Any], what: str) -> list[Any]:
    """Return the words or tags in the order of their rows, if the index agrees with them."""
    keys, index = state.get("index_to_key"), _mapping(state.get("key_to_index"), "key_to_index")
    if not isinstance(keys, list):
        raise ModelError(f"its {what} are no list", _HINT)
    keys = [_scalar(key) for key in keys]
    # gensim leaves documents with numbers for tags out of the index.
    indexed = {key: row for row, key in enumerate(keys) if type(key) is str or key in index}
    if {key: _scalar(row) for key, row in index.items()} != indexed:
        raise ModelError(
            f"the index of its {what} (key_to_index) does not agree with their rows", _HINT
        )
    return keys


# Numbers and arrays


def _dtype(value: Any) -> np.dtype[Any]:
    """Return the type of an array's numbers. Structured types and those of objects are refused."""
    if isinstance(value, Call) and value.makes("numpy.dtype") and not value.is_new:
        name = value.args[0] if value.args else None
        state = value.state
        name = name.decode("latin1") if isinstance(name, bytes) else name
        is_plain = isinstance(state, tuple) and len(state) > 4 and state[2:5] == (None, None, None)
        order = state[1] if is_plain else None
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if name in _DTYPES and order in ("<", ">", "|", "="):
            return np.dtype(f"{order}{name}")
    raise ModelError("an array of it holds no plain numbers", _HINT)


def _is_of_objects(value: Call) -> bool:
    dtype = value.state[2] if isinstance(value.state, tuple) and len(value.state) == 5 else None
    return isinstance(dtype, Call) and dtype.args[:1] in (("O8",), (b"O8",))


def _array(value: Any) -> np.ndarray:
    """Return an array of plain numbers, made from its bytes alone."""
    is_array = isinstance(value, Call) and value.makes(*_ARRAY)
    if not (is_array and isinstance(value.state, tuple) and len(value.state) == 5):
        raise ModelError("an array of it is damaged", _HINT)
    _, shape, stored, is_fortran, content = value.state
    dtype, content = _dtype(stored), _bytes(content)
    _check_shape(shape)
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ModelError(f"an array of {shape} of it has {len(content):,} bytes", _HINT)
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")
    return np.array(array, dtype=dtype.newbyteorder("="), order="C")


def _check_shape(shape: Any) -> None:
    is_shape = isinstance(shape, tuple) and len(shape) <= 2
    if not (is_shape and all(type(n) is int and 0 <= n < 2**40 for n in shape)):
        raise ModelError("the shape of an array of it is not one of a Doc2Vec", _HINT)


def _bytes(value: Any) -> bytes:
    # Pickles of protocol 2 have no bytes: they are text in latin1 there.
    if isinstance(value, Call) and value.makes("_codecs.encode") and len(value.args) == 2:
        text, encoding = value.args
        if isinstance(text, str) and encoding == "latin1":
            return text.encode("latin1", "strict")
    if not isinstance(value, bytes):
        raise ModelError("an array of it holds no bytes", _HINT)
    return value


def _scalar(value: Any) -> Any:
    """Return a number of numpy's as one of Python's; other values as they are."""
    if not (isinstance(value, Call) and value.makes(*_SCALAR)):
        return value
    if len(value.args) != 2:
        raise ModelError("a number of it is damaged", _HINT)
    dtype, content = _dtype(value.args[0]), _bytes(value.args[1])
    if len(content) != dtype.itemsize:
        raise ModelError("a number of it is damaged", _HINT)
    return np.frombuffer(content, dtype)[0].item()


def _paths(value: Any) -> list[np.ndarray]:
    """Return an array of objects as a list of arrays."""
    if isinstance(value, Call) and value.makes(*_ARRAY) and _is_of_objects(value):
        value = value.state[4]
    if not isinstance(value, list):
        raise ModelError("its Huffman tree is damaged", _HINT)
    paths = [_array(path) for path in value]
    if any(path.ndim != 1 for path in paths):
        raise ModelError("its Huffman tree is damaged", _HINT)
    return paths


def _beside(path: Path) -> np.ndarray | None:
    """Return the array in an .npy file. No more is allocated than the file holds."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise ModelError(f"{path.name} is no .npy file of version 1 or 2", _HINT)
        shape, is_fortran, dtype = readers[version](file)
        _check_shape(shape)
        if dtype.kind + str(dtype.itemsize) not in _DTYPES or dtype.names or dtype.subdtype:
            raise ModelError(f"{path.name} holds no plain numbers", _HINT)
        if path.stat().st_size - file.tell() != math.prod(shape) * dtype.itemsize:
            raise ModelError(f"{path.name} has not the size of its array of {shape}", _HINT)
        array = np.frombuffer(file.read(), dtype).reshape(shape, order="F" if is_fortran else "C")
    return np.array(array, dtype=dtype.newbyteorder("="), order="C")


def _short(name: Any) -> str:
    text = str(name) if isinstance(name, Global) else "something unknown"
    return "".join(itertools.islice((c for c in text if c.isprintable()), 100))
