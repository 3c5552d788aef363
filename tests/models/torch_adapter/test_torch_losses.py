"""The loss of a PyTorch model: inferred, named or given, and its metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch_samples import CLASSES, Functional, X, checked, fit

from fusion_nb.core import arithmetic
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError
from fusion_nb.models.torch import losses
from fusion_nb.models.torch.adapter import TorchModel


class TestInference:
    @pytest.mark.parametrize(
        ("module", "y", "name"),
        [
            (nn.Linear(4, 3), CLASSES, "cross_entropy"),
            (nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1)), CLASSES, "nll"),
            (nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), CLASSES, "nll_of_probabilities"),
            (Functional(lambda out: F.log_softmax(out, dim=1)), CLASSES, "nll"),
            (Functional(lambda out: out), CLASSES, "cross_entropy"),
            (nn.Linear(4, 1), X[:, 0], "mse"),
            (nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), X[:, 0], "mse"),
            (nn.Linear(4, 1), CLASSES, "mse"),
            (nn.Linear(4, 1), CLASSES % 2, "bce_logits"),
            (nn.Sequential(nn.Linear(4, 1), nn.Sigmoid()), CLASSES % 2, "bce"),
            (nn.Linear(4, 2), X[:, :2], "mse"),
            (nn.Linear(4, 2), (X[:, :2] > 0).astype(int), "bce_logits"),
        ],
    )
    def test_the_inferred_loss_fits_output_and_labels(
        self, module: nn.Module, y: np.ndarray, name: str
    ) -> None:
        model = TorchModel(module, device="cpu")
        notes = model.check((X, y), DataSchema.of((X, y)), lr=0.1, optimizer="sgd")
        assert notes[0].startswith(f"loss: {name} (")
        assert np.isfinite(fit(model, (X, y)).metrics["loss"])
        assert set(model.evaluate((X, y))) == set(model.metrics)

    def test_the_loss_can_be_named_or_given(self) -> None:
        def mine(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            return F.cross_entropy(output, target, label_smoothing=0.1)

        for loss in (
            "cross_entropy",
            "nn.CrossEntropyLoss",
            mine,
            nn.CrossEntropyLoss(),
            nn.MultiMarginLoss(),
        ):
            assert checked(nn.Linear(4, 3), loss=loss).metrics == ("accuracy", "loss")
        assert checked(nn.Linear(4, 1), X[:, 0], loss="huber").metrics == ("loss", "mse", "mae")
        with pytest.raises(ModelError, match="did you mean 'cross_entropy'"):
            checked(nn.Linear(4, 3), loss="cross_entropi")

    @pytest.mark.parametrize(
        ("module", "y", "said"),
        [
            (nn.Linear(4, 2), CLASSES, "2 outputs, but labels run from 0 to 2"),
            (nn.Linear(4, 3), CLASSES + 1, "labels run from 1 to 3"),
            (nn.Linear(4, 3), CLASSES - 1, "labels run from -1 to 1"),
            (nn.Linear(4, 3), X[:, 0], "the labels measurements"),
            (nn.Linear(5, 3), CLASSES, r"does not take rows of shape \(4,\)"),
            (nn.Conv2d(1, 2, 3), CLASSES, "does not take rows"),
            (
                nn.Sequential(nn.Linear(4, 1), nn.Flatten(0), nn.Unflatten(0, (1, -1))),
                CLASSES,
                "the model returns shape",
            ),
            (nn.LSTM(4, 3), CLASSES, "the model returns tuple"),
            (nn.Flatten(), CLASSES, "no parameter that training may change"),
        ],
    )
    def test_a_mismatch_is_refused_before_training(
        self, module: nn.Module, y: np.ndarray, said: str
    ) -> None:
        with pytest.raises((ModelError, RuntimeError), match=said):
            checked(module, y)

    def test_a_bug_in_the_users_forward_keeps_its_type(self) -> None:
        with pytest.raises(NameError, match="undefined_name"):
            checked(Functional(lambda out: undefined_name))  # noqa: F821

    def test_bytes_are_scaled_with_a_note(self) -> None:
        x = (np.abs(X) * 50).astype(np.uint8).reshape(-1, 2, 2)
        x[0] = 200
        model = TorchModel(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), device="cpu")
        assert any(
            "scaled to [0, 1]" in note
            for note in model.check(
                (x, CLASSES), DataSchema.of((x, CLASSES)), lr=1, optimizer="sgd"
            )
        )
        with torch.no_grad():
            expected = F.cross_entropy(
                model.module(torch.tensor(x).float() / 255), torch.tensor(CLASSES)
            )
        assert model.evaluate((x, CLASSES))["loss"] == pytest.approx(float(expected), rel=1e-5)

    def test_whole_numbers_stay_whole_for_an_embedding(self) -> None:
        x = np.arange(40).reshape(40, 1) % 7
        model = checked(nn.Sequential(nn.Embedding(7, 3), nn.Flatten()), x=x)
        assert np.isfinite(fit(model, (x, CLASSES)).metrics["loss"])

    def test_one_hot_labels_train_like_class_numbers(self) -> None:
        module = nn.Linear(4, 3)
        hot, cold = checked(module, np.eye(3)[CLASSES]), checked(module)
        one_hot, numbers = fit(hot, (X, np.eye(3)[CLASSES])), fit(cold, (X, CLASSES))
        assert one_hot.metrics == numbers.metrics
        assert arithmetic.equal(one_hot.weights, numbers.weights)

    def test_regression_metrics_are_mse_and_mae(self) -> None:
        model = checked(nn.Linear(4, 1), X[:, 0], loss="l1")
        error = model.module(torch.tensor(X)).detach().numpy()[:, 0] - X[:, 0]
        found = model.evaluate((X, X[:, 0]))
        assert found["mse"] == pytest.approx((error**2).mean(), rel=1e-5)
        assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
        assert found["loss"] == pytest.approx(found["mae"], rel=1e-5)


class TestNamedAndGivenLosses:
    @pytest.mark.parametrize(
        "loss", [nn.BCELoss(), F.binary_cross_entropy, "bce", "nn.BCELoss", ""]
    )
    def test_binary_accuracy_of_probabilities_has_threshold_one_half(self, loss: Any) -> None:
        y = (X[:, 0] > 0).astype(int)
        module = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
        with torch.no_grad():
            right = ((module(torch.tensor(X))[:, 0] > 0.5).numpy() == y).mean()
        assert checked(module, y, loss=loss).evaluate((X, y))["accuracy"] == pytest.approx(right)

    @pytest.mark.parametrize(
        "last",
        [
            lambda z: torch.sigmoid(z)[:, 0],
            lambda z: torch.sigmoid(z).clamp(1e-6, 1),
            lambda z: torch.sigmoid(z).squeeze(1),
        ],
    )
    def test_a_sigmoid_is_found_behind_reshapes(self, last: Any) -> None:
        class Binary(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return last(self.layer(x))

        assert (
            TorchModel(Binary())
            .check((X, CLASSES % 2), DataSchema.of((X, CLASSES % 2)), lr=1, optimizer="sgd")[0]
            .startswith("loss: bce (")
        )

    def test_a_doubtful_loss_gives_a_warning(self) -> None:
        model = TorchModel(Functional(lambda z: 1 / (1 + torch.exp(-z[:, :1]))))
        notes = model.check(
            (X, CLASSES % 2), DataSchema.of((X, CLASSES % 2)), lr=1, optimizer="sgd"
        )
        assert any("say --loss bce" in note for note in notes)
        notes = TorchModel(nn.Linear(4, 3), loss="nll").check(
            (X, CLASSES), DataSchema.of((X, CLASSES)), lr=1, optimizer="sgd"
        )
        assert any("wants log-probabilities" in note for note in notes)
        notes = TorchModel(nn.Linear(4, 1)).check(
            (X, CLASSES), DataSchema.of((X, CLASSES)), lr=1, optimizer="sgd"
        )
        assert any("if they are classes" in note for note in notes)

    @pytest.mark.parametrize("loss", ["mse", "bce", "l1"])
    def test_a_loss_that_cannot_compare_is_refused_before_training(self, loss: str) -> None:
        with pytest.raises(ModelError, match="as many outputs as numbers"):
            checked(nn.Linear(4, 3), loss=loss)

    def test_a_loss_of_the_users_may_have_its_own_shapes(self) -> None:
        def quantiles(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            error = target[:, None] - output
            levels = torch.tensor([0.1, 0.5, 0.9])
            return torch.maximum(levels * error, (levels - 1) * error).mean()

        model = checked(nn.Linear(4, 3), X[:, 0], loss=quantiles)
        assert model.metrics == ("loss",)
        before = model.evaluate((X, X[:, 0]))
        assert set(before) == {"loss"}
        fit(model, (X, X[:, 0]), epochs=20)
        assert model.evaluate((X, X[:, 0]))["loss"] < before["loss"]

    def test_a_summed_loss_is_reported_as_a_mean_and_an_array_is_refused(self) -> None:
        summed = checked(nn.Linear(4, 3), loss=nn.CrossEntropyLoss(reduction="sum"))
        with torch.no_grad():
            expected = F.cross_entropy(summed.module(torch.tensor(X)), torch.tensor(CLASSES))
        assert summed.evaluate((X, CLASSES))["loss"] == pytest.approx(float(expected), rel=1e-5)
        with pytest.raises(ModelError, match="no single number"):
            checked(nn.Linear(4, 3), loss=nn.CrossEntropyLoss(reduction="none"))

    def test_the_axis_of_classes_comes_second(self) -> None:
        class Tagger(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 7)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x)

        x, y = np.zeros((6, 5, 4), dtype=np.float32), np.arange(30).reshape(6, 5) % 7
        with pytest.raises(
            ModelError, match=r"(?s)not one label for each place.*transpose\(1, 2\)"
        ):
            checked(Tagger(), y, x)


def test_every_loss_has_a_task() -> None:
    assert {task for _, task in losses.LOSSES.values()} == {"classes", "binary", "numbers"}
