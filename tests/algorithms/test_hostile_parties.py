"""Which parties are hostile, and what goes together with an attack."""

from __future__ import annotations

from typing import Any

import pytest
from hostile_parties import federation_of, run_of, spec_of
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.algorithms.attacks import hostile
from fusion_nb.core import arithmetic
from fusion_nb.errors import FusionError, OptionError
from fusion_nb.runs.build import build


class TestHostileParties:
    def test_hostile_parties_are_a_function_of_the_seed(self) -> None:
        parties = [f"party {i}" for i in range(20)]
        chosen = {seed: hostile(parties, 5, seed) for seed in range(6)}
        assert all(hostile(parties, 5, seed) == found for seed, found in chosen.items())
        assert len(set(chosen.values())) > 3
        assert all(list(found) == sorted(found, key=parties.index) for found in chosen.values())
        assert all(len(set(found)) == 5 for found in chosen.values())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"adversary": "bit_flip:6"}, r"6 hostile parties of 6.*\n  use 5 at most"),
            ({"adversary": "bit_flip", "parties": 1}, "1 hostile parties of 1"),
            (
                {"adversary": "bit_flip:0"},
                r"bit_flip:num=0 is not allowed\n  give a whole number >= 1",
            ),
            ({"adversary": "ipm:2,epsilon=-1"}, "not allowed"),
            ({"adversary": "alie:2,z=-1"}, "not allowed"),
            ({"adversary": "bit_flip:2", "fusion": "dynamic"}, "keep their weights"),
            ({"adversary": "mimic:2", "fusion": "fda"}, "keep their weights"),
            ({"adversary": "ipm:2", "ensemble": "mean"}, "keeps the parties' models apart"),
        ],
    )
    def test_attacks_that_do_not_fit_are_refused(
        self, rows: Any, net: Any, options: Any, message: str
    ) -> None:
        with pytest.raises(OptionError, match=message):
            federation_of(rows, net, **options)

    def test_a_misspelled_attack_is_refused_before_the_data_is_read(self) -> None:
        with pytest.raises(FusionError, match="no adversary is called 'bit_flop'"):
            build(spec_of(adversary="bit_flop:2"), {})

    def test_a_note_names_the_hostile_parties(self, rows: Any, net: Any) -> None:
        one, three = (run_of(rows, net, adversary=f"ipm:{num},epsilon=2") for num in (1, 3))
        assert (
            one.notes[-1]
            == f"simulated: {hostile([p.id for p in one.parties], 1, 0)[0]} is hostile (ipm)"
        )
        a, b, c = hostile([p.id for p in three.parties], 3, 0)
        assert three.notes[-1] == f"simulated: {a}, {b} and {c} are hostile (ipm)"
        assert three.notes[-1] in str(three.summary())

    def test_labels_can_be_flipped_where_weights_are_kept(self, rows: Any, net: Any) -> None:
        for options in ({"fusion": "dynamic"}, {"ensemble": "mean", "rounds": 1}):
            run_of(rows, net, adversary="label_flip:2", **options).start().wait()

    @pytest.mark.parametrize(
        "options", [{"fusion": "scaffold"}, {"personal": "fedper:layers=2.*"}, {"fusion": "cmfl"}]
    )
    @pytest.mark.parametrize("adversary", ["sign_flip:1", "alie:2,z=1", "mimic:2"])
    def test_forged_weights_go_with_extras(
        self, rows: Any, net: Any, options: Any, adversary: str
    ) -> None:
        run = run_of(rows, net, adversary=adversary, **options).start().wait()
        assert len(run.history) == 3
        assert run.history["loss"] != run_of(rows, net, **options).start().wait().history["loss"]

    def test_statistics_of_batch_normalization_stay_honest(self, rows: Any, net: Any) -> None:
        def norm() -> nn.Module:
            return nn.Sequential(nn.BatchNorm1d(5), *net())

        run = (
            run_of(rows, norm, adversary="noise:2,sigma=0.1", fusion="median", rounds=2)
            .start()
            .wait()
        )
        honest = run_of(rows, norm, fusion="median", rounds=1).start().wait()
        state = run.model.state_dict()
        assert (state["0.running_var"] > 0).all()
        assert (
            state["0.num_batches_tracked"] == 2 * honest.model.state_dict()["0.num_batches_tracked"]
        )

    def test_gensims_weights_can_be_forged(self) -> None:
        from gensim.models.doc2vec import Doc2Vec

        texts = [
            f"some words about number {['one', 'two', 'three', 'four'][i % 4]} and {i}"
            for i in range(40)
        ]
        model = Doc2Vec(vector_size=4, min_count=1, epochs=1, seed=1)
        curves = []
        for adversary in ("", "sign_flip:2"):
            spec = RunSpec(data="data", adversary=adversary, rounds=2)
            run = Run(spec, {"model": model, "data": texts}).start().wait()
            curves.append(arithmetic.digest(run.weights))
        assert curves[0] != curves[1]
