"""Keras's settings of a whole process by which the same steps come to other numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def found() -> dict[str, Any]:
    """Return those of this process, as values that can be pickled."""
    import keras

    return {
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "image_data_format": keras.config.image_data_format(),
        "dtype_policy": keras.config.dtype_policy().name,
    }


def take(settings: Mapping[str, Any]) -> None:
    """Give this process settings that `found` returned in another one."""
    import keras

    before = found()
    for name, value in settings.items():
        if value != before[name]:
            getattr(keras.config, f"set_{name}")(value)
