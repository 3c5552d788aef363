"""Changes that arrive, as a distribution: its mean and variance over many draws; and its error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from fusion_nb.algorithms.compressions.link import send
from fusion_nb.core import registry

DRAWS = 4000


def row(size: int = 60, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def arrived(text: str, found: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """The row that arrives, once for each of many random streams."""
    rule, like = registry.create("compressions", text), {"w": found}
    rows = []
    for key in range(draws):
        message = rule.encode(like, np.random.default_rng(key), {})
        rows.append(rule.decode(message, like, np.random.default_rng(key))["w"])
    return np.array(rows, np.float64)


@pytest.mark.parametrize(
    "text", ["qsgd:bits=2", "qsgd:bits=4", "qsgd:bits=3,bucket=7", "randk:share=0.2,feedback=false"]
)
def test_the_mean_over_draws_is_the_change(text: str) -> None:
    sent = row()
    found = arrived(text, sent)
    error = np.abs(found.mean(0) - sent)
    spread = found.std(0) / math.sqrt(DRAWS)
    assert (error <= 4.5 * spread + 1e-6).all()
    assert (found != found[0]).any(), "it draws"


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
@pytest.mark.parametrize("size", [16, 60])
def test_the_variance_of_qsgd_is_within_its_bound(bits: int, size: int) -> None:
    sent, levels = row(size), 2 ** (bits - 1) - 1
    found = arrived(f"qsgd:bits={bits}", sent, 500)
    variance = ((found - sent) ** 2).sum(1).mean()
    squared = float((sent.astype(np.float64) ** 2).sum())
    bound = min(size / levels**2, math.sqrt(size) / levels)
    assert 0 < variance <= bound * squared
    # Not far from it either: each number's variance is that of a coin between two levels.
    heights = np.abs(sent) / math.sqrt(squared) * levels
    chance = heights - np.floor(heights)
    exact = (chance * (1 - chance)).sum() * squared / levels**2
    assert variance == pytest.approx(exact, rel=0.15)


def test_the_variance_of_random_positions() -> None:
    sent = row()
    found = arrived("randk:share=0.2,feedback=false", sent)
    variance = ((found - sent) ** 2).sum(1).mean()
    assert variance == pytest.approx(4 * float((sent**2).sum()), rel=0.05)


def test_random_positions_are_equally_likely() -> None:
    counts = (arrived("randk:share=0.2", np.ones(50, np.float32)) != 0).sum(0)
    expected = DRAWS * 0.2
    assert np.abs(counts - expected).max() < 4.5 * math.sqrt(expected * 0.8)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("topk:share=0.1", 0.9),  # a contraction: at most 1 - k / n of the squared norm is lost
        ("randk:share=1", 0.0),
        ("stc:p=0.1", 0.95),
        ("sign", 1 - 2 / math.pi + 0.1),  # for normal numbers, E|x|^2 / E x^2 is 2 / pi
        ("int8", 1e-4),
        ("int4", 0.02),
        ("fp16", 1e-6),
        ("lowrank:rank=1", 0.999),
    ],
)
def test_the_squared_error_of_a_biased_code(text: str, most: float) -> None:
    sent = {"w": row(900).reshape(30, 30)}
    rule = registry.create("compressions", text)
    message = rule.encode(sent, np.random.default_rng(0), {})
    found = rule.decode(message, sent, np.random.default_rng(0))
    lost = ((found["w"] - sent["w"]) ** 2).sum() / (sent["w"] ** 2).sum()
    assert lost <= most


@pytest.mark.parametrize("text", ["topk:share=0.1", "sign", "stc:p=0.1", "int4", "lowrank:rank=1"])
def test_error_feedback_delivers_everything_in_the_end(text: str) -> None:
    sent = {"w": row(25).reshape(5, 5).astype(np.float64)}
    kept: dict[str, Any] = {}
    rule, total = registry.create("compressions", text), np.zeros((5, 5))
    for number in range(300):
        streams = np.random.default_rng(number), np.random.default_rng(number)
        _, found, kept = send(rule, sent, kept, streams)
        total += found["w"]
        # Nothing is lost: what arrived and what is kept is all that was given.
        given = (number + 1) * sent["w"]
        assert np.allclose(total + kept["residual"]["w"], given, rtol=1e-4, atol=1e-2)
    assert np.abs(total / 300 - sent["w"]).max() < 0.25


@pytest.mark.parametrize("text", ["topk:share=0.1,feedback=false", "qsgd", "fp16:feedback=false"])
def test_without_error_feedback_nothing_is_kept(text: str) -> None:
    streams = np.random.default_rng(0), np.random.default_rng(0)
    _, _, kept = send(registry.create("compressions", text), {"w": row()}, {}, streams)
    assert kept == {}


def test_a_low_rank_change_arrives_whole_after_a_few_messages() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((30, 2)) @ rng.standard_normal((2, 20))
    rule, memory = registry.create("compressions", "lowrank:rank=2"), dict[str, Any]()
    for _ in range(3):
        message = rule.encode({"w": matrix.astype(np.float32)}, rng, memory)
    found = rule.decode(message, {"w": matrix}, rng)["w"]
    assert np.abs(found - matrix).max() < 1e-4


def test_numbers_too_large_for_float16_come_with_later_messages() -> None:
    rule, kept = registry.create("compressions", "fp16"), dict[str, Any]()
    streams = np.random.default_rng(0), np.random.default_rng(0)
    _, first, kept = send(rule, {"w": np.array([1e5])}, kept, streams)
    _, second, kept = send(rule, {"w": np.array([0.0])}, kept, streams)
    assert np.isfinite(first["w"]).all()
    assert first["w"] + second["w"] == pytest.approx(1e5, rel=1e-3)
