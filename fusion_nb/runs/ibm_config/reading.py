"""IBM's files as they are given: by paths, or as the text of several YAML documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fusion_nb.errors import OptionError
from fusion_nb.runs.ibm_config.translation import ConfigFile, is_ibm, translate
from fusion_nb.runs.spec.yaml_text import parse_documents

#: The parties' files beside an aggregator's, where no other was named.
_BESIDE = "*party*.y*ml"


def documents(text: str) -> list[Mapping[str, Any]]:
    """Return the documents of YAML text where all are files of IBM's, or else []."""
    try:
        found = [each for each in parse_documents(text) if each is not None]
    except OptionError:  # told where options are read
        return []
    return found if found and all(map(is_ibm, found)) else []


def options_of_text(text: str, tell: Callable[[str], object] = print) -> dict[str, Any] | None:
    """Return the options that the text of IBM's files describes, or None for other text.

    tell: is given a line about each part that has no counterpart
    """
    found = documents(text)
    if not found:
        return None
    folder = Path.cwd()
    files = [ConfigFile(f"document {i + 1}", folder, each) for i, each in enumerate(found)]
    return _told(files, tell)


def options_of_files(
    paths: Sequence[str], tell: Callable[[str], object] = print, *, allow_code: bool = False
) -> dict[str, Any] | None:
    """Return the options that IBM's files describe, or None for one file of another kind.

    A single aggregator's file is read with those of parties beside it.
    Raises OSError for a file that can't be read, OptionError for files of several kinds.
    """
    files = [each for path in paths for each in _read(Path(path).expanduser())]
    if not files and len(paths) == 1:
        return None
    if len(files) < len(paths):
        raise OptionError(
            "several files are given, and not all are IBM's aggregator and party files",
            "give one file of options, as run.spec.to_yaml() writes it",
        )
    if len(paths) == 1 and files[0].is_aggregator:
        path = Path(paths[0]).expanduser()
        beside = sorted(other for other in path.parent.glob(_BESIDE) if other != path)
        for other in beside:
            files += [file for file in _read(other) if not file.is_aggregator]
        if beside:
            tell(f"{path.name}: read with {', '.join(other.name for other in beside)} beside it")
    return _told(files, tell, allow_code=allow_code)


def _read(path: Path) -> list[ConfigFile]:
    found = documents(path.read_text(encoding="utf-8"))
    return [ConfigFile(path.name, path.parent, each) for each in found]


def _told(
    files: Sequence[ConfigFile], tell: Callable[[str], object], *, allow_code: bool = False
) -> dict[str, Any]:
    made = translate(files, allow_code=allow_code)
    for line in made.lines:
        tell(line)
    return made.options
