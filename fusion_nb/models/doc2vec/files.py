"""Doc2Vec models as files: written in three formats, and read without running code."""

from __future__ import annotations

from pathlib import Path

from gensim.models.doc2vec import Doc2Vec

from fusion_nb.errors import ExportError, MissingExtraError, ModelError
from fusion_nb.models.doc2vec import archive, gensim_files
from fusion_nb.models.doc2vec.parts import revive

#: `doc2vec` is this package's own format, `gensim` that of gensim's `save` and `load`.
FORMATS = {"doc2vec": "model.d2v", "gensim": "model.doc2vec", "word2vec": "words.txt"}


def save(model: Doc2Vec, path: Path, format: str) -> None:
    """Write a model in one of FORMATS.

    Raises ExportError for word vectors that were never trained.
    """
    if format == "doc2vec":
        archive.write(model, path)
        return
    if format == "gensim":
        model.save(str(path), separately=[])  # in one file, however large its arrays are
        return
    if model.sg and not model.dbow_words:
        raise ExportError(
            "this Doc2Vec trains no word vectors (dm=0 and dbow_words=0), so there are none to "
            "write",
            "use the format 'doc2vec' or 'gensim', or make the model with dm=1 or dbow_words=1",
        )
    model.wv.save_word2vec_format(str(path))


def load(path: Path) -> Doc2Vec:
    """Return the Doc2Vec in a file of the formats `doc2vec` or `gensim`.

    gensim's own loader would unpickle any class that the file names, and its compiled code trusts
    every index, so plain parts are read and checked, and a new model is made of them. Raises
    ModelError, which names the reason, for a file with anything but a sound Doc2Vec.
    """
    try:
        parts = archive.read(path) if archive.is_archive(path) else gensim_files.read(path)
        return revive(parts)
    except MissingExtraError:
        raise
    except ModelError as error:
        raise ModelError(f"{path} is refused: {error.message}", error.hint) from None
    except Exception as error:  # a damaged or hostile file makes the readers raise anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:80]
        hint = "is it complete? save it again"
        raise ModelError(f"{path} can't be read as a gensim model ({reason})", hint) from None
