"""Runs whose parties send encoded changes: traffic, curves, engines, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fusion_nb
from fusion_nb import Run, RunSpec
from fusion_nb.errors import FusionError
from fusion_nb.runs.preview import look


def rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(120) % 3
    x = rng.standard_normal((120, 6)) + 2 * np.eye(3)[y].repeat(2, 1)
    return x.astype(np.float32), y


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def made(model: Any = None, **options: Any) -> Run:
    spec = RunSpec(data="data", **{"rounds": 4, "parties": 3, "lr": 0.1} | options)
    return Run(spec, {"model": model or net(), "data": rows()})


def trained(model: Any = None, **options: Any) -> Run:
    return made(model, **options).start().wait()


#: Entries of `net` that gradients train, and the bytes of the others.
TRAINED, PLAIN = 6 * 16 + 16 + 32 + 16 * 3 + 3, 4 * 32 + 8


@pytest.mark.parametrize(
    ("compress", "message"),
    [
        ("fp16", 2 * TRAINED),
        ("int8", TRAINED + 4),
        ("sign", -(-TRAINED // 8) + 4 * 6),
        ("randk:share=0.1", 4 * round(0.1 * TRAINED)),
        ("qsgd:bits=4", -(-4 * TRAINED // 8) + 4),
    ],
)
def test_the_record_counts_the_messages_to_the_byte(compress: str, message: int) -> None:
    run = trained(compress=compress)
    plain = trained()
    for record, whole in zip(run.history, plain.history, strict=True):
        assert record.bytes_up == 3 * (message + PLAIN)
        assert record.bytes_down == whole.bytes_down == whole.bytes_up
    assert look(run.spec, {"model": net(), "data": rows()}).cost.bytes_each == message + PLAIN


def test_parties_keep_what_they_did_not_send() -> None:
    run = trained(compress="topk:share=0.1,feedback=true")
    bare = trained(compress="topk:share=0.1,feedback=false")
    assert run.history["loss"][0] == bare.history["loss"][0]
    assert run.history["loss"][1] != bare.history["loss"][1]


def test_almost_lossless_encodings_have_almost_the_curve_of_none() -> None:
    plain = trained(rounds=3)
    for compress in ("fp16", "int8", "topk:share=1", "qsgd:bits=16", "lowrank:rank=6"):
        found = trained(rounds=3, compress=compress).history["loss"]
        assert np.allclose(found, plain.history["loss"], rtol=0.02), compress


@pytest.mark.parametrize(
    "compress",
    [
        pytest.param("qsgd:bits=3,feedback=true", marks=pytest.mark.slow),
        "lowrank:rank=1,down=true",
    ],
)
def test_every_engine_has_the_same_curve(compress: str) -> None:
    options = {"compress": compress, "fraction": 0.7, "rounds": 3}
    local = trained(engine="local", **options)
    process = trained(engine="process:workers=1", **options)
    assert process.history["loss"] == local.history["loss"]
    assert [r.bytes_up for r in process.history] == [r.bytes_up for r in local.history]


def test_draws_follow_the_seed() -> None:
    one, same, other = (trained(compress="qsgd:bits=2", seed=seed) for seed in (1, 1, 2))
    assert one.history["loss"] == same.history["loss"] != other.history["loss"]


class TestDown:
    def test_a_party_that_was_away_receives_what_it_missed(self) -> None:
        run = trained(compress="topk:share=0.1,down=true", fraction=0.34, rounds=9)
        up = run.history[0].bytes_up
        whole = 4 * TRAINED + PLAIN
        seen: dict[str, int] = {}
        for number, record in enumerate(run.history):
            (party,) = record.cohort
            missed = number - seen[party] if party in seen else 99
            # Messages down have the length of those up: the same count, other positions.
            assert record.bytes_down == pytest.approx(min(whole, missed * up), abs=8 * missed)
            seen[party] = number
        assert any(record.bytes_down < whole for record in run.history)

    def test_the_fused_model_moves_by_what_parties_receive(self) -> None:
        run = made(compress="randk:share=0.05,down=true", rounds=1).start().wait()
        fused, start = run.model.state_dict(), net().state_dict()
        moved = sum(
            int((fused[name] != start[name]).sum()) for name in start if "running" not in name
        )
        assert 0 < moved <= round(0.05 * TRAINED) + 1  # the counter of BatchNorm moves too

    def test_stc_is_both_ways(self) -> None:
        records = trained(compress="stc:p=0.1").history
        assert records[1].bytes_down < records[0].bytes_down / 2


@pytest.mark.parametrize("fusion", ["fedadam", "fedprox", "fednova", "scaffold", "feddyn"])
def test_rules_that_average_learn_from_encoded_changes(fusion: str) -> None:
    lr = 0.1 if fusion != "fedadam" else 0.05
    run = trained(fusion=fusion, compress="int4", rounds=6, lr=lr)
    assert run.history["loss"][-1] < 0.8 * run.history["loss"][0]


def test_a_note_names_what_is_not_encoded() -> None:
    notes = trained(fusion="scaffold", compress="int8", rounds=1).notes
    assert any("scaffold sends beside weights" in note for note in notes)
    frozen = net()
    frozen[0].weight.requires_grad_(False)
    notes = trained(frozen, compress="int8", rounds=1).notes
    assert any("not trained travel uncompressed" in note for note in notes)
    assert not any("not trained" in n for n in trained(frozen, rounds=1).notes)


def test_frozen_entries_that_are_not_sent_take_no_bytes() -> None:
    frozen = net()
    frozen[0].weight.requires_grad_(False)
    run = trained(frozen, compress="fp16", send="trained", rounds=1)
    assert run.history[0].bytes_up == 3 * (2 * (TRAINED - 96) + PLAIN)


@pytest.mark.parametrize("personal", ["ditto", "apfl", "fedper:layers=3.*", "fedbn", "finetune"])
def test_personal_models_go_with_it(personal: str) -> None:
    run = trained(personal=personal, compress="topk:share=0.3", rounds=2)
    assert run.history[-1].bytes_up < run.history[-1].bytes_down
    assert "personal_loss" in run.history.metrics()


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"fusion": "median"}, "fusion=median"),
            ({"fusion": "krum:f=0"}, "fusion=krum:f=0"),
            ({"fusion": "qfedavg"}, "fusion=qfedavg"),
            ({"fusion": "bucketing:s=2+median"}, "bucketing"),
            ({"fusion": "lag"}, "decide by their rows"),
            ({"fusion": "dynamic"}, "decide by their rows"),
            ({"personal": "ifca"}, "personal=ifca"),
            ({"ensemble": "vote"}, "ensemble=vote"),
            ({"adversary": "sign_flip:1"}, "adversary=sign_flip:1"),
            ({"compress": "topk:share=2"}, "topk:share=2"),
            ({"compress": "qsgd:bits=1"}, "qsgd:bits=1"),
            ({"compress": "topkk"}, "did you mean"),
            ({"changes": "2:fusion=iter_avg"}, "compress"),
        ],
    )
    def test_what_does_not_go_together(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(FusionError) as caught:
            made(**{"compress": "topk", **options}).start().wait()
        assert words in str(caught.value).replace("--", "").replace("'", "").replace(" ", "") or (
            words in str(caught.value)
        )

    def test_weights_that_are_no_numbers(self) -> None:
        pytest.importorskip("sklearn")
        from sklearn.naive_bayes import GaussianNB

        with pytest.raises(FusionError, match="statistics"):
            made(GaussianNB(), compress="int8", lr=None).start().wait()

    def test_a_rule_of_ones_own_says_that_it_averages(self) -> None:
        from fusion_nb.algorithms.fusions.averaging import Averaging
        from fusion_nb.core.protocols import Fusion

        class Sums(Averaging):
            """Average as fedavg does."""

        class Last(Fusion):
            """Take the last update."""

            def aggregate(self, weights: Any, updates: Any, state: Any) -> Any:
                return list(updates)[-1].weights, state

        fusion_nb.fusion(name="own_sums")(Sums)
        fusion_nb.fusion(name="own_last")(Last)
        assert trained(fusion="own_sums", compress="int8", rounds=1).history
        with pytest.raises(FusionError, match="averages = True"):
            made(fusion="own_last", compress="int8").start().wait()


def test_weights_that_diverge_are_refused_with_the_usual_words() -> None:
    with pytest.raises(FusionError, match="lr"):
        trained(compress="topk", lr=1e30, rounds=3)


def test_a_party_of_any_share_has_its_own_memory_for_each_run() -> None:
    first, second = trained(compress="topk"), trained(compress="topk")
    assert first.history["loss"] == second.history["loss"]
