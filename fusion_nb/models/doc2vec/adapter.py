"""gensim's Doc2Vec: parties share its output and word weights, and keep their document vectors."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from gensim.models.doc2vec import Doc2Vec

from fusion_nb.core.documents import Document
from fusion_nb.core.protocols import PartyLike
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import Metrics, TrainingResult, Update, Weights
from fusion_nb.errors import ModelError
from fusion_nb.models.base import Model, NeedsAgreement
from fusion_nb.models.doc2vec import files, vocabulary
from fusion_nb.models.doc2vec.evaluating import Evaluator
from fusion_nb.models.doc2vec.neighbours import NeighbourFinder
from fusion_nb.models.doc2vec.parts import check_settings
from fusion_nb.models.doc2vec.training import Trainer, rate_at, shared_arrays, untrained_vectors
from fusion_nb.models.identity.texts import Identity, of_settings
from fusion_nb.models.near_documents import FindNeighbours, FindsDocuments


class Doc2VecModel(FindsDocuments, NeedsAgreement, Model):
    """A gensim Doc2Vec, of which only the hyper-parameters are taken over.

    Parties agree on the vocabulary, and train from scratch. The output weights travel (`syn1neg`
    with negative sampling, `syn1` with hierarchical softmax), and the word vectors where they are
    trained (dm=1 or dbow_words=1). Document vectors are a party's state and never leave it.

    min_parties: keep only words that at least this number of parties have
    Source: Le, Mikolov, "Distributed Representations of Sentences and Documents", ICML 2014; joint
    learning over parties: Witherspoon, Steuer, Bent, Desai, "SEEC: Semantic Vector Federation
    across Edge Computing Environments", 2020.
    """

    base_class = "gensim.models.doc2vec.Doc2Vec"
    suffixes = (".doc2vec", ".d2v")
    kind = "Doc2Vec"
    packages = ("gensim",)
    formats: Mapping[str, str] = files.FORMATS
    whole_format = "gensim"
    download_formats = ("gensim",)
    upload_hint = "send the file that a gensim Doc2Vec's save(path, separately=[]) wrote"
    data_kind = "documents"
    supported_client_options = frozenset({"summed_loss"})
    supported_options = frozenset()
    has_lr_schedule = True
    defaults: Mapping[str, Any] = {"fusion": "doc2vec", "optimizer": ""}
    metrics: tuple[str, ...] = ("self_rank", "loss")
    train_metrics = ("self_rank",)

    def __init__(self, model: Doc2Vec, *, min_parties: int = 1) -> None:
        # gensim's compiled code would end the process for a window of 100,000 words, say.
        try:
            check_settings(vocabulary.settings(model) | {"sg": model.sg})
        except ModelError as error:
            raise error.prefixed("this Doc2Vec can't be trained: ") from None
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
        """Return the Doc2Vec in a file of this package's own format, or of gensim's.

        Raises ModelError for a file that holds anything else.
        """
        return files.load(path)

    @classmethod
    def from_checkpoint(cls, model: Doc2Vec) -> Self:
        """Return the adapter of a model that has the vocabulary that parties agreed on."""
        made = cls(model)
        made.model, made._has_words = model, True
        return made

    def check(
        self, rows: Any, schema: DataSchema, *, lr: float | None, optimizer: Any
    ) -> list[str]:
        """Look at the hyper-parameters and the labels; words are looked at in round 0."""
        if not self.model.negative and not self.model.hs:
            raise ModelError(
                "this Doc2Vec has negative=0 and hs=0, so it can't be trained",
                "use negative=5, or hs=1",
            )
        start, end = rate_at(self.model, lr, 0.0), rate_at(self.model, lr, 1.0)
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
        if schema.labels.are_whole:
            self.metrics = ("self_rank", "loss", "accuracy")
            self.costly_metrics = ("accuracy",)
        return notes

    def identity(self, *, lr: float | None, optimizer: Any) -> Identity:
        """Return the hyper-parameters as text."""
        return {"model": of_settings(vocabulary.settings(self.model)) | {"lr": repr(lr)}}

    # Round 0

    def collect(self, data: Any) -> dict[str, Any]:
        """Return a party's word counts."""
        return {"counts": vocabulary.count(data[0])}

    def agree(self, updates: Sequence[Update]) -> vocabulary.Agreement:
        """Add the parties' word counts, and build the vocabulary.

        Raises ModelError where no word is left.
        """
        agreed = vocabulary.agree(updates, self.model, self._min_parties)
        self._agreed, self._has_words = agreed, True
        self.notes = agreed.notes
        return agreed

    def prepare(self, data: Any, state: dict[str, Any], agreed: vocabulary.Agreement) -> None:
        """Build the agreed vocabulary at a party, and draw first vectors for its documents.

        Raises ModelError where the party can't build the same, or has no document that could be
        trained.
        """
        if self._agreed is not agreed:
            vocabulary.build(self.model, agreed)
            self._agreed, self._has_words = agreed, True
        vocabulary.check_party(data[0], self.model)
        state["vectors"] = untrained_vectors(self.model, data[0])

    # Its weights

    def get_weights(self) -> Weights:
        """Return a copy of the shared weights; empty before parties agreed on a vocabulary."""
        if not self._has_words:
            return {}
        return {name: array.copy() for name, array in shared_arrays(self.model).items()}

    def set_weights(self, weights: Weights) -> None:
        """Copy weights into the model's own arrays."""
        for name, array in shared_arrays(self.model).items():
            array[...] = weights[name]

    # Training and evaluation

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
        steps: int = 0,
        **client_options: Any,
    ) -> TrainingResult:
        """Train document by document; `loss` is that of a fixed sample of the rows, after training.

        lr:       the start of the learning rate's fall over the whole run, to the model's
                  `min_alpha`
        progress: the part of that fall, from 0 to 1, that this training covers
        state:    keeps the vectors of the party's documents
        batch_size, optimizer, steps: have no meaning here
        Raises Stopped through `gate`.
        """
        self.check_client_options(client_options)
        documents = data[0]
        state = {} if state is None else state
        known = state.get("vectors")
        vectors = untrained_vectors(self.model, documents) if known is None else known.copy()
        first, last = (rate_at(self.model, lr, part) for part in progress)
        Trainer(self.model).train_all(documents, vectors, epochs, (first, last), seed, self.gate)
        state["vectors"] = vectors
        loss = Evaluator(self.model, self.gate).loss(documents, vectors)
        num_steps = epochs * len(documents)
        return TrainingResult(self.get_weights(), {"loss": loss}, num_steps, float("nan"))

    def evaluate(self, data: Any) -> Metrics:
        """Return the loss of a sample of documents, with inferred vectors."""
        return Evaluator(self.model, self.gate).evaluate(data)

    def evaluate_train(self, data: Any, state: Mapping[str, Any]) -> Metrics:
        """Return the self-rank and the loss of a sample of a party's own documents."""
        return Evaluator(self.model, self.gate).evaluate_train(data[0], state["vectors"])

    def evaluate_costly(self, data: Any) -> Metrics:
        """Return the cross-validated accuracy of a linear classifier on inferred vectors."""
        return Evaluator(self.model, self.gate).evaluate_costly(data)

    # Results for the user

    def native(self, weights: Weights) -> Doc2Vec:
        """Return an ordinary Doc2Vec with these weights, without documents.

        It infers vectors of new text.
        """
        other = self.clone()
        if self._has_words:
            other.set_weights(weights)
        return other.model

    def personal(self, weights: Weights, data: Any) -> Doc2Vec:
        """Return a Doc2Vec with these weights and a party's documents, with inferred vectors.

        Documents with the same tag get one vector, as if they were one document.
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

    def neighbours(self, weights: Weights, parties: Sequence[PartyLike]) -> FindNeighbours:
        """Return a function that compares a text with the documents of each party."""
        owned = {party.id: self.personal(weights, party.train) for party in parties}
        return NeighbourFinder(self.native(weights), owned)

    def save(self, path: Path, weights: Weights, format: str) -> None:
        """Write the model with these weights."""
        files.save(self.native(weights), path, format)
