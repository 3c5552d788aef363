"""Rows that are text: a document is its words, and the tags that name its vector.

A data set of documents is a pair `(x, y)` like any other: x is an array of Documents, y their
labels, or NaN for every row where there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fusion_nb.errors import DataError, missing_extra, private


@dataclass(frozen=True, slots=True)
class Document:
    """The words of a text in order, and its tags: usually one, which no other document has."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of a text by gensim's `simple_preprocess`: lower case, 2 to 15 letters.

    Raises MissingExtraError where gensim is not installed.
    """
    try:
        from gensim.utils import simple_preprocess
    except ModuleNotFoundError as error:
        raise missing_extra(error, "reading text") from error
    return tuple(simple_preprocess(text))


def array(documents: Sequence[Document]) -> np.ndarray:
    """Return documents as rows that can be partitioned."""
    rows = np.empty(len(documents), dtype=object)
    rows[:] = documents
    return rows


def are(data: Any) -> bool:
    """Return whether the rows of a data set are documents."""
    is_column = isinstance(data, tuple) and isinstance(data[0], np.ndarray) and len(data[0]) > 0
    return is_column and isinstance(data[0][0], Document)


def no_labels(count: int) -> np.ndarray:
    """Return the labels of documents that have none."""
    return np.full(count, np.nan)


def are_unlabelled(y: np.ndarray) -> bool:
    """Return whether these are the labels of documents that have none."""
    return bool(np.issubdtype(y.dtype, np.floating) and np.isnan(y).all())


def tags(documents: Iterable[Document]) -> list[str]:
    """Return the tags of documents in the order in which they first appear."""
    return list(dict.fromkeys(tag for document in documents for tag in document.tags))


def number_alike(parties: Mapping[str, Iterable[Document]]) -> bool:
    """Return whether two parties have the same bare number as a tag, as from 0 at each."""
    seen: set[str] = set()
    for documents in parties.values():
        numbers = {tag for tag in tags(documents) if tag.isdecimal()}
        if seen & numbers:
            return True
        seen |= numbers
    return False


def with_party(documents: Iterable[Document], party: str) -> np.ndarray:
    """Return documents with the party's name before each tag that is a bare number."""
    return array(
        [
            replace(
                document,
                tags=tuple(f"{party} {tag}" if tag.isdecimal() else tag for tag in document.tags),
            )
            for document in documents
        ]
    )


def check_tags(parties: Mapping[str, Iterable[Document]]) -> None:
    """Raise DataError where two parties have the same tag, since a vector belongs to one party."""
    owner: dict[str, str] = {}
    for party, documents in parties.items():
        for tag in tags(documents):
            if owner.setdefault(tag, party) != party:
                raise DataError(
                    f"the tag {private(repr(tag))} is at {owner[tag]} and at {party}, and a "
                    "document's vector belongs to one party",
                    "give every document a tag of its own; a topic is a label: (documents, labels)",
                )
