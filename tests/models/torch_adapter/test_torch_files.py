"""PyTorch models as files: every format, and files that are refused."""

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
from torch_samples import Functional, checked

from fusion_nb.errors import FusionError, ModelError
from fusion_nb.models.torch import files


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
    def test_a_file_of_torch_layers_is_read(self, module: nn.Module) -> None:
        torch.save(module, "whole.pt")
        again = files.load(Path("whole.pt"))
        assert repr(again) == repr(module)
        assert all(
            torch.equal(a, b) for a, b in zip(again.parameters(), module.parameters(), strict=True)
        )

    @pytest.mark.parametrize("found", [Hostile(), [nn.Linear(1, 1), Hostile()], {"a": print}])
    def test_a_file_with_code_is_refused_and_not_run(self, found: Any) -> None:
        torch.save(found, "bad.pt")
        with pytest.raises(ModelError, match=r"bad.pt is refused: it holds (posix|nt|print)"):
            files.load(Path("bad.pt"))
        assert not Path("was_run").exists()

    def test_a_file_with_classes_of_the_users_is_refused_by_name(self) -> None:
        torch.save(nn.Sequential(losses_model := Functional(F.relu)), "own.pt")
        with pytest.raises(ModelError, match=type(losses_model).__name__):
            files.load(Path("own.pt"))

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04"])
    def test_broken_files_are_refused(self, content: bytes) -> None:
        Path("broken.pt").write_bytes(content)
        with pytest.raises(ModelError, match="can't be read"):
            files.load(Path("broken.pt"))

    def test_a_file_of_weights_alone_is_refused(self) -> None:
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


def test_a_damaged_file_raises_only_model_errors(tmp_path: Path) -> None:
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
