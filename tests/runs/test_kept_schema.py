"""The schema of a run is kept: by the run, its notes, card, export and checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import fusion_nb
from fusion_nb import RunSpec
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import OptionError, RunError
from fusion_nb.models.base import Model
from fusion_nb.models.lookup import model_adapter
from fusion_nb.runs import preview

X = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
NAMES = np.array(["10", "2", "1"])[np.arange(60) % 3]


def test_run_card_export_and_preview_say_it(tmp_path: Path) -> None:
    run = fusion_nb.federate(nn.Linear(4, 3), (X, NAMES), rounds=1)
    assert run.classes == ("1", "2", "10")
    assert run.schema.labels.values == (0, 1, 2)
    assert "classes: 0 is '1', 1 is '2', 2 is '10'" in run.notes
    run.export(str(tmp_path / "fused"), ["pt"])
    stored = json.loads((tmp_path / "fused" / "schema.json").read_text())
    assert DataSchema.from_json(stored) == run.schema
    card = json.loads((tmp_path / "fused" / "card.json").read_text())
    assert DataSchema.from_json(card["schema"]) == run.schema
    assert (
        "classes in the order of the outputs: 1, 2, 10"
        in (tmp_path / "fused" / "CARD.md").read_text()
    )
    found = preview.look(RunSpec(data="data"), {"model": nn.Linear(4, 3), "data": (X, NAMES)})
    assert found.notes[0].startswith("data: rows: numbers of shape (4,)")


@pytest.mark.parametrize("other", [NAMES.astype(int), np.where(NAMES == "2", "3", NAMES)])
def test_a_resumed_run_needs_data_of_the_same_meaning(tmp_path: Path, other: Any) -> None:
    folder = str(tmp_path / "saved")
    fusion_nb.federate(nn.Linear(4, 11), (X, NAMES), rounds=2, checkpoint=folder)
    about = json.loads(next(Path(folder).rglob("checkpoint.json")).read_text())
    assert about["schema"]["labels"]["classes"] == ["1", "2", "10"]
    with pytest.raises(RunError, match="labels: classes was"):
        fusion_nb.resume(folder, nn.Linear(4, 11), (X, other), allow_other_rows=True)
    longer = fusion_nb.resume(folder, nn.Linear(4, 11), (X, NAMES))
    assert longer.classes == ("1", "2", "10")


def test_objects_of_the_call_are_given_again(tmp_path: Path) -> None:
    folder = str(tmp_path / "saved")
    fusion_nb.federate(nn.Linear(4, 11), (X, NAMES), rounds=2, checkpoint=folder)
    for given, name in (({}, "model"), ({"model": nn.Linear(4, 11)}, "data")):
        with pytest.raises(OptionError, match=f"{name}= of .*saved was an object of the") as caught:
            fusion_nb.resume(folder, **given)
        assert caught.value.hint == f"give it again: {name}="


def test_an_adapter_that_takes_labels_is_told_what_to_rename() -> None:
    class Old(Model):
        base_class = "somewhere.Old"

        def clone(self) -> Any: ...
        def check(self, rows: Any, labels: Any, *, lr: Any, optimizer: Any) -> Any: ...
        def get_weights(self) -> Any: ...
        def set_weights(self, weights: Any) -> None: ...
        def fit(self, data: Any, **options: Any) -> Any: ...
        def evaluate(self, data: Any) -> Any: ...
        def native(self, weights: Any) -> Any: ...
        def save(self, path: Any, weights: Any, format: str) -> None: ...

    with pytest.raises(OptionError, match="rename labels -> schema"):
        model_adapter(name="old")(Old)


def test_stacking_refuses_masks_that_were_not_divided() -> None:
    x = np.random.default_rng(0).normal(size=(40, 1, 4, 4)).astype(np.float32)
    masks = (x > 0).astype(np.uint8) * 255
    with pytest.raises(OptionError, match="divide them by 255 first"):
        fusion_nb.federate(nn.Conv2d(1, 1, 1), (x, masks), ensemble="stack")
    run = fusion_nb.federate(nn.Conv2d(1, 1, 1), (x, masks // 255), ensemble="stack", lr=0.1)
    assert run.status == "finished"
