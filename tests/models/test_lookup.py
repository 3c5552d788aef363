"""From an object, a name or a file to the adapter of its framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import TrainingResult
from fusion_nb.errors import ModelError, NameNotFoundError, OptionError
from fusion_nb.models import lookup
from fusion_nb.models.base import Model


class Constant:
    """A model of a framework that this package does not know."""

    value = 2.0


class ConstantModel(Model):
    base_class = f"{__name__}.Constant"
    suffixes = (".constant",)
    kind = "Constant"
    metrics = ("loss",)

    def __init__(self, model: Constant, *, loss: str = "") -> None:
        self.value = np.array(model.value)
        self.loss = loss

    @classmethod
    def load(cls, path: Path) -> Constant:
        found = Constant()
        found.value = float(path.read_text())
        return found

    def clone(self) -> Model:
        return ConstantModel(self.native(self.get_weights()))

    def check(self, rows: Any, schema: DataSchema, **options: Any) -> list[str]:
        return []

    def get_weights(self) -> Any:
        return {"value": self.value.copy()}

    def set_weights(self, weights: Any) -> None:
        self.value = weights["value"].copy()

    def fit(self, data: Any, **options: Any) -> TrainingResult:
        self.value = np.array(data[1].mean())
        return TrainingResult(self.get_weights(), self.evaluate(data), 1, 1.0)

    def evaluate(self, data: Any) -> Any:
        return {"loss": float(((data[1] - self.value) ** 2).mean())}

    def native(self, weights: Any) -> Constant:
        found = Constant()
        found.value = float(weights["value"])
        return found

    def save(self, path: Path, weights: Any, format: str) -> None:
        path.write_text(str(weights["value"]))


@pytest.fixture
def constant() -> type[Model]:
    """The adapter of another package, registered."""
    adapter: type[Model] = lookup.model_adapter(name="constant")(ConstantModel)
    return adapter


class TestOtherFrameworks:
    def test_a_registered_adapter_takes_objects_of_its_base_class(self, constant: Any) -> None:
        class Derived(Constant):
            pass

        assert lookup.framework_of(Derived()) == "constant"
        assert lookup.adapter_of("model", {"model": Constant()}) is constant
        assert isinstance(lookup.wrap(Constant(), "model"), constant)

    def test_an_adapter_gets_the_options_that_it_has(self, constant: Any) -> None:
        wrapped: Any = lookup.wrap(Constant(), "model", loss="mse", device="cuda")
        assert wrapped.loss == "mse"
        assert wrapped.setting_names == lookup.setting_names(constant) == ["loss"]

    def test_files_with_its_suffix_are_read(self, constant: Any, tmp_path: Path) -> None:
        (tmp_path / "a.constant").write_text("7")
        assert lookup.find(str(tmp_path / "a.constant"), {}).value == 7

    def test_the_hint_of_an_unknown_file_lists_its_suffix(
        self, constant: Any, tmp_path: Path
    ) -> None:
        (tmp_path / "a.md").write_text("7")
        with pytest.raises(ModelError, match=r"\.constant"):
            lookup.find(str(tmp_path / "a.md"), {})

    def test_an_incomplete_adapter_is_refused(self) -> None:
        class Nameless(Model):
            pass

        with pytest.raises(OptionError, match="it defines no check") as caught:
            lookup.model_adapter(Nameless)
        assert "define check, clone, evaluate, fit" in caught.value.hint

        class Unnamed(ConstantModel):
            pass

        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(ConstantModel, "base_class")
            with pytest.raises(OptionError, match="does not say which models it takes"):
                lookup.model_adapter(Unnamed)
        Nameless.norm_names = Nameless.batch_norm_names
        with pytest.raises(OptionError, match="rename norm_names -> batch_norm_names"):
            lookup.model_adapter(Nameless)
        with pytest.raises(OptionError, match="no adapter of models"):
            lookup.model_adapter(name="constant")(Constant)


class TestObjects:
    def test_a_value_of_no_framework_has_no_adapter(self) -> None:
        assert lookup.framework_of(3) == ""
        assert lookup.adapter_of("model", {}) is None
        with pytest.raises(ModelError, match="no model of a known framework"):
            lookup.wrap([1], "model")

    def test_a_class_is_refused(self) -> None:
        from torch import nn

        assert lookup.framework_of(nn.Linear(1, 1)) == "torch"
        with pytest.raises(ModelError, match="is a class, not a model"):
            lookup.wrap(nn.Linear, "model")

    def test_recognising_a_model_imports_no_framework(self) -> None:
        script = (
            "import sys\n"
            "from fusion_nb.models import lookup\n"
            "lookup.framework_of(3), lookup.suffixes(), lookup.loaded()\n"
            "print({'torch', 'keras', 'tensorflow', 'gensim'} & set(sys.modules))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        assert done.stdout == "set()\n"


class TestNames:
    def test_a_missing_name_lists_the_models_that_are_there(self) -> None:
        from torch import nn

        with pytest.raises(NameNotFoundError, match="models here: net"):
            lookup.find("nett", {"net": nn.Linear(1, 1), "rows": [1]})
        with pytest.raises(NameNotFoundError, match="define it in the cell") as caught:
            lookup.find("net", {})
        assert "--model" in caught.value.hint

    def test_a_missing_file_is_reported_with_the_folder(self) -> None:
        with pytest.raises(ModelError, match=r"there is no file gone\.pt"):
            lookup.find("gone.pt", {})

    def test_a_new_model_under_another_name_is_reported(self) -> None:
        from torch import nn

        old = nn.Linear(1, 1)
        with pytest.raises(ModelError, match="the cell's body makes net"):
            lookup.check_defined("model", {"model": old}, {"model": old, "net": nn.Linear(1, 1)})
        lookup.check_defined("model", {"model": old}, {"model": nn.Linear(1, 1)})
        lookup.check_defined("model", {"model": old}, {"model": old, "rows": [1]})
