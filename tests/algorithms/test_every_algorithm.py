"""Promises of every registered algorithm: its documentation, and that workers can receive it."""

from __future__ import annotations

import inspect
from typing import Any

import cloudpickle
import pytest

from fusion_nb.core import registry
from fusion_nb.core.protocols import DataPoisoning, Fusion, ModelPoisoning

KINDS = ("fusions", "personal", "sharing", "ensembles", "adversaries", "compressions", "secure")
ALGORITHMS = [(kind, name) for kind in KINDS for name in registry.names(kind)]
#: Options that must be given.
NEEDED: dict[str, dict[str, Any]] = {"fedper": {"layers": "*.bias"}, "distill": {"data": "rows"}}


def create(kind: str, name: str) -> Any:
    implementation = registry.get(kind, name)
    inner = [registry.create("fusions", "median")] if registry.takes_another(implementation) else []
    return implementation(*inner, **NEEDED.get(name, {}))


@pytest.mark.parametrize(("kind", "name"), ALGORITHMS)
class TestEveryAlgorithm:
    def test_names_its_source(self, kind: str, name: str) -> None:
        assert "Source:" in (inspect.getdoc(registry.get(kind, name)) or "")

    def test_describes_itself_in_one_line(self, kind: str, name: str) -> None:
        promise, _, rest = (inspect.getdoc(registry.get(kind, name)) or "").partition("\n")
        assert promise.endswith(".")
        assert rest.startswith("\n")

    def test_a_copy_that_traveled_has_the_same_requirements(self, kind: str, name: str) -> None:
        made = create(kind, name)
        copied = cloudpickle.loads(cloudpickle.dumps(made))
        assert type(copied).__name__ == type(made).__name__
        if isinstance(made, Fusion):
            assert copied.requires == made.requires
            assert dict(copied.client_options) == dict(made.client_options)
            assert copied.has_post_training == made.has_post_training


@pytest.mark.parametrize("name", registry.names("adversaries"))
def test_every_attack_poisons_data_or_weights(name: str) -> None:
    attack = registry.create("adversaries", f"{name}:num=3")
    assert isinstance(attack, DataPoisoning) != isinstance(attack, ModelPoisoning)
    assert attack.num == 3


@pytest.mark.parametrize("name", registry.names("personal"))
def test_every_personal_method_is_a_fusion_or_a_step_after_the_last_round(name: str) -> None:
    made = create("personal", name)
    assert isinstance(made, Fusion) != callable(made)
