"""The data sets of texts: 20 newsgroups, Wikipedia, and documents of one's own."""

from __future__ import annotations

import bz2
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fusion_nb.core import registry
from fusion_nb.data import loading
from fusion_nb.data.text_datasets import Documents, Newsgroups, Wikipedia
from fusion_nb.errors import DataError, OptionError

MESSAGE = (
    "From: me\nNewsgroups: a.b\n\nYou wrote:\n> quoted words\nMy own words.\n\n--\nMe, of "
    "Somewhere\n"
)


class TestNewsgroups:
    @pytest.fixture
    def groups(self, tmp_path: Path) -> str:
        lines = [
            {"text": MESSAGE, "label": "a.b", "split": "train"},
            {"text": "H: x\n\nother text", "label": "c", "split": "test"},
            {"text": "H: x\n\n  \n", "label": "c", "split": "train"},
        ]
        with gzip.open(tmp_path / "groups.jsonl.gz", "wt") as file:
            file.write("\n".join(json.dumps(line) for line in lines))
        return str(tmp_path / "groups.jsonl.gz")

    def test_options_choose_the_parts_that_are_kept(self, groups: str) -> None:
        (texts, labels), (test, _) = Newsgroups(groups).get_data()
        assert labels == ["a.b"]
        assert "quoted" in texts[0]
        assert "Newsgroups" not in texts[0]
        assert test == ["other text"]
        assert "Newsgroups" in Newsgroups(groups, headers=True).get_data()[0][0][0]
        bare = Newsgroups(groups, quotes=False, signatures=False).get_data()[0][0][0]
        assert bare.strip() == "My own words."

    def test_options_are_written_behind_the_name(self, groups: str) -> None:
        pytest.importorskip("gensim")
        Path(groups).write_bytes(
            gzip.compress(
                "\n".join(
                    json.dumps({"text": MESSAGE, "label": "a", "split": split})
                    for split in ("train", "test")
                ).encode()
            )
        )
        source = loading.read(groups, {}, handler="20_newsgroup:quotes=no,headers=yes")
        words = source.train[0][0].words
        assert "newsgroups" in words
        assert "quoted" not in words
        with pytest.raises(OptionError, match="did you mean 'quotes'"):
            loading.read(groups, {}, handler="20_newsgroup:quote=no")

    def test_the_real_file_has_the_sizes_that_are_published(self, mnist: Path) -> None:
        if not (mnist / "20newsgroups.jsonl.gz").is_file():
            pytest.skip("20newsgroups.jsonl.gz is not here: set FUSION_NB_DATA to its folder")
        (texts, labels), (test, test_labels) = registry.get("datasets", "20_newsgroup")().get_data()
        assert 11_200 < len(texts) == len(labels) <= 11_314
        assert 7_450 < len(test) == len(test_labels) <= 7_532
        assert len(set(labels)) == 20


class TestWikipedia:
    @pytest.fixture(autouse=True)
    def _gensim(self) -> None:
        pytest.importorskip("gensim")

    def test_articles_of_one_title_get_tags_of_their_own(self, tmp_path: Path) -> None:
        lines = [
            {"title": "A", "text": "some words here", "source": "s"},
            {"title": "A", "text": "more words", "source": "t"},
        ]
        (tmp_path / "wiki.jsonl").write_text("\n".join(map(json.dumps, lines)))
        (articles, labels), test = Wikipedia(str(tmp_path / "wiki.jsonl")).get_data()
        assert [article.tags for article in articles] == [("A",), ("A (2)",)]
        assert labels == ["s", "t"]
        assert test is None

    def test_a_dump_gives_articles_without_markup(self, tmp_path: Path) -> None:
        page = (
            "<page><title>{}</title><ns>{}</ns><id>1</id>"
            "<revision><id>1</id><text>{}</text></revision></page>"
        )
        pages = page.format("Boats", 0, "A '''boat''' is [[thing|a thing]] that floats {{ref}}")
        pages += page.format("Talk:Boats", 1, "chatter")
        pages += page.format("Boat", 0, "#REDIRECT [[Boats]]")
        dump = f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">{pages}</mediawiki>'
        (tmp_path / "wiki.xml.bz2").write_bytes(bz2.compress(dump.encode()))
        (articles, labels), _ = Wikipedia(str(tmp_path / "wiki.xml.bz2"), limit=5).get_data()
        assert [article.tags for article in articles] == [("Boats",)]
        assert articles[0].words == ("boat", "is", "thing", "that", "floats")
        assert labels is None

    @pytest.mark.parametrize("content", [None, b"no archive", bz2.compress(b"<no xml")])
    def test_a_broken_dump_is_refused(self, tmp_path: Path, content: bytes | None) -> None:
        path = tmp_path / "wiki.xml.bz2"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=path.name):
            Wikipedia(str(path)).get_data()


class TestDocuments:
    def test_lines_are_documents_to_train_and_to_test_on(self, tmp_path: Path) -> None:
        lines: list[dict[str, Any]] = [
            {"words": ["one", "two"], "tags": ["first"], "label": "a"},
            {"text": "three four", "label": "b"},
            {"text": "five six", "split": "test"},
        ]
        (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
        (texts, labels), test = Documents(str(tmp_path / "mine.jsonl")).get_data()
        assert texts[0].tags == ["first"]
        assert texts[1] == "three four"
        assert labels == ["a", "b"]
        assert test == (["five six"], None)

    @pytest.mark.parametrize(
        "line", [{"text": 7}, {"text": "a", "split": "other"}, {"words": ["a"], "tags": "t"}]
    )
    def test_another_kind_of_line_is_refused_with_its_number(
        self, tmp_path: Path, line: dict[str, Any]
    ) -> None:
        path = tmp_path / "mine.jsonl"
        path.write_text("\n".join(map(json.dumps, [{"text": "a"}, line])))
        with pytest.raises(DataError, match="line 2 is no document"):
            Documents(str(path)).get_data()


@pytest.mark.parametrize("handler", [Newsgroups, Wikipedia, Documents])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("gone.jsonl", None),
        ("bad.jsonl", b"not json"),
        ("list.jsonl", b"[1]"),
        ("other.jsonl", b'{"a": 1}'),
        ("bad.jsonl.gz", b"no gzip"),
    ],
)
def test_another_kind_of_file_is_refused(
    tmp_path: Path, handler: Any, name: str, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name) as caught:
        handler(str(tmp_path / name)).get_data()
    assert "\n" not in caught.value.message
