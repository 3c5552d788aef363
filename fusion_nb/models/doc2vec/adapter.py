"""gensim's Doc2Vec: parties share what predicts words, and keep the vectors of their documents to
themselves.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gensim.models.doc2vec import Doc2Vec

from fusion_nb.core import documents as texts
from fusion_nb.core import rows as rows_of
from fusion_nb.core.documents import Document
from fusion_nb.core.rows import is_classes
from fusion_nb.core.types import Metrics, Update, Weights
from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.base import Model
from fusion_nb.models.doc2vec import files, measures, vocabulary
from fusion_nb.models.doc2vec.training import Trainer, first_vectors, random_of

#: Documents that are measured: for the loss, for the self-rank at each party, and for the
#: classifier.
_LOSS_SAMPLE, _RANK_SAMPLE, _CLASSIFIED_SAMPLE = 50, 50, 500

#: A document near a text: its tag, whose it is, and its cosine similarity.
_Neighbour = tuple[str, str, float]
_Finder = Callable[[str, int], list[_Neighbour]]


class Doc2VecModel(Model):
    """A gensim Doc2Vec, whose hyper-parameters are taken; parties agree on the vocabulary and train
    it from scratch.

    What travels are the output weights (`syn1neg` with negative sampling, `syn1` with hierarchical
    softmax), and the word vectors where they are trained (dm=1 or dbow_words=1). Document vectors
    are a party's state and never leave it.

    min_parties: keep only words that at least so many parties have
    Source: Le, Mikolov, "Distributed Representations of Sentences and Documents", ICML 2014; joint
    learning over
    parties: Witherspoon, Steuer, Bent, Desai, "SEEC: Semantic Vector Federation across Edge
    Computing Environments", 2020.
    """

    kind = "Doc2Vec"
    supports = frozenset({"summed_loss"})
    formats: ClassVar = files.FORMATS
    packages: ClassVar = ("gensim",)
    defaults: Mapping[str, Any] = {"fusion": "doc2vec", "optimizer": ""}
    orders: ClassVar = frozenset()
    takes = "documents"
    is_scheduled = True
    metrics: tuple[str, ...] = ("self_rank", "loss")
    watched = ("self_rank",)

    def __init__(self, model: Doc2Vec, *, min_parties: int = 1) -> None:
        self.model = Doc2Vec(**vocabulary.settings(model))
        self.model.cbow_mean = model.cbow_mean  # gensim's constructor does not look at dm_mean
        self._min_parties = min_parties
        self._had_vocabulary = len(model.wv) > 0
        self._agreed: vocabulary.Agreement | None = None
        self._has_words = False

    def default_lr(self, optimizer: Any) -> float:
        """Return the model's own alpha."""
        return float(self.model.alpha)

    def clone(self) -> Doc2VecModel:
        """Return an independent copy."""
        other = copy.copy(self)
        other.model = copy.deepcopy(self.model)
        return other

    @classmethod
    def load(cls, path: Path) -> Doc2Vec:
        """Return the Doc2Vec in a file of gensim's. Raises ModelError for a file that holds
        anything else.
        """
        return files.load(path)

    @classmethod
    def taken_up(cls, model: Doc2Vec) -> Doc2VecModel:
        """Return the adapter of a model that has the vocabulary that parties agreed on."""
        made = cls(model)
        made.model, made._has_words = model, True
        return made

    def check(
        self, rows: Any, labels: np.ndarray, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Look at the hyper-parameters and at what there is to measure; the words are looked at in
        round 0.
        """
        if not self.model.negative and not self.model.hs:
            raise ModelError(
                "this Doc2Vec has negative=0 and hs=0, so it can't be trained",
                "use negative=5, or hs=1",
            )
        start, end = self._rate(lr, 0.0), self._rate(lr, 1.0)
        notes = [
            f"lr: falls from {start:g} to {end:g} over the rounds, and anew over rounds that are "
            "added",
            f"epochs: each round trains --epochs; those of the model ({self.model.epochs}) are "
            "for inferring vectors",
        ]
        if self._had_vocabulary:
            notes.append(
                "the model's own vocabulary and vectors are not used: parties agree on theirs "
                "and train anew"
            )
        if is_classes(labels):
            self.metrics, self.examined = ("self_rank", "loss", "accuracy"), ("accuracy",)
        return notes

    # Round 0

    def collect(self, data: Any) -> dict[str, Any]:
        """Return a party's word counts."""
        return {"counts": vocabulary.count(data[0])}

    def agree(self, updates: Sequence[Update]) -> vocabulary.Agreement:
        """Add the parties' word counts, and build the vocabulary. Raises ModelError where no word
        is left.
        """
        self._agreed, self._has_words = (
            vocabulary.agree(updates, self.model, self._min_parties),
            True,
        )
        self.notes = self._agreed.notes
        return self._agreed

    def prepare(self, data: Any, state: dict[str, Any], agreed: vocabulary.Agreement) -> None:
        """Build the agreed vocabulary at a party, and draw first vectors for its documents.

        Raises ModelError where the party can't build the same, or has no document that could be
        trained.
        """
        if self._agreed is not agreed:
            vocabulary.build(self.model, agreed)
            self._agreed, self._has_words = agreed, True
        vocabulary.check_party(data[0], self.model)
        state["vectors"] = self._first_vectors(data[0])

    # Training

    def get_weights(self) -> Weights:
        """Return a copy of what travels; empty before parties agreed on a vocabulary."""
        return (
            {name: array.copy() for name, array in self._shared().items()}
            if self._has_words
            else {}
        )

    def set_weights(self, weights: Weights) -> None:
        """Copy weights into the model's own arrays."""
        for name, array in self._shared().items():
            array[...] = weights[name]

    def fit(
        self,
        data: Any,
        *,
        epochs: int,
        lr: float | None,
        seed: int,
        state: dict[str, Any] | None = None,
        progress: tuple[float, float] = (0.0, 1.0),
        batch_size: int = 1,
        optimizer: Any = "",
        **local: Any,
    ) -> Metrics:
        """Train document by document; return the loss on a fixed sample of the rows, after
        training.

        lr:       what the learning rate falls from over the whole run, to the model's `min_alpha`
        progress: where on that fall this training begins and ends, from 0 to 1
        state:    keeps the vectors of the party's documents;  batch_size, optimizer: have no
                  meaning here
        Raises Stopped through `gate`.
        """
        if unknown := local.keys() - self.supports:
            raise OptionError(
                f"a Doc2Vec can't honour {', '.join(sorted(unknown))}", "use another fusion"
            )
        documents, model = data[0], self.model
        state = {} if state is None else state
        vectors = state["vectors"].copy() if "vectors" in state else self._first_vectors(documents)
        rows = {tag: row for row, tag in enumerate(texts.tags(documents))}
        start, end = self._rate(lr, progress[0]), self._rate(lr, progress[1])
        shuffler, trainer = np.random.default_rng(seed), Trainer(model)
        model.random = np.random.RandomState(seed % 2**32)
        total = epochs * len(documents)
        for epoch in range(epochs):
            for number, index in enumerate(shuffler.permutation(len(documents))):
                self.gate()
                done = (epoch * len(documents) + number) / total
                document = documents[index]
                own = [rows[tag] for tag in document.tags]
                trainer.train(document.words, own, start + (end - start) * done, vectors)
        state["vectors"] = vectors
        return {"loss": self._loss_of_own(documents, vectors)}

    def _rate(self, lr: float | None, progress: float) -> float:
        first = float(self.model.alpha) if lr is None else lr
        return first + (min(first, float(self.model.min_alpha)) - first) * progress

    # Measuring

    def evaluate(self, data: Any) -> Metrics:
        """Return the loss on a fixed sample of documents that the model has not seen, their vectors
        inferred.
        """
        documents = data[0][measures.sample(rows_of.size(data), _LOSS_SAMPLE)]
        vectors = Trainer(self.model).infer_all(documents, self.gate)
        return {"loss": self._mean_loss(documents, vectors)}

    def watch(self, data: Any, state: Mapping[str, Any]) -> Metrics:
        """Return the self-rank of a sample of a party's documents among all of them, and their
        loss.
        """
        documents, vectors = data[0], state["vectors"]
        positions = measures.sample(len(documents), _RANK_SAMPLE)
        inferred = Trainer(self.model).infer_all(documents[positions], self.gate)
        row = {tag: number for number, tag in enumerate(texts.tags(documents))}
        rows = np.array([row[documents[position].tags[0]] for position in positions])
        rank = measures.self_rank(vectors, inferred, rows)
        return {"self_rank": rank, "loss": self._loss_of_own(documents, vectors)}

    def examine(self, data: Any) -> Metrics:
        """Return the accuracy of a linear classifier on inferred vectors of a sample of documents,
        cross-validated.
        """
        positions = measures.sample(rows_of.size(data), _CLASSIFIED_SAMPLE)
        vectors = Trainer(self.model).infer_all(data[0][positions], self.gate)
        accuracy = measures.classified(vectors, data[1][positions])
        return {} if accuracy is None else {"accuracy": accuracy}

    def _loss_of_own(self, documents: Sequence[Document], vectors: np.ndarray) -> float:
        row = {tag: number for number, tag in enumerate(texts.tags(documents))}
        chosen = [documents[position] for position in measures.sample(len(documents), _LOSS_SAMPLE)]
        return self._mean_loss(
            chosen, np.stack([vectors[row[document.tags[0]]] for document in chosen])
        )

    def _mean_loss(self, documents: Sequence[Document], vectors: np.ndarray) -> float:
        pairs = zip(documents, vectors, strict=True)
        return float(
            np.mean([measures.loss(self.model, document, vector) for document, vector in pairs])
        )

    # What is taken away

    def native(self, weights: Weights) -> Doc2Vec:
        """Return an ordinary Doc2Vec with these weights, which infers vectors of new text; it has
        no documents.
        """
        other = self.clone()
        if self._has_words:
            other.set_weights(weights)
        return other.model

    def personal(self, weights: Weights, data: Any) -> Doc2Vec:
        """Return a Doc2Vec with these weights and a party's documents, their vectors inferred anew
        under them.

        A tag that several documents have gets the vector of them together, as if they were one.
        """
        if not self._has_words:
            raise ModelError("parties have not agreed on a vocabulary yet", "train a round first")
        model = self.native(weights)
        words: dict[str, tuple[str, ...]] = {}
        for document in data[0]:
            for tag in document.tags:
                words[tag] = words.get(tag, ()) + document.words
        vectors = Trainer(model).infer_all([Document(its, (tag,)) for tag, its in words.items()])
        model.dv.add_vectors(list(words), vectors)
        return model

    def neighbours(
        self, weights: Weights, parties: Sequence[Any]
    ) -> Callable[[str, int], list[tuple[str, str, float]]]:
        """Return a function (text, n) that finds the nearest documents of all parties as (tag,
        party, similarity).

        Each party compares with its own documents, their vectors inferred anew; tags and
        similarities are all it tells.
        """
        own = [(party.id, self.personal(weights, party.train).dv) for party in parties]
        trainer = Trainer(self.native(weights))

        def find(text: str, count: int) -> list[_Neighbour]:
            words = texts.words_of(text) if isinstance(text, str) else tuple(text)
            if not any(word in trainer.model.wv for word in words):
                raise OptionError(
                    f"no word of {text[:40]!r} is in the vocabulary", "use words that parties have"
                )
            vector = trainer.infer(Document(words, ()))
            found = [
                (tag, party, near)
                for party, dv in own
                for tag, near in dv.similar_by_vector(vector, topn=count)
            ]
            return sorted(found, key=lambda item: -item[2])[:count]

        return find

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights."""
        files.save(self.native(weights), path, format)

    def _shared(self) -> dict[str, np.ndarray]:
        model, shared = self.model, {}
        if model.negative:
            shared["syn1neg"] = model.syn1neg
        if model.hs:
            shared["syn1"] = model.syn1
        if not model.sg or model.dbow_words:
            shared["wv.vectors"] = model.wv.vectors
        return shared

    def _first_vectors(self, documents: Sequence[Document]) -> np.ndarray:
        tags = texts.tags(documents)
        return first_vectors(
            random_of([str(self.model.seed), *tags]), len(tags), self.model.vector_size
        )
