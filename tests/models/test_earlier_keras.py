"""Models of Keras 2, which share no class with those of Keras 3."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_nb.errors import ModelError
from fusion_nb.models.lookup import wrap


@pytest.mark.parametrize(
    "module", ["tf_keras.src.engine.training", "tensorflow.python.keras.engine.training"]
)
@pytest.mark.parametrize("is_subclass", [True, False])
def test_a_model_of_keras_2_is_told_what_to_do(module: str, is_subclass: bool) -> None:
    base: Any = type("Model", (), {"__module__": module})
    kind = type("Mine", (base,), {}) if is_subclass else base
    with pytest.raises(ModelError, match="'net' is a model of Keras 2") as caught:
        wrap(kind(), "net")
    assert "TF_USE_LEGACY_KERAS" in caught.value.hint


def test_another_object_is_not_taken_for_one() -> None:
    with pytest.raises(ModelError, match="no model of a known framework"):
        wrap(object(), "net")
