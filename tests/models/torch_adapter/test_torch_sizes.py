"""Small PyTorch files that declare gigabytes, or call what no saved model calls, are refused."""

from __future__ import annotations

import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fusion_nb.core.files import file_sizes
from fusion_nb.errors import ModelError
from fusion_nb.models.torch import files


class Forged:
    """An object that is pickled as a call of its own choice."""

    def __init__(self, *reduced: Any) -> None:
        self._reduced = reduced

    def __reduce__(self) -> Any:
        return self._reduced


def repeated(*shape: int) -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(torch.zeros(1).expand(*shape))
    return layer


def in_overlapping_rows() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(torch.zeros(40_000).as_strided((20_000, 20_000), (1, 1)))
    return layer


def in_many_parts() -> nn.Module:
    return nn.Sequential(*[repeated(4000, 4000 + n) for n in range(8)])


def with_recurrent_layers(count: int) -> nn.Module:
    layer = nn.LSTM(2, 2)
    layer.num_layers = count
    return layer


def grown(path: Path) -> int:
    """Return the bytes that memory grew by while the file was refused."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError) as caught:
        files.load(path)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


class TestSizes:
    @pytest.mark.parametrize(
        "content",
        [
            Forged(nn.Linear, (20_000, 20_000)),
            Forged(nn.Embedding, (10**6, 1000)),
            [nn.Linear(2, 2), Forged(nn.Conv2d, (9000, 9000, 3))],
            Forged(torch.Tensor, (10**9,)),
            Forged(torch.storage.UntypedStorage, (2 * 10**9,)),
            Forged(bytearray, (2 * 10**9,)),
            Forged(torch.FloatTensor, (10**9,)),
            repeated(20_000, 20_000),
            repeated(1, 2**40),
            in_overlapping_rows(),
            in_many_parts(),
            with_recurrent_layers(10**8),
        ],
        ids=lambda content: type(content).__name__,
    )
    def test_what_a_file_declares_is_not_allocated(self, tmp_path: Path, content: Any) -> None:
        path = tmp_path / "bad.pt"
        torch.save(content, path)
        assert path.stat().st_size < 10**6
        assert grown(path) < 200 << 20

    def test_a_packed_archive_is_held_to_its_unpacked_size(self, tmp_path: Path) -> None:
        torch.save(nn.Linear(2, 2), tmp_path / "good.pt")
        path = tmp_path / "bad.pt"
        with (
            zipfile.ZipFile(tmp_path / "good.pt") as good,
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bad,
        ):
            for name in good.namelist():
                bad.writestr(name, good.read(name))
            with bad.open("good/data/9", "w") as entry:
                for _ in range(320):
                    entry.write(bytes(1 << 20))
        assert grown(path) < 100 << 20

    def test_the_limit_and_how_to_raise_it_are_told(self, tmp_path: Path) -> None:
        torch.save(repeated(9000, 9000), tmp_path / "bad.pt")
        with pytest.raises(ModelError, match=r"would take 324 MB.* may declare 268 MB") as caught:
            files.load(tmp_path / "bad.pt")
        assert "FUSION_NB_MAX_UNPACKED=324" in caught.value.hint

    def test_a_variable_raises_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert file_sizes.limit_for(1000) == 256 << 20
        assert file_sizes.limit_for(10**9) == 4 * 10**9
        monkeypatch.setenv(file_sizes.VARIABLE, "9_000_000_000")
        assert file_sizes.limit_for(1000) == 9 * 10**9
        monkeypatch.setenv(file_sizes.VARIABLE, "nonsense")
        assert file_sizes.limit_for(1000) == 256 << 20

    def test_shared_and_repeated_weights_of_a_usual_model_are_read(self, tmp_path: Path) -> None:
        tied = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 50))
        tied[1].weight = tied[0].weight
        tied.register_buffer("positions", torch.arange(9).expand(3, -1))
        torch.save(tied, tmp_path / "good.pt")
        again = files.load(tmp_path / "good.pt")
        assert again[1].weight is again[0].weight
        assert again.positions.shape == (3, 9)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_weights_of_other_types_are_read(self, tmp_path: Path, dtype: torch.dtype) -> None:
        torch.save(nn.Linear(3, 2).to(dtype), tmp_path / "good.pt")
        assert files.load(tmp_path / "good.pt").weight.dtype == dtype

    def test_the_format_before_pytorch_1_6_is_refused_with_a_way_out(self, tmp_path: Path) -> None:
        path = tmp_path / "old.pt"
        torch.save(nn.Linear(2, 2), path, _use_new_zipfile_serialization=False)
        with pytest.raises(ModelError, match=r"before PyTorch 1\.6"):
            files.load(path)


def shared(depth: int) -> nn.Module:
    """Return layers of which each holds the next one twice."""
    layer: nn.Module = nn.Linear(2, 2)
    for _ in range(depth):
        layer = nn.Sequential(layer, layer)
    return layer


def holding_itself(_: int) -> nn.Module:
    layer = nn.Sequential(nn.Linear(2, 2))
    layer.add_module("again", nn.Sequential(layer))
    return layer


def nested(depth: int) -> nn.Module:
    layer: nn.Module = nn.Linear(2, 2)
    for _ in range(depth):
        layer = nn.Sequential(layer)
    return layer


def doubled(depth: int) -> Any:
    """Return tuples of which each holds the one before twice."""
    found: Any = (1,)
    for _ in range(depth):
        found = (found, found)
    return found


@pytest.mark.parametrize("make", [doubled, lambda depth: {"a": [doubled(depth)]}])
def test_a_setting_that_has_millions_of_parts_is_refused(tmp_path: Path, make: Any) -> None:
    layer = nn.Linear(3, 2)
    layer.in_features = make(4)
    torch.save(layer, tmp_path / "good.pt")
    files.load(tmp_path / "good.pt")
    layer.in_features = make(40)
    torch.save(layer, tmp_path / "bad.pt")
    with pytest.raises(ModelError, match="Linear in it has a setting of more than 100,000 parts"):
        files.load(tmp_path / "bad.pt")


class TestPaths:
    @pytest.mark.parametrize(("make", "depth"), [(shared, 40), (shared, 17), (holding_itself, 0)])
    def test_layers_that_are_shared_or_nested_without_end(
        self, tmp_path: Path, make: Callable[[int], nn.Module], depth: int
    ) -> None:
        path = tmp_path / "bad.pt"
        torch.save(make(depth), path)
        with pytest.raises(ModelError, match=r"most of them shared|nested too deeply"):
            files.load(path)

    @pytest.mark.parametrize(("make", "depth"), [(shared, 6), (nested, 60)])
    def test_usual_ones_are_read(
        self, tmp_path: Path, make: Callable[[int], nn.Module], depth: int
    ) -> None:
        model = make(depth)
        torch.save(model, tmp_path / "good.pt")
        assert len(repr(files.load(tmp_path / "good.pt"))) == len(repr(model))
