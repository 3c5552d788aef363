"""The attacks of an audit on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_nb.runs.audit import dense_layer, membership

RNG = np.random.default_rng(0)


def update(rows: np.ndarray, errors: np.ndarray, *, transposed: bool = False) -> tuple[dict, dict]:
    """Weights of a dense layer before and after a step; errors (rows, neurons) are the gradients of
    the loss by its outputs."""
    weights = errors.T @ rows
    before = {"w": RNG.normal(size=weights.shape), "b": RNG.normal(size=errors.shape[1])}
    after = {"w": before["w"] - 0.1 * weights, "b": before["b"] - 0.1 * errors.sum(0)}
    if transposed:
        before["w"], after["w"] = before["w"].T, after["w"].T
    return before, after


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("neurons", [1, 4, 30])
def test_one_row_is_read_off_a_dense_layer(transposed: bool, neurons: int) -> None:
    row = RNG.normal(size=(1, 12))
    before, after = update(row, RNG.normal(size=(1, neurons)), transposed=transposed)
    found = dense_layer.first_row(before, after, 12)
    assert found is not None
    assert np.abs(found - row[0]).max() < 1e-10


def test_a_clip_does_not_hide_a_row() -> None:
    row = RNG.normal(size=(1, 12))
    before, after = update(row, RNG.normal(size=(1, 5)))
    clipped = {name: before[name] + 0.01 * (after[name] - before[name]) for name in before}
    found = dense_layer.first_row(before, clipped, 12)
    assert found is not None
    assert np.allclose(found, row[0])


def test_a_neuron_that_one_row_moved_holds_that_row() -> None:
    rows = RNG.normal(size=(3, 12))
    errors = np.zeros((3, 4))
    errors[0, 0] = errors[1, 1] = 0.5
    errors[:, 2] = 0.3  # a mixture; the last neuron did not move
    found = dense_layer.candidates(*update(rows, errors), 12)
    assert len(found) == 3
    assert np.allclose(found[:2], rows[:2])
    assert np.allclose(found[2], rows.mean(axis=0))


def test_a_layer_of_another_size_is_none() -> None:
    before, after = update(RNG.normal(size=(1, 12)), RNG.normal(size=(1, 5)))
    assert dense_layer.first_row(before, after, 13) is None
    assert dense_layer.candidates(before, after, 13).shape == (0, 13)


def test_an_update_that_changed_nothing_gives_no_row_away() -> None:
    before, _ = update(RNG.normal(size=(1, 12)), RNG.normal(size=(1, 5)))
    assert np.array_equal(dense_layer.first_row(before, before, 12), np.zeros(12))


@pytest.mark.parametrize("label", [0, 2, 4])
def test_the_label_is_the_class_whose_bias_grew(label: int) -> None:
    chances = np.full(5, 0.2)
    before = {"b": np.zeros(5)}
    after = {"b": -0.1 * (chances - np.eye(5)[label])}
    assert dense_layer.label_of(before, after, 5) == label
    assert dense_layer.label_of(before, after, 4) is None


def test_the_label_of_one_output_is_its_direction() -> None:
    assert dense_layer.label_of({"b": np.zeros(1)}, {"b": np.array([0.1])}, 2) == 1
    assert dense_layer.label_of({"b": np.zeros(1)}, {"b": np.array([-0.1])}, 2) == 0


class TestMembership:
    def test_the_area_is_the_chance_that_a_member_has_the_smaller_loss(self) -> None:
        members, others = RNG.integers(0, 9, 40) / 9, RNG.integers(2, 11, 30) / 9
        pairs = [(m < o) + (m == o) / 2 for m in members for o in others]
        assert membership.attack(members, others).auc == pytest.approx(np.mean(pairs))

    @pytest.mark.parametrize("shift", [0.0, 0.5, 2.0])
    def test_the_interval_holds_the_true_area_about_as_often_as_it_says(self, shift: float) -> None:
        from math import erf

        truth = 0.5 * (1 + erf(shift / 2))  # of two normal distributions
        held = 0
        for _ in range(200):
            members, others = RNG.normal(size=80), RNG.normal(shift, 1, 60)
            found = membership.attack(members, others)
            held += found.low <= truth <= found.high
        assert 0.88 * 200 <= held <= 200

    def test_rows_that_are_all_told_apart_have_the_area_one(self) -> None:
        found = membership.attack(np.zeros(5), np.ones(7))
        assert (found.auc, found.high) == (1.0, 1.0)
