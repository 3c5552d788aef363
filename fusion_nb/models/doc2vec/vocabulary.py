"""Round 0 of a Doc2Vec federation: parties count their words, and build from one dictionary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gensim.models.doc2vec import Doc2Vec

from fusion_nb.core.documents import Document
from fusion_nb.core.types import Update
from fusion_nb.errors import ModelError

#: Hyper-parameters that a Doc2Vec keeps under their names.
_SETTINGS = (
    "vector_size",
    "alpha",
    "min_alpha",
    "window",
    "min_count",
    "max_final_vocab",
    "sample",
    "seed",
    "hs",
    "negative",
    "ns_exponent",
    "dm_concat",
    "dm_tag_count",
    "dbow_words",
    "epochs",
    "shrink_windows",
)


@dataclass(frozen=True)
class Agreement:
    """The agreement before round 1, from which every party builds its model.

    counts: each word's count over all parties, the most frequent first, equal counts by the
            alphabet; only of words in the vocabulary, so that no party learns another's rarer words
    words:  the model's vocabulary in the order of its rows, after `min_count`
    num_documents, num_words: of all parties together
    """

    counts: dict[str, int]
    words: tuple[str, ...]
    num_documents: int
    num_words: int
    notes: tuple[str, ...]


def count(documents: Iterable[Document]) -> dict[str, int]:
    """Return how often each word occurs at a party; a party sends nothing else of its text."""
    return dict(Counter(word for document in documents for word in document.words))


def agree(updates: Sequence[Update], model: Doc2Vec, min_parties: int) -> Agreement:
    """Add the parties' counts, drop words of fewer than `min_parties`, and build the vocabulary.

    Raises ModelError where `min_count` leaves no word.
    """
    counts: Counter[str] = Counter()
    holders: Counter[str] = Counter()
    for update in updates:
        counts.update(update.extras["counts"])
        holders.update(update.extras["counts"].keys())
    total = sum(counts.values())
    rare = [word for word, parties in holders.items() if parties < min_parties]
    for word in rare:
        del counts[word]
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    num_documents = sum(update.num_examples for update in updates)
    agreed = Agreement(ordered, (), num_documents, sum(ordered.values()), ())
    if ordered and max(ordered.values()) >= model.min_count:
        build(model, agreed)
    if not len(model.wv):
        line = (
            f"no word is left of {len(holders)}: none occurs {model.min_count} times "
            "(min_count) over all parties"
        )
        if rare:
            line += f" and at {min_parties} of them (min_parties)"
        raise ModelError(line, "use a smaller min_count, or more documents")
    kept = {word: ordered[word] for word in ordered if word in model.wv.key_to_index}
    notes = [
        f"vocabulary: {len(kept):,} words that occur at least {min(kept.values())} times over "
        "all parties, "
        f"{_percent(sum(kept.values()), total)} of the words that the documents hold (text is "
        "read without numbers and without words of 1 or of more than 15 letters); the aggregator "
        "was sent each party's word counts, and no document"
    ]
    if min_parties > 1:
        notes.append(
            f"privacy: {len(rare):,} words that fewer than {min_parties} parties have are left "
            "out of the vocabulary; "
            "the aggregator alone has seen them"
        )
    return Agreement(
        kept, tuple(model.wv.index_to_key), num_documents, agreed.num_words, tuple(notes)
    )


def _percent(part: int, whole: int) -> str:
    """Return a share in words; 100% only where nothing is left out.

    >>> _percent(3, 3), _percent(9999, 10000)
    ('100%', '99%')
    """
    return f"{100 * part // whole}%"


def build(model: Doc2Vec, agreed: Agreement) -> None:
    """Give a model the agreed vocabulary.

    Its rows, sampling table and Huffman tree are the same at every party. Raises ModelError where
    the order of rows differs from the agreement.
    """
    # gensim sorts by count and leaves equal counts in the opposite of the order in which it meets
    # them.
    model.build_vocab_from_freq(
        dict(reversed(agreed.counts.items())), corpus_count=agreed.num_documents
    )
    model.corpus_total_words = agreed.num_words
    model.raw_vocab.clear()
    if agreed.words and tuple(model.wv.index_to_key) != agreed.words:
        raise ModelError(
            "this party's vocabulary came out in another order than was agreed",
            "use one version of gensim",
        )


def check_party(documents: Sequence[Document], model: Doc2Vec) -> None:
    """Raise ModelError for a party without a known word, or with tags that dm_concat can't use."""
    known = model.wv.key_to_index
    if not any(word in known for document in documents for word in document.words):
        raise ModelError(
            f"none of the words in this party's {len(documents)} documents is in the agreed "
            "vocabulary",
            "use a smaller min_count or min_parties, or leave this party out",
        )
    if model.dm_concat and (other := {len(d.tags) for d in documents} - {model.dm_tag_count}):
        raise ModelError(
            f"with dm_concat every document has {model.dm_tag_count} tags (dm_tag_count), and "
            f"some have {min(other)}",
            "use dm_concat=0, or give every document as many tags",
        )


def settings(model: Doc2Vec) -> dict[str, Any]:
    """Return the hyper-parameters with which a Doc2Vec was made."""
    found = {name: getattr(model, name) for name in _SETTINGS}
    return found | {"dm": int(not model.sg), "workers": 1}
