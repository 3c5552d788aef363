"""The vocabulary that the parties of a Doc2Vec agree on, and the weights that they share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doc2vec_samples import MODES, TEXTS, agreed, docs, model
from gensim.models.doc2vec import TaggedDocument

from fusion_nb import RunSpec, federate
from fusion_nb.core import documents
from fusion_nb.core.federation import Federation
from fusion_nb.core.protocols import EngineWrapper
from fusion_nb.core.types import RoundRequest, Update
from fusion_nb.errors import (
    ModelError,
)
from fusion_nb.models.doc2vec import vocabulary
from fusion_nb.models.doc2vec.adapter import Doc2VecModel
from fusion_nb.runs.build import build


class TestVocabulary:
    def test_counts_are_added_and_ordered(self) -> None:
        adapter, agreement = agreed([docs("b b a zoo", "a c"), docs("b c c d", prefix="x")])
        assert agreement.counts == {"b": 3, "c": 3, "a": 2, "d": 1, "zoo": 1}
        _, frequent = agreed([docs("b b a zoo")], min_count=2)
        assert frequent.counts == {"b": 2}, (
            "no party learns of words that are not in the vocabulary"
        )
        assert (
            list(agreement.counts) == ["b", "c", "a", "d", "zoo"] == adapter.model.wv.index_to_key
        )
        assert adapter.model.corpus_total_words == 10
        assert adapter.model.corpus_count == 3

    def test_min_count_applies_to_the_sum(self) -> None:
        adapter, _ = agreed([docs("once here"), docs("once there", prefix="x")], min_count=2)
        assert adapter.model.wv.index_to_key == ["once"]

    def test_subsampling_applies_to_the_sum(self) -> None:
        parts = [
            docs(*(text for text in TEXTS[:30])),
            docs(*(text for text in TEXTS[30:]), prefix="x"),
        ]
        adapter, _ = agreed(parts, sample=0.01)
        central = model(sample=0.01)
        central.build_vocab([TaggedDocument(d.words, d.tags) for part in parts for d in part])
        for word in central.wv.index_to_key:
            assert adapter.model.wv.get_vecattr(word, "sample_int") == central.wv.get_vecattr(
                word, "sample_int"
            )

    @pytest.mark.parametrize("mode", MODES)
    def test_every_party_builds_the_same_model(self, mode: str) -> None:
        adapter, agreement = agreed(
            [docs(*TEXTS[:30]), docs(*TEXTS[30:], prefix="x")], **MODES[mode]
        )
        other = Doc2VecModel(model(**MODES[mode]))
        other.prepare((documents.array(docs(*TEXTS[:3])), None), state := {}, agreement)
        mine, theirs = adapter.model, other.model
        assert mine.wv.index_to_key == theirs.wv.index_to_key
        if mine.negative:
            assert np.array_equal(mine.cum_table, theirs.cum_table)
        if mine.hs:
            assert all(map(np.array_equal, mine.wv.expandos["code"], theirs.wv.expandos["code"]))
            assert all(map(np.array_equal, mine.wv.expandos["point"], theirs.wv.expandos["point"]))
        assert all(
            np.array_equal(a, theirs_)
            for a, theirs_ in zip(
                adapter.get_weights().values(), other.get_weights().values(), strict=True
            )
        )
        assert state["vectors"].shape == (3, 10)

    def test_a_vocabulary_in_another_order_is_refused(self) -> None:
        _, agreement = agreed([docs("b b a")])
        wrong = vocabulary.Agreement(agreement.counts, ("a", "b"), 1, 3, ())
        with pytest.raises(ModelError, match="another order"):
            vocabulary.build(model(), wrong)

    def test_min_parties_leaves_out_words_of_one_party(self) -> None:
        parts = [docs("name secret secret common"), docs("common other", prefix="x")]
        adapter, agreement = agreed(parts, min_parties=2)
        assert adapter.model.wv.index_to_key == ["common"]
        assert "secret" not in agreement.counts
        assert any("3 words that fewer than 2 parties have" in note for note in adapter.notes)

    def test_the_card_reports_min_parties(self, tmp_path: Path) -> None:
        run = federate(model(), TEXTS, parties=3, rounds=1, min_parties=3)
        run.export(str(tmp_path / "fused"))
        assert "fewer than 3 parties" in (tmp_path / "fused/CARD.md").read_text()
        assert json.loads((tmp_path / "fused/card.json").read_text())["spec"]["min_parties"] == 3

    def test_a_party_sends_only_word_counts(self) -> None:
        adapter = Doc2VecModel(model())
        assert adapter.collect((documents.array(docs("a b a")), None)) == {
            "counts": {"a": 2, "b": 1}
        }


class TestSharedWeights:
    @pytest.mark.parametrize(
        ("mode", "names"),
        [
            ("dbow", {"syn1neg"}),
            ("dbow with words", {"syn1neg", "wv.vectors"}),
            ("mean", {"syn1neg", "wv.vectors"}),
            ("concat", {"syn1neg", "wv.vectors"}),
            ("softmax", {"syn1"}),
            ("mean and softmax", {"syn1", "wv.vectors"}),
        ],
    )
    def test_shared_weights_are_those_that_training_changes(
        self, mode: str, names: set[str]
    ) -> None:
        adapter, _ = agreed([docs(*TEXTS)], **MODES[mode])
        before = adapter.get_weights()
        assert set(before) == names
        words = adapter.model.wv.vectors.copy()
        adapter.fit((documents.array(docs(*TEXTS)), None), epochs=1, lr=0.05, seed=0)
        after = adapter.get_weights()
        assert all(not np.array_equal(before[name], after[name]) for name in names)
        assert np.array_equal(words, adapter.model.wv.vectors) == ("wv.vectors" not in names)

    def test_document_vectors_stay_at_their_party(self) -> None:
        federation = build(RunSpec(data="docs", parties=3), {"model": model(), "docs": TEXTS})
        seen: list[Update] = []

        class Recording(EngineWrapper):
            def run(self, request: Any, cohort: Any) -> Iterator[Any]:
                for reply in self.inner.run(request, cohort):
                    if isinstance(request, RoundRequest):
                        seen.append(reply)
                    yield reply

        recorded = Federation(
            federation.parties,
            federation.model,
            federation.fusion,
            Recording(federation.network.engine),
            federation.config,
        )
        list(recorded.rounds(2))
        assert {tuple(update.weights) for update in seen} == {("syn1neg",)}
        assert not any(update.extras for update in seen)
        assert all(
            party.state["vectors"].shape == (party.num_examples, 10) for party in federation.parties
        )
