"""The files of a Flower project, as a SuperLink hands them to its nodes."""

from __future__ import annotations

from collections.abc import Mapping

_PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0.0"
description = "{description}"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "fusion-nb"

[tool.flwr.app.components]
serverapp = "{package}.apps:server"
clientapp = "{package}.apps:client"

[tool.flwr.app.config]
"""


def project_files(
    name: str, description: str, code: str, config: Mapping[str, int | str] | None = None
) -> dict[str, bytes]:
    """Return file name -> content of a project whose apps are `client` and `server` in `code`.

    config: options of the run, with their values
    """
    package = name.replace("-", "_")
    lines = [
        f'{option} = "{value}"' if isinstance(value, str) else f"{option} = {value}"
        for option, value in (config or {}).items()
    ]
    project = _PROJECT.format(name=name, description=description, package=package)
    return {
        "pyproject.toml": (project + "".join(f"{line}\n" for line in lines)).encode(),
        f"{package}/__init__.py": b"",
        f"{package}/apps.py": code.encode(),
    }
