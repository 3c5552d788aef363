"""More workers than any machine has room for are refused, wherever they are asked for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fusion_nb.cli import app
from fusion_nb.core import registry
from fusion_nb.core.process.machine import MOST_WORKERS
from fusion_nb.errors import OptionError
from fusion_nb.runs.experiments.places import parse_workers
from fusion_nb.service.errors import FieldError
from fusion_nb.service.processes.training_supervisor import Limits
from fusion_nb.service.request_fields import read_options
from fusion_nb.service.settings import Settings

TOO_MANY = [MOST_WORKERS + 1, 100_000, 10**20]


@pytest.mark.parametrize("engine", ["process", "local"])
@pytest.mark.parametrize("count", TOO_MANY)
def test_an_engine_has_no_more_workers(engine: str, count: int) -> None:
    with pytest.raises(OptionError) as caught:
        registry.create("engines", f"{engine}:workers={count}")
    assert f"{engine}:workers={count} is not allowed" in caught.value.message
    assert f"<= {MOST_WORKERS}" in caught.value.hint


@pytest.mark.parametrize("count", TOO_MANY)
def test_a_client_of_a_service_can_not_ask_for_more(count: int) -> None:
    fields = {"model_type": "pytorch", "num_parties": "2", "engine": f"process:workers={count}"}
    with pytest.raises(FieldError) as caught:
        read_options(fields)
    assert caught.value.field == "engine"
    assert f"<= {MOST_WORKERS}" in caught.value.hint


@pytest.mark.parametrize("engine", ["process", "local"])
def test_as_many_as_are_allowed_can_be_given(engine: str) -> None:
    registry.create("engines", f"{engine}:workers={MOST_WORKERS}")


@pytest.mark.parametrize("count", [*TOO_MANY, "9" * 5_000])
def test_an_experiment_has_no_more_processes(count: object) -> None:
    with pytest.raises(OptionError) as caught:
        parse_workers(count)
    assert f"at most {MOST_WORKERS} processes" in caught.value.hint
    assert len(str(caught.value)) < 200
    assert parse_workers(MOST_WORKERS) == (MOST_WORKERS, "")


@pytest.mark.parametrize("count", [0, -1, *TOO_MANY])
def test_a_service_trains_no_more_runs_at_once(count: int, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["serve", "--workers", str(count), "--state", str(tmp_path)])
    assert done.exit_code == 2
    assert f"1<=x<={MOST_WORKERS}" in re.sub(r"\x1b\[[0-9;]*m", "", done.output)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
@pytest.mark.parametrize("name", ["inspect_seconds", "head_seconds"])
def test_seconds_that_limit_nobody_are_refused(name: str, value: float, tmp_path: Path) -> None:
    given: dict[str, Any] = {name: value}
    with pytest.raises(OptionError, match=f"{value} is not allowed"):
        Settings(state=tmp_path, **given)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_silence_that_ends_no_run_is_refused(value: float, tmp_path: Path) -> None:
    limits = Limits(silence=value)
    with pytest.raises(OptionError, match="silence"):
        Settings(state=tmp_path, limits=limits)
