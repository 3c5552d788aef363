"""Doc2Vec models, options and rows that are refused before training."""

from __future__ import annotations

from typing import Any

import pytest
from doc2vec_samples import TEXTS, model
from gensim.models.doc2vec import TaggedDocument

from fusion_nb import RunSpec, federate
from fusion_nb.errors import (
    FusionError,
    ModelError,
    OptionError,
)
from fusion_nb.runs.build import build


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"optimizer": "adam"}, "--optimizer adam: a Doc2Vec has no such option"),
            ({"loss": "mse"}, "--loss mse: a Doc2Vec has no such option"),
            ({"batch_size": 8}, "--batch-size 8: a Doc2Vec has no such option"),
            ({"device": "cuda"}, "a Doc2Vec has no such option"),
            ({"keep_optimizer": True}, "a Doc2Vec has no such option"),
            ({"schedule": "10"}, "write after+rounds"),
            ({"schedule": "3+5"}, "the first fall begins after round 0"),
            ({"schedule": "0+5,0+5"}, "the first fall begins after round 0"),
            ({"min_parties": 9}, "--min-parties 9, but there are 4"),
            ({"monitor": "accuracy"}, "this run will have: train_loss, self_rank, loss"),
            ({"fusion": "doc2vec:eta=-1"}, "eta=-1 is not allowed"),
        ],
    )
    def test_a_wrong_option_is_refused(self, options: Any, message: str) -> None:
        with pytest.raises(FusionError) as caught:
            build(RunSpec(data="docs", **options), {"model": model(), "docs": TEXTS})
        assert message in str(caught.value)

    def test_options_of_doc2vec_are_refused_for_a_network(self, net: Any, rows: Any) -> None:
        with pytest.raises(OptionError, match="a PyTorch model has no such option"):
            federate(net(), rows, min_parties=2)
        with pytest.raises(OptionError, match="no learning rate that falls by itself"):
            federate(net(), rows, schedule="0+5")

    def test_rows_of_the_other_kind_are_refused(self, net: Any, rows: Any) -> None:
        with pytest.raises(ModelError, match="numbers, and a Doc2Vec takes documents"):
            federate(model(), rows)
        with pytest.raises(ModelError, match="documents, and a PyTorch model takes numbers"):
            federate(net(), TEXTS)

    @pytest.mark.parametrize(
        ("options", "data", "message"),
        [
            ({"min_count": 1000}, TEXTS, "none occurs 1000 times"),
            (
                {"min_count": 3},
                {"a": ["boat boat boat", "boat"], "b": ["lonely words", "alone here"]},
                "b: none of the words",
            ),
            ({"negative": 0}, TEXTS, "negative=0 and hs=0"),
            (
                {"dm": 1, "dm_concat": 1},
                [TaggedDocument(["a", "b"], [i, "x"]) for i in range(9)],
                "has 1 tags",
            ),
        ],
    )
    def test_texts_that_cannot_be_trained_are_refused_before_round_1(
        self, options: Any, data: Any, message: str
    ) -> None:
        parties = {} if isinstance(data, dict) else {"parties": 1}
        with pytest.raises(FusionError) as caught:
            federate(model(**options), data, holdout=0.0, **parties)
        assert message in str(caught.value)
        assert caught.value.hint

    def test_a_trained_model_starts_anew_with_a_note(self) -> None:
        theirs = model()
        theirs.build_vocab([TaggedDocument(["a", "b"], ["t"])])
        run = federate(theirs, TEXTS, parties=2, rounds=1)
        assert any("own vocabulary and vectors are not used" in note for note in run.notes)
        assert theirs.wv.index_to_key == ["a", "b"] or theirs.wv.index_to_key == ["b", "a"]
