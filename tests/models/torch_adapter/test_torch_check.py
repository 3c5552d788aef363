"""The checks of a PyTorch model before training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from torch_samples import CLASSES, X, checked, fit

import fusion_nb
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.torch.adapter import TorchModel


class TestCheck:
    def test_a_failure_in_training_mode_is_not_blamed_on_the_loss(self) -> None:
        class Moody(nn.Module):
            def __init__(self, wrong: Any) -> None:
                super().__init__()
                self.layer, self.wrong = nn.Linear(4, 3), wrong

            def forward(self, x: torch.Tensor) -> Any:
                return self.wrong(self.layer(x)) if self.training else self.layer(x)

        with pytest.raises(ModelError, match="while training, for 32 rows the model returns tuple"):
            checked(Moody(lambda out: (out, out)))
        with pytest.raises(ModelError, match="while training, the model does not take rows"):
            checked(Moody(nn.Linear(9, 9)))

    def test_a_model_may_keep_its_features_and_count_its_calls(self) -> None:
        class Keeping(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 3)
                self.register_buffer("calls", torch.zeros((), dtype=torch.long))

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.calls += 1
                self.features = self.layer(x)
                return self.features

        model = checked(Keeping())
        assert int(model.get_weights()["calls"]) == 0
        assert np.isfinite(fit(model.clone(), (X, CLASSES)).metrics["loss"])

    def test_a_loss_class_is_instantiated(self) -> None:
        assert checked(nn.Linear(4, 3), loss=nn.CrossEntropyLoss).metrics == ("accuracy", "loss")

    def test_ignored_labels_do_not_count_in_accuracy(self) -> None:
        y = CLASSES.copy()
        y[::4] = -100
        model = checked(nn.Linear(4, 3), y, loss=nn.CrossEntropyLoss())
        with torch.no_grad():
            right = model.module(torch.tensor(X)).argmax(1).numpy() == y
        assert model.evaluate((X, y))["accuracy"] == pytest.approx(right[y >= 0].mean())

    def test_an_embedding_of_positions_leaves_images_as_float(self) -> None:
        class Tiny(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer, self.positions = nn.Linear(4, 3), nn.Embedding(1, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x) + self.positions.weight

        x = (X > 0).astype(np.uint8)
        assert np.isfinite(fit(checked(Tiny(), x=x), (x, CLASSES)).metrics["loss"])

    @pytest.mark.parametrize("optimizer", [torch.optim.LBFGS, "lbfgs"])
    def test_an_optimizer_that_needs_a_closure_is_refused(self, optimizer: Any) -> None:
        with pytest.raises(OptionError, match="no optimizer"):
            TorchModel(nn.Linear(4, 3)).check(
                (X, CLASSES), DataSchema.of((X, CLASSES)), lr=0.1, optimizer=optimizer
            )

    def test_an_optimizer_that_fails_at_its_first_step_is_refused(self) -> None:
        with pytest.raises(OptionError, match="can't do a step"):
            TorchModel(nn.Linear(4, 3)).check(
                (X, CLASSES), DataSchema.of((X, CLASSES)), lr=0.1, optimizer="sparseadam"
            )

    def test_a_mask_has_one_output_for_each_place(self) -> None:
        x = np.random.default_rng(0).normal(size=(6, 1, 9)).astype(np.float32)
        y = (x[:, 0] > 0).astype(int)
        assert checked(nn.Conv1d(1, 1, 1), y, x).metrics == ("accuracy", "loss")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(OptionError, match="no device 'tpu9'"):
        TorchModel(nn.Linear(1, 1), device="tpu9")


def test_the_devices_of_this_machine_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for is_there, said in ((False, "are here: cpu"), (True, "are here: cpu, cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=is_there: found)
        with pytest.raises(OptionError) as caught:
            TorchModel(nn.Linear(1, 1), device="tpu9")
        assert caught.value.hint.endswith(said)


class TestRowsOfSeveralParts:
    """A layer asks a dict or a tuple for the methods of a tensor, and the cause is said."""

    class Rows(Dataset[Any]):
        def __init__(self, form: Any) -> None:
            self.form = form

        def __len__(self) -> int:
            return 20

        def __getitem__(self, row: int) -> Any:
            return self.form([0.1 * row, 1.0, 2.0, 3.0], row % 3)

    @pytest.mark.parametrize(
        ("form", "said"),
        [
            (lambda x, y: (x, y), "'tuple' object has no attribute"),
            (lambda x, y: {"x": np.float32(x), "label": y}, "'dict' object has no attribute"),
            (lambda x, y: ({"a": np.float32(x)}, y), "'dict' object has no attribute"),
        ],
    )
    def test_one_array_is_asked_for(self, form: Any, said: str) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
        with pytest.raises(ModelError, match=f"does not take rows of .*{said}") as caught:
            fusion_nb.federate(model, self.Rows(form), rounds=1)
        assert "one array x for each row" in caught.value.hint

    def test_a_mistake_in_the_users_forward_keeps_its_traceback(self) -> None:
        class Lacking(nn.Linear):
            def forward(self, x: torch.Tensor) -> Any:
                return self.layr(x)

        with pytest.raises(AttributeError, match="layr"):
            checked(Lacking(4, 3))
