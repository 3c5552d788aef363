"""Small `.keras` files that declare gigabytes are refused before Keras allocates them."""

from __future__ import annotations

import io
import json
import resource
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

keras = pytest.importorskip("keras")

from fusion_nb.errors import ModelError  # noqa: E402
from fusion_nb.models.keras import files  # noqa: E402

Parts = dict[str, bytes]


def with_config(change: Callable[[str], str]) -> Callable[[Parts], None]:
    def apply(parts: Parts) -> None:
        parts["config.json"] = change(parts["config.json"].decode()).encode()

    return apply


def with_empty_arrays(parts: Parts) -> None:
    """Replace a weight by one that is declared and never written, so that it takes no room."""
    h5py = pytest.importorskip("h5py")
    written = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(written, "r+") as stored:
        group = stored["layers/dense/vars"]
        del group["0"]
        group.create_dataset("0", (30_000, 30_000), "f4", chunks=(100, 100))
    parts["model.weights.h5"] = written.getvalue()


def with_large_entry(parts: Parts) -> None:
    parts["assets/large"] = bytes(320 << 20)


class TestSizes:
    @pytest.fixture
    def parts(self, tmp_path: Path) -> Parts:
        layers = [keras.layers.Input((7,)), keras.layers.Dense(11), keras.layers.Dense(3)]
        keras.Sequential(layers).save(tmp_path / "good.keras")
        with zipfile.ZipFile(tmp_path / "good.keras") as archive:
            return {name: archive.read(name) for name in archive.namelist()}

    @pytest.mark.parametrize(
        "change",
        [
            with_config(lambda text: text.replace('"units": 11', '"units": 30000000')),
            with_config(lambda text: text.replace(" 11", " 20000").replace(" 7", " 20000")),
            with_config(lambda text: text.replace('"units": 3,', '"units": 90000000,')),
            with_empty_arrays,
            with_large_entry,
            with_config(lambda text: text + " " * (21 << 20)),
            with_config(lambda text: "[" * 10**6),
        ],
        ids=["wide", "deep", "last", "empty arrays", "large entry", "long", "nested"],
    )
    def test_what_a_file_declares_is_not_allocated(
        self, tmp_path: Path, parts: Parts, change: Callable[[Parts], Any]
    ) -> None:
        change(parts)
        path = tmp_path / "bad.keras"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ModelError, match=r"bad\.keras is refused") as caught:
            files.load(path)
        assert "\n" not in caught.value.message
        assert caught.value.hint
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10

    def test_a_count_leaves_nothing_behind(self, tmp_path: Path, parts: Parts) -> None:
        found = files.load(tmp_path / "good.keras")
        assert [layer.name for layer in found.layers] == [
            layer["config"]["name"]
            for layer in json.loads(parts["config.json"])["config"]["layers"]
        ][1:]
        assert found.count_params() == 7 * 11 + 11 + 11 * 3 + 3
