"""Fixtures of the service's tests: a server, a model and rows that are shared by all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import MAX_UNPACKED, MAX_UPLOAD, Server, save_model, save_rows, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that all tests share, except those that kill theirs."""
    limits = ("--max-upload", str(MAX_UPLOAD), "--max-unpacked", str(MAX_UNPACKED))
    with serving(tmp_path_factory.mktemp("state"), *limits) as server:
        yield server


@pytest.fixture(autouse=True)
def stop_runs(request: pytest.FixtureRequest) -> Iterator[None]:
    """Stop the runs that a failed test left under way, so that the next one is not queued."""
    yield
    if "server" in request.fixturenames:
        request.getfixturevalue("server").stop_runs()


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small PyTorch model."""
    return save_model(tmp_path_factory.mktemp("model") / "model.pt")


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of one party's rows, for this model."""
    return save_rows(tmp_path_factory.mktemp("rows") / "rows.npz")
