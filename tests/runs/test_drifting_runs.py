"""Runs whose parties train on other rows from round to round; and the skew that a preview tells."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fusion_nb import Run, RunSpec
from fusion_nb.core.rounds.drift import Drift
from fusion_nb.data.skews.score import score
from fusion_nb.errors import FusionError
from fusion_nb.runs.build import divide
from fusion_nb.runs.preview import look


def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(180) % 3
    return (rng.standard_normal((180, 3)) + 3 * np.eye(3)[y]).astype(np.float32), y


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 3)


def trained(**options: Any) -> Run:
    spec = RunSpec(data="data", **{"parties": 3, "lr": 0.5, "rounds": 6} | options)
    return Run(spec, {"model": net(), "data": rows()}).start().wait()


def notes_of(split: str) -> str:
    spec = RunSpec(data="data", split=split, parties=3, rounds=2)
    return "\n".join(look(spec, {"model": net(), "data": rows()}).notes)


def test_parts_take_turns() -> None:
    drift = Drift(3, (np.array([0]), np.array([1, 2])))
    assert [drift.positions(r).tolist() for r in (1, 3, 4, 6, 7)] == [[0], [0], [1, 2], [1, 2], [0]]
    assert len(drift.rows(rows(), 0)[1]) == 180, "a step after the last round has all rows"


def test_a_party_trains_on_the_rows_of_the_round() -> None:
    options = {"parties": 1, "batch_size": 1000, "rounds": 3}
    run = trained(split="drift:phases=3,every=1", **options)
    # A part of one label is soon learned, and the next one then surprises the model.
    losses = [record.party_metrics["party 1"]["train_loss"] for record in run.history]
    assert losses[1] > 1.5 * losses[0]
    whole = [record.party_metrics["party 1"]["train_loss"] for record in trained(**options).history]
    assert whole[1] < whole[0]


def test_phases_have_other_labels_and_all_rows_together() -> None:
    spec = RunSpec(data="data", split="drift:phases=3", parties=2)
    parties = list(divide(spec, {"data": rows()}).parties)
    for party in parties:
        assert party.drift is not None
        parts = party.drift.parts
        assert sorted(np.concatenate(parts)) == list(range(party.num_examples))
        kinds = [set(party.train[1][part].tolist()) for part in parts]
        assert all(len(kind) <= 2 for kind in kinds)
        assert kinds[0] != kinds[1]
    first = [set(p.train[1][p.drift.parts[0]].tolist()) for p in parties if p.drift]
    assert first[0] != first[1], "parties are not in the same phase"


def test_mixed_rows_are_in_any_phase() -> None:
    spec = RunSpec(data="data", split="drift:phases=3,mix=1", parties=1)
    (party,) = divide(spec, {"data": rows()}).parties
    assert party.drift is not None
    assert all(len(set(party.train[1][part].tolist())) == 3 for part in party.drift.parts)


@pytest.mark.parametrize("engine", ["process:workers=1", "vectorized"])
def test_every_engine_has_the_same_curve(engine: str) -> None:
    options = {"split": "drift:phases=2,every=2", "parties": 4}
    local, other = trained(engine="local", **options), trained(engine=engine, **options)
    assert np.allclose(other.history["loss"], local.history["loss"], rtol=1e-5)


def test_the_alone_baseline_drifts_too_and_a_changed_label_keeps_the_drift() -> None:
    run = trained(split="drift:every=1", baseline="local", adversary="label_flip:1", rounds=2)
    other = trained(baseline="local", adversary="label_flip:1", rounds=2)
    assert run.history["alone_loss"] != other.history["alone_loss"]


def test_a_preview_and_the_central_baseline_count_the_rows_of_a_round() -> None:
    def rows_of(split: str) -> int:
        spec = RunSpec(data="data", split=split, parties=3, rounds=2)
        return look(spec, {"model": net(), "data": rows()}).cost.rows

    assert rows_of("drift:phases=3") == rows_of("iid") / 3


def test_privacy_of_rows_does_not_count_on_rows_that_are_away() -> None:
    pytest.importorskip("dp_accounting")
    with pytest.raises(FusionError, match="a part of them at a time"):
        trained(split="drift", privacy="rows:clip=1,noise=1")


class TestScore:
    def test_the_ends(self) -> None:
        apart = score([np.zeros(900, int), np.ones(900, int)], [None, None], 0)
        assert apart.labels == pytest.approx(np.sqrt(1 - np.sqrt(0.5)))
        assert apart.quantity == 0
        alike = score([np.arange(900) % 3] * 2, [None, None], 0)
        assert alike.labels == 0

    def test_a_shuffle_says_how_much_is_chance(self) -> None:
        rng = np.random.default_rng(0)
        few = score([rng.integers(0, 10, 20) for _ in range(5)], [None] * 5, 0)
        many = score([rng.integers(0, 10, 2000) for _ in range(5)], [None] * 5, 0)
        assert few.labels is not None
        assert many.labels is not None
        assert few.labels > 4 * many.labels
        assert few.even_labels == pytest.approx(few.labels, rel=0.4)

    def test_features_that_differ(self) -> None:
        x = np.random.default_rng(0).standard_normal((500, 4))
        same = score([np.zeros(250, int)] * 2, [(x[:250], 0), (x[250:], 0)], 0)
        moved = score([np.zeros(250, int)] * 2, [(x[:250], 0), (x[250:] + 2, 0)], 0)
        assert same.features is not None
        assert moved.features is not None
        assert moved.features > 4 * same.features
        assert moved.even_features == pytest.approx(same.features, abs=0.03)

    def test_measurements_have_no_classes(self) -> None:
        found = score([np.linspace(0, 1, 9), np.linspace(0, 1, 3)], [None, None], 0)
        assert found.labels is None
        assert found.quantity > 0.1
        assert "labels" not in str(found)

    @pytest.mark.parametrize(
        ("split", "words"),
        [
            ("classes:per_party=1", "skew: labels 0.65"),
            ("drift", "skew in round 1: labels 0."),
            ("feature_noise:sigma=2", "feature_noise: noise of 0 at the first party"),
            ("long_tail:ratio=4", "of 180 rows are left out"),
        ],
    )
    def test_a_preview_tells_it(self, split: str, words: str) -> None:
        assert words in notes_of(split)
