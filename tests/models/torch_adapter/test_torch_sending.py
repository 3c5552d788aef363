"""Only trained weights travel: the same curves with fewer bytes, and whole models in the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fusion_nb
from fusion_nb.errors import OptionError
from fusion_nb.runs.preview import look
from fusion_nb.runs.spec import RunSpec

_FUSIONS = [
    "fedavg",
    "fedprox:mu=0.1",
    "scaffold",
    "feddyn",
    "fednova",
    "fedadam",
    "median",
    "krum:f=0",
    "qfedavg",
    "cmfl",
    "lag",
    "dynamic:threshold=0",
    "centered_clip",
]


def frozen_net() -> nn.Module:
    """Make a network whose first layer is frozen, with batch normalization after it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    model[0].requires_grad_(requires_grad=False)
    return model


def trained(rows: Any, model: Any = None, **options: Any) -> Any:
    defaults = {"parties": 4, "rounds": 3, "lr": 0.1}
    return fusion_nb.federate(model or frozen_net(), rows, **defaults | options)


@pytest.mark.parametrize("fusion", _FUSIONS)
def test_every_fusion_has_the_same_curve_and_sends_less(rows: Any, fusion: str) -> None:
    whole = trained(rows, fusion=fusion)
    part = trained(rows, fusion=fusion, send="trained")
    assert part.history["loss"] == pytest.approx(whole.history["loss"], rel=1e-5)
    assert "0.weight" in whole.weights
    assert "0.weight" not in part.weights
    if fusion == "fedavg":
        frozen = 4 * (5 * 8 + 8)
        for name in ("bytes_up", "bytes_down"):
            sent = getattr(whole.history[0], name) - getattr(part.history[0], name)
            assert sent == 4 * frozen


@pytest.mark.parametrize("personal", ["finetune", "ditto", "apfl", "fedbn", "fedper:layers=3.*"])
def test_personal_models_are_whole(rows: Any, personal: str) -> None:
    whole = trained(rows, personal=personal)
    part = trained(rows, personal=personal, send="trained")
    assert part.history["personal_loss"] == pytest.approx(
        whole.history["personal_loss"], nan_ok=True
    )
    first = frozen_net()[0].weight
    assert torch.equal(part.parties[0].model[0].weight, first)
    assert torch.equal(part.model[0].weight, first)


def test_statistics_travel_and_frozen_weights_do_not(rows: Any) -> None:
    run = trained(rows, send="trained")
    assert {"1.running_mean", "1.running_var", "3.weight"} <= {*run.weights}
    assert not {"0.weight", "0.bias"} & {*run.weights}
    assert torch.equal(run.model[1].running_mean, torch.tensor(run.weights["1.running_mean"]))
    assert any("60 of 108 numbers travel" in note for note in run.notes)
    assert torch.equal(run.best.model[0].weight, frozen_net()[0].weight)


def test_the_preview_counts_what_travels(rows: Any) -> None:
    def cost(send: str) -> Any:
        spec = RunSpec(data="data", parties=4, rounds=2, send=send)
        return look(spec, {"data": rows, "model": frozen_net()}).cost

    assert cost("all").bytes_each - cost("trained").bytes_each == 4 * (5 * 8 + 8)
    assert cost("trained").bytes_all == 2 * cost("trained").bytes_each * 4 * 2


def test_a_resumed_run_gets_the_frozen_weights_that_it_began_with(rows: Any, tmp_path: Any) -> None:
    whole = trained(rows, rounds=5, send="trained")
    folder = str(tmp_path / "saved")
    trained(rows, rounds=3, send="trained", checkpoint=folder, name="begun")
    other = frozen_net()
    with torch.no_grad():
        other[0].weight.add_(1.0)
    resumed = fusion_nb.resume(folder, other, rows, name="resumed")
    resumed.more(2).wait()
    assert resumed.history["loss"] == whole.history["loss"]
    assert torch.equal(resumed.model[0].weight, frozen_net()[0].weight)


@pytest.mark.parametrize("format", ["pt", "safetensors"])
def test_an_export_is_the_whole_model(rows: Any, tmp_path: Any, format: str) -> None:
    run = trained(rows, send="trained")
    run.export(str(tmp_path / "fused"), format=format)
    if format == "pt":
        found = torch.load(tmp_path / "fused" / "model.pt", weights_only=True)
    else:
        from safetensors.torch import load_file

        found = load_file(tmp_path / "fused" / "model.safetensors")
    assert {*found} == {*frozen_net().state_dict()}
    assert torch.equal(found["0.weight"], frozen_net()[0].weight)


@pytest.mark.slow
def test_processes_have_the_same_curve(rows: Any) -> None:
    here = trained(rows, rounds=2, send="trained")
    there = trained(rows, rounds=2, send="trained", engine="process:workers=2")
    assert there.history["loss"] == here.history["loss"]


def test_the_note_suggests_it_and_says_when_nothing_is_frozen(rows: Any, net: Any) -> None:
    assert any("--send trained leaves these out" in note for note in trained(rows).notes)
    plain = trained(rows, net())
    assert not any(note.startswith("send:") for note in plain.notes)
    assert any("no weight" in note for note in trained(rows, net(), send="trained").notes)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"send": "some"}, "all, trained"),
        ({"send": "trained", "ensemble": "mean"}, "whole models"),
        ({"send": "trained", "engine": "vectorized"}, "vectorized"),
    ],
)
def test_what_does_not_go_together_is_refused(
    rows: Any, options: dict[str, str], words: str
) -> None:
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    model[0].requires_grad_(requires_grad=False)
    with pytest.raises(OptionError) as error:
        trained(rows, model, **options)
    assert words in str(error.value)


def test_a_model_without_the_option_refuses_it_by_name() -> None:
    doc2vec = pytest.importorskip("gensim.models.doc2vec")
    texts = [f"word{i % 7} and word{i % 5} with word{i % 3}" for i in range(24)]
    model = doc2vec.Doc2Vec(vector_size=4, min_count=1, epochs=1)
    with pytest.raises(OptionError, match="send"):
        fusion_nb.federate(model, texts, parties=2, rounds=1, send="trained")


def test_adapters_alone_travel() -> None:
    pytest.importorskip("peft")
    from tiny_transformers import gpt, ids, lora
    from tiny_transformers import trained as trained_on

    whole = trained_on(lora(gpt()), ids())
    part = trained_on(lora(gpt()), ids(), send="trained")
    assert part.history["loss"] == whole.history["loss"]
    assert all("lora" in name for name in part.weights)
    assert part.history[0].bytes_up == 3 * sum(array.nbytes for array in part.weights.values())
    assert np.all([np.isfinite(array).all() for array in part.weights.values()])
