"""Text in the forms that a notebook holds, converted to documents, or refused with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fusion_nb.core import documents
from fusion_nb.core.documents import Document
from fusion_nb.errors import DataError, private

#: Columns of a DataFrame that hold text when there are several that could.
_TEXT_COLUMNS = ("text", "document", "body", "content", "message")


def holds_documents(value: Any) -> bool:
    """Return whether a value is a sequence of documents: tagged ones, texts, or lists of words.

    A list of lists of texts is not: it means parties. A word has no blank inside.
    """
    first = _first(value)
    return is_tagged(first) or isinstance(first, str) or _is_words(first)


def are_documents(value: Any, num_training: int) -> bool:
    """Return whether the second item of a pair is documents to test on, not the first one's labels.

    num_training: how many documents the first item has. Texts of several words are labels where
    there is one for each document, and documents otherwise.
    """
    first = _first(value)
    is_text = isinstance(first, str) and " " in first.strip() and len(value) != num_training
    return is_tagged(first) or _is_words(first) or is_text


def is_tagged(item: Any) -> bool:
    """Return whether an item is a document with words and tags, such as gensim's TaggedDocument."""
    return hasattr(item, "words") and hasattr(item, "tags")


def to_documents(
    texts: Iterable[Any], labels: Any, where: str, prefix: str
) -> tuple[np.ndarray, Any]:
    """Return (documents, labels) of rows of text; rows without labels have NaN.

    where: how messages call the rows;  prefix: begins the tag of each document that has no tag of
    its own, and is followed by its number. Raises DataError for rows that are not text or hold no
    word, and names the first of them.
    """
    if labels is not None and all(label is None for label in labels):
        labels = None
    items = list(texts)
    made = [
        _document(item, f"{prefix}{number}", f"{where}: document {number}")
        for number, item in enumerate(items)
    ]
    if empty := [number for number, document in enumerate(made) if not document.words]:
        raise DataError(
            f"{where}: {len(empty)} documents have no word (the first is number {empty[0]}, "
            f"{private(f'{items[empty[0]]!r:.40}')})",
            "drop them first: docs = [doc for doc in docs if ...]",
        )
    return documents.array(made), documents.no_labels(len(made)) if labels is None else labels


def text_column(frame: Any, features: Sequence[str]) -> str:
    """Return the column of a DataFrame that holds documents, or "".

    It is the one that is called text, document or the like, or the only feature. An only feature of
    single words is a category, not text.
    """
    words = [column for column in features if frame[column].dtype.kind not in "biufcmM"]
    named = next((column for column in _TEXT_COLUMNS if column in words), "")
    if named or words != list(features) or len(words) != 1:
        return named
    return words[0] if any(map(_is_of_words, frame[words[0]])) else ""


def _is_of_words(item: Any) -> bool:
    """Return whether an item of a column is a document: neither a number nor a single word."""
    if isinstance(item, str):
        return " " in item
    if isinstance(item, list | tuple | np.ndarray):
        return all(isinstance(word, str) for word in item)
    return is_tagged(item)


def _document(item: Any, tag: str, where: str) -> Document:
    if isinstance(item, Document):
        return item
    tags = _tags(item, where) if is_tagged(item) else (tag,)
    words = item.words if is_tagged(item) else item
    if isinstance(words, str):
        return Document(documents.words_of(words), tags)
    is_list = isinstance(words, list | tuple | np.ndarray)
    if not is_list or not all(isinstance(word, str) for word in words):
        has_items = isinstance(words, list | tuple)
        kind = f"a {type(words).__name__} of other things" if has_items else type(words).__name__
        raise DataError(
            f"{where} is {kind}, not text", "give a string, a list of words, or a TaggedDocument"
        )
    return Document(tuple(words), tags)


def _tags(item: Any, where: str) -> tuple[str, ...]:
    if isinstance(item.tags, str) or not hasattr(item.tags, "__iter__"):
        raise DataError(
            f"{where}: its tags are {private(repr(item.tags))}, not a list",
            "write TaggedDocument(words, [tag])",
        )
    if any(tag is None for tag in item.tags):
        raise DataError(f"{where} has the tag None", "give it a number or a text")
    tags = tuple(str(tag) for tag in item.tags)
    if not tags:
        raise DataError(f"{where} has no tag", "give it one: TaggedDocument(words, [tag])")
    return tags


def _first(value: Any) -> Any:
    is_sequence = isinstance(value, list | tuple) or (
        hasattr(value, "dtype") and getattr(value, "ndim", 0) == 1
    )
    if not is_sequence or not len(value):
        return None
    if isinstance(value, list):  # a first document without a word is told later
        return next((item for item in value if not isinstance(item, list) or item), value[0])
    return value.iloc[0] if hasattr(value, "iloc") else value[0]


def _is_words(item: Any) -> bool:
    if isinstance(item, Document):
        return True
    is_list = isinstance(item, list | tuple) and len(item) > 0
    return is_list and all(
        isinstance(word, str) and not any(c.isspace() for c in word) for word in item
    )
