"""One-hot labels and shares of classes, with the losses that compare them entry by entry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch_samples import CLASSES, X, checked, fit

import fusion_nb
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError
from fusion_nb.models.torch.adapter import TorchModel

ONE_HOT = np.eye(3, dtype=np.float32)[CLASSES]
SHARES = (ONE_HOT * 0.7 + 0.1).astype(np.float32)


def output_of(model: TorchModel, x: np.ndarray = X) -> torch.Tensor:
    with torch.no_grad():
        output: torch.Tensor = model.module(torch.tensor(x))
    return output


def right(model: TorchModel, classes: np.ndarray = CLASSES) -> float:
    """The share of rows whose largest output is that of their class."""
    return float((output_of(model).argmax(1).numpy() == classes).mean())


class TestOneHotLabels:
    @pytest.mark.parametrize("dtype", [np.float32, np.int64, bool])
    @pytest.mark.parametrize(
        ("loss", "function"),
        [
            ("bce_logits", F.binary_cross_entropy_with_logits),
            ("nn.BCEWithLogitsLoss", F.binary_cross_entropy_with_logits),
            (nn.BCEWithLogitsLoss(), F.binary_cross_entropy_with_logits),
            (F.binary_cross_entropy_with_logits, F.binary_cross_entropy_with_logits),
            ("mse", F.mse_loss),
            (nn.MSELoss(), F.mse_loss),
            ("l1", F.l1_loss),
            (nn.HuberLoss(), F.huber_loss),
            ("cross_entropy", F.cross_entropy),
            (nn.CrossEntropyLoss(), F.cross_entropy),
        ],
    )
    def test_a_named_or_given_loss_compares_them_entry_by_entry(
        self, loss: Any, function: Any, dtype: Any
    ) -> None:
        y = ONE_HOT.astype(dtype)
        model = checked(nn.Linear(4, 3), y, loss=loss)
        wanted = float(function(output_of(model), torch.tensor(ONE_HOT)))
        schema = DataSchema.of((X, y))
        rows = X, schema.labels.numbered(y)  # as parties hold them
        found = model.evaluate(rows)
        assert found == pytest.approx({"accuracy": right(model), "loss": wanted}, rel=1e-5)
        assert np.isfinite(fit(model, rows).metrics["loss"])

    @pytest.mark.parametrize(
        "loss",
        [
            lambda output, target: -(target * output.log_softmax(1)).sum(1).mean(),
            lambda output, target: F.cross_entropy(output, target.argmax(1)),
            lambda output, target: F.cross_entropy(output, target),
        ],
    )
    def test_a_function_of_the_users_own_gets_the_columns(self, loss: Any) -> None:
        data = (X, ONE_HOT), (X, ONE_HOT)
        run = fusion_nb.federate(nn.Linear(4, 3), data, loss=loss, rounds=1, parties=2)
        with torch.no_grad():
            wanted = F.cross_entropy(run.model(torch.tensor(X)), torch.tensor(CLASSES))
        assert run.history.last()["loss"] == pytest.approx(float(wanted), rel=1e-5)
        model = checked(nn.Linear(4, 3), ONE_HOT, loss=loss)
        wanted = F.cross_entropy(output_of(model), torch.tensor(CLASSES))
        assert model.evaluate((X, CLASSES))["loss"] == pytest.approx(float(wanted), rel=1e-5)

    def test_a_dataset_that_gives_them_row_by_row(self) -> None:
        module = nn.Linear(4, 3)
        pairs = [
            (torch.tensor(row), torch.tensor(label)) for row, label in zip(X, ONE_HOT, strict=True)
        ]
        found = [
            fusion_nb.federate(module, data, loss="bce_logits", rounds=1, parties=2)
            for data in (_Items(pairs), (X, ONE_HOT))
        ]
        assert found[0].history.last() == pytest.approx(found[1].history.last(), rel=1e-5)

    def test_messages_speak_of_the_columns(self) -> None:
        with pytest.raises(ModelError, match=r"one-hot classes of shape \(rows, 3\)"):
            checked(nn.Linear(4, 2), ONE_HOT, loss="bce_logits")
        with pytest.raises(ModelError, match="one-hot labels 3 columns"):
            checked(nn.Linear(4, 2), ONE_HOT)


class TestShares:
    @pytest.mark.parametrize("loss", ["", "cross_entropy", nn.CrossEntropyLoss()])
    def test_cross_entropy_takes_them(self, loss: Any) -> None:
        model = checked(nn.Linear(4, 3), SHARES, loss=loss)
        wanted = F.cross_entropy(output_of(model), torch.tensor(SHARES))
        found = model.evaluate((X, SHARES))
        assert found == pytest.approx({"accuracy": right(model), "loss": float(wanted)}, rel=1e-5)
        assert np.isfinite(fit(model, (X, SHARES)).metrics["loss"])

    @pytest.mark.parametrize(
        ("last", "name"),
        [
            (nn.Softmax(1), "nll_of_probabilities"),
            (nn.LogSoftmax(1), "cross_entropy"),
            (nn.Identity(), "cross_entropy"),
        ],
    )
    def test_the_inferred_loss_fits_the_last_layer(self, last: nn.Module, name: str) -> None:
        layer = nn.Linear(4, 3)
        model = TorchModel(nn.Sequential(layer, last), device="cpu")
        notes = model.check((X, SHARES), DataSchema.of((X, SHARES)), lr=0.1, optimizer="sgd")
        assert notes[0].startswith(f"loss: {name} (labels are shares of classes")
        with torch.no_grad():
            wanted = F.cross_entropy(layer(torch.tensor(X)), torch.tensor(SHARES))
        assert model.evaluate((X, SHARES))["loss"] == pytest.approx(float(wanted), rel=1e-5)

    def test_label_smoothing_and_class_weights_apply(self) -> None:
        loss = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0]), label_smoothing=0.1)
        model = checked(nn.Linear(4, 3), SHARES, loss=loss)
        wanted = loss(output_of(model), torch.tensor(SHARES))
        assert model.evaluate((X, SHARES))["loss"] == pytest.approx(float(wanted), rel=1e-5)

    def test_places_have_shares_too(self) -> None:
        x = np.random.default_rng(0).normal(size=(8, 1, 4, 4)).astype(np.float32)
        shares = np.concatenate([1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x))], axis=1)
        model = checked(nn.Conv2d(1, 2, 1), shares, x, loss="cross_entropy")
        wanted = F.cross_entropy(output_of(model, x), torch.tensor(shares))
        assert model.evaluate((x, shares))["loss"] == pytest.approx(float(wanted), rel=1e-5)

    def test_named_mse_takes_them_for_measurements(self) -> None:
        model = checked(nn.Linear(4, 3), SHARES, loss="mse")
        assert model.metrics == ("loss", "mae")

    @pytest.mark.parametrize("loss", ["nll", nn.NLLLoss(), F.nll_loss])
    def test_a_loss_of_class_numbers_is_refused(self, loss: Any) -> None:
        module = nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1))
        with pytest.raises(ModelError, match="the labels are shares of classes") as caught:
            checked(module, SHARES, loss=loss)
        assert "cross_entropy, which takes shares" in caught.value.hint

    def test_parties_are_trained_as_one_to_the_same_curve(self) -> None:
        module = nn.Linear(4, 3)
        curves = [
            fusion_nb.federate(
                module, (X, SHARES), rounds=2, parties=2, lr=0.1, engine=engine
            ).history["loss"]
            for engine in ("local", "vectorized")
        ]
        assert curves[0] == pytest.approx(curves[1], rel=1e-4)


class TestEnsembles:
    @pytest.mark.parametrize(
        ("loss", "y"),
        [("bce_logits", ONE_HOT), ("mse", ONE_HOT), ("", SHARES), ("cross_entropy", ONE_HOT)],
    )
    @pytest.mark.parametrize("ensemble", ["mean", "vote"])
    def test_the_exported_module_predicts_as_it_was_measured(
        self, loss: str, y: np.ndarray, ensemble: str
    ) -> None:
        run = fusion_nb.federate(
            nn.Linear(4, 3), ((X, y), (X, y)), loss=loss, ensemble=ensemble, parties=2, lr=0.3
        )
        with torch.no_grad():
            predicted = run.model(torch.tensor(X)).argmax(1).numpy()
        assert run.history.last()["accuracy"] == pytest.approx((predicted == CLASSES).mean())


class _Items(torch.utils.data.Dataset[Any]):
    def __init__(self, pairs: list[Any]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> Any:
        return self.pairs[row]
