"""The engines that a client of the service may choose: none that would call other machines."""

from __future__ import annotations

from typing import Any

import pytest

from fusion_nb.service import request_fields
from fusion_nb.service.errors import RefusedError


@pytest.mark.parametrize("engine", ["ray", "ray:address=10.0.0.5:6379", "ray:workers=2"])
def test_one_of_other_machines_is_refused_unless_the_operator_allows_it(engine: str) -> None:
    options: dict[str, Any] = {"engine": engine}
    with pytest.raises(RefusedError) as caught:
        request_fields.check_engine(options, ())
    assert "--allow-engine ray" in caught.value.hint
    request_fields.check_engine(options, ("ray",))


@pytest.mark.parametrize(
    "options", [{}, {"engine": "local"}, {"engine": "process:workers=2"}, {"engine": "auto"}]
)
def test_those_of_this_machine_are_taken(options: dict[str, Any]) -> None:
    request_fields.check_engine(options, ())
