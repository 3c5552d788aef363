"""Each of several inputs has one meaning at all parties, whatever its place in a dict."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import fusion_nb
from fusion_nb.data.loading import Source
from fusion_nb.errors import DataError

Read = Callable[..., Source]
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 8, 8)).astype(np.uint8)
TABLE = RNG.normal(size=(40, 3)).astype(np.float32)
FLAGS = RNG.integers(0, 2, (40, 3)).astype(np.uint8)
Y = np.arange(40) % 2


class Both(nn.Module):
    """A model of an image and of numbers, which it takes by their names."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.layer = nn.Linear(67, 2)

    def forward(self, image: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.cat([image.flatten(1), table.float()], 1))


def party(image: Any = IMAGES, table: Any = TABLE) -> Any:
    return {"image": image, "table": table}, Y


@pytest.mark.parametrize("others", [IMAGES / np.float32(255), IMAGES - 300.0, IMAGES > 9])
@pytest.mark.parametrize("form", [dict, lambda inputs: tuple(inputs.values())])
def test_an_input_in_other_units_is_refused_by_its_name(read: Read, others: Any, form: Any) -> None:
    pairs = [(form(inputs), y) for inputs, y in (party(), party(others))]
    for value in (pairs, tuple(pairs)):
        with pytest.raises(DataError, match=r"the inputs '(image|0)' of .* are bytes of images"):
            read(value)


def losses(first: Any, second: Any) -> list[float]:
    run = fusion_nb.federate(Both(), [first, second], rounds=2, lr=0.1)
    return [record.metrics["loss"] for record in run.history]


def test_whole_floats_are_the_same_pixels_as_bytes() -> None:
    expected = losses(party(), party())
    assert losses(party(), party(IMAGES.astype(np.float32))) == expected
    assert max(expected) < 10


def test_a_dict_may_have_its_inputs_in_any_order() -> None:
    turned = {"table": TABLE, "image": IMAGES}, Y
    assert losses(party(), turned) == losses(party(), party())
    with pytest.raises(DataError, match=r"inputs of party 2 are .*, and those of party 1"):
        losses(party(), ({"table": TABLE, "picture": IMAGES}, Y))


def test_the_scaling_of_an_input_is_told() -> None:
    run = fusion_nb.federate(Both(), party(table=FLAGS), rounds=1)
    assert any("bytes of image from 0 to 255 are scaled" in note for note in run.notes)
    assert any(note.startswith("input table: rows: bytes") for note in run.notes)


@pytest.mark.parametrize("pixels", [IMAGES, IMAGES.astype(np.float32)])
def test_keras_scales_an_input_by_what_it_is_and_not_by_its_dtype(pixels: Any) -> None:
    keras = pytest.importorskip("keras")
    from fusion_nb.core.schema import DataSchema
    from fusion_nb.models.keras.inputs import Inputs

    image, table = keras.Input((8, 8), name="image"), keras.Input((3,), name="table")
    both = keras.layers.Concatenate()([keras.layers.Flatten()(image), table])
    model = keras.Model([image, table], keras.layers.Dense(2)(both))
    inputs = Inputs.of(model, DataSchema.of(party(table=FLAGS)))
    brought = inputs.bring({"image": pixels, "table": FLAGS})
    assert np.allclose(brought["image"], IMAGES / 255)
    assert np.array_equal(brought["table"], FLAGS)
    assert any("bytes of image" in n for n in inputs.notes(DataSchema.of(party()).rows))


@pytest.mark.parametrize("labels", [(Y, Y * 1.0), (Y, np.eye(2)[Y])])
def test_several_labels_in_memory_are_not_taken_for_test_rows(read: Read, labels: Any) -> None:
    with pytest.raises(DataError, match=r"no training and test rows") as caught:
        read(((TABLE, IMAGES), labels))
    assert "((a, b), (y1, y2))" in caught.value.hint
    assert read(((TABLE, Y), (TABLE, Y))).test is not None
    assert read(((TABLE, Y), (TABLE[:9], Y[:9]))).test is not None
