"""The contract of every registered set of images that is shipped or cached."""

from __future__ import annotations

import pytest

from fusion_nb.core import registry

NAMES = {"digits", "mnist", "mnist_keras", "mnist_pytorch"} & set(registry.names("datasets"))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_it_is_two_pairs_of_rows_and_labels(name: str, request: pytest.FixtureRequest) -> None:
    if name != "digits":
        request.getfixturevalue("mnist")
    for x, y in registry.get("datasets", name)().get_data():
        assert len(x) == len(y) > 0
