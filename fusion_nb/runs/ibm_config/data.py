"""The parties' data in IBM's files: `.npz` and `.csv` of its example handlers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fusion_nb.errors import OptionError, nearest
from fusion_nb.runs.ibm_config import names

_OURS = "ibmfl.util.data_handlers."
#: Imports a class from a file, in the code of a run whose user allowed it.
_IMPORT = """\
import importlib.util
def _handler(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)
"""


class PartyData:
    """Gathers the data of parties, all of one kind.

    allow_code: import handlers of the user's own
    """

    def __init__(self, *, allow_code: bool) -> None:
        self._allow_code = allow_code
        self._paths: dict[str, str] = {}
        self._kinds: dict[str, str] = {}
        self._handlers: list[str] = []
        self._label = ""

    def add(
        self,
        file: str,
        folder: Path,
        given: Mapping[str, Any],
        tell: Callable[[str, str], None],
    ) -> None:
        """Add a party's data. Raises OptionError for data that is not read."""
        info = given.get("info") or {}
        handler = str(given.get("name") or getattr(given.get("class"), "__name__", ""))
        party = f"party {len(self._kinds)}"
        if not handler:
            raise OptionError(f"{file} names no data", "give data: {name, path, info}")
        if handler in names.NO_HANDLER:
            raise OptionError(
                f"{file}: the data handler {handler} has no counterpart",
                f"use {names.NO_HANDLER[handler]}",
            )
        self._check_path(file, handler, str(given.get("path", "")))
        if "pickled_file" in info:
            raise OptionError(
                f"{file}: pickled_file {info['pickled_file']!r} is not read",
                "a pickle runs code when it is read: write the rows as .npz or .csv",
            )
        if handler in names.CSV_HANDLERS:
            self._add_file(file, folder, info, party, "txt_file", "csv")
            self._label = names.CSV_HANDLERS[handler]
            if not self._label:
                tell("name", f"{handler}: the label is taken to be the last column: option label")
        elif handler in names.NPZ_HANDLERS:
            self._add_file(file, folder, info, party, "npz_file", "npz")
        else:
            self._kinds[party] = "own"
            path = str(folder / str(given["path"]))
            made = f"_handler({path!r}, {handler!r})(data_config={dict(info)!r})"
            self._handlers.append(f"    {party!r}: {made}.get_data(),")
        if "epsilon" in info:
            tell("epsilon", "no noise is added to these rows")

    def options(self) -> dict[str, Any]:
        """Return the options that name the data."""
        kinds = {*self._kinds.values()}
        if len(kinds) > 1:
            raise OptionError(
                f"parties have data of several kinds: {', '.join(sorted(kinds))}",
                "give every party the same data handler",
            )
        if kinds == {"own"}:
            lines = "\n".join(self._handlers)
            return {"data": "data", "code": f"{_IMPORT}data = {{\n{lines}\n}}\n"}
        if kinds == {"csv"}:
            pairs = ((party, f"pandas.read_csv({path!r})") for party, path in self._paths.items())
            lines = "\n".join(f"    {party!r}: {read}," for party, read in pairs)
            code = f"import pandas\ndata = {{\n{lines}\n}}\n"
            label = {"label": self._label} if self._label else {}
            return {"data": "data", "tabular": "auto", "code": code} | label
        if len({Path(path).stem for path in self._paths.values()}) < len(self._paths):
            return {"data": "data", "code": f"data = {self._paths!r}\n"}
        return {"data": ",".join(self._paths.values())}

    def _add_file(
        self, file: str, folder: Path, info: Mapping[str, Any], party: str, key: str, kind: str
    ) -> None:
        if key not in info:
            raise OptionError(
                f"{file}: the data's info has no {key}",
                f"it has: {', '.join(info) or 'nothing'}; name a .{kind} file",
            )
        path = str(info[key])
        beside = folder / path
        self._paths[party] = str(beside) if not Path(path).exists() and beside.exists() else path
        self._kinds[party] = kind

    def _check_path(self, file: str, handler: str, path: str) -> None:
        """Raise OptionError for a handler that is the user's own, unless that is allowed."""
        known = [*names.CSV_HANDLERS, *names.NPZ_HANDLERS, *names.NO_HANDLER]
        if handler in known and (not path or path.startswith(_OURS)):
            return
        if path.startswith(_OURS):
            raise OptionError(
                f"{file}: the data handler {handler} is not known",
                f"{nearest(handler, known)}those that are: {', '.join(known)}",
            )
        if not self._allow_code or not path.endswith(".py"):
            raise OptionError(
                f"{file}: the data handler {handler} is code of your own, in {path or 'no file'}",
                "define it in a cell, and name it by data_handler; or let its .py file be run: "
                "fusion-nb run --allow-code",
            )
