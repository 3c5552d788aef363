"""The service inside a running Jupyter, at `fusion/`, behind Jupyter's own login.

jupyter-server-proxy calls `setup` when Jupyter starts, and starts `main` on the first request.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from fusion_nb.errors import MissingExtraError, missing_extra
from fusion_nb.service.credentials import KEY_VARIABLE, Key

#: Environment variable that carries the proxy's key to the server.
KEY = KEY_VARIABLE
_CLIENT_ID = "jupyter"
#: Packages without which the server can't start.
_REQUIRED = ("fastapi", "uvicorn", "filelock")


def setup() -> dict[str, Any]:
    """Return jupyter-server-proxy's settings: how to start the server, and a launcher tile.

    Users who are logged in to Jupyter may call the service: the proxy adds a key of its own to
    every request. The key is new at each start of Jupyter and is stored nowhere.

    Without the extra `service` there is no tile, and the start of the server prints the install
    line, so that Jupyter itself and other proxied servers are unaffected.
    """
    key = Key.generate(_CLIENT_ID)
    icon = Path(__file__).parents[1] / "assets" / "fusion.svg"
    return {
        "command": [sys.executable, "-m", "fusion_nb.service.proxy", "{port}"],
        "environment": {KEY: f"{key.client_id}:{key.client_secret}"},
        "request_headers_override": {
            "Authorization": f"Bearer {key.client_id}:{key.client_secret}"
        },
        "timeout": 60,
        "launcher_entry": {
            "enabled": _missing() is None,
            "title": "Model Fusion",
            "path_info": "fusion/docs",
            "icon_path": str(icon),
            "category": "Notebook",
        },
        "new_browser_tab": True,
    }


def main(port: str) -> None:
    """Run the server on loopback for the proxy, with its state in Jupyter's data folder."""
    if (missing := _missing()) is not None:
        sys.exit(str(missing))
    from jupyter_core.paths import jupyter_data_dir

    from fusion_nb.service.server import serve
    from fusion_nb.service.settings import Settings

    client_id, _, client_secret = os.environ.pop(KEY, "").partition(":")
    if not client_secret:
        sys.exit(f"{KEY} is not set: Jupyter starts this module; run `fusion-nb serve` instead")
    # Jupyter passes the browser's Host on, whatever its own name is, and checks it itself.
    settings = Settings(state=Path(jupyter_data_dir()) / "fusion_nb", allowed_hosts=("*",))
    serve(settings, port=int(port), key=Key(client_id, client_secret))


def _missing() -> MissingExtraError | None:
    """Return an error with the install line if a required package is not installed."""
    for name in _REQUIRED:
        if importlib.util.find_spec(name) is None:
            absent = missing_extra(ModuleNotFoundError(name=name), "the service inside Jupyter")
            assert isinstance(absent, MissingExtraError)
            return absent
    return None


if __name__ == "__main__":
    main(*sys.argv[1:])
