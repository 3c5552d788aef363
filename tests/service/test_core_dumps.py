"""Processes that read uploads leave no memory on the disk when they crash."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from serving import ENDLESS, Server, wait_for

_SCRIPT = """
import ctypes, resource, subprocess, sys
{call}
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
_IS_LINUX = sys.platform == "linux"


def assert_no_dumps(pid: int) -> None:
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)


@pytest.mark.skipif(not _IS_LINUX, reason="prctl is Linux's")
class TestProcesses:
    @pytest.mark.parametrize(
        "call",
        [
            "from fusion_nb.service.processes import sandbox; sandbox.limit_process(0)",
            "from fusion_nb.core.process import machine; machine.forbid_core_dumps()",
            "from fusion_nb.core.process import machine; resource.setrlimit(4, (0, 0)); "
            "machine.inherit_core_dumps()",
        ],
    )
    def test_a_process_may_not_be_dumped(self, call: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT.format(call=call)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split("\n")[0] == "(0, 0) 0"

    def test_a_process_that_nobody_forbade_it_may(self) -> None:
        limit = resource.getrlimit(resource.RLIMIT_CORE)
        if limit[1] == 0:
            pytest.skip("no process may be dumped here")
        call = "from fusion_nb.core.process import machine; machine.inherit_core_dumps()"
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT.format(call=call)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip().endswith(" 1")

    def test_the_server_and_its_children(
        self, server: Server, model_file: Path, rows_file: Path
    ) -> None:
        aggregator_id = server.ready(model_file, rows_file, rounds=ENDLESS)
        server.train(aggregator_id, wait=False)
        wait_for(lambda: server.status(aggregator_id)["round"])
        training, inspection = server.children("training"), server.children("inspection")
        assert training
        assert inspection
        for pid in (server.process.pid, *(child.pid for child in [*training, *inspection])):
            assert_no_dumps(pid)
        server.stop(aggregator_id)
