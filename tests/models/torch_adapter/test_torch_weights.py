"""The weights of PyTorch models as named arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch_samples import CLASSES, X, checked, fit

from fusion_nb.models.torch.adapter import TorchModel


class TestWeights:
    def test_weights_are_restored_bit_by_bit(self) -> None:
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

    def test_a_module_may_name_its_entries_itself(self) -> None:
        class Renaming(nn.Linear):
            def state_dict(self) -> dict[str, torch.Tensor]:
                return {f"own.{name}": tensor for name, tensor in super().state_dict().items()}

        model = TorchModel(Renaming(2, 2), device="cpu")
        weights = {name: array + 1 for name, array in model.get_weights().items()}
        model.set_weights(weights)
        assert set(weights) == {"own.weight", "own.bias"}
        assert all(np.array_equal(model.get_weights()[name], weights[name]) for name in weights)

    def test_what_was_read_does_not_change_with_the_module(self) -> None:
        model = checked(nn.Linear(4, 3))
        before = model.get_weights()
        kept = {name: array.copy() for name, array in before.items()}
        fit(model, (X, CLASSES))
        model.set_weights({name: array + 1 for name, array in before.items()})
        assert all(np.array_equal(before[name], kept[name]) for name in kept)

    def test_a_native_model_is_a_copy(self) -> None:
        model = checked(nn.Linear(4, 3))
        weights = model.get_weights()
        native = model.native(weights)
        assert type(native) is nn.Linear
        assert not native.training
        fit(model, (X, CLASSES))
        assert torch.equal(native.weight, torch.tensor(weights["weight"]))
