"""The identity of objects that say how they are made by `get_config`, as those of Keras do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fusion_nb.models.identity.texts import KIND, of_settings, text

#: Settings that number the objects of a process, or decide the first weights alone.
_NO_SETTINGS = frozenset({"name", "layers", "input_layers", "output_layers", "build_input_shape"})
_OF_FIRST_WEIGHTS = "initializer"


def of_layers(model: Any, layers: Iterable[Any]) -> dict[str, dict[str, str]]:
    """Return the class and the configuration of a model, and of each of its layers in order."""
    found = {"model": _of_part(model)}
    for number, layer in enumerate(layers):
        found[f"layer {number + 1}"] = _of_part(layer)
    return found


def of_configured(thing: Any) -> dict[str, str]:
    """Return the class of an object, and what its `get_config` says."""
    try:
        config = dict(thing.get_config())
    except Exception:  # a class of the user's own that has none
        config = {}
    return {KIND: text(type(thing)), **of_settings(dict(_settings(config)))}


def _of_part(layer: Any) -> dict[str, str]:
    return of_configured(layer) | ({} if layer.trainable else {"trainable": "False"})


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the settings of a configuration by name; an object in it by its class and settings."""
    for name, value in config.items():
        if name in _NO_SETTINGS or name.endswith(_OF_FIRST_WEIGHTS):
            continue
        if isinstance(value, Mapping) and "class_name" in value:
            inner = value.get("config")
            rest = dict(_settings(inner)) if isinstance(inner, Mapping) else inner
            yield name, f"{value['class_name']} {rest}"
        else:
            yield name, value
