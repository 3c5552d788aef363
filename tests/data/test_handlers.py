"""Data handlers: found by name, class or module path, and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_nb.core import registry
from fusion_nb.core import rows as rows_of
from fusion_nb.data import handlers, loading
from fusion_nb.datasets import DataHandler, Documents, dataset
from fusion_nb.errors import DataError, NameNotFoundError

X, Y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2


class Plain:
    def get_data(self) -> Any:
        return (X, Y), (X[:2], Y[:2])


class WithPath(Plain):
    def __init__(self, path: str) -> None:
        assert path == "there.npz"


class WithDataConfig(Plain):
    """A handler with the constructor of IBM's."""

    def __init__(self, data_config: dict[str, str] | None = None) -> None:
        assert data_config is not None
        assert data_config["npz_file"] == "there.npz"


class Returning:
    """A handler that returns what it was made with."""

    found: Any = None

    def get_data(self) -> Any:
        return self.found


class TestFinding:
    @pytest.mark.parametrize("handler", [Plain, WithPath, WithDataConfig])
    def test_a_class_of_the_notebook(self, handler: type) -> None:
        source = loading.read("there.npz", {"H": handler}, handler="H")
        assert (rows_of.size(source.train), rows_of.size(source.test)) == (20, 2)

    def test_a_registered_one(self, mnist: Path) -> None:
        source = loading.read(str(mnist / "mnist.npz"), {}, handler="mnist_pytorch")
        assert source.train[0].shape == (60000, 1, 28, 28)

    def test_one_of_a_module(self) -> None:
        source = loading.read("", {}, handler="fusion_nb.data.image_datasets:Digits")
        assert rows_of.size(source.train) == 1437

    def test_one_of_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "mine.py"
        path.write_text(
            "class Mine:\n    def get_data(self):\n        return ([[0.0], [1.0]], [0, 1]), None\n"
        )
        assert rows_of.size(loading.read("", {}, handler=f"{path}:Mine").train) == 2

    def test_an_unknown_one_gets_the_names_that_exist(self) -> None:
        with pytest.raises(NameNotFoundError, match="has no class 'Nothing'") as caught:
            loading.read("", {}, handler="fusion_nb.data.image_datasets:Nothing")
        assert caught.value.option == "data_handler"
        with pytest.raises(NameNotFoundError, match="there are:"):
            loading.read("", {}, handler="mnist_pytorhc")

    def test_an_error_of_the_users_own_module_stays_as_it_is(self, tmp_path: Path) -> None:
        path = tmp_path / "broken_handler.py"
        path.write_text("import nothing_of_this_name\n")
        with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
            loading.read("", {}, handler=f"{path}:Mine")


class TestReading:
    @pytest.mark.parametrize("found", [X, (X, Y, X), (None, None), ((X, Y), X), ((X,), None)])
    def test_anything_but_two_pairs_is_refused(
        self, monkeypatch: pytest.MonkeyPatch, found: Any
    ) -> None:
        monkeypatch.setattr(Returning, "found", found)
        with pytest.raises(DataError, match="did not return two pairs"):
            loading.read("", {"W": Returning}, handler="W")

    def test_pairs_may_be_lists(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Returning, "found", ([X, Y], None))
        assert rows_of.size(loading.read("", {"W": Returning}, handler="W").train) == 20

    def test_a_class_without_get_data_is_refused(self) -> None:
        class Empty:
            pass

        with pytest.raises(DataError, match="no get_data"):
            loading.read("", {"W": Empty}, handler="W")

    def test_a_handler_that_needs_a_file_says_so(self) -> None:
        with pytest.raises(DataError, match="needs a file"):
            loading.read("npz", {})

    def test_the_default_of_the_data_option_is_no_path(self, mnist: Path) -> None:
        assert rows_of.size(loading.read("digits", {}, handler="mnist_pytorch").test) == 10000


class TestKind:
    def test_numbers_unless_the_class_declares_documents(self) -> None:
        assert handlers.kind_of(Plain) == "numbers"
        assert handlers.kind_of(Documents) == "documents"

    @pytest.mark.parametrize("name", registry.BUILTIN["datasets"])
    def test_every_data_set_of_the_package_declares_its_kind(self, name: str) -> None:
        handler = registry.get("datasets", name)
        assert issubclass(handler, DataHandler)
        assert handlers.kind_of(handler) in ("numbers", "documents")

    def test_a_handler_of_ones_own_is_registered_by_a_decorator(self) -> None:
        @dataset(name="sentences_of_a_test")
        class Sentences(DataHandler):
            kind = "documents"

            def get_data(self) -> Any:
                return ([["one", "two"], ["three", "four"]], None), None

        assert handlers.kind_of(registry.get("datasets", "sentences_of_a_test")) == "documents"
        assert rows_of.size(loading.read("sentences_of_a_test", {}).train) == 2
