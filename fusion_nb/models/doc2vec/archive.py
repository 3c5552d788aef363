"""Doc2Vec models in this package's own format: a zip archive of JSON and safetensors.

`model.json` holds the settings, words and tags, `arrays.safetensors` the arrays. Neither can hold
code, and nothing in the archive is packed, so that no file is larger than it looks.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from gensim.models.doc2vec import Doc2Vec

from fusion_nb.errors import ModelError, missing_extra
from fusion_nb.models.doc2vec.parts import COUNTERS, SETTINGS, Parts

_ABOUT, _ARRAYS = "model.json", "arrays.safetensors"
_FORMAT = 1
_HINT = "is it complete? save it again"


def is_archive(path: Path) -> bool:
    """Return whether a file begins as an archive does."""
    with path.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def write(model: Doc2Vec, path: Path) -> None:
    """Write a Doc2Vec, its vocabulary, documents and weights."""
    try:
        from safetensors.numpy import save
    except ModuleNotFoundError as error:
        raise missing_extra(error, "the format 'doc2vec'") from error
    about = {
        "format": _FORMAT,
        "kind": "Doc2Vec",
        "settings": {name: _plain(getattr(model, name)) for name in SETTINGS},
        "counters": {
            name: _plain(getattr(model, name)) for name in COUNTERS if name in model.__dict__
        },
        "words": list(model.wv.index_to_key),
        "tags": list(model.dv.index_to_key),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_ABOUT, json.dumps(about, allow_nan=False))
        with archive.open(_ARRAYS, "w", force_zip64=True) as entry:
            entry.write(save(_arrays(model)))


def _arrays(model: Doc2Vec) -> dict[str, np.ndarray]:
    arrays = {}
    for part, vectors in (("wv", model.wv), ("dv", model.dv)):
        if len(vectors):
            arrays[f"{part}.vectors"] = vectors.vectors
        for name, array in vectors.expandos.items():
            if name not in ("code", "point"):
                arrays[f"{part}.expandos.{name}"] = array
    for name in ("syn1", "syn1neg"):
        if name in model.__dict__:
            arrays[name] = getattr(model, name)
    if model.hs and len(model.wv):
        codes, points = model.wv.expandos["code"], model.wv.expandos["point"]
        arrays["tree.lengths"] = np.array([len(code) for code in codes], dtype=np.int64)
        arrays["tree.codes"] = np.concatenate([np.asarray(c, dtype=np.uint8) for c in codes])
        arrays["tree.points"] = np.concatenate([np.asarray(p, dtype=np.uint32) for p in points])
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def read(path: Path) -> Parts:
    """Return the parts of the Doc2Vec in an archive. Raises ModelError where it holds no such."""
    try:
        from safetensors.numpy import load
    except ModuleNotFoundError as error:
        raise missing_extra(error, "reading a Doc2Vec") from error
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        is_known = sorted(entry.filename for entry in entries) == [_ARRAYS, _ABOUT]
        is_plain = all(e.compress_type == zipfile.ZIP_STORED for e in entries)
        is_small = sum(e.file_size for e in entries) <= path.stat().st_size
        if not (is_known and is_plain and is_small):
            raise ModelError("it is no archive of a Doc2Vec", "write one with run.export(...)")
        about = json.loads(archive.read(_ABOUT), parse_constant=_refuse)
        arrays = load(archive.read(_ARRAYS))
    if not isinstance(about, dict) or about.get("kind") != "Doc2Vec":
        raise ModelError("it is no archive of a Doc2Vec", "write one with run.export(...)")
    if about.get("format") != _FORMAT:
        raise ModelError(
            f"its format is {str(about.get('format'))[:20]!r}, and this version reads {_FORMAT}",
            "install a newer version of fusion_nb",
        )
    settings, counters = about.get("settings"), about.get("counters")
    words, tags = about.get("words"), about.get("tags")
    if not (isinstance(settings, dict) and isinstance(counters, dict)):
        raise ModelError("its settings are no mapping", _HINT)
    if not (isinstance(words, list) and isinstance(tags, list)):
        raise ModelError("its words or tags are no list", _HINT)
    codes, points = _tree(arrays)
    return Parts(counters | settings, words, tags, arrays, codes, points)


def _tree(arrays: dict[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the paths of the words in the Huffman tree."""
    names = ("tree.lengths", "tree.codes", "tree.points")
    if not any(name in arrays for name in names):
        return [], []
    if not all(name in arrays and arrays[name].ndim == 1 for name in names):
        raise ModelError("its Huffman tree is damaged", _HINT)
    lengths, codes, points = (arrays.pop(name) for name in names)
    is_sound = lengths.dtype == np.int64 and (not lengths.size or lengths.min() >= 0)
    if not (is_sound and len(codes) == len(points) == sum(lengths.tolist())):
        raise ModelError("its Huffman tree is damaged", _HINT)
    ends = np.cumsum(lengths)[:-1]
    return np.split(codes, ends), np.split(points, ends)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _refuse(constant: str) -> NoReturn:
    raise ModelError(f"it holds {constant} where a number should be", "save it again")
