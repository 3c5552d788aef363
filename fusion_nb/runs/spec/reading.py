"""Specs in files."""

from __future__ import annotations

from typing import Any

from fusion_nb.errors import OptionError, option
from fusion_nb.runs.spec import text as spec_text
from fusion_nb.runs.spec.run_spec import named


def from_file(path: str, *, allow_code: bool = False) -> dict[str, Any]:
    """Return the options in a YAML file, or in several of IBM's library; see `read_files`.

    They are unchecked. Raises OptionError for a file that can't be read.
    """
    try:
        return named(spec_text.read_files(path, allow_code=allow_code))
    except OptionError as error:
        raise error.prefixed(f"{path}: ") from None
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(
            f"{option('config', path)} can't be read ({error})",
            "write one with run.spec.to_yaml()",
        ) from None
