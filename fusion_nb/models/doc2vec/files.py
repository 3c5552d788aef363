"""Doc2Vec models as files: in gensim's format and word2vec's text, read without running code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from gensim.models.doc2vec import Doc2Vec
from gensim.models.keyedvectors import KeyedVectors

from fusion_nb.errors import ExportError, ModelError, option

FORMATS = {"gensim": "model.doc2vec", "word2vec": "words.txt"}
#: The names that gensim writes into the file of a Doc2Vec beside its own two classes. None of them
#: could run code.
_ADMITTED = {
    "gensim.utils": {"call_on_class_only"},
    "numpy": {"ndarray", "dtype", "float32", "float64", "int64", "uint32"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.random._pickle": {"__randomstate_ctor", "__bit_generator_ctor"},
    "numpy.random._mt19937": {"MT19937"},
    "builtins": {"int", "hash"},
    "collections": {"defaultdict"},
}
#: Arrays that gensim may have put into files of their own, `model.doc2vec.syn1neg.npy` say.
_ARRAYS = {
    "": ("syn1neg", "syn1"),
    "wv": ("vectors", "vectors_lockf"),
    "dv": ("vectors", "vectors_lockf"),
}


def save(model: Doc2Vec, path: Path, format: str) -> None:
    """Write a model in one of FORMATS.

    Raises ExportError for word vectors that were never trained.
    """
    if format == "gensim":
        model.save(str(path), separately=[])  # in one file, however large its arrays are
        return
    if model.sg and not model.dbow_words:
        raise ExportError(
            "this Doc2Vec trains no word vectors (dm=0 and dbow_words=0), so there are none to "
            "write",
            "use the format 'gensim', or make the model with dm=1 or dbow_words=1",
        )
    model.wv.save_word2vec_format(str(path))


class _Stored:
    """An inert object in place of one of gensim's while a file is read: it only takes a state."""

    def __new__(cls) -> _Stored:
        return super().__new__(cls)

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


class _StoredModel(_Stored):
    """A Doc2Vec."""


class _StoredVectors(_Stored):
    """Its word vectors, or those of its documents."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return an inert class for gensim's, or a part of arrays; any other name is refused."""
        if (module, name) == ("gensim.models.doc2vec", "Doc2Vec"):
            return _StoredModel
        if (module, name) == ("gensim.models.keyedvectors", "KeyedVectors"):
            return _StoredVectors
        if name in _ADMITTED.get(module, ()):
            return super().find_class(module, name)
        raise ModelError(
            f"it holds {module}.{name}, and only what gensim's own Doc2Vec is made of is read "
            "from a file",
            f"build the model in the notebook, and give the variable's name with {option('model')}",
        )


def load(path: Path) -> Doc2Vec:
    """Return the Doc2Vec in a file that gensim wrote.

    Its large arrays may lie beside it, where gensim puts them. gensim's own loader would unpickle
    any class that the file names, so the state is read into inert
    objects, and arrays without pickle. Raises ModelError, which names the content, for a file with
    anything but a Doc2Vec and numpy arrays.
    """
    try:
        with path.open("rb") as file:
            found = _Unpickler(file).load()
        if not isinstance(found, _StoredModel):
            name = type(found).__name__
            raise ModelError(
                f"it holds {name}, not a Doc2Vec", "save a Doc2Vec with model.save(path)"
            )
        return _revived(found, path)
    except ModelError as error:
        raise ModelError(f"{path} is refused: {error.message}", error.hint) from None
    except Exception as error:  # a damaged or hostile file makes the unpickler raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:80]
        hint = "is it complete? save it again"
        raise ModelError(f"{path} can't be read as a gensim model ({reason})", hint) from None


def _revived(stored: _StoredModel, path: Path) -> Doc2Vec:
    """Return a Doc2Vec with the stored state. An invalid state makes gensim raise anything."""
    parts: dict[str, Any] = {"": stored, "wv": stored.__dict__["wv"], "dv": stored.__dict__["dv"]}
    for part, names in _ARRAYS.items():
        prefix = f"{path}.{part}." if part else f"{path}."
        for name in names:
            beside = Path(f"{prefix}{name}.npy")
            if parts[part].__dict__.get(name) is None and beside.is_file():
                parts[part].__dict__[name] = np.load(beside, allow_pickle=False)
    model = Doc2Vec.__new__(Doc2Vec)
    model.__dict__.update(stored.__dict__)
    for part in ("wv", "dv"):
        vectors = KeyedVectors.__new__(KeyedVectors)
        vectors.__dict__.update(parts[part].__dict__)
        setattr(model, part, vectors)
    _check_arrays(model)
    if model.negative:
        model.make_cum_table()  # not stored, or not to be trusted
    if model.wv.index_to_key:
        # A model whose parts are missing fails here, and not in a run.
        model.infer_vector(["a"], epochs=1)
    return model


def _check_arrays(model: Doc2Vec) -> None:
    """Raise ValueError where arrays lack the sizes that gensim's compiled code relies on."""
    count = len(model.wv.index_to_key)
    if not count:  # a model that has no vocabulary yet has none of them
        return
    wanted = {
        "wv.vectors": (model.wv.vectors, (count, model.vector_size)),
        **({"syn1neg": (model.syn1neg, (count, model.layer1_size))} if model.negative else {}),
        **({"syn1": (model.syn1, (count, model.layer1_size))} if model.hs else {}),
    }
    for name, (array, shape) in wanted.items():
        is_sound = (
            isinstance(array, np.ndarray) and array.dtype == np.float32 and array.flags.c_contiguous
        )
        if not (is_sound and array.shape == shape):
            raise ValueError(f"{name} is no array of {shape}")
