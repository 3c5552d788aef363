"""The options of a run as text that repeats it: a cell, Python, YAML; no address has a secret."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fusion_nb.errors import OptionError, cell_spelling
from fusion_nb.runs.redaction import values_without_secrets, without_secrets
from fusion_nb.runs.spec.yaml_text import parse_documents


def cell_of(options: Mapping[str, Any], code: str) -> str:
    """Return a `%%fusion` cell with options and a body, or `%fusion run` without a body."""
    line = _line_of(options)
    return f"%%fusion {line}\n{without_secrets(code)}" if code else f"%fusion run {line}"


def python_of(options: Mapping[str, Any], code: str, line_options: Mapping[str, str]) -> str:
    """Return Python that makes the run; through its magic where that has a body, or options of
    the line that are none of the run.
    """
    line = _line_of({**options, **line_options})
    if code:
        return f"get_ipython().run_cell_magic('fusion', {line!r}, {without_secrets(code)!r})"
    if line_options:
        return f"get_ipython().run_line_magic('fusion', {'run ' + line!r})"
    chosen = values_without_secrets(dict(options))
    written = "".join(f"    {name}={value!r},\n" for name, value in chosen.items())
    made = f"import fusion_nb\n\nspec = fusion_nb.RunSpec(\n{written})"
    return f"{made}\nrun = fusion_nb.Run(spec, globals()).start().wait()"


def yaml_of(options: Mapping[str, Any]) -> str:
    """Return options as YAML, with text of several lines as blocks."""
    chosen = values_without_secrets(dict(options))
    import yaml  # a run that no file describes does without

    return yaml.dump(chosen, Dumper=_dumper(), sort_keys=False, allow_unicode=True)


def read(text: str) -> dict[str, Any]:
    """Return what YAML text gives each option, unchecked, without options that are given nothing.

    Raises OptionError for text that is no mapping.
    """
    from fusion_nb.runs.ibm_config.reading import options_of_text

    if (options := options_of_text(text)) is not None:
        return options
    documents = parse_documents(text)
    if len(documents) > 1:
        raise OptionError(
            f"the file holds {len(documents)} documents, and the options of one run are one",
            "remove the line ---, or write a file for each run",
        )
    found = documents[0] if documents else None
    if not isinstance(found, dict):
        raise OptionError("the file holds no options", "write one a line, such as  rounds: 10")
    return {
        str(name).replace("-", "_"): value for name, value in found.items() if value is not None
    }


def read_files(paths: str | Sequence[str], *, allow_code: bool = False) -> dict[str, Any]:
    """Return what a file gives each option, unchecked, or several files of IBM's library do.

    paths:      of files, as a list or with commas between
    allow_code: import data handlers of the user's own that IBM's files name
    Raises OptionError for text that is no mapping, OSError for a file that can't be read.
    """
    from fusion_nb.runs.ibm_config.reading import options_of_files

    if isinstance(paths, str):
        is_one = "," not in paths or Path(paths).is_file()
        paths = [paths] if is_one else [path.strip() for path in paths.split(",")]
    if (options := options_of_files(paths, allow_code=allow_code)) is not None:
        return options
    return read(Path(paths[0]).expanduser().read_text(encoding="utf-8"))


def _line_of(options: Mapping[str, Any]) -> str:
    words = [
        cell_spelling(name) if value is True else cell_spelling(name, shlex.quote(str(value)))
        for name, value in values_without_secrets(dict(options)).items()
    ]
    return " ".join(words)


@functools.cache
def _dumper() -> Any:
    """Return a dumper that writes text of several lines as a block, for the body of a cell."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def represent_str(self, text: str) -> Any:
            style = "|" if "\n" in text else None
            return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, Dumper.represent_str)
    return Dumper
