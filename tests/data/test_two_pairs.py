"""Two pairs are training and test rows; where they might be inputs and labels, the user is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_nb.data.loading import Source
from fusion_nb.errors import DataError

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
Read = Callable[..., Source]
SAYS = "taken as training and test rows"


@pytest.mark.parametrize(
    "pairs",
    [
        ((X, Y), (X + 1, Y)),
        ((X, Y[:, None]), (X + 1, Y[:, None])),
        ((X.tolist(), Y.tolist()), (X.tolist(), Y.tolist())),
        ((pd.DataFrame(X), pd.Series(Y)), (pd.DataFrame(X), pd.Series(Y))),
        ((X, X[:, 0]), (X, X[:, 1])),
    ],
)
def test_equal_lengths_are_taken_and_the_guess_is_told(read: Read, pairs: Any) -> None:
    source = read(pairs)
    assert len(source.train[1]) == len(source.test[1]) == 20
    (note,) = (note for note in source.notes if SAYS in note)
    assert note.startswith("warning: ")
    assert "((a, b), y)" in note
    (x, y), (x_test, y_test) = pairs
    named = read({"train": (x, y), "test": (x_test, y_test)})
    assert not any(SAYS in note for note in named.notes)
    assert np.array_equal(named.test[0], source.test[0])


def test_other_lengths_say_enough(read: Read) -> None:
    source = read(((X, Y), (X[:10], Y[:10])))
    assert source.notes == ()
    assert len(source.test[1]) == 10
    assert read(((X, Y), None)).notes == ()


@pytest.mark.parametrize("make", [np.asarray, pd.Series])
def test_four_columns_of_one_length_are_refused(read: Read, make: Any) -> None:
    a, b = make(X[:, 0]), make(X[:, 1])
    with pytest.raises(DataError, match="two inputs and two labels") as caught:
        read(((a, b), (make(Y), make(Y))))
    assert "'train'" in caught.value.hint
    assert "np.stack" in caught.value.hint
    apart = read({"train": (X[:, 0], Y), "test": (X[:, 1], Y)})
    assert apart.train[0].shape == (20,)
    assert read(((X[:, 0], Y), (X[:5, 1], Y[:5]))).test[0].shape == (5,)
