"""Data handlers of texts: documents of one's own, 20 newsgroups and Wikipedia."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, TextIO

from pydantic import Field

from fusion_nb.core.documents import Document, words_of
from fusion_nb.core.files.file_sizes import counted
from fusion_nb.data.handlers import DataHandler, Kind
from fusion_nb.data.image_datasets import in_folder
from fusion_nb.errors import DataError, missing_extra, option, private

Texts = tuple[list[Any], list[str] | None]

#: Lines that quote another message, or say who wrote it.
_QUOTE = re.compile(r"(writes in|writes:|wrote:|says:|said:|^In article|^Quoted from|^\||^>)")


class Documents(DataHandler):
    """Documents of your own: a `.jsonl` or `.jsonl.gz` file with one a line.

    A line has words (a list) or text, and may have tags (a list), label, and split: "train" (the
    default) or "test".
    """

    kind: ClassVar[Kind] = "documents"

    def __init__(self, path: str) -> None:
        self.path = path

    def get_data(self) -> tuple[Texts, Texts | None]:
        """Return the documents to train on, and those to test on or None.

        Raises DataError for another kind of file.
        """
        found: dict[str, tuple[list[Any], list[Any]]] = {"train": ([], []), "test": ([], [])}
        for number, line in enumerate(_lines(self.path)):
            split = line.get("split", "train")
            words = line.get("words", line.get("text"))
            tags = line.get("tags")
            is_known = split in ("train", "test") and isinstance(tags, list | None)
            if not is_known or not _is_text(words):
                raise DataError(
                    f"{self.path}: line {number + 1} is no document",
                    "each line has words (a list) or text; tags (a list), label, split (train "
                    "or test) may follow",
                )
            documents, labels = found[split]
            documents.append(_Tagged(words, tags) if tags else words)
            labels.append(line.get("label"))
        train, test = (
            (rows, y if any(label is not None for label in y) else None)
            for rows, y in found.values()
        )
        return train, test if test[0] else None


def _is_text(words: Any) -> bool:
    is_words = isinstance(words, list) and all(isinstance(word, str) for word in words)
    return is_words or isinstance(words, str)


class _Tagged(NamedTuple):
    words: Any
    tags: list[Any]


class Newsgroups(DataHandler):
    """20 newsgroups "bydate": 11,314 messages to train on and 7,532 to test on.

    The label of a message is the group that it was posted to. The file is `.jsonl` or `.jsonl.gz`
    with one message a line: text, label, split ("train" or "test") and, if it has headers,
    body_start. Read from `path`, or `$FUSION_NB_DATA/20newsgroups.jsonl.gz`, or by scikit-learn's
    loader, which downloads it once. Messages of which the options leave no word are left out.
    Source: Lang, "NewsWeeder: Learning to Filter Netnews", ICML 1995; the version by date is
    Rennie's.
    """

    kind: ClassVar[Kind] = "documents"

    def __init__(
        self,
        path: str = "",
        *,
        headers: Annotated[
            bool, Field(description="keep the header lines, one of which is the label")
        ] = False,
        quotes: Annotated[bool, Field(description="keep lines that quote another message")] = True,
        signatures: Annotated[
            bool,
            Field(description="keep the last block of a message, where it looks like a signature"),
        ] = True,
    ) -> None:
        self.path = path
        self._headers, self._quotes, self._signatures = headers, quotes, signatures

    def get_data(self) -> tuple[Texts, Texts]:
        """Return the messages to train on and those to test on.

        Raises DataError for another kind of file, or if the download fails.
        """
        path = self.path or in_folder("20newsgroups.jsonl.gz")
        messages = _lines(path) if path else self._download()
        found: dict[str, tuple[list[Any], list[str]]] = {"train": ([], []), "test": ([], [])}
        for number, message in enumerate(messages):
            if not _is_message(message):
                raise DataError(
                    f"{path}: line {number + 1} is no message of 20 newsgroups",
                    "each line has text, label, and split: train or test",
                )
            if text := self._stripped(message):
                texts, labels = found[message["split"]]
                texts.append(text)
                labels.append(message["label"])
        return found["train"], found["test"]

    def _stripped(self, message: dict[str, Any]) -> str:
        text: str = message["text"]
        if not self._headers:
            has_start = "body_start" in message
            text = text[message["body_start"] :] if has_start else text.partition("\n\n")[2]
        if not self._quotes:
            text = "\n".join(line for line in text.split("\n") if not _QUOTE.search(line))
        if not self._signatures:
            text = _without_signature(text)
        return text if re.search(r"[^\W\d_]{2,15}", text) else ""

    def _download(self) -> Iterator[dict[str, Any]]:
        try:
            from sklearn.datasets import fetch_20newsgroups
        except ModuleNotFoundError as error:
            raise missing_extra(error, "the data set '20_newsgroup'") from error
        for split in ("train", "test"):
            try:
                fetched = fetch_20newsgroups(subset=split)
            except Exception as error:  # scikit-learn's loader raises several kinds offline
                raise DataError(
                    f"20 newsgroups could not be downloaded ({type(error).__name__})",
                    "set FUSION_NB_DATA to a folder that holds 20newsgroups.jsonl.gz",
                ) from error
            for text, label in zip(fetched.data, fetched.target, strict=True):
                yield {"text": text, "label": fetched.target_names[label], "split": split}


class Wikipedia(DataHandler):
    """Wikipedia articles, each tagged with its title, from a file.

    The file is `.jsonl`, `.jsonl.gz` or a MediaWiki dump (`.xml.bz2`). A line of `.jsonl` has title
    and text, and may have source, which becomes the label. A dump is streamed through gensim's
    reader: articles alone, without markup. Read from `path`, or
    `$FUSION_NB_DATA/wikipedia_sample.jsonl.gz`.
    """

    kind: ClassVar[Kind] = "documents"

    def __init__(
        self,
        path: str = "",
        *,
        limit: Annotated[
            int, Field(description="read at most this many articles; 0: all", ge=0)
        ] = 0,
    ) -> None:
        self.path = path
        self._limit = limit

    def get_data(self) -> tuple[Texts, None]:
        """Return the articles; there is no test set.

        Raises DataError for another kind of file, or where there is no file.
        """
        path = self.path or in_folder("wikipedia_sample.jsonl.gz")
        if not path:
            handler, file = option("data_handler", "wikipedia"), option("data", "dump.xml.bz2")
            raise DataError(
                "the data set 'wikipedia' needs a file", f"write {handler} {file} (or .jsonl.gz)"
            )
        articles: list[Document] = []
        labels: list[str] = []
        titles: dict[str, int] = {}
        is_dump = ".xml" in Path(path).name
        for title, label, text in _dump(Path(path)) if is_dump else _articles(path):
            words = words_of(text)
            if not words:
                continue
            titles[title] = titles.get(title, 0) + 1
            tag = title if titles[title] == 1 else f"{title} ({titles[title]})"
            articles.append(Document(words, (tag,)))
            labels.append(label)
            if len(articles) == self._limit:
                break
        return (articles, labels if all(labels) else None), None


def _is_message(found: Mapping[str, Any]) -> bool:
    """Return whether an object of a file is a message of 20 newsgroups."""
    types = {"text": str, "label": str, "split": str, "body_start": int}
    is_whole = {"text", "label", "split"} <= found.keys()
    is_typed = all(isinstance(found.get(key, kind()), kind) for key, kind in types.items())
    return is_whole and is_typed and found["split"] in ("train", "test")


def _articles(path: str) -> Iterator[tuple[str, str, str]]:
    for number, article in enumerate(_lines(path)):
        if not {"title", "text"} <= article.keys():
            raise DataError(
                f"{path}: line {number + 1} is no article", "each line has title and text"
            )
        yield str(article["title"]), str(article.get("source", "")), str(article["text"])


def _dump(path: Path) -> Iterator[tuple[str, str, str]]:
    import bz2

    try:
        from gensim.corpora.wikicorpus import extract_pages, filter_wiki
    except ModuleNotFoundError as error:
        raise missing_extra(error, "reading a MediaWiki dump") from error
    try:
        is_packed = path.suffix == ".bz2"
        with counted(bz2.open(path, "rb"), path) if is_packed else path.open("rb") as file:
            for title, text, _ in extract_pages(file, filter_namespaces=("0",)):
                if not text.lstrip()[:9].upper().startswith("#REDIRECT"):
                    yield title, "", filter_wiki(text)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}", f"the current folder is {Path.cwd()}") from None
    except (OSError, EOFError, SyntaxError) as error:  # XML's parser raises SyntaxError
        raise DataError(
            f"{path} can't be read as a MediaWiki dump ({private(error)})", "is it complete?"
        ) from None


def _lines(path: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file with one JSON object a line.

    Raises DataError for another kind of file.
    """
    done = 0
    try:
        with _opened(path) as file:
            for line in file:
                found = json.loads(line)
                if not isinstance(found, dict):
                    raise DataError(
                        f"{path}: line {done + 1} is no JSON object", "write one a line: {...}"
                    )
                yield found
                done += 1
    except FileNotFoundError:
        raise DataError(f"there is no file {path}", f"the current folder is {Path.cwd()}") from None
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:
        hint = "it has one JSON object a line, and .gz where it is packed"
        raise DataError(
            f"{path} can't be read after line {done} ({type(error).__name__}: {private(error)})",
            hint,
        ) from None


def _opened(path: str) -> TextIO:
    if not path.endswith(".gz"):
        return open(path, encoding="utf-8")
    return io.TextIOWrapper(counted(gzip.open(path), Path(path)), encoding="utf-8")


def _without_signature(text: str) -> str:
    """Return a message without its last block, if a blank or dashed line sets it off.

    A message of one block is returned as it is.
    """
    lines = text.strip().split("\n")
    for number in range(len(lines) - 1, 0, -1):
        if not lines[number].strip().strip("-"):
            return "\n".join(lines[:number])
    return text
