"""The notation of the option `log`: `mlflow:uri=sqlite:///runs.db,tensorboard:folder=runs`."""

from __future__ import annotations

import importlib.util
import re

from fusion_nb.core import registry
from fusion_nb.core.protocols.tracker import Tracker
from fusion_nb.errors import MissingExtraError, OptionError, missing_extra, option

#: An option that belongs to the tracker before the comma.
_MORE_OPTIONS = re.compile(r"\s*\w+\s*=")

tracker = registry.decorator("trackers")
tracker.__doc__ = """Register a class derived from `Tracker` under its own name, for `--log name`.

>>> @tracker
... class Printed(Tracker):
...     def start(self, run):
...         print(run.name, run.params["lr"])
...     def log(self, round, metrics):
...         print(round, metrics)
...     def end(self, ending):
...         print(ending.status)
>>> isinstance(registry.create("trackers", "Printed"), Tracker)
True
"""


def parse(text: str) -> list[str]:
    """Return the trackers in text, each with its options.

    >>> parse("mlflow:uri=sqlite:///runs.db,experiment=mine, tensorboard:folder=runs")
    ['mlflow:uri=sqlite:///runs.db,experiment=mine', 'tensorboard:folder=runs']
    """
    found: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if found and _MORE_OPTIONS.match(part):
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


def make(text: str) -> dict[str, Tracker]:
    """Return the trackers that text names, by their texts.

    Raises NameNotFoundError or OptionError for text that is wrong, MissingExtraError, which says
    what to install, where a package is missing.
    """
    found: dict[str, Tracker] = {}
    for each in parse(text):
        name = registry.parse(each)[0]
        kind = registry.get("trackers", name)
        is_class = isinstance(kind, type) and issubclass(kind, Tracker)
        for package in kind.packages if is_class else ():
            _check_installed(package, name)
        if each in found:
            raise OptionError(
                f"{option('log', text)} names {each} twice", "name each tracker once", option="log"
            )
        found[each] = registry.create("trackers", each)
    return found


def check(text: str) -> None:
    """Raise the error of text that is wrong, or of a package that is missing."""
    make(text)


def _check_installed(package: str, name: str) -> None:
    if importlib.util.find_spec(package) is not None:
        return
    error = missing_extra(
        ModuleNotFoundError(f"No module named {package!r}", name=package), f"the tracker {name!r}"
    )
    if isinstance(error, ModuleNotFoundError):  # no extra of this package has it
        error = MissingExtraError(
            f"the tracker {name!r} needs the package {package!r}, which is not installed",
            f"run:  pip install {package}",
        )
    raise error
