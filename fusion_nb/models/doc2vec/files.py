"""Doc2Vec models as files: in gensim's own format and in word2vec's text, read without running what is inside."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from gensim.models.doc2vec import Doc2Vec

from fusion_nb.errors import ExportError, ModelError

FORMATS = {"gensim": "model.doc2vec", "word2vec": "words.txt"}
#: All that gensim writes into the file of a Doc2Vec, and nothing that runs code of the file's choosing.
_ADMITTED = {
    "gensim.models.doc2vec": {"Doc2Vec"},
    "gensim.models.keyedvectors": {"KeyedVectors"},
    "gensim.utils": {"call_on_class_only"},
    "numpy": {"ndarray", "dtype", "float32", "float64", "int64", "uint32"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.random._pickle": {"__randomstate_ctor", "__bit_generator_ctor"},
    "numpy.random._mt19937": {"MT19937"},
    "builtins": {"int", "hash"},
    "collections": {"defaultdict"},
}


def save(model: Doc2Vec, path: Path, format: str) -> None:
    """Write a model in one of FORMATS. Raises ExportError for word vectors that were never trained."""
    if format == "gensim":
        model.save(str(path), separately=[])  # in one file, however large its arrays are
        return
    if model.sg and not model.dbow_words:
        raise ExportError(
            "this Doc2Vec trains no word vectors (dm=0 and dbow_words=0), so there are none to write",
            "use the format 'gensim', or make the model with dm=1 or dbow_words=1",
        )
    model.wv.save_word2vec_format(str(path))


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return a class or function that a Doc2Vec is made of; any other is refused by name."""
        if name in _ADMITTED.get(module, ()):
            return super().find_class(module, name)
        raise ModelError(
            f"it holds {module}.{name}, and only what gensim's own Doc2Vec is made of is read from a file",
            "build the model in the notebook, and give the variable's name with --model",
        )


def load(path: Path) -> Doc2Vec:
    """Return the Doc2Vec in a file that gensim wrote; its large arrays may lie beside it, as gensim puts them.

    Raises ModelError, naming what it holds, for a file with anything but classes of gensim's Doc2Vec and numpy arrays.
    """
    try:
        with path.open("rb") as file:
            found = _Unpickler(file).load()
        if isinstance(found, Doc2Vec):
            compress, name_of = found._adapt_by_suffix(str(path))
            found._load_specials(str(path), None, compress, name_of)
            found.infer_vector(["a"], epochs=1)  # a model whose parts are missing passes the unpickler and fails later
    except ModelError as error:
        raise ModelError(f"{path} is refused: {error.message}", error.hint) from None
    except Exception as error:  # whatever a damaged or hostile file makes the unpickler raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:80]
        raise ModelError(
            f"{path} can't be read as a gensim model ({reason})", "is it complete? save it again"
        ) from None
    if not isinstance(found, Doc2Vec):
        raise ModelError(f"{path} holds {type(found).__name__}, not a Doc2Vec", "save a Doc2Vec with model.save(path)")
    return found
