"""Small corpora of three topics, and Doc2Vec models of every mode."""

from __future__ import annotations

from typing import Any

import numpy as np
from gensim.models.doc2vec import Doc2Vec

from fusion_nb.core import documents
from fusion_nb.core.documents import Document
from fusion_nb.core.types import Update
from fusion_nb.models.doc2vec.adapter import Doc2VecModel

TOPICS = {
    "sea": ["boat", "wave", "sail", "harbour", "fish", "captain", "tide", "shore", "net", "anchor"],
    "farm": [
        "cow",
        "field",
        "barn",
        "wheat",
        "plough",
        "tractor",
        "horse",
        "farmer",
        "seed",
        "hay",
    ],
    "city": [
        "tram",
        "street",
        "shop",
        "crowd",
        "tower",
        "office",
        "market",
        "bridge",
        "lamp",
        "square",
    ],
}


COMMON = ["the", "and", "with", "over", "near", "under", "old", "new", "big", "small"]


def corpus(count: int = 60, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return texts of three topics, and their topics."""
    rng = np.random.default_rng(seed)
    labels = [list(TOPICS)[i % 3] for i in range(count)]
    texts = [
        " ".join([*rng.choice(TOPICS[label], 18), *rng.choice(COMMON, 12)]) for label in labels
    ]
    return texts, labels


TEXTS, LABELS = corpus()


MODES: dict[str, dict[str, Any]] = {
    "dbow": {"dm": 0},
    "dbow with words": {"dm": 0, "dbow_words": 1},
    "mean": {"dm": 1},
    "concat": {"dm": 1, "dm_concat": 1, "window": 2},
    "softmax": {"dm": 0, "hs": 1, "negative": 0},
    "mean and softmax": {"dm": 1, "hs": 1, "negative": 0},
}


def model(**options: Any) -> Doc2Vec:
    return Doc2Vec(
        **{"vector_size": 10, "min_count": 1, "epochs": 10, "sample": 0, "dm": 0, **options}
    )


def agreed(
    parts: list[list[Document]], min_parties: int = 1, **options: Any
) -> tuple[Doc2VecModel, Any]:
    adapter = Doc2VecModel(model(**options), min_parties=min_parties)
    updates = [
        Update(f"party {i}", {}, len(part), extras=adapter.collect((documents.array(part), None)))
        for i, part in enumerate(parts)
    ]
    return adapter, adapter.agree(updates)


def docs(*texts: str, prefix: str = "") -> list[Document]:
    return [Document(tuple(text.split()), (f"{prefix}{i}",)) for i, text in enumerate(texts)]
