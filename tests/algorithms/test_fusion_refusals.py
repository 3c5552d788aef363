"""Fusions that do not go together with the rest of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from linear_parties import built

from fusion_nb.core import documents
from fusion_nb.core.federation import Federation
from fusion_nb.errors import NameNotFoundError, OptionError
from fusion_nb.runs.build import build
from fusion_nb.runs.spec import RunSpec


class TestFusionsRefusedBeforeTraining:
    @pytest.mark.parametrize("fusion", ["dynamic", "fda", "lag"])
    def test_a_fraction_with_a_rule_that_needs_all_parties(
        self, fusion: str, rows: Any, net: Any
    ) -> None:
        with pytest.raises(OptionError, match=f"with {fusion} all parties take part"):
            built(rows, net(), fusion=fusion, fraction=0.5)

    @pytest.mark.parametrize("optimizer", ["adam", "torch.optim.RMSprop"])
    def test_scaffold_with_another_optimizer_than_sgd(
        self, optimizer: str, rows: Any, net: Any
    ) -> None:
        with pytest.raises(OptionError, match="scaffold needs plain SGD"):
            built(rows, net(), fusion="scaffold", optimizer=optimizer)

    @pytest.mark.parametrize(
        ("fusion", "problem"),
        [
            ("fedprox:nu=1", "nu"),
            ("feddyn:alpha=0", "alpha"),
            ("fedavgm:beta=1", "beta"),
            ("fedadam:tau=0", "tau"),
            ("lag:memory=0", "memory"),
            ("cmfl:threshold=1.5", "threshold"),
            ("dynamic:partial=perhaps", "partial"),
            ("qfedavg:q=-1", "q"),
            ("fda:monitor=skech", "did you mean.*sketch"),
        ],
    )
    def test_options_out_of_range(self, fusion: str, problem: str, rows: Any, net: Any) -> None:
        with pytest.raises(OptionError, match=problem):
            built(rows, net(), fusion=fusion)

    def test_a_misspelled_name(self, rows: Any, net: Any) -> None:
        with pytest.raises(NameNotFoundError, match="scaffold"):
            built(rows, net(), fusion="scafold")

    @pytest.fixture
    def texts(self) -> Any:
        rng = np.random.default_rng(0)
        words = [tuple(f"w{number}" for number in rng.integers(0, 20, 15)) for _ in range(30)]
        rows = documents.array(
            [documents.Document(text, (f"tag {i}",)) for i, text in enumerate(words)]
        )
        return rows, np.arange(30) % 3

    def doc2vec(self, texts: Any, fusion: str) -> Federation:
        from gensim.models.doc2vec import Doc2Vec

        spec = RunSpec(data="data", fusion=fusion, parties=3)
        return build(
            spec, {"model": Doc2Vec(vector_size=6, min_count=1, epochs=3), "data": (texts, texts)}
        )

    @pytest.mark.parametrize(
        ("fusion", "asked"),
        [("fedprox", ".*term .mu."), ("scaffold", ".*gradients .shift."), ("feddyn", ".*shift.")],
    )
    def test_client_options_that_a_model_does_not_support(
        self, fusion: str, asked: str, texts: Any
    ) -> None:
        with pytest.raises(OptionError, match=f"asks every party for {asked}, which a"):
            self.doc2vec(texts, fusion)

    @pytest.mark.parametrize("fusion", ["fednova", "qfedavg"])
    def test_a_model_without_an_effective_step_size(self, fusion: str, texts: Any) -> None:
        with pytest.raises(OptionError, match="needs to know the steps of local training"):
            list(self.doc2vec(texts, fusion).rounds(1))
