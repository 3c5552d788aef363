"""Last layers that don't fit the loss: they are warned of, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch_samples import CLASSES, Functional, X, checked, fit

import fusion_nb
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError
from fusion_nb.models.torch.adapter import TorchModel

BINARY = CLASSES % 2


def notes_of(module: nn.Module, y: np.ndarray, loss: Any = "", x: np.ndarray = X) -> list[str]:
    model = TorchModel(module, device="cpu", loss=loss)
    return model.check((x, y), DataSchema.of((x, y)), lr=0.1, optimizer="sgd")


def warnings_of(module: nn.Module, y: np.ndarray, loss: Any = "") -> list[str]:
    return [note for note in notes_of(module, y, loss) if note.startswith("warning")]


def ending_in(last: nn.Module, width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(4, width), last)


class TestSigmoidOverSeveralClasses:
    @pytest.mark.parametrize(
        ("module", "y"),
        [
            (ending_in(nn.Sigmoid()), CLASSES),
            (ending_in(nn.Sigmoid()), np.eye(3)[CLASSES]),
            (ending_in(nn.Sigmoid(), 2), BINARY),
            (ending_in(nn.Hardsigmoid()), CLASSES),
            (Functional(torch.sigmoid), CLASSES),
        ],
    )
    def test_each_output_is_a_yes_or_no_for_its_class(
        self, module: nn.Module, y: np.ndarray
    ) -> None:
        notes = notes_of(module, y)
        assert notes[0] == "loss: bce (the model ends in Sigmoid: a yes or no for each class)"
        assert any("leave Sigmoid out for cross_entropy" in note for note in notes)

    def test_its_loss_compares_with_one_hot_rows(self) -> None:
        model = checked(ending_in(nn.Sigmoid()))
        with torch.no_grad():
            output = model.module(torch.tensor(X))
        wanted = F.binary_cross_entropy(output, torch.tensor(np.eye(3, dtype=np.float32)[CLASSES]))
        found = model.evaluate((X, CLASSES))
        right = (output.argmax(1).numpy() == CLASSES).mean()
        assert found == pytest.approx({"accuracy": right, "loss": float(wanted)}, rel=1e-5)

    def test_it_learns(self) -> None:
        y = X[:, :3].argmax(1)
        model = checked(ending_in(nn.Sigmoid()), y)
        fit(model, (X, y), epochs=150, lr=2.0)
        assert model.evaluate((X, y))["accuracy"] > 0.9

    def test_places_have_classes_too(self) -> None:
        x = np.random.default_rng(0).normal(size=(8, 1, 4, 4)).astype(np.float32)
        y = (x[:, 0] > 0).astype(int)
        notes = notes_of(nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sigmoid()), y, x=x)
        assert notes[0].startswith("loss: bce (")

    def test_labels_to_leave_out_are_refused(self) -> None:
        y = CLASSES.copy()
        y[0] = -100
        with pytest.raises(ModelError, match="ends in Sigmoid over 3 classes, and labels of -100"):
            checked(ending_in(nn.Sigmoid()), y)

    def test_several_yes_or_no_are_no_exclusive_classes(self) -> None:
        assert warnings_of(ending_in(nn.Sigmoid()), (X[:, :3] > 0).astype(int)) == []

    def test_parties_are_trained_as_one_to_the_same_curve(self) -> None:
        module = ending_in(nn.Sigmoid())
        curves = [
            fusion_nb.federate(
                module, (X, CLASSES), rounds=2, parties=2, lr=0.1, engine=engine
            ).history["loss"]
            for engine in ("local", "vectorized")
        ]
        assert curves[0] == pytest.approx(curves[1], rel=1e-4)


class TestNamedAndGivenLosses:
    @pytest.mark.parametrize(
        ("last", "y", "loss", "said"),
        [
            (
                nn.Softmax(1),
                CLASSES,
                "cross_entropy",
                "wants logits, and the model ends in Softmax",
            ),
            (nn.Softmax(1), CLASSES, nn.CrossEntropyLoss(), "leave Softmax out of the model"),
            (nn.Softmax(1), CLASSES, F.cross_entropy, "name the loss nll_of_probabilities"),
            (nn.Sigmoid(), CLASSES, nn.CrossEntropyLoss(), "the model ends in Sigmoid"),
            (nn.Sigmoid(), X[:, :3] > 0, "bce_logits", "the model ends in Sigmoid"),
            (nn.Sigmoid(), X[:, :3] > 0, nn.BCEWithLogitsLoss(), "or name the loss bce"),
            (nn.Identity(), CLASSES, nn.NLLLoss(), "wants log-probabilities"),
            (nn.Softmax(1), CLASSES, "nll", "wants log-probabilities"),
            (nn.Identity(), CLASSES, "nll_of_probabilities", "wants probabilities"),
        ],
    )
    def test_outputs_of_another_form_are_warned_of(
        self, last: nn.Module, y: np.ndarray, loss: Any, said: str
    ) -> None:
        (warning,) = warnings_of(ending_in(last), y, loss)
        assert said in warning

    @pytest.mark.parametrize(
        ("last", "y", "loss"),
        [
            (nn.Identity(), CLASSES, nn.CrossEntropyLoss()),
            (nn.LogSoftmax(1), CLASSES, "cross_entropy"),
            (nn.LogSoftmax(1), CLASSES, nn.NLLLoss()),
            (nn.Softmax(1), CLASSES, "nll_of_probabilities"),
            (nn.Sigmoid(), X[:, :3] > 0, nn.BCELoss()),
            (nn.Identity(), X[:, :3] > 0, "bce_logits"),
            (nn.Sigmoid(), X[:, :3], "mse"),
        ],
    )
    def test_outputs_that_fit_are_not(self, last: nn.Module, y: np.ndarray, loss: Any) -> None:
        assert warnings_of(ending_in(last), y, loss) == []

    @pytest.mark.parametrize("loss", ["bce", nn.BCELoss(), F.binary_cross_entropy])
    def test_logits_are_no_probabilities(self, loss: Any) -> None:
        with pytest.raises(ModelError, match="wants probabilities, and the model's outputs run"):
            checked(nn.Linear(4, 1), BINARY, loss=loss)

    @pytest.mark.parametrize("loss", ["bce_logits", nn.BCEWithLogitsLoss(), nn.BCELoss()])
    @pytest.mark.parametrize("y", [CLASSES, CLASSES * 2 - 1.5, BINARY - 1])
    def test_a_yes_or_no_lies_between_0_and_1(self, loss: Any, y: np.ndarray) -> None:
        with pytest.raises(ModelError, match="wants labels 0 and 1, and they run from"):
            checked(ending_in(nn.Sigmoid(), 1), y, loss=loss)


class TestSoftmax:
    @pytest.mark.parametrize("last", [nn.Softmax(1), nn.LogSoftmax(1), nn.Softmax(-1)])
    @pytest.mark.parametrize("loss", ["", "bce_logits", nn.MSELoss(), lambda a, b: (a - b).mean()])
    def test_one_output_is_refused(self, last: nn.Module, loss: Any) -> None:
        with pytest.raises(ModelError, match="over one output, which is always"):
            checked(ending_in(last, 1), BINARY, loss=loss)

    @pytest.mark.parametrize("last", [nn.Softmax(0), nn.LogSoftmax(0)])
    def test_another_axis_than_that_of_classes_is_warned_of(self, last: nn.Module) -> None:
        assert any("dim=1" in warning for warning in warnings_of(ending_in(last), CLASSES))
