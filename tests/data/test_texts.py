"""Text in every form that a notebook holds becomes documents with words and tags."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

from fusion_nb import federate
from fusion_nb.core import documents
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import DataError, SplitError

pytest.importorskip("gensim", reason="words are found by gensim")

TOPICS = {
    "city": "the tram in the street near a tower",
    "farm": "a cow on the field behind the barn",
    "sea": "an old boat and a wave over the shore",
}
TEXTS = [f"{text} number {'x' * (i + 2)}" for i in range(4) for text in TOPICS.values()] * 5
LABELS = list(TOPICS) * 20
Partition = Callable[..., PartitionedData]


@dataclass
class Tagged:
    """A document as gensim's TaggedDocument is."""

    words: Any
    tags: Any


TAGGED = [Tagged(text.split(), [i]) for i, text in enumerate(TEXTS)]


class TestForms:
    @pytest.mark.parametrize(
        "value",
        [
            TEXTS,
            [text.split() for text in TEXTS],
            TAGGED,
            pd.DataFrame({"text": TEXTS}),
            pd.DataFrame({"anything": TEXTS}),
            pd.Series(TEXTS),
            (TEXTS, LABELS),
            (TEXTS[:40], TEXTS[40:]),
            ((TEXTS, LABELS), (TEXTS[:5], LABELS[:5])),
            pd.DataFrame({"text": TEXTS, "label": LABELS}),
        ],
        ids=[
            "texts",
            "words",
            "tagged",
            "table",
            "table of one column",
            "series",
            "labelled",
            "training and test",
            "labelled training and test",
            "labelled table",
        ],
    )
    def test_every_form_becomes_documents(self, partition: Partition, value: Any) -> None:
        made = partition(value, parties=2)
        assert all(documents.are(party.train) for party in made.parties)
        rows = [document for party in made.parties for document in party.train[0]]
        assert "boat" in {word for document in rows for word in document.words}
        assert len({document.tags for document in rows}) == len(rows)
        if isinstance(value, tuple) and value[1] is LABELS:
            assert made.classes == ("city", "farm", "sea")

    def test_gensims_tagged_documents_are_documents(self, partition: Partition) -> None:
        from gensim.models.doc2vec import TaggedDocument

        value = [TaggedDocument(text.split(), [i]) for i, text in enumerate(TEXTS)]
        made = partition(value, parties=2)
        tags = {tag for party in made.parties for tag in documents.tags(party.train[0])}
        assert tags < {str(i) for i in range(len(TEXTS))}

    @pytest.mark.parametrize(
        "value",
        [
            {"a": TEXTS[:30], "b": TEXTS[30:]},
            [TEXTS[:30], TEXTS[30:]],
            [(TEXTS[:30], LABELS[:30]), (TEXTS[30:], LABELS[30:])],
            {
                "a": ((TEXTS[:30], LABELS[:30]), (TEXTS[30:40], LABELS[30:40])),
                "b": (TEXTS[40:], LABELS[40:]),
            },
        ],
        ids=["dict", "list", "labelled list", "labelled dict with test rows"],
    )
    def test_parties_may_have_their_own_texts(self, partition: Partition, value: Any) -> None:
        made = partition(value)
        assert len(made.parties) == 2
        documents.check_tags({party.id: party.train[0] for party in made.parties})

    def test_a_split_by_label_needs_labels(self, partition: Partition) -> None:
        made = partition((TEXTS, LABELS), split="dirichlet:alpha=0.3", parties=2)
        assert made.label_counts(with_test=False)
        with pytest.raises(SplitError, match="there are no labels"):
            partition(TEXTS, split="dirichlet:alpha=0.3", parties=2)

    def test_a_column_of_single_words_is_a_category_and_no_text(self, partition: Partition) -> None:
        with pytest.raises(DataError, match="not numbers: town"):
            partition(pd.DataFrame({"town": ["Oslo", "Bern"] * 10, "y": [0, 1] * 10}), parties=2)


class TestRefusals:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (
                ["some text", "  ", "more text"],
                "1 documents have no word (the first is number 1, '  ')",
            ),
            ([["a", "b"], [], ["c"]], "1 documents have no word (the first is number 1, [])"),
            (["some text", 7, "more text"], "document 1 is int, not text"),
            (["some text", None], "document 1 is NoneType, not text"),
            ([["a"], ["b", 3]], "document 1 is a list of other things, not text"),
            ([Tagged(["a"], [])], "document 0 has no tag"),
            ([Tagged(["a"], "doc")], "document 0: its tags are 'doc', not a list"),
            ([Tagged(["a"], 5)], "document 0: its tags are 5, not a list"),
        ],
    )
    def test_rows_that_are_no_text_are_refused_in_one_line(
        self, partition: Partition, value: Any, message: str
    ) -> None:
        with pytest.raises(DataError) as caught:
            partition(value, parties=1)
        assert message in caught.value.message
        assert caught.value.hint

    @pytest.mark.parametrize(
        ("value", "hidden"),
        [
            (["some text", "7 4711 ,"], "4711"),
            ([Tagged(["a"], "patient 4711")], "4711"),
            (["some text", "7 \ue003 4711"], "4711"),
        ],
        ids=["text", "tag", "text with a mark of errors"],
    )
    def test_a_text_in_an_error_is_hidden_from_those_who_do_not_own_the_data(
        self, partition: Partition, value: Any, hidden: str
    ) -> None:
        with pytest.raises(DataError) as caught:
            partition(value, parties=1)
        assert hidden in caught.value.message
        assert hidden not in str(caught.value.redacted())
        assert "'...'" in caught.value.redacted().message

    def test_a_tag_at_two_parties_is_refused_before_training(self) -> None:
        from gensim.models.doc2vec import Doc2Vec

        parts = [[Tagged(["a", "b"], ["same"])] * 2, [Tagged(["a", "c"], ["same"])] * 2]
        with pytest.raises(DataError, match="tag 'same' is at party 1 and at party 2"):
            federate(Doc2Vec(vector_size=10, min_count=1, dm=0), parts)


class TestOtherForms:
    """Documents in other forms than a list of texts."""

    def test_a_tuple_of_more_than_two_texts_is_documents(self, read: Callable[..., Any]) -> None:
        texts = ("one two", "three four", "five six")
        assert len(read(texts).train[0]) == 3
        assert list(read({"a": texts, "b": [*texts]}).parties) == ["a", "b"]

    @pytest.mark.parametrize("texts", [[[], ["one", "two"]], [["one"], []], ["", "one two"]])
    def test_a_document_without_a_word_is_named_wherever_it_is(
        self, read: Callable[..., Any], texts: Any
    ) -> None:
        with pytest.raises(DataError, match="1 documents have no word"):
            read(texts)

    def test_a_tag_of_none_is_refused(self, read: Callable[..., Any]) -> None:
        with pytest.raises(DataError, match="document 1 has the tag None"):
            read([Tagged(["one"], [0]), Tagged(["two"], [None])])

    def test_words_that_are_no_list_are_described(self, read: Callable[..., Any]) -> None:
        with pytest.raises(DataError, match="document 0 is generator"):
            read([Tagged((word for word in ("one", "two")), [0])])
