"""The service inside a running Jupyter, at `fusion/`, behind Jupyter's own login
(jupyter-server-proxy).
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import Any

from fusion_nb.service.storage.keys import Key

#: The variable by which the server learns the one key that only the proxy knows.
KEY = "FUSION_NB_SERVICE_KEY"
_CLIENT_ID = "jupyter"


def setup() -> dict[str, Any]:
    """Return how the proxy starts the server, and the launcher's tile for it.

    Whoever is logged in to Jupyter may call the service: the proxy adds a key of its own to every
    call, made anew each time that Jupyter starts and kept nowhere.
    """
    key = Key(_CLIENT_ID, secrets.token_urlsafe(32))
    icon = Path(__file__).parents[1] / "assets" / "fusion.svg"
    return {
        "command": [sys.executable, "-m", "fusion_nb.service.proxy", "{port}"],
        "environment": {KEY: f"{key.client_id}:{key.client_secret}"},
        "request_headers_override": {
            "Authorization": f"Bearer {key.client_id}:{key.client_secret}"
        },
        "timeout": 60,
        "launcher_entry": {
            "title": "Model Fusion",
            "path_info": "fusion/docs",
            "icon_path": str(icon),
            "category": "Notebook",
        },
        "new_browser_tab": True,
    }


def main(port: str) -> None:
    """Serve for the proxy alone: on loopback, with the key that it was told, in the user's own data
    folder.
    """
    from jupyter_core.paths import jupyter_data_dir

    from fusion_nb.service.server import serve
    from fusion_nb.service.settings import Settings

    client_id, _, client_secret = os.environ.pop(KEY, "").partition(":")
    if not client_secret:
        sys.exit(f"{KEY} is not set: Jupyter starts this; by hand it is fusion-nb serve")
    settings = Settings(state=Path(jupyter_data_dir()) / "fusion_nb")
    serve(settings, port=int(port), key=Key(client_id, client_secret))


if __name__ == "__main__":
    main(*sys.argv[1:])
