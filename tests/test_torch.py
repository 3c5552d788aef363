"""The PyTorch adapter: what it infers, what it refuses, and that training does what plain PyTorch
would do."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from fusion_nb.core import rows as rows_of
from fusion_nb.errors import FusionError, ModelError, OptionError
from fusion_nb.models import base
from fusion_nb.models.torch import files, losses, optimizers
from fusion_nb.models.torch.adapter import TorchModel

X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
CLASSES = np.arange(40) % 3


def checked(
    module: nn.Module, y: np.ndarray = CLASSES, x: np.ndarray = X, **options: Any
) -> TorchModel:
    model = TorchModel(module, device="cpu", **options)
    model.check((x, y), rows_of.decode(y), lr=0.1, optimizer="sgd")
    return model


def fit(model: TorchModel, rows: Any, **options: Any) -> dict[str, float]:
    orders: dict[str, Any] = {
        "epochs": 1,
        "batch_size": 8,
        "lr": 0.1,
        "optimizer": "sgd",
        "seed": 1,
    }
    return model.fit(rows, **orders | options)


def plain_loop(
    module: nn.Module, steps: torch.optim.Optimizer, *, epochs: int, order: int, dropped: int
) -> None:
    """Train as anybody would without this package, with the seeds of the order of rows and of what
    is dropped."""
    torch.manual_seed(dropped)
    generator = torch.Generator().manual_seed(order)
    for _ in range(epochs):
        for batch in torch.randperm(40, generator=generator).split(16):
            steps.zero_grad()
            F.cross_entropy(module(torch.tensor(X)[batch]), torch.tensor(CLASSES)[batch]).backward()
            steps.step()


class Functional(nn.Module):
    def __init__(self, last: Any) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(4, 3), last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.layer(x)).view(len(x), -1)


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
    def test_the_loss_fits_output_and_labels(
        self, module: nn.Module, y: np.ndarray, name: str
    ) -> None:
        model = TorchModel(module, device="cpu")
        notes = model.check((X, y), y, lr=0.1, optimizer="sgd")
        assert notes[0].startswith(f"loss: {name} (")
        assert np.isfinite(fit(model, (X, y))["loss"])
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
    def test_what_does_not_fit_is_said_before_training(
        self, module: nn.Module, y: np.ndarray, said: str
    ) -> None:
        with pytest.raises((ModelError, RuntimeError), match=said):
            checked(module, y)

    def test_a_bug_in_the_users_forward_keeps_its_type(self) -> None:
        with pytest.raises(NameError, match="undefined_name"):
            checked(Functional(lambda out: undefined_name))  # noqa: F821

    def test_bytes_are_scaled_and_this_is_said(self) -> None:
        x = (np.abs(X) * 50).astype(np.uint8)
        model = TorchModel(nn.Linear(4, 3), device="cpu")
        assert any(
            "scaled to [0, 1]" in note
            for note in model.check((x, CLASSES), CLASSES, lr=1, optimizer="sgd")
        )
        with torch.no_grad():
            expected = F.cross_entropy(
                model.module(torch.tensor(x).float() / 255), torch.tensor(CLASSES)
            )
        assert model.evaluate((x, CLASSES))["loss"] == pytest.approx(float(expected), rel=1e-5)

    def test_numbers_for_embeddings_stay_numbers(self) -> None:
        x = np.arange(40).reshape(40, 1) % 7
        model = checked(nn.Sequential(nn.Embedding(7, 3), nn.Flatten()), x=x)
        assert np.isfinite(fit(model, (x, CLASSES))["loss"])

    def test_one_hot_labels_train_as_their_numbers(self) -> None:
        module = nn.Linear(4, 3)
        hot, cold = checked(module, np.eye(3)[CLASSES]), checked(module)
        assert fit(hot, (X, np.eye(3)[CLASSES])) == fit(cold, (X, CLASSES))

    def test_regression_measures_what_it_says(self) -> None:
        model = checked(nn.Linear(4, 1), X[:, 0], loss="l1")
        error = model.module(torch.tensor(X)).detach().numpy()[:, 0] - X[:, 0]
        found = model.evaluate((X, X[:, 0]))
        assert found["mse"] == pytest.approx((error**2).mean(), rel=1e-5)
        assert found["mae"] == pytest.approx(np.abs(error).mean(), rel=1e-5)
        assert found["loss"] == pytest.approx(found["mae"], rel=1e-5)


class TestTraining:
    @pytest.mark.parametrize(
        "optimizer", ["sgd:momentum=0.9", "optim.Adadelta", "torch.optim.Adam", "AdamW"]
    )
    def test_it_is_the_plain_loop(self, optimizer: str) -> None:
        module = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 3))
        model = checked(module)
        fit(model, (X, CLASSES), epochs=2, batch_size=16, optimizer=optimizer, seed=5)

        kind = getattr(
            torch.optim, {"sgd:momentum=0.9": "SGD"}.get(optimizer, optimizer.rpartition(".")[2])
        )
        steps = kind(
            module.parameters(), lr=0.1, **({"momentum": 0.9} if "sgd" in optimizer else {})
        )
        # What is dropped has another seed than the order of rows.
        plain_loop(module, steps, epochs=2, order=5, dropped=6)
        for mine, theirs in zip(model.module.parameters(), module.parameters(), strict=True):
            assert torch.equal(mine, theirs)

    def test_the_users_model_and_random_state_are_untouched(self) -> None:
        module = nn.Linear(4, 3)
        before, state = module.weight.clone(), torch.random.get_rng_state()
        model = checked(module)
        state = torch.random.get_rng_state()
        fit(model, (X, CLASSES))
        assert torch.equal(module.weight, before)
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_the_reported_loss_is_the_mean_over_rows(self) -> None:
        model = checked(nn.Linear(4, 3))
        before = model.evaluate((X, CLASSES))["loss"]
        assert fit(model, (X, CLASSES), lr=1e-12, batch_size=16)["loss"] == pytest.approx(
            before, rel=1e-6
        )

    def test_a_dataset_gives_the_same_as_its_arrays(self) -> None:
        class Items(torch.utils.data.Dataset[Any]):
            def __len__(self) -> int:
                return 40

            def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
                return X[i], int(CLASSES[i])

        module = nn.Linear(4, 3)
        a, b = checked(module), checked(module)
        assert fit(a, (X, CLASSES)) == fit(b, Items())
        assert a.evaluate((X, CLASSES)) == b.evaluate(Items())

    def test_batch_norm_takes_a_last_batch_of_one(self) -> None:
        model = checked(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
        assert np.isfinite(fit(model, (X[:33], CLASSES[:33]), batch_size=8)["loss"])
        assert int(model.get_weights()["1.num_batches_tracked"]) == 4

    def test_frozen_layers_stay(self) -> None:
        module = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 3))
        model = checked(module)
        before = model.get_weights()
        fit(model, (X, CLASSES))
        after = model.get_weights()
        assert np.array_equal(before["0.weight"], after["0.weight"])
        assert not np.array_equal(before["1.weight"], after["1.weight"])

    def test_options_of_fusions_that_it_does_not_know_are_refused(self) -> None:
        with pytest.raises(OptionError, match="can't honour warmth"):
            fit(checked(nn.Linear(4, 3)), (X, CLASSES), warmth=0.1)

    def test_training_unchecked_is_refused(self) -> None:
        with pytest.raises(ModelError, match="not checked"):
            fit(TorchModel(nn.Linear(4, 3)), (X, CLASSES))


class TestWeights:
    def test_every_entry_goes_round_bit_by_bit(self) -> None:
        module = nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3).double()
        )
        model = TorchModel(module, device="cpu")
        weights = {name: array + 1 for name, array in model.get_weights().items()}
        other = TorchModel(module, device="cpu")
        other.set_weights(weights)
        assert set(weights) == set(module.state_dict())
        assert all(np.array_equal(other.get_weights()[name], weights[name]) for name in weights)
        assert weights["1.num_batches_tracked"].dtype == np.int64

    def test_half_precision_travels_as_float32(self) -> None:
        model = TorchModel(nn.Linear(2, 2).bfloat16(), device="cpu")
        weights = model.get_weights()
        assert weights["weight"].dtype == np.float32
        model.set_weights(weights)
        assert all(np.array_equal(model.get_weights()[name], weights[name]) for name in weights)

    def test_what_it_hands_out_is_a_copy(self) -> None:
        model = checked(nn.Linear(4, 3))
        weights = model.get_weights()
        native = model.native(weights)
        assert type(native) is nn.Linear
        assert not native.training
        fit(model, (X, CLASSES))
        assert torch.equal(native.weight, torch.tensor(weights["weight"]))

    def test_frameworks_are_told_apart_without_importing_them(self) -> None:
        assert base.framework_of(nn.Linear(1, 1)) == "torch"
        assert base.framework_of(3) == ""
        with pytest.raises(ModelError, match="is a class, not a model"):
            base.wrap(nn.Linear, "model")
        with pytest.raises(ModelError, match="no model of a known framework"):
            base.wrap([1], "model")


class TestOptimizers:
    @pytest.mark.parametrize(
        ("choice", "said"),
        [
            ("adamm", "did you mean 'adam'"),
            ("lbfgs", "no optimizer 'lbfgs'"),
            ("sgd:momentun=0.9", "did you mean 'momentum'"),
            ("sgd:momentum=-1", "can't be made"),
            ("sgd:momentum=lots", "can't be made"),
        ],
    )
    def test_wrong_ones_are_refused(self, choice: str, said: str) -> None:
        with pytest.raises(OptionError, match=said):
            optimizers.make(choice, nn.Linear(1, 1).parameters(), 0.1)

    def test_a_class_of_ones_own(self) -> None:
        class Mine(torch.optim.SGD):
            pass

        assert type(optimizers.make(Mine, nn.Linear(1, 1).parameters(), 0.1)) is Mine

    def test_options_reach_the_optimizer(self) -> None:
        made = optimizers.make(
            "sgd:momentum=0.9,weight_decay=1e-4,nesterov=true", nn.Linear(1, 1).parameters(), 0.2
        )
        group = made.param_groups[0]
        assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (
            0.2,
            0.9,
            1e-4,
            True,
        )


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch was_run",)


class TestFiles:
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def cnn(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout2d(0.2),
            nn.BatchNorm2d(4),
            nn.Flatten(),
            nn.Linear(16, 3),
            nn.LogSoftmax(dim=1),
        )

    @pytest.mark.parametrize(
        "module",
        [
            nn.Sequential(nn.Embedding(5, 4), nn.LSTM(4, 3)),
            nn.TransformerEncoderLayer(8, 2, batch_first=True),
            nn.ModuleDict({"a": nn.GRU(2, 2), "b": nn.MultiheadAttention(4, 2)}),
        ],
    )
    def test_layers_of_torch_are_read(self, module: nn.Module) -> None:
        torch.save(module, "whole.pt")
        again = files.load(Path("whole.pt"))
        assert repr(again) == repr(module)
        assert all(
            torch.equal(a, b) for a, b in zip(again.parameters(), module.parameters(), strict=True)
        )

    @pytest.mark.parametrize("found", [Hostile(), [nn.Linear(1, 1), Hostile()], {"a": print}])
    def test_code_is_refused_and_not_run(self, found: Any) -> None:
        torch.save(found, "bad.pt")
        with pytest.raises(ModelError, match=r"bad.pt is refused: it holds (posix|nt|print)"):
            files.load(Path("bad.pt"))
        assert not Path("was_run").exists()

    def test_classes_of_ones_own_are_refused_by_name(self) -> None:
        torch.save(nn.Sequential(losses_model := Functional(F.relu)), "own.pt")
        with pytest.raises(ModelError, match=type(losses_model).__name__):
            files.load(Path("own.pt"))

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04"])
    def test_broken_files_are_refused(self, content: bytes) -> None:
        Path("broken.pt").write_bytes(content)
        with pytest.raises(ModelError, match="can't be read"):
            files.load(Path("broken.pt"))

    def test_weights_alone_are_no_model(self) -> None:
        torch.save(nn.Linear(1, 1).state_dict(), "weights.pt")
        with pytest.raises(ModelError, match="not a model"):
            files.load(Path("weights.pt"))

    @pytest.mark.parametrize("format", sorted(files.SAVERS))
    def test_every_format_holds_the_same_model(self, format: str) -> None:
        x = np.random.default_rng(0).normal(size=(6, 1, 6, 6)).astype(np.float32)
        module = self.cnn().eval()
        model = checked(module, np.arange(6) % 3, x)
        path = Path(model.formats[format])
        model.save(path, model.get_weights(), format)
        rows = torch.tensor(x)
        loaded: Any
        if format in ("pt", "safetensors"):
            loaded = self.cnn().eval()
            if format == "pt":
                loaded.load_state_dict(torch.load(path))
            else:
                from safetensors.torch import load_model

                load_model(loaded, str(path))
        elif format == "whole":
            loaded = files.load(path)
        elif format == "torchscript":
            loaded = torch.jit.load(str(path))
        elif format == "pt2":
            loaded = torch.export.load(path).module()
        else:
            import onnx.reference

            evaluator = onnx.reference.ReferenceEvaluator(str(path))
            output = evaluator.run(None, {evaluator.input_names[0]: x})[0]
            assert np.allclose(output, module(rows).detach(), atol=1e-5)
            return
        assert torch.allclose(loaded(rows), module(rows), atol=1e-6)

    def test_a_format_that_cannot_hold_the_model_says_so(self) -> None:
        class Branching(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x) if float(x.sum()) > 0 else self.layer(-x)

        model = checked(Branching())
        with pytest.raises(FusionError, match=r"can't be written as 'pt2'"):
            model.save(Path("a.pt2"), model.get_weights(), "pt2")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(OptionError, match="no device 'tpu9'"):
        TorchModel(nn.Linear(1, 1), device="tpu9")


def test_losses_have_a_task_each() -> None:
    assert {task for _, task in losses.LOSSES.values()} == {"classes", "binary", "numbers"}


class TestGivenLosses:
    @pytest.mark.parametrize(
        "loss", [nn.BCELoss(), F.binary_cross_entropy, "bce", "nn.BCELoss", ""]
    )
    def test_probabilities_are_cut_at_one_half(self, loss: Any) -> None:
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
    def test_a_sigmoid_is_seen_behind_what_only_reshapes(self, last: Any) -> None:
        class Binary(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 1)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return last(self.layer(x))

        assert (
            TorchModel(Binary())
            .check((X, CLASSES % 2), CLASSES % 2, lr=1, optimizer="sgd")[0]
            .startswith("loss: bce (")
        )

    def test_what_might_be_probabilities_is_said(self) -> None:
        model = TorchModel(Functional(lambda z: 1 / (1 + torch.exp(-z[:, :1]))))
        notes = model.check((X, CLASSES % 2), CLASSES % 2, lr=1, optimizer="sgd")
        assert any("say --loss bce" in note for note in notes)
        notes = TorchModel(nn.Linear(4, 3), loss="nll").check(
            (X, CLASSES), CLASSES, lr=1, optimizer="sgd"
        )
        assert any("wants log-probabilities" in note for note in notes)
        notes = TorchModel(nn.Linear(4, 1)).check((X, CLASSES), CLASSES, lr=1, optimizer="sgd")
        assert any("if they are classes" in note for note in notes)

    @pytest.mark.parametrize("loss", ["mse", "bce", "l1"])
    def test_a_loss_that_cannot_compare_is_refused_before_training(self, loss: str) -> None:
        with pytest.raises(ModelError, match="as many outputs as numbers"):
            checked(nn.Linear(4, 3), loss=loss)

    def test_a_loss_of_ones_own_shape(self) -> None:
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

    def test_sums_are_told_as_means_and_no_number_is_refused(self) -> None:
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


def test_a_model_that_keeps_a_tensor_from_evaluation_still_trains() -> None:
    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.kept = nn.Linear(4, 3), None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.kept is None or self.kept.shape != x.shape:
                self.kept = torch.ones_like(x)
            return self.layer(x * self.kept)

    model = checked(Keeping())
    model.evaluate((X, CLASSES))
    assert np.isfinite(fit(model, (X, CLASSES), batch_size=40)["loss"])


def test_damaged_files_are_refused_whatever_they_raise(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    torch.save(
        nn.Sequential(nn.Linear(2, 2), nn.ReLU()), path, _use_new_zipfile_serialization=False
    )
    whole = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(bytes(damaged))
        with suppress(ModelError):  # and nothing else
            assert isinstance(files.load(path), nn.Module)


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.5), nn.ReLU())
        self.head = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(checkpoint(self.body, x, use_reentrant=False))


def test_checkpointing_drops_the_same_on_the_way_back() -> None:
    module = Checkpointed()
    model = checked(module)
    assert model._redraws
    fit(model, (X, CLASSES), batch_size=16, seed=5)

    plain_loop(module, torch.optim.SGD(module.parameters(), lr=0.1), epochs=1, order=5, dropped=5)
    for mine, theirs in zip(model.module.parameters(), module.parameters(), strict=True):
        assert torch.equal(mine, theirs)


class TestWhatIsFoundOutBefore:
    def test_what_fails_only_while_training_is_not_blamed_on_the_loss(self) -> None:
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
        assert np.isfinite(fit(model.clone(), (X, CLASSES))["loss"])

    def test_a_class_of_losses_is_made(self) -> None:
        assert checked(nn.Linear(4, 3), loss=nn.CrossEntropyLoss).metrics == ("accuracy", "loss")

    def test_ignored_labels_count_nowhere(self) -> None:
        y = CLASSES.copy()
        y[::4] = -100
        model = checked(nn.Linear(4, 3), y, loss=nn.CrossEntropyLoss())
        with torch.no_grad():
            right = model.module(torch.tensor(X)).argmax(1).numpy() == y
        assert model.evaluate((X, y))["accuracy"] == pytest.approx(right[y >= 0].mean())

    def test_positions_in_an_embedding_do_not_make_images_numbers(self) -> None:
        class Tiny(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer, self.positions = nn.Linear(4, 3), nn.Embedding(1, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x) + self.positions.weight

        x = (X > 0).astype(np.uint8)
        assert np.isfinite(fit(checked(Tiny(), x=x), (x, CLASSES))["loss"])

    @pytest.mark.parametrize("optimizer", [torch.optim.LBFGS, "lbfgs"])
    def test_optimizers_that_do_not_fit_the_loop_are_refused(self, optimizer: Any) -> None:
        with pytest.raises(OptionError, match="no optimizer"):
            TorchModel(nn.Linear(4, 3)).check((X, CLASSES), CLASSES, lr=0.1, optimizer=optimizer)

    def test_a_step_is_tried(self) -> None:
        with pytest.raises(OptionError, match="can't do a step"):
            TorchModel(nn.Linear(4, 3)).check((X, CLASSES), CLASSES, lr=0.1, optimizer="sparseadam")

    def test_masks_are_one_output_for_each_place(self) -> None:
        x = np.random.default_rng(0).normal(size=(6, 1, 9)).astype(np.float32)
        y = (x[:, 0] > 0).astype(int)
        assert checked(nn.Conv1d(1, 1, 1), y, x).metrics == ("accuracy", "loss")
