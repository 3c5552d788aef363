"""The models of a Doc2Vec run: the fused one, and each party's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doc2vec_samples import TEXTS, model
from gensim.models.doc2vec import Doc2Vec

from fusion_nb import federate
from fusion_nb.errors import (
    ExportError,
    ModelError,
    OptionError,
    RunError,
)
from fusion_nb.models import lookup
from fusion_nb.models.doc2vec import files


class TestResults:
    @pytest.fixture(scope="class")
    def run(self) -> Any:
        return federate(model(dm=1, epochs=20), TEXTS, parties=3, rounds=20, lr=0.1, holdout=0.0)

    def test_the_model_is_gensims_own(self, run: Any) -> None:
        assert type(run.model) is Doc2Vec
        assert run.model.infer_vector(["boat", "sail"]).shape == (10,)
        assert len(run.model.dv) == 0

    def test_a_partys_own_model_has_its_documents(self, run: Any) -> None:
        own = run.parties[1].model
        assert len(own.dv) == run.parties[1].num_examples
        assert np.array_equal(own.syn1neg, run.model.syn1neg)
        tag = own.dv.index_to_key[0]
        assert own.dv.most_similar(tag)

    def test_similar_returns_tags_and_parties_without_text(self, run: Any) -> None:
        found = run.similar(TEXTS[7], topn=3)
        assert found[0][0] == "7"
        assert len(found) == 3
        party = next(p for p in run.parties if p.id == found[0][1])
        assert "7" in party.model.dv
        assert list(found.to_frame().columns) == ["tag", "party", "similarity"]
        assert "boat" not in repr(found)
        with pytest.raises(OptionError, match="no word"):
            run.similar("qwertz uiop")

    def test_other_models_have_no_similar_documents(self, net: Any, rows: Any) -> None:
        run = federate(net(), rows, rounds=1)
        with pytest.raises(RunError, match="PyTorch model"):
            run.similar("boat")
        with pytest.raises(ModelError, match=r"run\.model"):
            _ = run.parties[0].model

    def test_files_hold_the_fused_model(self, run: Any, tmp_path: Path) -> None:
        run.export(str(tmp_path / "fused"), run.formats)
        found = files.load(tmp_path / "fused/model.doc2vec")
        assert np.array_equal(found.syn1neg, run.model.syn1neg)
        assert found.wv.index_to_key == run.model.wv.index_to_key
        first = (tmp_path / "fused/words.txt").read_text().splitlines()
        assert first[0] == f"{len(found.wv)} 10"
        assert isinstance(lookup.find(str(tmp_path / "fused/model.doc2vec"), {}), Doc2Vec)

    def test_word_vectors_that_were_not_trained_are_not_written(self, tmp_path: Path) -> None:
        run = federate(model(dm=0), TEXTS, parties=2, rounds=1)
        with pytest.raises(ExportError, match="trains no word vectors"):
            run.export(str(tmp_path / "fused"), "word2vec")
        assert not (tmp_path / "fused").exists()

    def test_large_arrays_beside_the_file_are_read(self, run: Any, tmp_path: Path) -> None:
        run.model.save(str(tmp_path / "big.d2v"), sep_limit=0)
        assert len(list(tmp_path.iterdir())) > 1
        assert np.array_equal(files.load(tmp_path / "big.d2v").syn1neg, run.model.syn1neg)
