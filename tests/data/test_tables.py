"""A DataFrame becomes rows and labels, by the names of its columns."""

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


def test_the_label_is_found_and_the_key_is_no_feature(read: Read) -> None:
    table = pd.DataFrame(
        {"a": [1, 2, 3], "b": [4.0, 5, 6], "site": ["n", "s", "n"], "target": [0, 1, 0]}
    )
    source = read(table, key="site")
    assert source.train[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert source.columns["site"].tolist() == ["n", "s", "n"]
    assert source.notes == ("label: the column 'target'",)
    assert read(table.drop(columns="site"), label="a").train[1].tolist() == [1, 2, 3]


def test_columns_may_have_numbers_for_names(read: Read) -> None:
    assert read(pd.DataFrame(X), label="1").train[1].tolist() == X[:, 1].tolist()


def test_two_tables_are_a_training_and_a_test_set(read: Read) -> None:
    tables = (pd.DataFrame({"a": [1, 2], "y": [0, 1]}), pd.DataFrame({"a": [3], "y": [1]}))
    assert read(tables).test[0].tolist() == [[3]]


def test_the_key_is_a_feature_of_neither_the_training_nor_the_test_table(read: Read) -> None:
    table = pd.DataFrame({"a": X[:, 0], "ward": np.where(Y, "e", "w"), "y": Y})
    source = read((table, table[:4]), key="ward")
    assert source.train[0].shape == (20, 1)
    assert source.test[0].shape == (4, 1)


def test_tables_can_be_parties_and_the_test_set_beside_them(read: Read) -> None:
    table = pd.DataFrame({"a": X[:, 0], "y": Y})
    source = read(({"north": table[:10], "south": table[10:]}, table[:4]))
    assert source.parties is not None
    assert source.parties["south"][0][0].tolist() == X[10:, :1].tolist()
    assert source.test[1].tolist() == Y[:4].tolist()


@pytest.mark.parametrize("label", ["", "lable"])
def test_a_label_that_is_not_found_names_its_option_and_the_columns(read: Read, label: str) -> None:
    with pytest.raises(DataError, match="add --label COLUMN; its columns are: a, b") as caught:
        read(pd.DataFrame({"a": [1], "b": [2]}), label=label)
    assert caught.value.option == "label"
    assert caught.value.allowed == ("a", "b")


class TestIndexes:
    """Rows and labels of pandas are joined by position, and not by their indexes."""

    @pytest.mark.parametrize("ids", [range(20), [f"p{i}" for i in range(20)]])
    def test_the_same_rows_in_another_order_are_refused(self, read: Read, ids: Any) -> None:
        x, y = pd.DataFrame({"a": X[:, 0]}, index=ids), pd.Series(Y, index=ids)
        turned = x.iloc[::-1]
        for value in ((turned, y), [(turned, y), (x, y)], ((x, y), (turned, y)), (turned["a"], y)):
            with pytest.raises(DataError, match="same rows in another order"):
                read(value)
        assert read((turned, y.loc[turned.index])).train[1].tolist() == Y[::-1].tolist()
        assert read((turned, y.to_numpy())).train[1].tolist() == Y.tolist()

    @pytest.mark.parametrize("ids", [range(5, 25), [0] * 20, range(0, 40, 2)])
    def test_other_indexes_say_nothing(self, read: Read, ids: Any) -> None:
        x, y = pd.DataFrame({"a": X[:, 0]}, index=ids), pd.Series(Y)
        assert read((x, y)).train[1].tolist() == Y.tolist()

    def test_so_are_documents_and_their_labels(self, read: Read) -> None:
        texts = pd.Series([f"some words {'a' * (i + 2)}" for i in range(20)])
        with pytest.raises(DataError, match="same rows in another order"):
            read((texts.iloc[::-1], pd.Series(Y)))


def test_the_label_of_parties_tables_is_told(read: Read) -> None:
    table = pd.DataFrame({"a": X[:, 0], "label": Y})
    other = table.rename(columns={"label": "target"})
    assert read([table, table]).notes == ("label: the column 'label'",)
    notes = read({"n": table, "s": other, "w": other}).notes
    assert "label: the column 'label', at n" in notes
    assert "label: the column 'target', at s, w" in notes


def test_several_inputs_are_not_said_to_lack_names(read: Read) -> None:
    inputs = {"a": X[:, 0], "b": X[:, 1]}
    assert not any("no names" in note for note in read((inputs, Y)).notes)
    assert not any("no names" in note for note in read([(inputs, Y), (inputs, Y)]).notes)
