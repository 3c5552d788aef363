"""Classes of an earlier form are refused in one line that says what to rename."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from fusion_nb import fusion
from fusion_nb.core import registry
from fusion_nb.core.protocols import Engine, Fusion
from fusion_nb.errors import NameNotFoundError, OptionError


def test_a_fusion_of_the_earlier_form() -> None:
    class Old:
        local: ClassVar[dict[str, float]] = {"mu": 0.1}

        def init(self, weights: Any) -> None: ...

        def fuse(self, weights: Any, updates: Any, state: Any) -> None: ...

    with pytest.raises(OptionError, match="the class Old is no fusion") as caught:
        registry.register("fusions", "old_rule", Old)
    assert "fuse -> aggregate, local -> client_options" in caught.value.hint
    with pytest.raises(OptionError, match=r"the class Old .*fusion"):
        fusion(Old)


def test_an_engine_of_the_earlier_form() -> None:
    class Old:
        def start(self, parties: Any, model: Any, gate: Any) -> None: ...

        def run(self, verb: Any, cohort: Any, **orders: Any) -> None: ...

        def close(self) -> None: ...

    with pytest.raises(OptionError, match="it does not derive from Engine") as caught:
        registry.register("engines", "old_engine", Old)
    assert "run -> run(request, cohort)" in caught.value.hint


@pytest.mark.parametrize(
    ("kind", "members", "renamed"),
    [
        (
            "models",
            {"supports": frozenset(), "fit_together": None},
            "fit_together -> train_batched",
        ),
        ("adversaries", {"flipped": None}, "flipped -> flip"),
        ("datasets", {"gives": "documents"}, "gives -> kind"),
    ],
)
def test_other_kinds_of_the_earlier_form(kind: str, members: dict[str, Any], renamed: str) -> None:
    with pytest.raises(OptionError, match="the class Old is no") as caught:
        registry.register(kind, "old_one", type("Old", (), members))
    assert renamed in caught.value.hint


def test_a_class_that_is_not_complete_names_what_is_missing() -> None:
    class Half(Fusion):
        pass

    class Still(Engine):
        def start(self, parties: Any, model: Any, gate: Any) -> None: ...

    with pytest.raises(OptionError, match="it defines no aggregate"):
        registry.register("fusions", "half", Half)
    with pytest.raises(OptionError, match="it defines no close") as caught:
        registry.register("engines", "still", Still)
    assert "define close, run; see the toy in Engine's docstring" in caught.value.hint


def test_an_entry_point_of_the_earlier_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        fuse = None

    class Point:
        name = "brought"

        def load(self) -> type:
            return Old

    def entry_points(group: str) -> list[Point]:
        return [Point()] if group == "fusion_nb.fusions" else []

    monkeypatch.setattr(registry, "entry_points", entry_points)
    with pytest.raises(OptionError, match="the class Old is no fusion"):
        registry.get("fusions", "brought")
    monkeypatch.undo()
    with pytest.raises(NameNotFoundError):  # looks entry points up again
        registry.get("fusions", "no_such_name")
    assert "brought" not in registry.names("fusions")
