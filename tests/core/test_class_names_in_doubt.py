"""Names of classes that are probably one class are told."""

from __future__ import annotations

import pytest

from fusion_nb.core.guesses import doubtful_names


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["no", "yes"], ""),
        (["no", "no "], "'no' and 'no ' differ in spaces or case only"),
        (["no", "NO", "yes"], "'no' and 'NO' differ"),
        (["a  b", "a b", "ab"], "'a  b' and 'a b' differ"),
        (["", " ", "no"], "'', ' ' is blank"),
        (["", "no", "No"], "'' is blank (fill or drop such rows); 'no' and 'No' differ"),
        ([], ""),
    ],
)
def test_names_that_are_blank_or_alike(names: list[str], said: str) -> None:
    found = doubtful_names(names)
    assert found.startswith(said)
    assert bool(found) == bool(said)
