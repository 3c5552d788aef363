"""The processes that inspect uploads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving import serving, wait_for

from fusion_nb.service.errors import RefusedError
from fusion_nb.service.processes.inspection_pool import Inspector


@pytest.mark.slow
def test_a_slow_upload_does_not_delay_others(
    tmp_path: Path, model_file: Path, rows_file: Path
) -> None:
    with serving(tmp_path / "state", "--inspect-seconds", "3600") as server:
        slow = server.new_aggregator(model_file)
        other = server.ready(model_file, rows_file)
        drafts = server.state / "aggregators"
        (inspector,) = server.children("inspection")
        inspector.suspend()
        with ThreadPoolExecutor() as pool:
            registering = pool.submit(server.start_party, slow, rows_file)
            wait_for(lambda: list(drafts.glob(".draft-*/party.json")))
            assert server.stop(other).ok
            assert server.ready(model_file, rows_file)  # by the second inspector
            assert not registering.done()
            inspector.resume()
            assert registering.result().ok


def in_a_thread(question: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine where no event loop runs: browser tests leave one in the main thread."""
    with ThreadPoolExecutor() as pool:
        pool.submit(asyncio.run, question).result()


def test_an_upload_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    async def ask(inspector: Inspector) -> None:
        try:
            await inspector.ask("model", path=str(tmp_path), limit=1)
        finally:
            await inspector.close()

    with pytest.raises(RefusedError, match=r"took more than 0\.001 seconds"):
        in_a_thread(ask(Inspector(timeout=0.001)))


def test_errors_keep_their_parts_on_the_way_to_the_server(tmp_path: Path, model_file: Path) -> None:
    about = {"model_type": "pytorch", "options": {"optimizer": "adamm"}}
    (tmp_path / "aggregator.json").write_text(json.dumps(about))
    (tmp_path / "model.pt").write_bytes(model_file.read_bytes())

    async def ask(inspector: Inspector) -> None:
        try:
            await inspector.ask("model", path=str(tmp_path), limit=1 << 20)
        finally:
            await inspector.close()

    with pytest.raises(RefusedError) as caught:
        in_a_thread(ask(Inspector()))
    assert (caught.value.option, caught.value.value) == ("optimizer", "adamm")
    assert "adam" in caught.value.allowed
    assert "did you mean 'adam'" in caught.value.hint
