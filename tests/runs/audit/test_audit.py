"""Audits of runs: what is found without privacy and with it, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusion_nb
from fusion_nb import Run, RunSpec
from fusion_nb.errors import OptionError, RunError
from fusion_nb.runs.audit.report import Audit, Finding

RUN = {"parties": 3, "rounds": 2, "lr": 0.1}


def finding(found: Audit, attack: str, observer: str = "the aggregator") -> Finding:
    return next(f for f in found.findings if (f.attack, f.observer) == (attack, observer))


@pytest.fixture
def trained(run_of: Callable[..., Run], net: Any) -> Callable[..., Run]:
    return lambda **options: run_of(net(), **RUN | options).start().wait()


@pytest.mark.parametrize("options", [{}, {"epochs": 3}, {"optimizer": "sgd:momentum=0.9"}])
def test_a_row_and_its_label_are_in_an_update(
    trained: Callable[..., Run], options: dict[str, Any]
) -> None:
    found = fusion_nb.audit(trained(**options))
    assert finding(found, "row").value < 1e-5
    assert "the row is there" in str(found)
    assert finding(found, "label").value >= 0.9
    (rebuilt,) = found.rebuilt.values()
    assert np.allclose(rebuilt, found.row, atol=1e-4)


@pytest.mark.parametrize("privacy", ["local:clip=1,noise=1", "rows:clip=1,noise=1"])
def test_noise_at_the_party_hides_the_row_from_the_aggregator(
    trained: Callable[..., Run], privacy: str
) -> None:
    if privacy.startswith("rows"):
        pytest.importorskip("opacus")
        pytest.importorskip("dp_accounting")
    found = fusion_nb.audit(trained(privacy=privacy))
    assert finding(found, "row").value > 0.1
    assert finding(found, "label").value < 0.8


def test_noise_of_the_aggregator_hides_the_row_from_everyone_else(
    trained: Callable[..., Run],
) -> None:
    found = fusion_nb.audit(trained(privacy="central:clip=1,noise=1"))
    assert finding(found, "row").value < 1e-5
    assert finding(found, "row", "who sees the fused model").value > 0.1
    assert "trusts the aggregator" in str(found)


@pytest.mark.parametrize("encoding", ["fp16", "int8", "qsgd:bits=8", "topk:share=1"])
def test_a_compressed_update_is_decoded_before_it_is_attacked(
    trained: Callable[..., Run], encoding: str
) -> None:
    found = fusion_nb.audit(trained(compress=encoding))
    assert finding(found, "row").value < 0.2
    assert finding(found, "label").value >= 0.9


def test_noise_of_the_aggregator_hides_the_row_of_a_compressed_update(
    trained: Callable[..., Run],
) -> None:
    found = fusion_nb.audit(trained(compress="fp16", privacy="central:clip=1,noise=1"))
    assert finding(found, "row").value < 0.01
    assert finding(found, "row", "who sees the fused model").value > 0.1


@pytest.mark.parametrize("options", [{}, {"privacy": "central:clip=1,noise=1"}])
def test_masked_updates_are_told_to_be_masked(
    trained: Callable[..., Run], options: dict[str, Any]
) -> None:
    found = fusion_nb.audit(trained(secure="masks", **options))
    assert [note for note in found.notes if "given the sum of a round's updates alone" in note]
    assert finding(found, "membership", "who has the fused model").value > 0


def test_a_clip_alone_hides_nothing(trained: Callable[..., Run]) -> None:
    found = fusion_nb.audit(trained(privacy="central:clip=0.01,noise=0"))
    assert finding(found, "row", "who sees the fused model").value < 1e-3


def test_a_model_that_learned_its_rows_by_heart_tells_them_from_others(net: Any) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(120, 5)).astype(np.float32), rng.integers(0, 3, 120)
    names = {"model": net(), "rows": rows}
    spec = RunSpec(data="rows", parties=2, rounds=3, epochs=150, lr=0.3, holdout=0.4)
    found = finding(
        fusion_nb.audit(Run(spec, names).start().wait()),
        "membership",
        "who has the fused model",
    )
    assert found.low > 0.5


def test_several_rows_are_counted(trained: Callable[..., Run]) -> None:
    found = fusion_nb.audit(trained(), party="party 2", rows=4)
    share = finding(found, "rows")
    assert 0 <= share.low <= share.value <= share.high <= 1
    assert "party 2" in share.sentence


def test_pictures_are_shown_where_rows_are_pictures(net: Any) -> None:
    from torch import nn

    rng = np.random.default_rng(0)
    images = rng.random((90, 8, 8)).astype(np.float32), np.arange(90) % 3
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    run = Run(RunSpec(data="rows", **RUN), {"model": model, "rows": images}).start().wait()
    found = fusion_nb.audit(run)
    assert found.chart is not None
    assert found.chart.png.startswith(b"\x89PNG")
    assert "<img" in found._repr_mimebundle_()["text/html"]


def test_rows_of_a_small_convolution_are_rebuilt_by_matching_gradients() -> None:
    import torch
    from torch import nn

    # smooth pictures of one blob each
    centres = np.random.default_rng(0).uniform(2, 6, (60, 2))
    grid = np.mgrid[:8, :8][None] - centres[:, :, None, None]
    images = np.exp(-(grid**2).sum(1) / 4).astype(np.float32)[:, None]
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, 1, 1), nn.Sigmoid(), nn.Flatten(), nn.Linear(6 * 64, 3)
    )
    names = {"model": model, "rows": (images, np.arange(60) % 3)}
    found = fusion_nb.audit(Run(RunSpec(data="rows", **RUN), names).start().wait())
    true, rebuilt = found.row, found.rebuilt["the aggregator"]
    assert np.corrcoef(true.ravel(), rebuilt.ravel())[0, 1] > 0.7


def test_it_says_what_it_can_not_measure(run_of: Callable[..., Run]) -> None:
    from torch import nn

    model = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    found = fusion_nb.audit(run_of(model, **RUN).start().wait())
    assert any("party 1 can't be audited with 1 of its rows" in note for note in found.notes)
    assert finding(found, "membership", "who has the fused model").value > 0


def test_a_table_has_all_findings(trained: Callable[..., Run]) -> None:
    frame = fusion_nb.audit(trained()).to_frame()
    assert list(frame["attack"]) == ["row", "label", "membership"]


def test_an_audit_changes_nothing_about_the_run(trained: Callable[..., Run]) -> None:
    run = trained(fusion="scaffold")
    before = {party.id: party.persistent_state for party in run.federation.parties}
    fusion_nb.audit(run)
    assert before == {party.id: party.persistent_state for party in run.federation.parties}
    run.more(1).wait()
    expected = trained(fusion="scaffold", rounds=3)
    assert all(np.array_equal(run.weights[n], expected.weights[n]) for n in run.weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"party": "party 9"}, "no party 'party 9'"),
        ({"rows": 0}, "rows=0 is not allowed"),
        ({"rows": 10_000}, "from 1 to 64"),
    ],
)
def test_bad_requests_are_refused(
    trained: Callable[..., Run], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        fusion_nb.audit(trained(), **options)


def test_a_run_without_a_round_has_no_members(run_of: Callable[..., Run], net: Any) -> None:
    found = fusion_nb.audit(run_of(net(), **RUN))
    assert any("no whole round" in note for note in found.notes)


def test_runs_of_a_service_are_refused(
    trained: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained()
    monkeypatch.setattr(type(run.outcome), "result", lambda self: _sent(run))
    with pytest.raises(RunError, match="only of parties in this kernel"):
        fusion_nb.audit(run)


def _sent(run: Run) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(rows_went_to="http://elsewhere")
