"""Data that a notebook holds in a variable or in files becomes a source of rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_nb.core import rows as rows_of
from fusion_nb.data import loading
from fusion_nb.data.loading import Source
from fusion_nb.errors import DataError, NameNotFoundError, python_spelling

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
Read = Callable[..., Source]


class Items:
    """A map-style data set without targets."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        return X[i].astype(np.float32), int(Y[i])


class TestOnePool:
    @pytest.mark.parametrize(
        "value",
        [
            (X, Y),
            (X.tolist(), Y.tolist()),
            {"x_train": X, "y_train": Y},
            {"data": X, "target": Y},
            (pd.DataFrame(X), pd.Series(Y)),
            (X, Y.astype(float)),
            (X, Y.astype(bool)),
        ],
        ids=["arrays", "lists", "four keys", "bunch", "pandas", "whole floats", "booleans"],
    )
    def test_every_form_gives_the_same_rows(self, read: Read, value: Any) -> None:
        source = read(value)
        assert np.array_equal(source.train[0], X)
        assert source.train[1].tolist() == Y.tolist()
        assert source.train[1].dtype == np.int64
        assert source.test is None

    def test_tensors_give_the_same_rows(self, read: Read) -> None:
        torch = pytest.importorskip("torch")
        tensors = torch.tensor(X, requires_grad=True), torch.tensor(Y)
        dataset = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
        for value in (tensors, dataset):
            source = read(value)
            assert np.array_equal(source.train[0], X)
            assert source.train[1].tolist() == Y.tolist()
            assert source.test is None

    @pytest.mark.parametrize(
        "value",
        [((X, Y), (X[:3], Y[:3])), {"x_train": X, "y_train": Y, "x_test": X[:3], "y_test": Y[:3]}],
        ids=["pairs", "four keys"],
    )
    def test_a_central_test_set_is_kept_apart(self, read: Read, value: Any) -> None:
        assert rows_of.size(read(value).test) == 3

    def test_a_dataset_is_read_row_by_row(self, read: Read) -> None:
        source = read(Items())
        assert rows_of.size(source.train) == 12
        rows = rows_of.take(source.train, np.array([3, 1]))
        assert rows_of.stored_labels(rows).tolist() == [1, 1]
        assert rows_of.stored_labels(rows_of.take(rows, np.array([0]))).tolist() == [1]
        assert rows[0][0].tolist() == X[3].tolist()

    def test_datasets_may_be_a_training_and_a_test_set(self, read: Read) -> None:
        assert rows_of.size(read((Items(), Items())).test) == 12


class TestParties:
    def test_words_mean_the_same_class_at_every_party(self, read: Read) -> None:
        source = read({"a": (X[:2], ["dog", "dog"]), "b": (X[:2], ["cat", "dog"])})
        assert source.classes == ("cat", "dog")
        assert source.parties is not None
        assert source.parties["a"][0][1].tolist() == [1, 1]

    def test_the_aggregators_test_set_stays_apart_from_parties_rows(self, read: Read) -> None:
        source = read(({"a": (X[:10], Y[:10]), "b": (X[10:], Y[10:])}, (X[:4] + 100, Y[:4])))
        assert source.parties is not None
        assert list(source.parties) == ["a", "b"]
        assert source.test is not None
        np.testing.assert_array_equal(source.test[0], X[:4] + 100)

    def test_the_aggregators_test_set_has_the_shape_of_the_parties(self, read: Read) -> None:
        with pytest.raises(DataError, match=r"the test set have shape \(3,\), those of a \(2,\)"):
            read(({"a": (X, Y)}, (np.zeros((4, 3)), Y[:4])))

    def test_the_aggregators_labels_are_numbered_with_the_parties(self, read: Read) -> None:
        names = np.array(["cat", "dog"])
        source = read(({"a": (X, names[Y])}, (X[:2], np.array(["dog", "cat"]))))
        assert source.classes == ("cat", "dog")
        np.testing.assert_array_equal(source.test[1], [1, 0])


class TestUnusableData:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ((X, Y[:5]), "20 rows but 5 labels"),
            ((X[:0], Y[:0]), "no rows"),
            ((np.where(X > 30, np.nan, X), Y), "NaN"),
            (([[1, 2], [3]], [0, 1]), "different lengths"),
            ((np.array([["a", "b"]] * 20), Y), "not real numbers"),
            ((X.astype(complex), Y), "holds complex128, not real numbers"),
            ((X, Y, X, Y), "holds a tuple of 4"),
            ((X, Y, np.ones(20)), "holds a tuple of 3"),
            (X, "ndarray where rows with labels should be"),
            ({"a": X, "b": Y}, "ndarray where rows with labels should be"),
            (7, "int where rows with labels should be"),
            ([], "empty"),
            ([(X, Y), (X[:, :1], Y)], "have shape"),
            (((X, ["a"] * 20), (X, ["b"] * 20)), "is in no training row"),
            ((X, np.array(["a", None] * 10, dtype=object)), "10 labels are missing"),
            (pd.DataFrame({"a": [1], "b": [2]}), "no column that is plainly the label"),
            (pd.DataFrame({"a": ["u"], "y": [2]}), "columns that are not numbers: a"),
            (pd.DataFrame([[1, 2, 3]], columns=["a", "a", "y"]), "two columns 'a'"),
        ],
    )
    def test_it_is_refused_in_one_line_with_a_hint(
        self, read: Read, value: Any, message: str
    ) -> None:
        with pytest.raises(DataError) as caught:
            read(value)
        assert message in caught.value.message
        assert caught.value.hint
        assert "\n" not in caught.value.message

    def test_a_list_of_tensors_is_refused(self, read: Read) -> None:
        torch = pytest.importorskip("torch")
        with pytest.raises(DataError, match="Tensor where rows with labels"):
            read([torch.tensor(X), torch.tensor(Y)])

    def test_the_error_names_the_option_and_its_value(self, read: Read) -> None:
        with pytest.raises(DataError) as caught:
            read(7)
        assert (caught.value.option, caught.value.value) == ("data", "value")
        assert caught.value.spelled(python_spelling).message.startswith("data='value' is or holds")


class TestNames:
    def test_an_unknown_name_gets_the_nearest_one(self) -> None:
        with pytest.raises(NameNotFoundError, match="did you mean 'digits'") as caught:
            loading.read("digit", {})
        assert (caught.value.option, caught.value.value) == ("data", "digit")
        assert "digits" in caught.value.allowed
        with pytest.raises(NameNotFoundError, match="did you mean 'sensors'"):
            loading.read("sensor", {"sensors": (X, Y)})

    def test_an_unknown_key_gets_the_nearest_column(self, read: Read) -> None:
        with pytest.raises(NameNotFoundError, match="did you mean 'site'"):
            read(pd.DataFrame({"site": [1], "y": [0]}), key="sit")

    @pytest.mark.parametrize("value", [(X, Y), {"a": (X, Y), "b": (X, Y)}], ids=["pool", "parties"])
    def test_a_variable_wins_over_a_data_set_of_its_name_and_a_note_says_so(
        self, value: Any
    ) -> None:
        source = loading.read("digits", {"digits": value})
        assert "your variable" in source.notes[0]
        assert (
            rows_of.size(source.train if source.parties is None else source.parties["a"][0]) == 20
        )

    def test_variables_that_can_be_partitioned_are_offered(self) -> None:
        offered = {"pair": (X, Y), "parties": [(X, Y)], "table": pd.DataFrame(X), "texts": ["a b"]}
        others = {"_pair": (X, Y), "array": X, "number": 7, "kind": Items, "module": np}
        namespace = offered | others
        found = {name for name, value in namespace.items() if loading.looks_like_data(name, value)}
        assert found == set(offered)

    @pytest.mark.parametrize(
        ("value", "kind"),
        [
            ((X, Y), "numbers"),
            ({"a": (X, Y)}, "numbers"),
            (["some text", "more text"], "documents"),
            ((["some text"], [0]), "documents"),
            ({"a": ["some text"]}, "documents"),
            (pd.DataFrame({"text": ["some text"]}), ""),
        ],
    )
    def test_a_variable_holds_numbers_or_documents(self, value: Any, kind: str) -> None:
        assert loading.kind_of(value) == kind


class TestNpzFiles:
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_one_file_is_a_pool_and_several_are_parties(self) -> None:
        for name in ("lyon", "graz"):
            np.savez(f"{name}.npz", x_train=X, y_train=Y, x_test=X[:4], y_test=Y[:4])
        assert rows_of.size(loading.read("lyon.npz", {}).test) == 4
        for text in ("lyon.npz,graz.npz", "*.npz"):
            parties = loading.read(text, {}).parties
            assert parties is not None
            assert set(parties) == {"lyon", "graz"}
            assert all(rows_of.size(test) == 4 for _, test in parties.values())

    def test_objects_are_not_unpickled(self) -> None:
        np.savez("bad.npz", x_train=np.array([[1], [1, 2]], dtype=object), y_train=Y)
        with pytest.raises(DataError, match="could run code"):
            loading.read("bad.npz", {})

    def test_a_missing_array_is_named(self) -> None:
        np.savez("half.npz", x_train=X, labels=Y)
        with pytest.raises(DataError, match="no array 'y_train'; it has x_train, labels"):
            loading.read("half.npz", {})

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut off"])
    def test_a_broken_file_is_refused(self, content: bytes) -> None:
        Path("broken.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"broken.npz can't be read"):
            loading.read("broken.npz", {})

    def test_a_truncated_file_is_refused(self) -> None:
        np.savez_compressed(
            "whole.npz", x_train=np.random.default_rng(0).normal(size=(50, 50)), y_train=Y
        )
        Path("cut.npz").write_bytes(Path("whole.npz").read_bytes()[:-200])
        with pytest.raises(DataError, match=r"cut.npz can't be read"):
            loading.read("cut.npz", {})

    def test_a_single_array_and_an_absent_file_are_refused(self) -> None:
        np.save("one.npy", X)
        Path("one.npy").rename("one.npz")
        with pytest.raises(DataError, match="single array"):
            loading.read("one.npz", {})
        with pytest.raises(DataError, match=r"no file gone.npz"):
            loading.read("gone.npz", {})

    def test_two_files_of_one_name_are_refused(self) -> None:
        for folder in ("a", "b"):
            Path(folder).mkdir()
            np.savez(f"{folder}/same.npz", x_train=X, y_train=Y)
        with pytest.raises(DataError, match="same name"):
            loading.read("a/same.npz,b/same.npz", {})


class TestTableFiles:
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        frame = pd.DataFrame(X, columns=["a", "b"]).assign(town="oslo", ill=Y)
        frame.to_csv("north.csv", index=False)
        frame[["ill", "b", "town", "a"]].to_csv("south.csv", index=False)
        frame.to_parquet("west.PARQUET")

    def test_several_are_parties_in_the_order_of_the_first(self, read: Read) -> None:
        files = ["north.csv", Path("south.csv"), "west.PARQUET"]
        for value in (None, files, {Path(file).stem: file for file in files}):
            how = {"label": "ill", "is_encoded": True}
            found = read(value, **how) if value else loading.read("*.csv, west.PARQUET", {}, **how)
            assert found.parties is not None
            assert list(found.parties) == ["north", "south", "west"]
            assert list(found.forms or ()) == ["a", "b", "town"]

    def test_one_is_a_pool_that_a_split_may_follow(self, read: Read) -> None:
        how = {"label": "ill", "key": "town", "is_encoded": True}
        for source in (loading.read("north.csv", {}, **how), read(Path("north.csv"), **how)):
            assert source.columns["town"].tolist() == ["oslo"] * 20
            assert source.labels["", "train"].tolist() == Y.tolist()
        with pytest.raises(NameNotFoundError, match="no column and no variable 'city'"):
            loading.read("north.csv", {}, key="city", label="ill", is_encoded=True)

    @pytest.mark.parametrize("text", ["gone.csv", "north.csv,gone.csv", "gone/*.parquet"])
    def test_an_absent_one_is_named(self, text: str) -> None:
        with pytest.raises(DataError, match="there is no file gone"):
            loading.read(text, {}, label="ill", is_encoded=True)
