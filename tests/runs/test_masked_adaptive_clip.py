"""An adaptive clip behind masks: the bits that it counts are one more number in the sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("cryptography")
from test_secure_runs import trained

from fusion_nb.algorithms.secure.masks import Masks
from fusion_nb.core.types import FederationInfo

ADAPTIVE = "central:clip=0.05,noise=0.01,adaptive=true,quantile=0.9"


@pytest.mark.parametrize("fusion", ["fedavg", "fedavgm", "fedadam"])
@pytest.mark.parametrize(("clip", "grows"), [(0.05, True), (5.0, False)])
def test_it_moves_as_it_does_without_masks(fusion: str, clip: float, grows: bool) -> None:
    privacy = f"central:clip={clip},noise=0.001,adaptive=true"
    options = {"privacy": privacy, "norm": False, "rounds": 4, "fusion": fusion}
    options |= {"lr": 0.05} if fusion == "fedadam" else {}
    plain, masked = trained(**options), trained(secure="masks:bits=26", **options)
    assert np.allclose(masked.history["clip"], plain.history["clip"], rtol=1e-4)
    assert (masked.history["clip"][0] > clip) == grows
    assert masked.history["epsilon"] == plain.history["epsilon"]
    assert np.allclose(masked.history["loss"], plain.history["loss"], rtol=1e-3)


def test_drop_outs_are_left_out_of_the_count() -> None:
    options = {"privacy": ADAPTIVE, "norm": False, "parties": 8, "rounds": 5, "split": "iid"}
    run = trained(secure="masks:threshold=0.51", dropout=0.15, **options)
    assert any(record.failures for record in run.history)
    assert all(0.04 < clip < 0.05 * np.exp(0.2 * 5) for clip in run.history["clip"])


def test_parties_tell_no_sizes_and_are_told_the_clip_of_the_round() -> None:
    """The limits follow the clip, so that a larger one cuts nothing."""
    told: list[Any] = []
    original = Masks._told

    def spied(self: Masks, usable: Any, shapes: Any, most: float) -> Any:
        assert not any("largest" in update.extras for update in usable.values())
        told.append(original(self, usable, shapes, most))
        return told[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Masks, "_told", spied)
        run = trained(secure="masks", privacy=ADAPTIVE, norm=False, rounds=3)
    limits = [next(iter(each.values()))["limits"] for each in told]
    clips = [0.05, *run.history["clip"][:-1]]
    assert len(limits) == 3
    for clip, found in zip(clips, limits, strict=True):
        assert found[:-1] == pytest.approx(clip)
        assert found[-1] == 1.0


def test_the_limit_of_a_rule_without_a_state_is_its_own() -> None:
    from fusion_nb.core import registry

    rule = registry.create("fusions", "fedavg")
    weights = {"w": np.zeros(2, np.float32)}
    state = rule.init(weights, FederationInfo(1, ("w",), frozenset({"w"})))
    assert rule.largest_change_after(state) == rule.largest_change == 0.0
