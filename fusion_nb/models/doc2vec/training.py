"""Training and inference of one document at a time, through gensim's own compiled functions.

`Doc2Vec.train` runs threads that can't be stopped between two documents, and has one schedule for
each call; it calls these functions itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from gensim import matutils
from gensim.models.doc2vec import (
    Doc2Vec,
    train_document_dbow,
    train_document_dm,
    train_document_dm_concat,
)
from gensim.models.word2vec import MAX_WORDS_IN_BATCH

from fusion_nb.core import documents as texts
from fusion_nb.core.documents import Document


class Trainer:
    """Trains documents on a model, with work space that is allocated once.

    gensim's compiled code leaves out the words of a document beyond its 10,000th known one. Such a
    document is trained in several parts here, which share its vectors.
    """

    def __init__(self, model: Doc2Vec) -> None:
        self.model = model
        self._work = matutils.zeros_aligned(model.layer1_size, dtype=np.float32)
        self._neurons = matutils.zeros_aligned(model.layer1_size, dtype=np.float32)
        self._free = np.ones(1, dtype=np.float32)  # no document vector is frozen

    def train(
        self, words: Sequence[str], rows: Sequence[int], alpha: float, vectors: np.ndarray
    ) -> None:
        """Train the document vectors in `rows`, and the model, on one document's words."""
        self._step(words, rows, alpha, vectors, learn=True)

    def train_all(
        self,
        documents: Sequence[Document],
        vectors: np.ndarray,
        epochs: int,
        alphas: tuple[float, float],
        seed: int,
        gate: Callable[[], None],
    ) -> None:
        """Train in place on all documents, in a random order in each of the epochs.

        vectors: of the documents, in the order of their tags
        alphas:  the first and the last learning rate, between which it falls evenly
        gate:    called between two documents
        """
        rows = {tag: row for row, tag in enumerate(texts.tags(documents))}
        start, end = alphas
        shuffler = np.random.default_rng(seed)
        self.model.random = np.random.RandomState(seed % 2**32)
        total = epochs * len(documents)
        for epoch in range(epochs):
            for number, index in enumerate(shuffler.permutation(len(documents))):
                gate()
                done = (epoch * len(documents) + number) / total
                document = documents[index]
                own = [rows[tag] for tag in document.tags]
                self.train(document.words, own, start + (end - start) * done, vectors)

    def _step(
        self,
        words: Sequence[str],
        rows: Sequence[int],
        alpha: float,
        vectors: np.ndarray,
        learn: bool,
    ) -> None:
        model = self.model
        options = {
            "doctag_vectors": vectors,
            "doctags_lockf": self._free,
            "learn_words": learn,
            "learn_hidden": learn,
        }
        rows = list(rows)
        for part in self._parts(words):
            if model.sg:
                train_words = bool(model.dbow_words) and learn
                train_document_dbow(
                    model, part, rows, alpha, self._work, train_words=train_words, **options
                )
                continue
            train = train_document_dm_concat if model.dm_concat else train_document_dm
            train(model, part, rows, alpha, self._work, self._neurons, **options)

    def _parts(self, words: Sequence[str]) -> list[list[str]]:
        """Return the words of a document in parts that gensim's compiled code trains whole."""
        if len(words) <= MAX_WORDS_IN_BATCH:
            return [list(words)]
        # Words outside the vocabulary take no room there.
        known = [word for word in words if word in self.model.wv.key_to_index]
        starts = range(0, len(known), MAX_WORDS_IN_BATCH)
        return [known[start : start + MAX_WORDS_IN_BATCH] for start in starts]

    def infer(self, document: Document) -> np.ndarray:
        """Return the vector of a document under the model, the same in every process.

        The model is not changed. gensim's own `infer_vector` depends on the model's random state
        and on how Python hashes text.
        """
        model = self.model
        random = random_of(document.words)
        count = model.dm_tag_count if model.dm_concat else 1
        vectors = first_vectors(random, count, model.vector_size)
        theirs, model.random = model.random, random
        try:
            for alpha in np.linspace(model.alpha, model.min_alpha, model.epochs):
                self._step(document.words, range(count), alpha, vectors, learn=False)
        finally:
            model.random = theirs
        return np.asarray(vectors[0])

    def infer_all(
        self, documents: Sequence[Document], gate: Callable[[], None] = lambda: None
    ) -> np.ndarray:
        """Return one vector for each document; `gate` is called between two."""
        found = np.empty((len(documents), self.model.vector_size), dtype=np.float32)
        for row, document in enumerate(documents):
            gate()
            found[row] = self.infer(document)
        return found


def random_of(words: Sequence[str]) -> np.random.RandomState:
    """Return a random state that depends on the words alone.

    Python's own hash of text would differ between processes.
    """
    digest = hashlib.blake2b(
        "\0".join(words).encode("utf-8", "surrogatepass"), digest_size=16
    ).digest()
    return np.random.RandomState(np.frombuffer(digest, dtype="<u4"))


def first_vectors(random: np.random.RandomState, count: int, size: int) -> np.ndarray:
    """Return untrained vectors, as small as gensim makes them."""
    return ((random.random_sample((count, size)) - 0.5) / size).astype(np.float32)


def untrained_vectors(model: Doc2Vec, documents: Sequence[Document]) -> np.ndarray:
    """Return vectors for a party's documents, in the order of their tags, before any training."""
    tags = texts.tags(documents)
    random = random_of([str(model.seed), *tags])
    return first_vectors(random, len(tags), model.vector_size)


def shared_arrays(model: Doc2Vec) -> dict[str, np.ndarray]:
    """Return the model's own arrays that parties share, by name."""
    shared = {}
    if model.negative:
        shared["syn1neg"] = model.syn1neg
    if model.hs:
        shared["syn1"] = model.syn1
    if not model.sg or model.dbow_words:
        shared["wv.vectors"] = model.wv.vectors
    return shared


def rate_at(model: Doc2Vec, lr: float | None, progress: float) -> float:
    """Return the learning rate at a part of the run, from 0 to 1: it falls to `min_alpha`.

    lr: the first one; None for the model's own
    """
    first = float(model.alpha) if lr is None else lr
    return first + (min(first, float(model.min_alpha)) - first) * progress


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors of length 1."""
    length: np.ndarray = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return vectors / length
