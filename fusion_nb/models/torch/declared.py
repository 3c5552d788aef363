"""The arrays and classes that a PyTorch file declares, read before torch allocates any of it.

torch's own safe unpickler calls the classes that a file names with the arguments that the file
holds: a layer of 20,000 x 20,000 weights fits into 400 bytes. So the file's pickle is read first
into records of calls. Only those calls pass that every saved model consists of, and the tensors'
sizes are added up.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion_nb.core.files import file_sizes
from fusion_nb.errors import ModelError, option
from fusion_nb.models.pickles import Call, Global, Persistent, PickleError, PickleReader

#: Functions that may be called: none of them allocates more than its arguments hold.
_CALLED = {
    "collections.OrderedDict",
    "collections.Counter",
    "builtins.set",
    "__builtin__.set",
    "builtins.complex",
    "_codecs.encode",
    "torch.Size",
    "torch.device",
    "torch.serialization._get_layout",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
}
_TENSORS = (
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",  # of the types below, whose storage has no type
)
_UNTYPED = {"torch.uint16": 2, "torch.uint32": 4, "torch.uint64": 8}
#: The classes whose objects may be made, beside the layers.
_MADE = {"collections.OrderedDict", "builtins.set"}
_LAYERS = "torch.nn.modules."
#: The bytes of an element by the name of its storage.
_ITEMSIZES = {
    **dict.fromkeys(("ByteStorage", "CharStorage", "BoolStorage", "UntypedStorage"), 1),
    **dict.fromkeys(("HalfStorage", "BFloat16Storage", "ShortStorage"), 2),
    **dict.fromkeys(("FloatStorage", "IntStorage"), 4),
    **dict.fromkeys(("DoubleStorage", "LongStorage", "ComplexFloatStorage"), 8),
    "ComplexDoubleStorage": 16,
}
#: Layers of a recurrent network, whose loops torch runs while it reads one.
_MAX_LAYERS = 10_000
#: Parts of the settings of one layer, of which those that are shared count each time.
_MAX_PARTS = 100_000
#: The first pickle of a file in the format before PyTorch 1.6, and those after it: the protocol,
#: the machine, the model, and the names of the storages.
_MAGIC, _LATER = 0x1950A86A20F9469CFC6C, 4


def check(path: Path) -> None:
    """Raise ModelError for a file that calls more than a saved model does, or declares too much.

    Raises PickleError, or what zipfile raises, for one that is damaged.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            file_sizes.check_declared(path, file_sizes.unpacked_bytes(entries.values()))
            pickles = [name for name in entries if name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise PickleError("it has no data.pkl, or several")
            reader = PickleReader(archive.read(pickles[0]))
            start = pickles[0].removesuffix("data.pkl") + "data/"
        reader.load()
        sizes = {
            name.removeprefix(start): entry.file_size
            for name, entry in entries.items()
            if name.startswith(start)
        }
    else:
        reader, sizes = PickleReader(path.read_bytes()), None
        if reader.load() != _MAGIC:
            raise PickleError("it is of no format that torch.save writes")
        try:
            for _ in range(_LATER):
                reader.load()
        except PickleError as error:  # this format keeps classes with the text of their modules
            raise ModelError(
                f"it is of the format before PyTorch 1.6, and can't be read safely ({error})",
                "where you trust it, load it with that version and torch.save(model, path) again",
            ) from None
    for call in reader.calls:
        _check_call(call)
    _check_tensors(path, reader, sizes)


def _check_call(call: Call) -> None:
    name = str(call.maker)
    if call.is_new:
        if (name.startswith(_LAYERS) or name in _MADE) and call.args == ():
            _check_state(name, call.state)
            return
    elif name in _CALLED or name in _TENSORS:
        return
    if name.startswith("torch."):
        raise ModelError(
            f"it makes {_short(name)} by a call that no saved model needs",
            "save it again with torch.save(model, path)",
        )
    raise ModelError(
        f"it holds {_short(name)}, and only layers of torch.nn are read from a file",
        "define the model in the notebook, load its weights, and give the variable's name with "
        f"{option('model')}",
    )


def _check_state(name: str, state: Any) -> None:
    if _count_parts(state, {}) > _MAX_PARTS:
        raise ModelError(
            f"{_short(name)} in it has a setting of more than {_MAX_PARTS:,} parts",
            "save it again with torch.save(model, path)",
        )
    layers = state.get("num_layers") if isinstance(state, dict) else None
    if isinstance(layers, int) and layers > _MAX_LAYERS:
        raise ModelError(
            f"{_short(name)} in it has {layers:,} layers, and {_MAX_LAYERS:,} are allowed",
            "make the model with fewer",
        )


def _count_parts(value: Any, known: dict[int, int]) -> int:
    """Return the parts of a value as they are written out: those that are shared count each time.

    known: the counts of the containers that were met, by their identity
    """
    if not isinstance(value, dict | list | tuple):
        return 1
    if id(value) not in known:
        known[id(value)] = 0  # one that holds itself is written as dots
        inside = value.values() if isinstance(value, dict) else value
        known[id(value)] = 1 + sum(_count_parts(part, known) for part in inside)
    return known[id(value)]


def _check_tensors(path: Path, reader: PickleReader, sizes: Mapping[str, int] | None) -> None:
    """Raise ModelError where the tensors, or the storages that they lie in, are too large.

    sizes: bytes of each storage in the file; None where they follow the pickles
    """
    tensors: dict[tuple[Any, ...], int] = {}
    storages: dict[str, int] = {}
    for call in reader.calls:
        if not call.makes(*_TENSORS):
            continue
        key, numel, itemsize = _storage(call)
        shape, stride = _numbers(call.args[2]), _numbers(call.args[3])
        width = _UNTYPED.get(str(call.args[6]), itemsize) if len(call.args) > 6 else itemsize
        tensors[key, call.args[1], shape, stride] = file_sizes.count_bytes(shape, width)
        storages[key] = max(storages.get(key, 0), numel * itemsize)
        if sizes is not None and sizes.get(key, -1) != numel * itemsize:
            raise PickleError("a tensor's numbers are missing")
    if sizes is None and sum(storages.values()) > path.stat().st_size:
        raise PickleError("tensors' numbers are missing")
    file_sizes.check_declared(path, sum(tensors.values()), "its weights")


def _storage(call: Call) -> tuple[str, int, int]:
    """Return the name, the number of elements and their bytes of the storage of a tensor."""
    storage = call.args[0] if len(call.args) >= 4 else None
    found = storage.id if isinstance(storage, Persistent) else None
    # Files before PyTorch 1.6 have a sixth part, for views.
    if not (isinstance(found, tuple) and len(found) in (5, 6)):
        raise PickleError("a tensor has no storage")
    kind, key, numel = found[1], found[2], found[4]
    itemsize = _ITEMSIZES.get(kind.name) if isinstance(kind, Global) else None
    key = key.decode("latin1") if isinstance(key, bytes) else key
    if itemsize is None or type(key) is not str or type(numel) is not int or numel < 0:
        raise PickleError("a tensor has no storage of plain numbers")
    return key, numel, itemsize


def _numbers(value: Any) -> tuple[int, ...]:
    if isinstance(value, Call) and value.makes("torch.Size") and len(value.args) == 1:
        value = value.args[0]
    if not (isinstance(value, tuple | list) and len(value) <= 64):
        raise PickleError("a tensor has no shape")
    if any(type(number) is not int or number < 0 for number in value):
        raise PickleError("a tensor's shape holds no numbers")
    return tuple(value)


def _short(name: str) -> str:
    return "".join(c for c in name[:100] if c.isprintable())
