"""An index, in the cache, of the folders outside of it that runs were saved in lately."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from fusion_nb.core.files.storage import read_json, write_json

_INDEX, _FOLDERS = "named.json", "folders"
#: Folders that are remembered, at most.
MAX_FOLDERS = 50


def remember(cache: Path, folder: Path) -> None:
    """Remember a folder as the latest one, where the cache can be written to."""
    if folder.parent == cache:
        return
    others = [other for other in folders(cache) if other != folder]
    latest = [str(path) for path in (*others, folder)][-MAX_FOLDERS:]
    with suppress(OSError):  # a run is saved without it, too
        cache.mkdir(parents=True, exist_ok=True)
        write_json(cache / _INDEX, {_FOLDERS: latest})


def folders(cache: Path) -> list[Path]:
    """Return the folders that are still there, the latest last."""
    try:
        found = read_json(cache / _INDEX).get(_FOLDERS, [])
    except (OSError, ValueError, TypeError):  # it is damaged
        return []
    texts: Iterable[object] = found if isinstance(found, list) else []
    paths = [Path(text) for text in texts if isinstance(text, str)]
    return [path for path in paths if _is_folder(path)]


def _is_folder(path: Path) -> bool:
    with suppress(OSError, ValueError):  # such as a text with a zero byte
        return path.is_absolute() and path.is_dir()
    return False
