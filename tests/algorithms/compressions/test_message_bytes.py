"""The lengths of messages, to the byte, and the figures that were published about them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fusion_nb.algorithms.compressions import bits
from fusion_nb.core import registry
from fusion_nb.core.types import Weights

SHAPES = {"a.weight": (30, 20), "a.bias": (30,), "kernel": (8, 4, 3, 3), "scalar": (), "none": (0,)}


def change(seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)
    return {
        name: np.asarray(rng.standard_normal(shape), np.float32) for name, shape in SHAPES.items()
    }


def sent(text: str, entries: Weights, key: int = 7) -> tuple[np.ndarray, Weights]:
    """The message of some entries, and the entries that arrive."""
    rule = registry.create("compressions", text)
    message = rule.encode(entries, np.random.default_rng(key), {})
    return message, rule.decode(message, entries, np.random.default_rng(key))


def row_message(text: str, size: int, seed: int = 0) -> np.ndarray:
    row = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    return sent(text, {"w": row})[0]


NUM = sum(math.prod(shape) for shape in SHAPES.values())
COUNT = round(0.1 * NUM)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("fp16", 2 * NUM),
        ("int8:block=100", NUM + 4 * math.ceil(NUM / 100)),
        ("int4:block=64", math.ceil(NUM / 2) + 4 * math.ceil(NUM / 64)),
        ("qsgd:bits=3,bucket=50", math.ceil(3 * NUM / 8) + 4 * math.ceil(NUM / 50)),
        ("sign", math.ceil(NUM / 8) + 4 * len(SHAPES)),
        ("randk:share=0.1", 4 * COUNT),
        ("lowrank:rank=2", 4 * (2 * (30 + 20) + 30 + 2 * (8 + 36) + 1)),
    ],
)
def test_a_message_has_the_length_of_its_code(text: str, length: int) -> None:
    message, _ = sent(text, change())
    assert message.dtype == np.uint8
    assert message.nbytes == length


@pytest.mark.parametrize("name", registry.names("compressions"))
@pytest.mark.parametrize("entries", [change(), {"w": np.zeros((5, 4), np.float32)}, {}])
def test_what_arrives_has_the_form_of_the_change(name: str, entries: Weights) -> None:
    _, found = sent(name, entries)
    assert {n: a.shape for n, a in found.items()} == {n: a.shape for n, a in entries.items()}
    assert all(a.dtype == np.float32 and np.isfinite(a).all() for a in found.values())
    if "w" in entries:
        assert not found["w"].any()


class TestPublished:
    @pytest.mark.parametrize(("text", "share"), [("fp16", 0.5), ("int8", 0.2502), ("int4", 0.1406)])
    def test_shares_of_float32(self, text: str, share: float) -> None:
        size = 4096 * 40
        assert row_message(text, size).nbytes / (4 * size) == pytest.approx(share, abs=5e-5)

    def test_eight_bits_with_a_table_of_levels_for_each_layer(self) -> None:
        # NVFlare's 25.03 %: 5716.26 MB in 147 layers, each with 256 levels of float32.
        size = round(5716.26e6 / 4)
        ours = size + 4 * math.ceil(size / 4096)
        assert round(100 * (ours + 147 * 1024) / (4 * size), 2) == 25.03

    def test_stc_against_sparse_numbers_by_entropy(self) -> None:
        p = 0.01
        positions = -p * math.log2(p) - (1 - p) * math.log2(1 - p)
        assert (positions + 32 * p) / (positions + p) == pytest.approx(4.414, abs=5e-4)

    def test_stc_against_sparse_numbers_in_bytes(self) -> None:
        size = 200_000
        ratio = row_message("topk:share=0.01", size).nbytes / row_message("stc:p=0.01", size).nbytes
        assert ratio == pytest.approx(4.414, rel=0.005)

    def test_golomb_code_of_random_positions(self) -> None:
        size, p = 400_000, 0.01
        positions = np.sort(np.random.default_rng(0).choice(size, int(p * size), replace=False))
        code = bits.encode_positions(positions, bits.golomb_width(p))
        assert len(code) / len(positions) == pytest.approx(8.11, abs=0.03)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("size", [1, 2, 9, 1000])
def test_positions_come_back(share: float, size: int) -> None:
    rng, count = np.random.default_rng(size), max(1, round(share * size))
    positions = np.sort(rng.choice(size, count, replace=False))
    width = bits.golomb_width(share)
    code = bits.unpacked(bits.packed(bits.encode_positions(positions, width)))
    found, _ = bits.decode_positions(code, width, count)
    assert found.tolist() == positions.tolist()


@pytest.mark.parametrize("width", [1, 3, 4, 8, 13])
def test_numbers_of_a_fixed_width_come_back(width: int) -> None:
    numbers = np.random.default_rng(width).integers(0, 2**width, 77)
    code = bits.unpacked(bits.packed(bits.fixed_width(numbers, width)))
    assert bits.from_fixed_width(code, width, 77).tolist() == numbers.tolist()
