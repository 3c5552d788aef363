"""Labels that a loss leaves out: they count neither in training nor in metrics."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch_samples import CLASSES, X, checked, fit

import fusion_nb
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import ModelError, OptionError
from fusion_nb.models.torch.adapter import TorchModel

BORDER = 255


class Tagger(nn.Module):
    """Scores of 3 tags for each of several places (rows, 3, places)."""

    def __init__(self, last: Any = None) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(4, 3), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.layer(x).transpose(1, 2)
        return self.last(scores) if self.last else scores


def sentences(mark: int = -100, num_rows: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Rows of 5 places, most of them marked, and all of the first 140 rows."""
    x = np.random.default_rng(1).normal(size=(num_rows, 5, 4)).astype(np.float32)
    tags = x[..., :3].argmax(2)
    tags[:, 1:] = mark
    tags[:140] = mark
    return x, tags


def marked(mark: int = -100) -> np.ndarray:
    y = CLASSES.copy()
    y[::4] = mark
    return y


def expected(model: TorchModel, x: np.ndarray, y: np.ndarray, mark: int) -> dict[str, float]:
    """The metrics of all rows at once, by PyTorch alone."""
    with torch.no_grad():
        output = model.module(torch.tensor(x))
    target = torch.tensor(y)
    right = (output.argmax(1) == target)[target != mark]
    loss = F.cross_entropy(output, target, ignore_index=mark)
    return {"accuracy": float(right.double().mean()), "loss": float(loss)}


class TestMetrics:
    @pytest.mark.parametrize("loss", ["", "cross_entropy", nn.CrossEntropyLoss(), F.cross_entropy])
    @pytest.mark.parametrize("module", [Tagger(), Tagger(nn.LogSoftmax(1))])
    def test_they_are_means_over_the_labels_that_count(self, loss: Any, module: nn.Module) -> None:
        x, y = sentences()
        model = checked(module, y, x, loss=loss)
        assert model.evaluate((x, y)) == pytest.approx(expected(model, x, y, -100), rel=1e-5)

    @pytest.mark.parametrize(
        "loss",
        [
            nn.CrossEntropyLoss(ignore_index=7),
            functools.partial(F.cross_entropy, ignore_index=7),
            nn.CrossEntropyLoss(weight=torch.ones(3), ignore_index=7),
        ],
    )
    def test_the_mark_is_that_of_the_loss(self, loss: Any) -> None:
        x, y = sentences(7)
        model = checked(Tagger(), y, x, loss=loss)
        assert model.evaluate((x, y)) == pytest.approx(expected(model, x, y, 7), rel=1e-5)

    def test_a_mark_among_the_class_numbers(self) -> None:
        model = checked(nn.Linear(4, 3), loss=nn.CrossEntropyLoss(ignore_index=0))
        assert model.evaluate((X, CLASSES)) == pytest.approx(
            expected(model, X, CLASSES, 0), rel=1e-5
        )

    def test_a_loss_that_does_not_leave_out_a_label_counts_rows(self) -> None:
        model = checked(nn.Linear(4, 3), loss=nn.CrossEntropyLoss())
        assert model.ignored_label is None
        assert model.evaluate((X, CLASSES)) == pytest.approx(
            expected(model, X, CLASSES, -100), rel=1e-5
        )

    def test_class_weights_weigh_in_the_mean_over_batches(self) -> None:
        weight = torch.tensor([1.0, 5.0, 0.2])
        x = np.tile(X, (5, 1))
        y = np.sort(np.tile(CLASSES, 5))
        model = checked(nn.Linear(4, 3), y, x, loss=nn.CrossEntropyLoss(weight=weight))
        with torch.no_grad():
            right = F.cross_entropy(model.module(torch.tensor(x)), torch.tensor(y), weight)
        assert model.evaluate((x, y))["loss"] == pytest.approx(float(right), rel=1e-5)

    def test_rows_without_a_label_that_counts_are_no_nan(self) -> None:
        x, y = sentences()
        model = checked(Tagger(), y, x)
        assert model.evaluate((x[:140], y[:140])) == {"accuracy": 0.0, "loss": 0.0}

    def test_a_loss_of_the_users_own_may_say_what_it_leaves_out(self) -> None:
        class Focal(nn.Module):
            ignore_index = 7

            def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
                loss = F.cross_entropy(output, target, ignore_index=7, reduction="none")
                return (loss * (1 - torch.exp(-loss))).mean()

        y = marked(7)
        model = checked(nn.Linear(4, 3), y, loss=Focal())
        right = expected(model, X, y, 7)["accuracy"]
        assert model.evaluate((X, y))["accuracy"] == pytest.approx(right)


class TestTraining:
    @pytest.mark.parametrize("loss", ["", nn.CrossEntropyLoss(label_smoothing=0.1)])
    def test_a_batch_without_a_label_that_counts_changes_nothing(self, loss: Any) -> None:
        x, y = sentences()
        model = checked(Tagger(), y, x, loss=loss)
        before = model.get_weights()
        result = fit(model, (x[:140], y[:140]))
        assert result.metrics["loss"] == 0
        assert all(np.array_equal(before[name], array) for name, array in result.weights.items())

    def test_the_guess_is_said(self) -> None:
        x, y = sentences()
        model = TorchModel(Tagger(), device="cpu")
        notes = model.check((x, y), DataSchema.of((x, y)), lr=0.1, optimizer="sgd")
        assert any("-100 is taken for a mark (ignore_index)" in note for note in notes)
        assert any("over parties count each party's other labels" in note for note in notes)

    def test_all_labels_left_out_are_refused(self) -> None:
        with pytest.raises(ModelError, match="leaves out all labels"):
            checked(nn.Linear(4, 3), np.full(40, -100), loss=nn.CrossEntropyLoss())

    def test_masks_of_0_and_255_that_the_loss_ignores_are_refused(self) -> None:
        x = np.random.default_rng(0).normal(size=(6, 1, 4, 4)).astype(np.float32)
        masks = ((x[:, 0] > 0) * BORDER).astype(np.uint8)
        with pytest.raises(ModelError, match="read as no and yes, and the loss ignores 255"):
            checked(nn.Conv2d(1, 2, 1), masks, x, loss=nn.CrossEntropyLoss(ignore_index=BORDER))


class TestMasks:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
    @pytest.mark.parametrize("loss", ["", "cross_entropy", nn.CrossEntropyLoss(ignore_index=255)])
    @pytest.mark.parametrize("channel", [False, True])
    def test_a_border_of_255(self, dtype: Any, loss: Any, channel: bool) -> None:
        x = np.random.default_rng(0).normal(size=(20, 1, 6, 6)).astype(np.float32)
        masks = (x[:, 0] > 0).astype(dtype)
        masks[:, 0] = BORDER
        y = masks[:, None] if channel else masks
        model = checked(nn.Conv2d(1, 2, 3, padding=1), y, x, loss=loss)
        right = expected(model, x, masks.astype(np.int64), BORDER)
        assert model.evaluate((x, y)) == pytest.approx(right, rel=1e-5)
        assert np.isfinite(fit(model, (x, y)).metrics["loss"])

    def test_a_loss_that_does_not_say_so_is_told_how(self) -> None:
        x = np.zeros((6, 1, 4, 4), np.float32)
        masks = np.arange(96).reshape(6, 4, 4) % 2
        masks[:, 0] = BORDER
        with pytest.raises(ModelError) as caught:
            checked(nn.Conv2d(1, 2, 1), masks, x, loss=nn.CrossEntropyLoss())
        assert "ignore_index=255" in caught.value.hint


class TestFederations:
    def test_means_of_the_parties_own_models_count_them_too(self) -> None:
        x = np.tile(np.array([[1, 0]], np.float32), (40, 1))
        few, many = np.full(40, -100), np.ones(40, int)
        few[:2] = 0
        own = {"few": (x, (few, np.zeros(40, int))), "many": (x, (many, np.zeros(40, int)))}
        data = {name: ((x, train), (x, test)) for name, (x, (test, train)) in own.items()}
        run = fusion_nb.federate(
            nn.Linear(2, 2), data, rounds=1, lr=1.0, epochs=5, personal="ditto", baseline="local"
        )
        # Both learn class 0, which is right for 2 of the 42 labels that count.
        assert run.history.last()["personal_accuracy"] == pytest.approx(2 / 42)
        assert run.history.last()["alone_accuracy"] == pytest.approx(2 / 42)

    @pytest.mark.parametrize(
        "engine", ["local", pytest.param("process", marks=pytest.mark.slow), "vectorized"]
    )
    def test_parties_count_by_their_labels_that_count(self, engine: str) -> None:
        model = nn.Linear(2, 2, bias=False)
        model.weight.data = torch.eye(2) * 50  # it says class 0 of all rows
        x = np.tile(np.array([[1, 0]], np.float32), (40, 1))
        few, many, none = np.full(40, -100), np.ones(40, int), np.full(40, -100)
        few[:2] = 0
        train = np.eye(2, dtype=np.float32)[np.arange(16) % 2], np.arange(16) % 2
        data = {name: (train, (x, y)) for name, y in (("few", few), ("many", many), ("none", none))}
        run = fusion_nb.federate(
            model, data, loss="cross_entropy", rounds=1, lr=1e-9, engine=engine
        )
        assert run.history.last()["accuracy"] == pytest.approx(2 / 42)
        assert run.parties  # the table can be made

    @pytest.mark.parametrize("module", [nn.Linear(4, 3), Tagger(), Tagger(nn.Softmax(1))])
    def test_the_vectorized_engine_comes_to_the_same_curve(self, module: nn.Module) -> None:
        data = (X, marked()) if isinstance(module, nn.Linear) else sentences(num_rows=160)
        curves = [
            fusion_nb.federate(
                module, data, rounds=2, parties=3, lr=0.1, engine=engine, batch_size=8
            ).history
            for engine in ("local", "vectorized")
        ]
        for name in ("accuracy", "loss", "train_loss"):
            assert curves[0][name] == pytest.approx(curves[1][name], rel=1e-4)

    def test_a_loss_with_settings_is_no_loss_for_the_vectorized_engine(self) -> None:
        loss = nn.CrossEntropyLoss(label_smoothing=0.1)
        with pytest.raises(OptionError, match="its loss CrossEntropyLoss is none of"):
            fusion_nb.federate(
                nn.Linear(4, 3), (X, marked()), rounds=1, loss=loss, engine="vectorized"
            )

    def test_the_mark_is_no_missing_class(self) -> None:
        train, test = (X, CLASSES), (X, marked())
        run = fusion_nb.federate(
            nn.Linear(4, 3), (train, test), loss=nn.CrossEntropyLoss(), rounds=1
        )
        assert not [note for note in run.notes if "-100" in note]
        run = fusion_nb.federate(
            nn.Linear(4, 3),
            ((X, marked(9)), (*test[:1], marked(9))),
            loss=nn.CrossEntropyLoss(ignore_index=9),
            rounds=1,
        )
        assert not [note for note in run.notes if "no party has" in note]

    def test_test_rows_without_a_label_that_counts_are_refused(self) -> None:
        with pytest.raises(ModelError, match="leaves out all labels of test rows"):
            fusion_nb.federate(
                nn.Linear(4, 3), ((X, CLASSES), (X, np.full(40, -100))), loss="cross_entropy"
            )
