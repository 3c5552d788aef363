"""The metrics of a Doc2Vec on samples of documents, always the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gensim.models.doc2vec import Doc2Vec

from fusion_nb.core import documents as texts
from fusion_nb.core import rows as rows_of
from fusion_nb.core.documents import Document
from fusion_nb.core.types import Metrics
from fusion_nb.models.doc2vec import measures
from fusion_nb.models.doc2vec.training import Trainer

#: Documents in the samples: for the loss, for the self-rank at each party, and for the classifier.
_LOSS_SAMPLE, _RANK_SAMPLE, _CLASSIFIED_SAMPLE = 50, 50, 500


class Evaluator:
    """Evaluates a model.

    gate: called between two documents
    """

    def __init__(self, model: Doc2Vec, gate: Callable[[], None]) -> None:
        self._model = model
        self._gate = gate

    def evaluate(self, data: Any) -> Metrics:
        """Return the loss of documents that the model has not seen, with inferred vectors."""
        documents = data[0][measures.sample(rows_of.size(data), _LOSS_SAMPLE)]
        return {"loss": self._mean_loss(documents, self._inferred(documents))}

    def evaluate_train(self, documents: Sequence[Document], vectors: np.ndarray) -> Metrics:
        """Return the self-rank of a party's documents among all of them, and their loss.

        vectors: of the party's documents, in the order of their tags
        """
        positions = measures.sample(len(documents), _RANK_SAMPLE)
        inferred = self._inferred([documents[position] for position in positions])
        row = _rows(documents)
        rows = np.array([row[documents[position].tags[0]] for position in positions])
        rank = measures.self_rank(vectors, inferred, rows)
        return {"self_rank": rank, "loss": self.loss(documents, vectors)}

    def evaluate_costly(self, data: Any) -> Metrics:
        """Return the cross-validated accuracy of a linear classifier on inferred vectors."""
        positions = measures.sample(rows_of.size(data), _CLASSIFIED_SAMPLE)
        accuracy = measures.classified(self._inferred(data[0][positions]), data[1][positions])
        return {} if accuracy is None else {"accuracy": accuracy}

    def loss(self, documents: Sequence[Document], vectors: np.ndarray) -> float:
        """Return the loss of a party's documents with their own vectors."""
        row = _rows(documents)
        chosen = [documents[position] for position in measures.sample(len(documents), _LOSS_SAMPLE)]
        own = np.stack([vectors[row[document.tags[0]]] for document in chosen])
        return self._mean_loss(chosen, own)

    def _inferred(self, documents: Sequence[Document]) -> np.ndarray:
        return Trainer(self._model).infer_all(documents, self._gate)

    def _mean_loss(self, documents: Sequence[Document], vectors: np.ndarray) -> float:
        pairs = zip(documents, vectors, strict=True)
        losses = [measures.loss(self._model, document, vector) for document, vector in pairs]
        return float(np.mean(losses))


def _rows(documents: Sequence[Document]) -> dict[str, int]:
    """Return the row of each tag in a party's array of vectors."""
    return {tag: row for row, tag in enumerate(texts.tags(documents))}
