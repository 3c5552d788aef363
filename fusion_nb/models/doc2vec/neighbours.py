"""The nearest documents of all parties to a text."""

from __future__ import annotations

from collections.abc import Sequence

from gensim.models.doc2vec import Doc2Vec

from fusion_nb.core import documents as texts
from fusion_nb.core.documents import Document
from fusion_nb.errors import OptionError
from fusion_nb.models.doc2vec.training import Trainer
from fusion_nb.models.near_documents import Neighbour


class NeighbourFinder:
    """Finds the nearest documents of all parties.

    model: the fused model;  owned: party -> its own model, which has vectors of its documents
    Each party compares with its own documents, and tells only tags and similarities.
    """

    def __init__(self, model: Doc2Vec, owned: dict[str, Doc2Vec]) -> None:
        self._trainer = Trainer(model)
        self._vectors = {party: own.dv for party, own in owned.items()}

    def __call__(self, text: str | Sequence[str], count: int) -> list[Neighbour]:
        """Return the nearest documents to a text, the nearest first.

        Raises OptionError where no word of the text is in the vocabulary.
        """
        words = texts.words_of(text) if isinstance(text, str) else tuple(text)
        if not any(word in self._trainer.model.wv for word in words):
            raise OptionError(
                f"no word of {text[:40]!r} is in the vocabulary", "use words that parties have"
            )
        vector = self._trainer.infer(Document(words, ()))
        found = [
            (tag, party, near)
            for party, vectors in self._vectors.items()
            for tag, near in vectors.similar_by_vector(vector, topn=count)
        ]
        return sorted(found, key=lambda item: -item[2])[:count]
