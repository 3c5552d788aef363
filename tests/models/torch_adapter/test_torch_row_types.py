"""Rows of whole numbers: whether they stay whole, and which try's reason is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_samples import CLASSES, X, checked, fit

import fusion_nb
from fusion_nb.errors import ModelError

WORDS = np.random.default_rng(0).integers(0, 20, (40, 5))


class Looking(nn.Module):
    """A model that looks whole numbers up without an Embedding."""

    def __init__(self, look: Callable[[nn.Module, Tensor], Tensor], width: int = 20) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(20, 20))
        self.out, self.look = nn.Linear(width, 3), look

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.look(self, x).float().mean(1))


def one_hot(module: Any, x: Tensor) -> Tensor:
    return F.one_hot(x, 20)


def embedding(module: Any, x: Tensor) -> Tensor:
    return F.embedding(x, module.table)


def indexed(module: Any, x: Tensor) -> Tensor:
    return module.table[x]


def gathered(module: Any, x: Tensor) -> Tensor:
    return torch.index_select(module.table, 0, x.flatten()).view(*x.shape, -1)


class TestOwnLookups:
    @pytest.mark.parametrize("look", [one_hot, embedding, indexed, gathered])
    @pytest.mark.parametrize("dtype", [np.int64, np.int32, np.float32])
    def test_rows_stay_whole_where_only_that_works(self, look: Any, dtype: Any) -> None:
        x = WORDS.astype(dtype)
        assert np.isfinite(fit(checked(Looking(look), CLASSES, x), (x, CLASSES)).metrics["loss"])

    def test_rows_of_whole_numbers_are_floats_where_that_works(self) -> None:
        seen = []

        def plain(module: Any, x: Tensor) -> Tensor:
            seen.append(x.dtype)
            return x[:, None]

        checked(Looking(plain, width=5), CLASSES, WORDS)
        assert set(seen) == {torch.float32}

    @pytest.mark.parametrize("look", [one_hot, embedding])
    def test_the_reason_of_the_right_try_is_told(self, look: Any) -> None:
        with pytest.raises((ModelError, RuntimeError), match="mat1 and mat2"):
            checked(Looking(look, width=7), CLASSES, WORDS)


class Tabular(nn.Module):
    """Categories through an Embedding, and other columns through batch normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.category, self.norm = nn.Embedding(5, 4), nn.BatchNorm1d(3)
        self.out = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.category(x[:, 0].long()), self.norm(x[:, 1:])]
        return self.out(torch.cat(parts, 1))


class TestEmbeddings:
    @pytest.mark.parametrize("whole", [(0,), (1,), (0, 1, 2)])
    def test_whole_numbers_of_a_party_do_not_decide(self, whole: tuple[int, ...]) -> None:
        rng = np.random.default_rng(0)
        parties = []
        for number in range(3):
            values = rng.normal(size=(20, 3)) * 3
            values = values.round() if number in whole else values
            x = np.c_[rng.integers(0, 5, 20), values].astype(np.float32)
            parties.append((x, np.arange(20) % 3))
        run = fusion_nb.federate(Tabular(), parties, rounds=1)
        assert np.isfinite(run.history.last()["loss"])

    def test_too_small_a_table_is_told_as_it_is(self) -> None:
        model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(20, 3))
        with pytest.raises(ModelError, match="index out of range"):
            checked(model, CLASSES, WORDS)

    def test_rows_that_are_no_indices_are_told_of(self) -> None:
        with pytest.raises(ModelError, match="indices"):
            checked(nn.Sequential(nn.Embedding(10, 3), nn.Flatten()), CLASSES, X)
