"""Specs in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fusion_nb.errors import OptionError, option
from fusion_nb.runs.spec.run_spec import read_yaml


def from_file(path: str) -> dict[str, Any]:
    """Return the options in a YAML file, unchecked. Raises OptionError for a file that can't be
    read.
    """
    try:
        return read_yaml(Path(path).read_text(encoding="utf-8"))
    except OptionError as error:
        raise error.prefixed(f"{path}: ") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"{option('config', path)} can't be read ({error})",
            "write one with run.spec.to_yaml()",
        ) from None
