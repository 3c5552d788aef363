"""Documents of more words than gensim's compiled code takes at once, and the share that is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from doc2vec_samples import MODES, TEXTS, agreed, docs, model

from fusion_nb import federate
from fusion_nb.core import documents
from fusion_nb.core.documents import Document
from fusion_nb.models.doc2vec.adapter import Doc2VecModel
from fusion_nb.models.doc2vec.training import Trainer

HEAD = ("boat", "wave") * 5_000
TAIL = ("cow", "barn", "hay") * 50


def prepared(document: Document, **options: Any) -> tuple[Doc2VecModel, Any]:
    """Return a model that one party prepared for a document, and the party's rows."""
    adapter, agreement = agreed([[document]], negative=5, **options)
    rows = (documents.array([document]), documents.no_labels(1))
    state: dict[str, Any] = {}
    adapter.prepare(rows, state, agreement)
    adapter.fit(rows, epochs=1, lr=0.05, seed=0, state=state)
    return adapter, state["vectors"]


@pytest.mark.parametrize("mode", ["dbow", "dbow with words", "mean", "concat"])
def test_words_beyond_ten_thousand_change_what_is_learnt(mode: str) -> None:
    tag = ("a",)
    whole, vector = prepared(Document(HEAD + TAIL, tag), **MODES[mode])
    other, turned = prepared(Document(HEAD + TAIL[::-1], tag), **MODES[mode])
    assert not np.array_equal(vector, turned) or any(
        not np.array_equal(array, other.get_weights()[name])
        for name, array in whole.get_weights().items()
    )


@pytest.mark.parametrize("mode", ["dbow", "mean", "concat"])
def test_a_documents_vector_depends_on_its_last_words(mode: str) -> None:
    adapter, _ = prepared(Document(HEAD + TAIL, ("a",)), **MODES[mode])

    def vector(words: tuple[str, ...]) -> Any:
        trainer = Trainer(adapter.clone().model)
        trainer.model.random = np.random.RandomState(0)
        row = np.full((1, adapter.model.vector_size), 0.01, np.float32)
        trainer.train(words, [0], 0.05, row)
        return row

    assert not np.array_equal(vector(HEAD + TAIL), vector(HEAD))


def test_the_share_of_words_is_100_percent_only_where_none_is_left_out() -> None:
    parts = docs(" ".join(["boat", "wave"] * 500), "once")
    adapter, _ = agreed([parts], min_count=2)
    assert "99% of the words that the documents hold" in adapter.notes[0]
    adapter, _ = agreed([parts], min_count=1)
    assert "100% of the words" in adapter.notes[0]


def test_the_note_says_how_text_is_read() -> None:
    run = federate(model(epochs=1), [f"{text} 1984 x" for text in TEXTS], parties=2, rounds=1)
    line = next(note for note in run.notes if note.startswith("vocabulary"))
    assert "without numbers" in line
