"""`.keras` files whose weights lie elsewhere, or whose configuration names code, are refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_samples import layers, sequential

from fusion_nb.errors import ModelError
from fusion_nb.models.keras import declared, files

h5py = pytest.importorskip("h5py")
#: The kernel of the only layer.
KERNEL = "layers/dense/vars/0"


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files in that of a small model."""
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    files.save(sequential(layers.Dense(3, name="dense")), path, "keras")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, parts: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def external_link(stored: Any, folder: Path) -> None:
    del stored[KERNEL]
    stored[KERNEL] = h5py.ExternalLink(str(folder / "other.h5"), "/kernel")


def external_group(stored: Any, folder: Path) -> None:
    del stored["layers/dense"]
    stored["layers/dense"] = h5py.ExternalLink(str(folder / "other.h5"), "/")


def link_at_the_root(stored: Any, folder: Path) -> None:
    stored["more"] = h5py.ExternalLink(str(folder / "other.h5"), "/")


def soft_link(stored: Any, folder: Path) -> None:
    stored["other"] = stored[KERNEL][()]
    del stored[KERNEL]
    stored[KERNEL] = h5py.SoftLink("/other")


def link_to_itself(stored: Any, folder: Path) -> None:
    del stored[KERNEL]
    stored[KERNEL] = h5py.SoftLink(f"/{KERNEL}")


def link_to_nothing(stored: Any, folder: Path) -> None:
    del stored[KERNEL]
    stored[KERNEL] = h5py.SoftLink("/none")


def bytes_of_another_file(stored: Any, folder: Path) -> None:
    shape = stored[KERNEL].shape
    del stored[KERNEL]
    outside = [(str(folder / "other.h5"), 0, 4 * int(np.prod(shape)))]
    stored.create_dataset(KERNEL, shape, "f4", external=outside)


def virtual_dataset(stored: Any, folder: Path) -> None:
    shape = stored[KERNEL].shape
    layout = h5py.VirtualLayout(shape, "f4")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "kernel", shape)
    del stored[KERNEL]
    stored.create_virtual_dataset(KERNEL, layout)


@pytest.mark.parametrize(
    "edit",
    [
        external_link,
        external_group,
        link_at_the_root,
        soft_link,
        link_to_itself,
        link_to_nothing,
        bytes_of_another_file,
        virtual_dataset,
    ],
)
def test_weights_that_lie_elsewhere_are_refused(
    edit: Callable[[Any, Path], None], parts: dict[str, bytes], tmp_path: Path
) -> None:
    weights = tmp_path / "weights.h5"
    weights.write_bytes(parts["model.weights.h5"])
    with h5py.File(weights, "r+") as stored:
        with h5py.File(tmp_path / "other.h5", "w") as other:
            other["kernel"] = np.full(stored[KERNEL].shape, 7, "f4")
        edit(stored, tmp_path)
    path = write(tmp_path / "model.keras", parts | {"model.weights.h5": weights.read_bytes()})
    with pytest.raises(ModelError, match="are a link, or lie in another file") as caught:
        declared.check(path)
    assert len(caught.value.message.splitlines()) == 1
    with pytest.raises(ModelError, match="are a link"):
        files.load(path)


def test_a_group_that_holds_itself_is_no_endless_walk(
    parts: dict[str, bytes], tmp_path: Path
) -> None:
    held = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(held, "r+") as stored:
        stored["layers/again"] = stored["layers"]
    path = write(tmp_path / "model.keras", parts | {"model.weights.h5": held.getvalue()})
    declared.check(path)


def named(module: str | None, name: str, registered: str | None = None, /, **config: Any) -> Any:
    return {
        "module": module,
        "class_name": name,
        "registered_name": registered,
        "config": {"name": "odd", **config},
    }


CODE = {"class_name": "__lambda__", "config": {"code": "4wEA", "defaults": None, "closure": None}}


@pytest.mark.parametrize(
    "layer",
    [
        named("os", "system", command="touch {flag}"),
        named("builtins", "open", file="{flag}", mode="w"),
        named("subprocess", "Popen", args=["touch", "{flag}"]),
        named(None, "Dense", "os>system"),
        named("keras.layers", "Dense", "evil>Dense", units=3),
        named("evil", "Net", "evil>Net"),
        named("keras.utils", "get_file", fname="flag", origin="file:///etc/hosts"),
        named("keras.config", "enable_unsafe_deserialization"),
        named("keras.layers", "Lambda", function=CODE),
        named("keras.layers", "Dense", units=3, activation=CODE),
        named("keras.layers", "Dense", units=3, activation=named("os", "function")),
        named("keras.layers", "Dense", units=3, kernel_initializer=named("builtins", "eval")),
        named("keras.layers", "TFSMLayer", filepath="{folder}", call_endpoint="serve"),
        named("keras.layers", "TorchModuleWrapper", module={"class_name": "__bytes__"}),
        named("keras.layers", "StringLookup", vocabulary="/etc/hosts"),
    ],
)
def test_a_configuration_that_names_code_or_files_is_refused(
    layer: Any, parts: dict[str, bytes], tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    config = json.loads(parts["config.json"])
    text = json.dumps(layer).replace("{flag}", str(flag)).replace("{folder}", str(tmp_path))
    config["config"]["layers"][-1] = json.loads(text)
    path = write(tmp_path / "model.keras", parts | {"config.json": json.dumps(config).encode()})
    with pytest.raises(ModelError, match="is refused") as caught:
        files.load(path)
    assert len(caught.value.message.splitlines()) == 1
    assert not flag.exists()


@pytest.mark.parametrize(
    "compiled",
    [
        {"optimizer": named("os", "system", command="touch {flag}"), "loss": "mse"},
        {"optimizer": "sgd", "loss": named("builtins", "open", file="{flag}", mode="w")},
        {"optimizer": "sgd", "loss": "mse", "metrics": [named("os", "mkdir", path="{flag}")]},
    ],
)
def test_code_in_a_compilation_is_not_run(
    compiled: Any, parts: dict[str, bytes], tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    text = json.dumps(compiled).replace("{flag}", str(flag))
    config = json.loads(parts["config.json"]) | {"compile_config": json.loads(text)}
    path = write(tmp_path / "model.keras", parts | {"config.json": json.dumps(config).encode()})
    assert not files.load(path).compiled
    assert not flag.exists()
