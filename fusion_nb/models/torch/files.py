"""PyTorch models as files: written in formats that others read, and read without running code."""

from __future__ import annotations

import copy
import inspect
import io
import logging
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fusion_nb.errors import ExportError, FusionError, ModelError, missing_extra, option
from fusion_nb.models.activations import note_source
from fusion_nb.models.torch import declared, pretrained_files

#: Format -> file name in the export's folder.
FORMATS = {
    "pt": "model.pt",
    "safetensors": "model.safetensors",
    "whole": "model_whole.pt",
    "torchscript": "model.torchscript.pt",
    "pt2": "model.pt2",
    "onnx": "model.onnx",
}


#: Layers inside layers, and names of layers, at most.
_MAX_DEPTH, _MAX_PATHS = 400, 100_000
_NESTED = "build the model in the notebook, and name the variable"


def _write(path: Path, save: Callable[[io.BytesIO], object]) -> None:
    """Write a file by `save(buffer)`, in memory first.

    torch's own writer ends the process where the disk is full.
    """
    buffer = io.BytesIO()
    save(buffer)
    with path.open("wb") as file:
        file.write(buffer.getbuffer())


def save_state_dict(module: nn.Module, path: Path, example: Tensor) -> None:
    """Write the weights alone: `model.load_state_dict(torch.load(path))` takes them."""
    _write(path, lambda buffer: torch.save(module.state_dict(), buffer))


def save_safetensors(module: nn.Module, path: Path, example: Tensor) -> None:
    """Write the weights alone, in a format that can't hold code."""
    try:
        from safetensors.torch import save_model
    except ModuleNotFoundError as error:
        raise missing_extra(error, "the format 'safetensors'") from error
    save_model(module, str(path))  # save_model and not save_file: tied weights share memory


def save_whole(module: nn.Module, path: Path, example: Tensor) -> None:
    """Write the whole module, as `torch.save(model)` does."""
    _write(path, lambda buffer: torch.save(module, buffer))


def save_torchscript(module: nn.Module, path: Path, example: Tensor) -> None:
    """Write a TorchScript program: scripted where that works, else traced with one row."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the user who asks for TorchScript knows that it is old
        try:
            program = torch.jit.script(module)
        except Exception:
            program = torch.jit.trace(module, example)
        _write(path, lambda buffer: torch.jit.save(program, buffer))


def save_program(module: nn.Module, path: Path, example: Tensor) -> None:
    """Write a `torch.export` program that takes any number of rows."""
    # torch.export specialises on a batch of 1, so the example has two rows.
    rows = torch.cat([example, example])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(
            module, (rows,), dynamic_shapes=({0: torch.export.Dim("rows")},)
        )
        _write(path, lambda buffer: torch.export.save(program, buffer))


def save_onnx(module: nn.Module, path: Path, example: Tensor) -> None:
    """Write an ONNX graph that takes any number of rows."""
    try:
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra(error, "the format 'onnx'") from error
    rows = torch.cat([example, example])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(
            logging.ERROR
        )  # it reports that torchvision is not installed
        program = torch.onnx.export(
            module,
            (rows,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("rows")},),
            verbose=False,
        )
    assert program is not None
    program.save(str(path))


SAVERS: dict[str, Callable[[nn.Module, Path, Tensor], None]] = {
    "pt": save_state_dict,
    "safetensors": save_safetensors,
    "whole": save_whole,
    "torchscript": save_torchscript,
    "pt2": save_program,
    "onnx": save_onnx,
}


def formats_of(module: nn.Module) -> dict[str, str]:
    """Return the formats of a module, the usual one first, each with its name in an export."""
    return {**pretrained_files.formats_of(module), **FORMATS}


def save(module: nn.Module, path: Path, format: str, example: Tensor) -> None:
    """Write a module in one of its formats, see `formats_of`.

    Raises ExportError where the format can't hold this model.
    """
    try:
        {**SAVERS, **pretrained_files.SAVERS}[format](module, path, example)
    except (OSError, FusionError):
        raise
    except Exception as error:  # torch's exporters raise anything that they meet inside the model
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ExportError(
            f"this model can't be written as {format!r}: {first}", "pt and safetensors always work"
        ) from error


def load(path: Path) -> nn.Module:
    """Return the module in a file written by `torch.save(model)`, and run no code that it holds.

    Only classes of torch.nn are admitted. Raises ModelError, naming the class, for anything else.
    """
    try:
        declared.check(path)
        with torch.serialization.safe_globals(_admitted()):
            found: Any = torch.load(path, weights_only=True, map_location="cpu")
        if isinstance(found, nn.Module):
            _check_paths(found)
            # A module whose parts are missing passes the unpickler and would fail later.
            found.state_dict(), repr(found), copy.deepcopy(found)
    except ModelError as error:
        if str(path) in error.message:
            raise
        raise ModelError(f"{path} is refused: {error.message}", error.hint) from None
    except Exception as error:  # a damaged or hostile file makes the unpickler raise anything
        if refused := re.search(r"GLOBAL (\S+)", str(error)):
            raise ModelError(
                f"{path} is refused: it holds {refused[1]}, and only layers of torch.nn are read "
                "from a file",
                "define the model in the notebook, load its weights, and give the variable's "
                f"name with {option('model')}",
            ) from None
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:80]
        raise ModelError(
            f"{path} can't be read as a PyTorch file ({reason})", "is it complete? save it again"
        ) from None
    if not isinstance(found, nn.Module):
        raise ModelError(
            f"{path} holds {type(found).__name__}, not a model",
            "build the model in the notebook, model.load_state_dict(torch.load(path)), and use "
            f"{option('model', 'NAME')}",
        )
    note_source(found, path)
    return found


def _check_paths(module: nn.Module) -> None:
    """Raise ModelError for layers that are shared so often that walking over all takes for ever.

    40 layers, each of which holds the next one twice, are a million millions by their names.
    """
    counts: dict[int, int] = {}

    def count(layer: nn.Module, depth: int) -> int:
        if depth > _MAX_DEPTH:
            raise ModelError("its layers are nested too deeply, or hold themselves", _NESTED)
        if id(layer) not in counts:
            inside = [part for part in layer._modules.values() if isinstance(part, nn.Module)]
            counts[id(layer)] = 1 + sum(count(part, depth + 1) for part in inside)
        return counts[id(layer)]

    if (number := count(module, 0)) > _MAX_PATHS:
        raise ModelError(f"it holds {number:,} layers, most of them shared", _NESTED)


def _admitted() -> list[Any]:
    # Some layers hold helper layers that torch.nn does not export, so its modules are searched, not
    # its names.
    inside = [
        module for name, module in sys.modules.items() if name.startswith("torch.nn.modules.")
    ]
    kinds = {kind for module in inside for kind in vars(module).values() if inspect.isclass(kind)}
    modules = [
        k
        for k in kinds
        if issubclass(k, nn.Module) and k.__module__.startswith("torch.nn.modules.")
    ]
    # Transformer layers keep their activation function; a module's hooks and buffers live in these
    # containers.
    functions = [nn.functional.relu, nn.functional.gelu]
    return [*modules, *functions, set]
