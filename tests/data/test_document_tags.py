"""Tags of documents that several parties have: numbers are told apart, other tags are refused."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("gensim")

from gensim.models.doc2vec import TaggedDocument

from fusion_nb import federate
from fusion_nb.data.partition import PartitionedData
from fusion_nb.errors import DataError

WORDS = ["boat", "wave", "sail"]


def numbered(*tags: Any) -> list[TaggedDocument]:
    return [TaggedDocument(WORDS, [tag]) for tag in tags]


def partitioned(data: Any) -> PartitionedData:
    options: dict[str, Any] = {"split": "iid", "parties": None, "holdout": 0.0, "seed": 0}
    return PartitionedData.load({"docs": data}, data="docs", data_handler="", label="", **options)


def tags(data: Any) -> dict[str, list[str]]:
    parties = partitioned(data).parties
    return {party.id: [document.tags[0] for document in party.train[0]] for party in parties}


@pytest.mark.parametrize("first", [0, "0"])
def test_numbers_that_parties_share_get_the_partys_name(first: Any) -> None:
    data = {"north": numbered(first, 1), "south": numbered(first, 7)}
    assert tags(data) == {"north": ["north 0", "north 1"], "south": ["south 0", "south 7"]}
    assert any("'north 0'" in note for note in partitioned(data).notes)


@pytest.mark.parametrize(
    "data",
    [
        {"north": numbered(0, 1), "south": numbered(2, 3)},
        {"north": numbered("a", 1), "south": numbered("b", 2)},
    ],
)
def test_tags_that_differ_stay_as_they_are(data: Any) -> None:
    assert tags(data) == {
        party: [str(document.tags[0]) for document in documents]
        for party, documents in data.items()
    }


def test_test_documents_are_numbered_alike_as_well() -> None:
    data = {"north": (numbered(0), numbered(1)), "south": (numbered(0), numbered(1))}
    tested = {party.id: party.test[0][0].tags for party in partitioned(data).parties}
    assert tested == {"north": ("north 1",), "south": ("south 1",)}


def test_a_list_of_parties_is_told_apart_by_its_names() -> None:
    found = tags([numbered(0, 1), numbered(0, 1)])
    assert len({tag for party in found.values() for tag in party}) == 4


def test_words_that_parties_share_are_refused() -> None:
    from gensim.models.doc2vec import Doc2Vec

    data = {"north": numbered("sea", 0), "south": numbered("sea", 0)}
    with pytest.raises(DataError, match="is at north and at south"):
        federate(Doc2Vec(vector_size=4, min_count=1), data, rounds=1)
