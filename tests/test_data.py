"""Reading and dividing: every form of data that a notebook holds, and every way in which it can be
wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fusion_nb.core import registry
from fusion_nb.core import rows as rows_of
from fusion_nb.core.options import signature_options
from fusion_nb.data import image_datasets, loading, splits
from fusion_nb.data.partition import Division
from fusion_nb.errors import DataError, FusionError, NameNotFoundError, OptionError, SplitError
from fusion_nb.runs.build import divide
from fusion_nb.runs.spec import RunSpec

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2


def read(value: Any, **options: str) -> loading.Source:
    return loading.read("value", {"value": value}, **options)


class Items:
    """A map-style data set without targets."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        return X[i].astype(np.float32), int(Y[i])


@pytest.mark.parametrize(
    "value",
    [
        (X, Y),
        (X.tolist(), Y.tolist()),
        (torch.tensor(X, requires_grad=True), torch.tensor(Y)),
        {"x_train": X, "y_train": Y},
        {"data": X, "target": Y},
        (pd.DataFrame(X), pd.Series(Y)),
        torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)),
        (X, Y.astype(float)),
        (X, Y.astype(bool)),
    ],
    ids=[
        "arrays",
        "lists",
        "tensors",
        "four keys",
        "bunch",
        "pandas",
        "TensorDataset",
        "whole floats",
        "booleans",
    ],
)
def test_one_pool_in_every_form(value: Any) -> None:
    source = read(value)
    assert np.array_equal(source.train[0], X)
    assert source.train[1].tolist() == Y.tolist()
    assert source.train[1].dtype == np.int64
    assert source.test is None


@pytest.mark.parametrize(
    "value",
    [((X, Y), (X[:3], Y[:3])), {"x_train": X, "y_train": Y, "x_test": X[:3], "y_test": Y[:3]}],
)
def test_a_central_test_set(value: Any) -> None:
    assert rows_of.size(read(value).test) == 3


def test_labels_as_words_become_numbers_with_names() -> None:
    source = read(((X, np.where(Y, "yes", "no")), (X[:2], np.array(["no", "yes"]))))
    assert source.classes == ("no", "yes")
    assert source.train[1].tolist() == Y.tolist()
    assert source.test[1].tolist() == [0, 1]


def test_words_mean_the_same_at_every_party() -> None:
    source = read({"a": (X[:2], ["dog", "dog"]), "b": (X[:2], ["cat", "dog"])})
    assert source.classes == ("cat", "dog")
    assert source.parties is not None
    assert source.parties["a"][0][1].tolist() == [1, 1]


def test_measurements_stay_measurements() -> None:
    assert read((X, Y + 0.5)).train[1].dtype == np.float64
    assert not rows_of.is_classes(read((X, Y + 0.5)).train[1])


def test_a_table_finds_its_label_and_hides_its_key() -> None:
    table = pd.DataFrame(
        {"a": [1, 2, 3], "b": [4.0, 5, 6], "site": ["n", "s", "n"], "target": [0, 1, 0]}
    )
    source = read(table, key="site")
    assert source.train[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert source.columns["site"].tolist() == ["n", "s", "n"]
    assert source.notes == ("label: the column 'target'",)
    assert read(table.drop(columns="site"), label="a").train[1].tolist() == [1, 2, 3]


def test_a_dataset_is_read_row_by_row() -> None:
    source = read(Items())
    assert rows_of.size(source.train) == 12
    rows = rows_of.take(source.train, np.array([3, 1]))
    assert rows_of.stored_labels(rows).tolist() == [1, 1]
    assert rows_of.stored_labels(rows_of.take(rows, np.array([0]))).tolist() == [1]
    assert rows[0][0].tolist() == X[3].tolist()


def test_one_hot_labels_are_counted_as_classes() -> None:
    assert rows_of.label_counts(rows_of.decode(np.eye(2)[Y])) == {0: 10, 1: 10}
    assert rows_of.label_counts(rows_of.decode(Y[:, None])) == {0: 10, 1: 10}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ((X, Y[:5]), "20 rows but 5 labels"),
        ((X[:0], Y[:0]), "no rows"),
        ((np.where(X > 30, np.nan, X), Y), "NaN"),
        (([[1, 2], [3]], [0, 1]), "different lengths"),
        ((np.array([["a", "b"]] * 20), Y), "not real numbers"),
        ((X.astype(complex), Y), "holds complex128, not real numbers"),
        ((X, Y, X, Y), "holds a tuple of 4"),
        (X, "ndarray where rows with labels should be"),
        (7, "int where rows with labels should be"),
        ([], "empty"),
        ([(X, Y), (X[:, :1], Y)], "have shape"),
        (((X, ["a"] * 20), (X, ["b"] * 20)), "is in no training row"),
        (pd.DataFrame({"a": [1], "b": [2]}), "no column that is plainly the label"),
        (pd.DataFrame({"a": ["u"], "y": [2]}), "columns that are not numbers: a"),
    ],
)
def test_unusable_data_is_refused_in_one_line(value: Any, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(value)
    assert said in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_names_that_do_not_exist_get_the_nearest() -> None:
    with pytest.raises(NameNotFoundError, match="did you mean 'digits'"):
        loading.read("digit", {})
    with pytest.raises(NameNotFoundError, match="did you mean 'sensors'"):
        loading.read("sensor", {"sensors": (X, Y)})
    with pytest.raises(NameNotFoundError, match="did you mean 'site'"):
        read(pd.DataFrame({"site": [1], "y": [0]}), key="sit")


def test_a_variable_wins_over_a_set_of_its_name_and_this_is_said() -> None:
    source = loading.read("digits", {"digits": (X, Y)})
    assert rows_of.size(source.train) == 20
    assert "your variable" in source.notes[0]


class TestNpz:
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

    def test_a_lacking_array_is_named(self) -> None:
        np.savez("half.npz", x_train=X, labels=Y)
        with pytest.raises(DataError, match="no array 'y_train'; it has x_train, labels"):
            loading.read("half.npz", {})

    @pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut off"])
    def test_a_broken_file_is_refused(self, content: bytes) -> None:
        Path("broken.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"broken.npz can't be read"):
            loading.read("broken.npz", {})

    def test_a_cut_off_file_is_refused(self) -> None:
        np.savez_compressed(
            "whole.npz", x_train=np.random.default_rng(0).normal(size=(50, 50)), y_train=Y
        )
        Path("cut.npz").write_bytes(Path("whole.npz").read_bytes()[:-200])
        with pytest.raises(DataError, match=r"cut.npz can't be read"):
            loading.read("cut.npz", {})

    def test_a_single_array_and_a_missing_file(self) -> None:
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


class TestHandlers:
    class Plain:
        def get_data(self) -> Any:
            return (X, Y), (X[:2], Y[:2])

    class WithPath(Plain):
        def __init__(self, path: str) -> None:
            assert path == "there.npz"

    class OfIbm(Plain):
        def __init__(self, data_config: dict[str, str] | None = None) -> None:
            assert data_config is not None
            assert data_config["npz_file"] == "there.npz"

    class Wrong:
        def get_data(self) -> Any:
            return X

    @pytest.mark.parametrize("handler", [Plain, WithPath, OfIbm])
    def test_a_class_of_the_notebook(self, handler: type) -> None:
        source = loading.read("there.npz", {"H": handler}, handler="H")
        assert (rows_of.size(source.train), rows_of.size(source.test)) == (20, 2)

    def test_a_registered_one_and_one_from_a_module(self, mnist: Path) -> None:
        path = str(mnist / "mnist.npz")
        assert loading.read(path, {}, handler="mnist_pytorch").train[0].shape == (60000, 1, 28, 28)
        assert (
            rows_of.size(loading.read("", {}, handler="fusion_nb.data.image_datasets:Digits").train)
            == 1437
        )

    def test_one_from_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.py"
        path.write_text(
            "class Mine:\n    def get_data(self):\n        return ([[0.0], [1.0]], [0, 1]), None\n"
        )
        assert rows_of.size(loading.read("", {}, handler=f"{path}:Mine").train) == 2

    def test_wrong_ones_are_named(self) -> None:
        with pytest.raises(DataError, match="did not return two pairs"):
            loading.read("", {"W": self.Wrong}, handler="W")
        with pytest.raises(DataError, match="no get_data"):
            loading.read("", {"W": Items}, handler="W")
        with pytest.raises(NameNotFoundError, match="has no class 'Nothing'"):
            loading.read("", {}, handler="fusion_nb.data.image_datasets:Nothing")
        with pytest.raises(NameNotFoundError, match="there are:"):
            loading.read("", {}, handler="mnist_pytorhc")


class TestShippedData:
    def test_digits_are_scikit_learns(self) -> None:
        from sklearn.datasets import load_digits

        (x, y), (x_test, y_test) = image_datasets.Digits().get_data()
        assert x.shape == (1437, 1, 28, 28)
        assert x_test.shape == (360, 1, 28, 28)
        assert x.dtype == np.float32
        assert 0 <= x.min() < x.max() <= 1
        theirs = load_digits()
        assert (
            np.bincount(np.concatenate([y, y_test])).tolist() == np.bincount(theirs.target).tolist()
        )
        # Enlarging keeps the mean, but for the rounding of edges.
        assert np.isclose(np.concatenate([x, x_test]).mean(), theirs.images.mean() / 16, atol=0.01)

    def test_mnist_is_mnist(self, mnist: Path) -> None:
        (x, y), test = image_datasets.Mnist().get_data()
        assert np.bincount(y).tolist() == [
            5923,
            6742,
            5958,
            6131,
            5842,
            5421,
            5918,
            6265,
            5851,
            5949,
        ]
        assert test is not None
        assert x.max() == 1.0

    def test_mnist_offline_says_what_to_do(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import pooch

        monkeypatch.delenv("FUSION_NB_DATA", raising=False)
        monkeypatch.setattr(
            pooch, "retrieve", lambda *a, **k: (_ for _ in ()).throw(ConnectionError("no network"))
        )
        with pytest.raises(DataError, match="--data digits, which needs no network"):
            image_datasets.Mnist().get_data()

    def test_mnist_refuses_other_images(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", x_train=np.zeros((2, 32, 32)), y_train=[0, 1])
        with pytest.raises(DataError, match="28 x 28"):
            image_datasets.Mnist(str(tmp_path / "a.npz")).get_data()


def division(value: Any, **options: Any) -> Division:
    return divide(RunSpec(data="value", **options), {"value": value})


class TestDivision:
    def test_every_row_is_at_one_party_as_training_or_test_row(self) -> None:
        made = division((X, Y), parties=3, split="iid")
        rows = np.concatenate([np.concatenate([p.train[0], p.test[0]]) for p in made.parties])
        assert sorted(rows[:, 0]) == X[:, 0].tolist()
        assert [p.num_test for p in made.parties] == [1, 1, 1]

    def test_holdout_is_exact_and_by_class(self) -> None:
        y = np.repeat([0, 1], [80, 20])
        train, test = splits.holdout(y, np.arange(100), 0.2, np.random.default_rng(0))
        assert (len(train), len(test)) == (80, 20)
        assert np.bincount(y[test]).tolist() == [16, 4]
        assert sorted([*train, *test]) == list(range(100))

    @pytest.mark.parametrize(("num_rows", "num_test"), [(1, 0), (2, 1), (3, 1), (10, 2)])
    def test_small_parties_keep_a_training_row(self, num_rows: int, num_test: int) -> None:
        train, test = splits.holdout(
            np.zeros(num_rows, int), np.arange(num_rows), 0.2, np.random.default_rng(0)
        )
        assert (len(train), len(test)) == (num_rows - num_test, num_test)

    def test_keys_name_parties(self) -> None:
        table = pd.DataFrame({"a": X[:, 0], "y": Y, "ward": np.where(X[:, 0] > 20, "east", "west")})
        assert [p.id for p in division(table, split="by_key:key=ward").parties] == ["east", "west"]
        assert len(division(table, split="by_key:key=ward", parties=1).parties) == 1
        with pytest.raises(SplitError, match="only 2 different values"):
            division(table, split="by_key:key=ward", parties=3)

    def test_a_key_can_be_an_array_of_ids(self) -> None:
        namespace = {"value": (X, Y), "writer": np.arange(20) // 5}
        made = divide(RunSpec(data="value", split="by_key:key=writer"), namespace)
        assert [p.num_examples + p.num_test for p in made.parties] == [5, 5, 5, 5]
        with pytest.raises(SplitError, match="3 values for 20 rows"):
            divide(
                RunSpec(data="value", split="by_key:key=short"), {**namespace, "short": [1, 2, 3]}
            )

    def test_shards_give_few_classes(self) -> None:
        y = np.repeat(np.arange(10), 20)
        made = division(
            (np.zeros((200, 1)), y), parties=10, split="shards:per_party=2", holdout=0.1
        )
        assert all(
            sum(count > 0 for count in row.values()) <= 2
            for row in made.label_counts(with_test=True).values()
        )

    def test_small_alpha_is_uneven_and_large_alpha_is_even(self) -> None:
        y = np.repeat(np.arange(4), 100)

        def spread(alpha: float) -> float:
            counts = division(
                (np.zeros((400, 1)), y), split=f"dirichlet:alpha={alpha}"
            ).label_counts(with_test=True)
            return float(np.std([list(row.values()) for row in counts.values()]))

        assert spread(0.1) > 1.5 * spread(1) > 3 * spread(100)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"parties": 21}, "only 20 rows"),
            ({"parties": 15, "split": "dirichlet:alpha=0.01"}, "parties without rows"),
            ({"split": "shards:per_party=0"}, "not allowed"),
            ({"split": "by_key"}, "needs the option 'key'"),
            ({"split": "by_key:key=gone"}, "no column and no variable 'gone'"),
        ],
    )
    def test_impossible_divisions_are_refused(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(FusionError) as caught:
            division((X, Y), **options)
        assert said in caught.value.message

    def test_already_split_data_is_not_split_again(self) -> None:
        parties = [(X[:8], Y[:8]), ((X[8:], Y[8:]), (X[:2], Y[:2]))]
        made = division(parties)
        assert [(p.id, p.num_examples, p.num_test) for p in made.parties] == [
            ("party 1", 6, 2),
            ("party 2", 12, 2),
        ]
        with pytest.raises(SplitError, match="already split"):
            division(parties, split="shards")
        with pytest.raises(SplitError, match="the data has 2"):
            division(parties, parties=3)

    def test_a_missing_class_and_untested_parties_are_said(self) -> None:
        made = division(((X[Y == 0], Y[Y == 0]), (X, Y)), parties=2, holdout=0)
        assert made.missing_classes() == ["1"]
        assert "2 of 2 parties have no test rows of their own" in made.notes[0]

    def test_no_test_row_anywhere_is_refused(self) -> None:
        with pytest.raises(DataError, match="no test row"):
            division((X, Y), holdout=0)

    def test_a_split_of_ones_own_is_checked(self) -> None:
        @splits.split
        def overlapping(
            labels: np.ndarray, num_parties: int, rng: np.random.Generator
        ) -> list[np.ndarray]:
            return [np.arange(len(labels))] * num_parties

        with pytest.raises(SplitError, match="exactly one of 2 parties"):
            division((X, Y), split="overlapping", parties=2)


class TestRegistry:
    def test_text_becomes_typed_options(self) -> None:
        assert registry.bind("splits", "dirichlet:alpha=0.3")[1] == {"alpha": 0.3}
        assert registry.bind("splits", "shards:per_party=3")[1] == {"per_party": 3}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("dirichlet:alpha", "alpha=alpha is not allowed"),
            ("dirichlet:alpha=1,x", "is not option=value"),
            ("iid:3", "has no option '3'"),
            ("dirichlet:alpha=x", "alpha=x is not allowed"),
            ("dirichlet:alpha=0", "alpha=0 is not allowed"),
            ("dirichlet:alpha=nan", "alpha=nan is not allowed"),
            ("dirichlet:alfa=1", "has no option 'alfa'"),
            ("shards:per_party=1.5", "per_party=1.5 is not allowed"),
            ("iid:x=1", "has no option 'x'"),
        ],
    )
    def test_wrong_options_are_named(self, text: str, said: str) -> None:
        with pytest.raises(OptionError, match=said):
            registry.bind("splits", text)

    def test_built_ins_keep_their_names(self) -> None:
        with pytest.raises(OptionError, match="built-in"):
            registry.register("fusions", "fedavg", object)
        with pytest.raises(OptionError, match="can't name"):
            registry.register("fusions", "fed avg", object)

    def test_a_missing_extra_gives_its_install_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(registry.BUILTIN["models"], "gensim", "gensim.models.nothing_there:X")
        monkeypatch.setitem(__import__("sys").modules, "gensim", None)
        with pytest.raises(FusionError, match=r"pip install 'fusion_nb\[doc2vec\]'"):
            registry.get("models", "gensim")

    def test_entry_points_are_found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from importlib.metadata import EntryPoint

        assert "theirs" not in registry.names("splits")
        point = EntryPoint("theirs", "fusion_nb.data.splits:iid", "fusion_nb.splits")
        monkeypatch.setattr(
            registry, "entry_points", lambda group: [point] if group == point.group else []
        )
        try:
            assert registry.get("splits", "theirs") is splits.iid, (
                "also where it was installed meanwhile"
            )
            assert "theirs" in registry.names("splits")
        finally:
            registry._points.cache_clear()


class TestDecidedOverAll:
    """What labels are is decided once, over all rows, and not by what a party's rows happen to look
    like."""

    def test_several_labels_a_row_over_many_small_parties(self) -> None:
        rng = np.random.default_rng(0)
        y = (rng.random((60, 4)) < 0.3).astype(int)
        made = division((rng.normal(size=(60, 3)), y), parties=20)
        assert all(train.ndim == 2 for train, _ in made.labels.values())
        given = division(
            [(X[:3], np.eye(2, dtype=int)[[0, 1, 0]]), (X[:3], np.array([[1, 1], [0, 0], [1, 0]]))]
        )
        assert {train.shape[1:] for train, _ in given.labels.values()} == {(2,)}
        with pytest.raises(SplitError, match="several labels each"):
            division((rng.normal(size=(60, 3)), y), split="dirichlet")

    def test_measurements_that_are_whole_at_one_party_stay_measurements(self) -> None:
        made = division(
            [(X[:4], np.array([1.0, 2.0, 1.0, 2.0])), (X[:4], np.array([1.5, 2.0, 1.0, 2.5]))]
        )
        assert made.label_counts(with_test=True) == {"party 1": {}, "party 2": {}}

    def test_a_class_that_nobody_has(self) -> None:
        assert division((X, np.array([0, 1, 3, 3] * 5))).missing_classes() == ["2"]
        assert division((X, np.arange(20) * 10.5)).missing_classes() == []

    def test_a_dataset_is_read_once(self) -> None:
        class Counting(Items):
            read = 0

            def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
                type(self).read += 1
                return super().__getitem__(i)

        made = division(Counting(), parties=4)
        made.label_counts(with_test=True)
        assert Counting.read == 12

    def test_stored_targets_are_believed_only_if_they_are_the_items(self) -> None:
        class Shifted(Items):
            targets = Y[:12] + 1

        class Without(Items):
            targets = None

        assert rows_of.stored_labels(Shifted()).tolist() == Y[:12].tolist()
        assert rows_of.stored_labels(Without()).tolist() == Y[:12].tolist()

    def test_training_and_test_datasets(self) -> None:
        source = read((Items(), Items()))
        assert rows_of.size(source.test) == 12
        frames = read(
            (pd.DataFrame({"a": [1, 2], "y": [0, 1]}), pd.DataFrame({"a": [3], "y": [1]}))
        )
        assert frames.test[0].tolist() == [[3]]

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ((X, Y, np.ones(20)), "a tuple of 3"),
            ([torch.tensor(X), torch.tensor(Y)], "Tensor where rows with labels"),
            ({"x": X, "y": Y}, "ndarray where rows with labels"),
            ((X, np.array(["a", None] * 10, dtype=object)), "10 labels are missing"),
            (pd.DataFrame([[1, 2, 3]], columns=["a", "a", "y"]), "two columns 'a'"),
            (((X, Y), (X[:, :1], Y)), ""),
        ],
    )
    def test_more_of_what_is_refused(self, value: Any, said: str) -> None:
        if not said:
            from fusion_nb.runs.build import build

            with pytest.raises(DataError, match=r"rows of the central test set have shape \(1,\)"):
                build(RunSpec(data="value"), {"value": value, "model": torch.nn.Linear(2, 2)})
            return
        with pytest.raises(DataError) as caught:
            read(value)
        assert said in caught.value.message

    def test_sparse_rows_swapped_bytes_and_numbered_columns(self) -> None:
        import scipy.sparse

        with pytest.raises(DataError, match="sparse"):
            read((scipy.sparse.csr_matrix(X), Y))
        assert read((X.astype(">f8"), Y)).train[0].dtype.isnative
        assert read(pd.DataFrame(X), label="1").train[1].tolist() == X[:, 1].tolist()

    def test_a_key_that_is_missing_is_counted(self) -> None:
        table = pd.DataFrame({"a": X[:, 0], "y": Y, "ward": ["east", None] * 10})
        with pytest.raises(DataError, match="10 rows have no value of 'ward'"):
            division(table, split="by_key:key=ward")

    @pytest.mark.parametrize("wrong", [None, [[0.0], [1.0]], 7])
    def test_a_split_that_returns_nonsense(self, wrong: Any) -> None:
        @splits.split(name="nonsense")
        def returns(labels: np.ndarray, num_parties: int, rng: np.random.Generator) -> Any:
            return wrong

        with pytest.raises(SplitError, match="exactly one of 2 parties"):
            division((X, Y), split="nonsense", parties=2)

    def test_a_function_of_another_form_is_no_split(self) -> None:
        with pytest.raises(OptionError, match="can't be a split"):
            splits.split(lambda labels: labels)

    def test_batch_norm_needs_two_training_rows_at_every_party(self) -> None:
        from fusion_nb.errors import ModelError
        from fusion_nb.runs.build import build

        model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        with pytest.raises(ModelError, match="fewer than the 2 training rows"):
            build(RunSpec(data="value", parties=10), {"value": (X, Y), "model": model})

    def test_a_handler_module_keeps_its_own_errors(self, tmp_path: Path) -> None:
        path = tmp_path / "broken_handler.py"
        path.write_text("import nothing_of_this_name\n")
        with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
            loading.read("", {}, handler=f"{path}:Mine")

    def test_a_handler_is_not_given_the_default_as_its_path(self, mnist: Path) -> None:
        assert (
            rows_of.size(divide(RunSpec(data_handler="mnist_pytorch", parties=2), {}).test) == 10000
        )


def test_options_with_brackets_and_optional_numbers() -> None:
    assert registry.parse("adam:betas=(0.9,0.99),eps=1e-8") == (
        "adam",
        {"betas": "(0.9,0.99)", "eps": "1e-8"},
    )

    def rule(weights: Any, updates: Any, *, keep: int | None = None) -> Any: ...

    assert signature_options(rule)[0].type is int


class TestOneFormForAll:
    def test_words_and_numbers_are_not_mixed(self) -> None:
        words = np.where(Y, "yes", "no")
        for mixed in ([(X, Y), (X, words)], ((X, Y), (X, words)), ((X, words), (X, Y))):
            with pytest.raises(DataError, match="are of another form"):
                read(mixed)

    def test_a_test_set_that_looks_one_hot_among_several_labels(self) -> None:
        several = np.array([[1, 1, 0], [0, 0, 0]] * 10)
        source = read(((X, several), (X[:3], np.eye(3, dtype=int))))
        assert source.labels["", "test"].shape == (3, 3)
        assert division(((X, several), (X[:3], np.eye(3, dtype=int)))).all_labels().ndim == 2

    def test_frames_for_training_and_test_keep_their_key_apart(self) -> None:
        frame = pd.DataFrame({"a": X[:, 0], "ward": np.where(Y, "e", "w"), "y": Y})
        source = read((frame, frame[:4]), key="ward")
        assert source.train[0].shape == (20, 1)
        assert source.test[0].shape == (4, 1)

    @pytest.mark.parametrize("bad", [[{"x": 1, "y": 0}] * 4, [(1, 2, 3)] * 4])
    def test_a_dataset_of_something_else(self, bad: Any) -> None:
        class Odd:
            def __len__(self) -> int:
                return len(bad)

            def __getitem__(self, i: int) -> Any:
                return bad[i]

        with pytest.raises(DataError, match=r"is no pair \(x, y\)"):
            read(Odd())

    def test_forms_that_torch_and_numpy_do_not_share(self) -> None:
        assert read((torch.tensor(X).bfloat16(), torch.tensor(Y))).train[0].dtype == np.float32
        locked = X.copy()
        locked.flags.writeable = False
        assert read((locked, Y)).train[0].flags.writeable
        assert read((X, Y[::-1])).train[1].flags.c_contiguous
        assert read((X, np.where(Y, b"yes", b"no"))).classes == ("no", "yes")

    def test_a_handler_that_needs_a_file_says_so(self) -> None:
        with pytest.raises(DataError, match="needs a file"):
            loading.read("npz", {})


class TestPartiesWithACentralTestSet:
    def test_it_stays_apart_from_parties_own_rows(self) -> None:
        found = read(({"a": (X[:10], Y[:10]), "b": (X[10:], Y[10:])}, (X[:4] + 100, Y[:4])))
        assert found.parties is not None
        assert list(found.parties) == ["a", "b"]
        assert found.test is not None
        np.testing.assert_array_equal(found.test[0], X[:4] + 100)

    def test_its_rows_have_the_form_of_the_others(self) -> None:
        with pytest.raises(DataError, match=r"the test set have shape \(3,\), those of a \(2,\)"):
            read(({"a": (X, Y)}, (np.zeros((4, 3)), Y[:4])))

    def test_its_labels_are_numbered_with_the_others(self) -> None:
        names = np.array(["cat", "dog"])
        found = read(({"a": (X, names[Y])}, (X[:2], np.array(["dog", "cat"]))))
        assert found.classes == ("cat", "dog")
        np.testing.assert_array_equal(found.test[1], [1, 0])
