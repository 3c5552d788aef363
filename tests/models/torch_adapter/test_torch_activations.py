"""Layers without weights that make gigabytes of a few rows are refused where a file holds them."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fusion_nb
from fusion_nb.core.files import file_sizes
from fusion_nb.core.schema import DataSchema
from fusion_nb.errors import FusionError, ModelError
from fusion_nb.models.activations import note_source
from fusion_nb.models.torch import activations
from fusion_nb.models.torch.adapter import TorchModel

CLASSES = np.arange(40) % 3
#: Rows of a shape, and layers that make gigabytes of them.
HOSTILE: dict[str, tuple[tuple[int, ...], list[nn.Module]]] = {
    "ZeroPad2d": ((1, 8, 8), [nn.ZeroPad2d(30_000)]),
    "ConstantPad1d": ((2, 8), [nn.ConstantPad1d(10**9, 1.0)]),
    "ConstantPad3d": ((1, 4, 4, 4), [nn.ConstantPad3d(2_000, 1.0)]),
    "ReplicationPad2d": ((1, 8, 8), [nn.ReplicationPad2d(30_000)]),
    "CircularPad1d, many": ((2, 40), [nn.CircularPad1d(40 * 3**n) for n in range(12)]),
    "ReflectionPad1d, many": ((2, 40), [nn.ReflectionPad1d(39 * 3**n) for n in range(12)]),
    "Upsample": ((1, 8, 8), [nn.Upsample(scale_factor=10**4)]),
    "Upsample to a size": ((1, 8, 8), [nn.Upsample(size=(10**5, 10**5), mode="bilinear")]),
    "AdaptiveAvgPool2d": ((1, 8, 8), [nn.AdaptiveAvgPool2d(10**5)]),
    "AdaptiveMaxPool1d": ((1, 8), [nn.AdaptiveMaxPool1d(10**9)]),
    "Unfold": ((1, 8, 8), [nn.ZeroPad2d(300), nn.Unfold(300)]),
    "ConstantPad1d, then a linear layer": ((1, 8), [nn.ConstantPad1d(10**8, 0), nn.Linear(8, 8)]),
    "Conv2d, padded": ((1, 8, 8), [nn.Conv2d(1, 1, 1, padding=30_000)]),
    "Conv2d of doubles": ((1, 8, 8), [nn.Conv2d(1, 1, 100, padding=300).double()]),
    "ConvTranspose2d": ((1, 8, 8), [nn.ConvTranspose2d(1, 1, 1, stride=10**4)]),
    "AvgPool1d": ((1, 8), [nn.AvgPool1d(1, 1, 0), nn.ConstantPad1d(10**9, 0), nn.AvgPool1d(10**6)]),
    "attention": (
        (4, 8),
        [nn.ZeroPad2d((0, 0, 0, 20_000)), nn.TransformerEncoderLayer(8, 1, 8, batch_first=True)],
    ),
    "frozen attention": (
        (4, 8),
        [
            nn.ZeroPad2d((0, 0, 0, 20_000)),
            nn.TransformerEncoderLayer(8, 1, 8, batch_first=True).requires_grad_(False),
        ],
    ),
    "many layers together": ((1, 8, 8), [nn.ZeroPad2d(1_000), *[nn.GELU() for _ in range(300)]]),
}


def saved(folder: Path, *layers: nn.Module) -> Path:
    path = folder / "model.pt"
    torch.save(nn.Sequential(*layers), path)
    assert path.stat().st_size < 300_000
    return path


def checked(path: Path, shape: tuple[int, ...], **options: str) -> TorchModel:
    rows = np.random.default_rng(0).normal(size=(len(CLASSES), *shape)).astype(np.float32)
    model = TorchModel(TorchModel.load(path), **options)
    model.check((rows, CLASSES), DataSchema.of((rows, CLASSES)), lr=0.1, optimizer="sgd")
    return model


class TestAHostileFile:
    @pytest.mark.parametrize("name", HOSTILE)
    def test_its_model_is_refused_before_it_makes_gigabytes(
        self, tmp_path: Path, name: str
    ) -> None:
        shape, layers = HOSTILE[name]
        path = saved(tmp_path, *layers, nn.Linear(1, 1))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ModelError, match=r"model\.pt is refused: it.* may make") as caught:
            checked(path, shape)
        assert "\n" not in caught.value.message
        assert file_sizes.VARIABLE in caught.value.hint
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20

    def test_the_layer_and_the_limit_are_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(file_sizes.VARIABLE, str(10**12))
        path = saved(tmp_path, nn.Flatten(), nn.ConstantPad1d(10**9, 0), nn.Linear(1, 1))
        with pytest.raises(
            ModelError,
            match=r"its layer 1 \(ConstantPad1d\) would make 1,024,000 MB of 128 rows, and a "
            r"model from a file may make 1,000,000 MB",
        ) as caught:
            checked(path, (4,))
        assert f"{file_sizes.VARIABLE}=102400" in caught.value.hint

    def test_it_is_refused_where_it_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = saved(tmp_path, nn.ZeroPad2d(30_000), nn.Flatten(), nn.Linear(1, 10))
        monkeypatch.chdir(tmp_path)
        with pytest.raises(FusionError, match=r"its layer 0 \(ZeroPad2d\) would make"):
            fusion_nb.federate(path.name, "digits", rounds=1, parties=2)


class TestAnotherFile:
    @pytest.mark.parametrize(
        ("shape", "layers"),
        [
            (
                (1, 12, 12),
                [
                    nn.ZeroPad2d(2),
                    nn.Conv2d(1, 4, 3),
                    nn.BatchNorm2d(4),
                    nn.Flatten(),
                    nn.Linear(784, 3),
                ],
            ),
            (
                (1, 12, 12),
                [nn.Upsample(scale_factor=3), nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2312, 3)],
            ),
            (
                (6, 8),
                [
                    nn.TransformerEncoderLayer(8, 2, 8, batch_first=True),
                    nn.Flatten(),
                    nn.Linear(48, 3),
                ],
            ),
            ((6, 8), [nn.Dropout(), nn.Flatten(), nn.Linear(48, 3)]),
        ],
        ids=["convolution", "larger", "transformer", "dropout"],
    )
    def test_its_model_is_trained_as_one_of_the_notebook(
        self, tmp_path: Path, shape: tuple[int, ...], layers: list[nn.Module]
    ) -> None:
        torch.manual_seed(0)
        path = saved(tmp_path, *layers)
        torch.manual_seed(1)
        state = torch.get_rng_state()
        run = fusion_nb.federate(str(path), rows_of(shape), rounds=2, parties=2, seed=1)
        assert torch.equal(state, torch.get_rng_state())
        own = TorchModel.load(path)
        again = nn.Sequential(*own)
        other = fusion_nb.federate(again, rows_of(shape), rounds=2, parties=2, seed=1)
        assert run.history["loss"] == other.history["loss"]
        assert not run.model._forward_pre_hooks

    def test_a_mistake_of_shape_is_told_as_ever(self, tmp_path: Path) -> None:
        path = saved(tmp_path, nn.ZeroPad2d(1), nn.Flatten(), nn.Linear(7, 3))
        with pytest.raises(ModelError, match=r"does not take rows of shape \(1, 8, 8\)"):
            checked(path, (1, 8, 8))

    def test_a_model_of_the_notebook_may_make_what_it_likes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("fusion_nb.models.activations.limit", lambda: 1000)
        path = saved(tmp_path, nn.Flatten(), nn.Linear(64, 3))
        with pytest.raises(ModelError, match=r"may make 1,000 bytes"):
            checked(path, (1, 8, 8))
        rows = np.ones((len(CLASSES), 64), np.float32)
        model = TorchModel(nn.Sequential(*TorchModel.load(path)))
        assert model.check((rows, CLASSES), DataSchema.of((rows, CLASSES)), lr=0.1, optimizer="sgd")

    def test_operations_that_depend_on_values_are_counted_with_them(self) -> None:
        class Repeats(nn.Module):
            """Makes ever more rows, by a number that its rows hold."""

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                wanted = int(x.max().item()) * 10**10
                return x.new_zeros(wanted)

        module = Repeats()
        note_source(module, Path("model.pt"))
        activations.check(module, torch.zeros(32, 2), lambda module, x: module(x))
        with pytest.raises(ModelError, match=r"Repeats\) would make 160,000 MB"):
            activations.check(module, torch.ones(32, 2), lambda module, x: module(x))


def rows_of(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rows = np.random.default_rng(0).normal(size=(len(CLASSES), *shape)).astype(np.float32)
    return rows, CLASSES
