"""The promises of every registered model adapter. A new one is tested without a new test."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from small_models import MAKERS

from fusion_nb.core import arithmetic, registry
from fusion_nb.core.builtin import FRAMEWORKS
from fusion_nb.core.schema import DataSchema
from fusion_nb.core.types import TrainingResult, Update
from fusion_nb.errors import OptionError
from fusion_nb.models import lookup
from fusion_nb.models.base import Model, NeedsAgreement


@pytest.mark.parametrize("name", registry.names("models"))
class TestEveryModel:
    OPTIONS: ClassVar = {"epochs": 2, "batch_size": 8, "lr": 0.1, "optimizer": "sgd"}

    @pytest.fixture
    def model(self, name: str) -> Model:
        native, x, y = MAKERS[name]()
        model = lookup.wrap(native, "model")
        model.check((x, y), DataSchema.of((x, y)), lr=0.1, optimizer="sgd")
        if isinstance(model, NeedsAgreement):
            model.agree([Update("party", {}, len(x), extras=model.collect((x, y)))])
        return model

    def test_weights_are_restored_bit_by_bit(self, model: Model) -> None:
        weights = {n: a + np.ones_like(a) for n, a in model.get_weights().items()}
        other = model.clone()
        other.set_weights(weights)
        assert not other.check_weights(other.get_weights(), weights)
        assert all(np.array_equal(array, weights[n]) for n, array in other.get_weights().items())
        assert not arithmetic.equal(model.get_weights(), weights), "a clone is independent"

    def test_a_seed_fixes_training(self, model: Model, name: str) -> None:
        _, x, y = MAKERS[name]()
        found = []
        for seed in (1, 1, 2):
            result = model.clone().fit((x, y), seed=seed, **self.OPTIONS)
            found.append((result.metrics, arithmetic.digest(result.weights)))
        assert found[0] == found[1] != found[2]

    def test_a_training_returns_a_copy_of_its_weights(self, model: Model, name: str) -> None:
        _, x, y = MAKERS[name]()
        result = model.fit((x, y), seed=1, **self.OPTIONS)
        assert isinstance(result, TrainingResult)
        assert arithmetic.equal(result.weights, model.get_weights())
        before = arithmetic.copy(result.weights)
        model.fit((x, y), seed=2, **self.OPTIONS)
        assert arithmetic.equal(result.weights, before)

    def test_metrics_of_parts_average_to_those_of_the_whole(self, model: Model, name: str) -> None:
        _, x, y = MAKERS[name]()
        whole, a, b = (
            model.evaluate((x[part], y[part]))
            for part in (slice(None), slice(0, 10), slice(10, None))
        )
        assert set(whole) == set(model.metrics) - {*model.train_metrics, *model.costly_metrics}
        assert all(whole[m] == pytest.approx((10 * a[m] + 20 * b[m]) / 30, rel=1e-5) for m in whole)

    def test_an_unknown_client_option_is_refused(self, model: Model, name: str) -> None:
        _, x, y = MAKERS[name]()
        with pytest.raises(OptionError, match="nothing_like_it"):
            model.fit((x, y), seed=1, nothing_like_it=0.1, **self.OPTIONS)

    def test_every_format_is_written(self, model: Model, tmp_path: Path) -> None:
        for format, file in model.formats.items():
            model.save(tmp_path / file, model.get_weights(), format)
            assert (tmp_path / file).exists()

    def test_a_file_of_the_whole_model_is_read_again(self, model: Model, tmp_path: Path) -> None:
        path = tmp_path / f"model{model.suffixes[0]}"
        model.save(path, model.get_weights(), model.whole_format)
        found = type(model).from_checkpoint(lookup.find(str(path), {})).get_weights()
        assert arithmetic.equal(model.get_weights(), found)

    def test_its_models_are_recognised(self, name: str) -> None:
        assert lookup.framework_of(MAKERS[name]()[0]) == name

    def test_its_line_of_registration_says_the_same_as_its_class(self, name: str) -> None:
        adapter = lookup.adapter(name)
        registered = FRAMEWORKS[name]
        assert registered.base_class == adapter.base_class
        assert registered.suffixes == adapter.suffixes
        assert registered.package in adapter.packages
        assert {adapter.whole_format, *adapter.download_formats} <= set(adapter.formats)
        assert adapter.upload_hint

    def test_explains_its_options(self, name: str) -> None:
        adapter = lookup.adapter(name)
        assert all(setting in (adapter.__doc__ or "") for setting in adapter_settings(name))


def adapter_settings(name: str) -> list[str]:
    return lookup.setting_names(lookup.adapter(name))
