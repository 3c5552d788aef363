"""The metrics of a Doc2Vec: its loss, its self-rank, and how well vectors predict labels."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from gensim.models.doc2vec import Doc2Vec

from fusion_nb.core.documents import Document
from fusion_nb.models.doc2vec.training import random_of, unit

#: Words of a document that its loss is measured on.
_MAX_WORDS = 200
_FOLDS = 5


def sample(count: int, limit: int) -> np.ndarray:
    """Return at most `limit` of `count` positions, always the same, spread evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(int))


def loss(model: Doc2Vec, document: Document, vector: np.ndarray) -> float:
    """Return the mean loss over a document's words, given its vector.

    The negatives depend on its words alone. The weight of a word is the chance that sub-sampling
    keeps it, as in training.

    Negative sampling: -log s(v.w) - sum log s(-v.n) over `negative` words n drawn as in training;
    hierarchical softmax: the loss of the word's path. The loss of a document without known words
    is that of a guess.
    """
    known = model.wv.key_to_index
    rows = np.array(
        [known[word] for word in document.words if word in known][:_MAX_WORDS], dtype=np.int64
    )
    if not len(rows):
        return float(np.log(2) * (model.negative + 1))
    inputs = _inputs(model, rows, vector)
    total = np.zeros(len(rows))
    if model.negative:
        random = random_of(document.words)
        drawn = np.searchsorted(
            model.cum_table, random.randint(0, model.cum_table[-1], (len(rows), model.negative))
        )
        targets = np.concatenate([rows[:, None], drawn], axis=1)
        scores = np.einsum("wd,wtd->wt", inputs, model.syn1neg[targets])
        scores[:, 0] *= -1
        # A negative that is the word itself is not counted, as in training.
        counted = np.concatenate([np.ones((len(rows), 1), bool), drawn != rows[:, None]], axis=1)
        total += (np.logaddexp(0, scores) * counted).sum(1)
    if model.hs:
        codes, points = model.wv.expandos["code"], model.wv.expandos["point"]
        for position, row in enumerate(rows):
            signs = 2.0 * np.asarray(codes[row], dtype=np.float64) - 1
            path = model.syn1[np.asarray(points[row], dtype=np.int64)]
            total[position] += np.logaddexp(0, signs * (path @ inputs[position])).sum()
    kept = model.wv.expandos["sample_int"][rows].astype(np.float64)
    return float((total * kept).sum() / kept.sum())


def _inputs(model: Doc2Vec, rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return the inputs for each word: the document's vector, with dm=1 also the context."""
    if model.sg:
        return np.broadcast_to(vector, (len(rows), len(vector)))
    words, window = model.wv.vectors, model.window
    inputs = np.empty((len(rows), model.layer1_size), dtype=np.float64)
    for position in range(len(rows)):
        before = rows[max(0, position - window) : position]
        after = rows[position + 1 : position + 1 + window]
        if model.dm_concat:
            pad = model.wv.key_to_index["\0"]
            around = [
                *[pad] * (window - len(before)),
                *before,
                *after,
                *[pad] * (window - len(after)),
            ]
            inputs[position] = np.concatenate([*[vector] * model.dm_tag_count, *words[around]])
            continue
        context = np.concatenate([before, after])
        inputs[position] = words[context].sum(0) + vector
        if model.cbow_mean:
            inputs[position] /= len(context) + 1
    return inputs


def self_rank(own: np.ndarray, inferred: np.ndarray, rows: np.ndarray) -> float:
    """Return the share of documents whose own vector is the nearest one to their inferred vector.

    own: all vectors of a party;  inferred: vectors of some documents, whose own ones are in `rows`
    """
    nearest = (unit(inferred) @ unit(own).T).argmax(1)
    return float((nearest == rows).mean())


def classified(vectors: np.ndarray, labels: Sequence[int] | np.ndarray) -> float | None:
    """Return the cross-validated accuracy of logistic regression on vectors.

    It is None where labels allow none.
    """
    labels = np.asarray(labels)
    if labels.ndim > 1:
        return None
    _, counts = np.unique(labels, return_counts=True)
    # A class with one document can't be in training and test part at once.
    folds_possible = min(_FOLDS, int(counts.max()))
    if len(counts) < 2 or folds_possible < 2:
        return None
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "The least populated class")
        folds = StratifiedKFold(folds_possible, shuffle=True, random_state=0)
        model = LogisticRegression(max_iter=300, C=1.0)
        return float(cross_val_score(model, unit(vectors), labels, cv=folds).mean())
