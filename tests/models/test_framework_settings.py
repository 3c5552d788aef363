"""Settings of a whole process, which another one that trains for it takes over."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from typing import Any

import pytest

from fusion_nb.core.builtin import FRAMEWORKS
from fusion_nb.core.process import framework_settings

_CHANGED: list[tuple[str, dict[str, Any]]] = [
    ("torch", {"dtype": "torch.float64"}),
    ("torch", {"device": "meta"}),
    ("torch", {"precision": "medium"}),
    ("torch", {"deterministic": True, "only_warns": True}),
    ("torch", {"has_mkldnn": False}),
    ("torch", {"num_threads": 3}),
    ("keras", {"floatx": "float64", "dtype_policy": "float64"}),
    ("keras", {"epsilon": 1e-5}),
    ("keras", {"image_data_format": "channels_first"}),
    ("keras", {"dtype_policy": "mixed_bfloat16"}),
    ("sklearn", {"assume_finite": True, "transform_output": "pandas"}),
]


@pytest.mark.parametrize(("name", "changed"), _CHANGED)
def test_they_are_those_of_the_other_process(name: str, changed: dict[str, Any]) -> None:
    package = FRAMEWORKS[name].package
    if not find_spec(package):
        pytest.skip(f"{package} is not installed")
    before = framework_settings.found([package])
    assert before[name].keys() >= changed.keys()
    assert not changed.items() <= before[name].items()
    given = pickle.loads(pickle.dumps({name: {**before[name], **changed}}))
    try:
        framework_settings.take(given)
        assert framework_settings.found([package]) == given
    finally:
        framework_settings.take(before)
    assert framework_settings.found([package]) == before


def test_no_mode_of_pytorch_is_left_behind() -> None:
    overrides = pytest.importorskip("torch.overrides")
    before = framework_settings.found(["torch"])
    count = overrides._len_torch_function_stack()
    framework_settings.take({"torch": {**before["torch"], "device": "meta"}})
    framework_settings.take(before)
    assert overrides._len_torch_function_stack() == count


def test_frameworks_that_a_model_does_without_are_left_alone() -> None:
    assert framework_settings.found(["gensim"]) == {}
    assert framework_settings.found([]) == {}
