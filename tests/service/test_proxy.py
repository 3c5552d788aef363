"""The service inside Jupyter, behind jupyter-server-proxy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests
from serving import PATIENCE, save_model, wait_for

from fusion_nb.errors import EXTRAS
from fusion_nb.service import proxy

TOKEN = {"Authorization": "token letmein"}

#: Calls a function in an interpreter in which the packages of the extra can't be imported.
_WITHOUT_EXTRA = """
import json, sys
for name in {absent!r}:
    sys.modules[name] = None
from importlib.metadata import EntryPoint
setup = EntryPoint("fusion", "fusion_nb.service.proxy:setup", "jupyter_serverproxy_servers").load()
{call}
"""


def without_extra(call: str) -> subprocess.CompletedProcess[str]:
    absent = [module for module, extra in EXTRAS.items() if extra == "service"]
    script = _WITHOUT_EXTRA.format(absent=absent, call=call)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )


class TestSetup:
    def test_each_start_has_a_launcher_tile_and_a_new_key(self) -> None:
        first, second = proxy.setup(), proxy.setup()
        assert first["launcher_entry"]["enabled"]
        assert first["launcher_entry"]["path_info"] == "fusion/docs"
        assert Path(first["launcher_entry"]["icon_path"]).exists()
        assert first["environment"] != second["environment"]
        assert not any(first["environment"][proxy.KEY] in word for word in first["command"])

    def test_without_the_extra_there_is_no_tile(self) -> None:
        done = without_extra("print(json.dumps(setup()))")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert found["launcher_entry"]["enabled"] is False
        assert found["command"][1:3] == ["-m", "fusion_nb.service.proxy"]

    def test_without_the_extra_the_server_prints_the_install_line(self) -> None:
        done = without_extra("from fusion_nb.service.proxy import main; main('0')")
        assert done.returncode == 1
        assert "pip install 'fusion_nb[service]'" in done.stderr

    def test_the_server_does_not_start_without_the_proxys_key(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv(proxy.KEY, raising=False)
        with pytest.raises(SystemExit, match="fusion-nb serve"):
            proxy.main("0")


def answers(url: str) -> bool:
    with suppress(requests.ConnectionError):
        requests.get(url, timeout=PATIENCE, allow_redirects=False)
        return True
    return False


class TestRunningJupyter:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("jupyter")

    @pytest.fixture(scope="class")
    def url(self, folder: Path) -> Iterator[str]:
        """The service's address in a Jupyter server of its own."""
        environment = os.environ | {
            "HOME": str(folder),
            "JUPYTER_DATA_DIR": str(folder / "data"),
            "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
            "JUPYTER_TOKEN": "letmein",
        }
        command = [sys.executable, "-m", "jupyter", "server", "--allow-root", "--no-browser"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--port", "0"], cwd=folder, env=environment, stdout=log, stderr=log
            )
            try:
                wait_for(lambda: list((folder / "runtime").glob("jpserver-*.json")))
                (found,) = (folder / "runtime").glob("jpserver-*.json")
                url = json.loads(found.read_text())["url"] + "fusion/"
                wait_for(lambda: answers(url))  # the file is there before the server listens
                yield url
            finally:
                process.terminate()
                process.wait(PATIENCE)

    def test_jupyters_login_is_needed(self, url: str) -> None:
        answer = requests.get(url + "docs", timeout=PATIENCE, allow_redirects=False)
        assert answer.status_code in (302, 403)

    def test_the_page_loads_its_files_from_this_server(self, url: str) -> None:
        page = requests.get(url + "docs", headers=TOKEN, timeout=PATIENCE)
        assert page.status_code == 200, page.text
        assert "cdn" not in page.text
        files = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
        for path in ("openapi.json", *(f"docs-files/{name}" for name in files)):
            assert path in page.text
            assert requests.get(url + path, headers=TOKEN, timeout=PATIENCE).ok

    def test_aggregators_are_stored_in_jupyters_data_folder(self, url: str, folder: Path) -> None:
        answer = requests.get(url + "aggregators", headers=TOKEN, timeout=PATIENCE)
        assert answer.json() == {"aggregators": []}
        sent = {"model_file": ("m", save_model(folder / "m.pt").read_bytes())}
        fields = {"model_type": "pytorch", "num_parties": "1", "rounds": "1"}
        answer = requests.post(
            url + "start-aggregator", headers=TOKEN, data=fields, files=sent, timeout=PATIENCE
        )
        assert answer.ok, answer.text
        assert list((folder / "data" / "fusion_nb" / "aggregators").iterdir())
