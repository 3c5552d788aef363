"""Options with several values: how they are read, and how settings are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fusion_nb.core import registry
from fusion_nb.errors import OptionError, option
from fusion_nb.runs.experiments import values
from fusion_nb.runs.experiments.values import Range
from fusion_nb.runs.spec import RunSpec, run_option

#: Options that name a component, of which several stand in a list without brackets.
_COMPONENTS = (
    *("fusion", "split", "engine", "optimizer", "personal", "share", "ensemble"),
    *("compress", "privacy"),
)
#: Options that no experiment varies: a list of them has another meaning, or each needs one.
_FIXED = ("model", "data", "metrics", "code", "checkpoint", "seed", "seed_of", "changes", "roles")
#: Those of them of which each run has its own, by the seeds.
_ONE_EACH = ("seed", "seed_of", "checkpoint")
#: Those of which an experiment has one.
_ONE_OF_ALL = ("model", "data")
#: Stands in a list for an option that is not given: --compress [none,topk].
NONE = "none"
#: Options that an experiment can vary.
VARYING = tuple(name for name in RunSpec.model_fields if name not in _FIXED)


def label_of(settings: Mapping[str, Any]) -> str:
    """Return settings in words: a component stands for itself, a number has its name.

    >>> label_of({"fusion": "fedprox:mu=0.1", "lr": 0.01})
    'fedprox:mu=0.1, lr 0.01'
    """
    return ", ".join(_in_words(name, value) for name, value in settings.items())


def _in_words(name: str, value: Any) -> str:
    if value == "":
        return f"no {name}"
    if isinstance(value, float):
        return f"{name} {value:g}"
    return str(value) if name in _COMPONENTS else f"{name} {written(value)}"


def columns_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as columns of a table: a component's own options have one each.

    >>> columns_of({"fusion": "fedprox:mu=0.1", "lr": 0.01})
    {'fusion': 'fedprox', 'fusion.mu': 0.1, 'lr': 0.01}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in _COMPONENTS or not isinstance(value, str) or "+" in value:
            found[name] = value
            continue
        component, options = registry.parse(value)
        found[name] = component
        for word, text in options.items():
            found[f"{name}.{word}" if word else f"{name}.value"] = _number(text)
    return found


def several_values(name: str, value: Any) -> tuple[Any, ...] | None:
    """Return the values of an option that has several, or None where it has one."""
    if name in _FIXED or name not in RunSpec.model_fields:
        _check_single(name, value)
        return None
    found = _written_values(name, value)
    if found is None:
        return None
    read = [each if is_open(each) else _read(name, each) for each in found]
    if len({str(each) for each in read}) < len(read):
        raise OptionError(f"{option(name, value)} has a value twice", "name each once")
    return tuple(read)


def _check_single(name: str, value: Any) -> None:
    """Raise OptionError for a list that an option can't have, and say what does the same."""
    is_list = isinstance(value, list | tuple | range)
    if name in _ONE_EACH and is_list:
        hint = f"{option('seeds', '0-4')} gives several seeds"
        if name == "checkpoint":
            hint = "name one folder: all runs of the experiment are saved in it"
        raise OptionError(f"{option(name)} has several values", hint)
    if name in _ONE_OF_ALL and isinstance(value, str) and value.strip().startswith("["):
        raise several_experiments(name)


def several_experiments(name: str) -> OptionError:
    """Return the error of an experiment with several models or data sets."""
    return OptionError(
        f"{option(name)} has several values, and the runs of an experiment share one",
        "make an experiment for each, and compare these: %fusion compare A B, or "
        "fusion_nb.compare([a, b])",
        option=name,
    )


def _written_values(name: str, value: Any) -> list[Any] | None:
    """Return the values in a text or a list, which may be ranges; None where there is one value."""
    if isinstance(value, str):
        found = _listed(name, value)
        is_list = _has_brackets(value)  # of one value too, as a list of Python
        return found if is_list or len(found) > 1 or is_open(found[0]) else None
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        return None
    if getattr(value, "ndim", 1) == 0:  # one number of numpy
        return None
    several = sorted(value) if isinstance(value, set | frozenset) else list(value)
    parts = [each for v in several for each in (values.expand(v) if isinstance(v, str) else [v])]
    if not parts:
        raise OptionError(f"{option(name)} has an empty list", "give it values")
    return [_part(name, part) if isinstance(part, str) else part for part in parts]


def _listed(name: str, text: str) -> list[Any]:
    """Return the values in the text of an option: [1,2], 1,2 for numbers, a,b for components."""
    bare, has_brackets = text.strip(), _has_brackets(text)
    inside = bare[1:-1] if has_brackets else bare
    is_number = run_option(name).type in (int, float)
    if is_number and (found := Range.parse(inside)):
        return [found]
    if not (has_brackets or is_number or name in _COMPONENTS):
        return [text]
    parts = values.split_list(inside) or [text]
    return [_part(name, each) for part in parts for each in values.expand(part)]


def _has_brackets(text: str) -> bool:
    bare = text.strip()
    return bare.startswith("[") and bare.endswith("]")


def _part(name: str, text: str) -> Any:
    """Return one value of a list: text, a range, or "" for an option that is not given."""
    is_none = text.strip() == NONE and RunSpec.model_fields[name].default == ""
    return "" if is_none else Range.parse(text) or text


def is_open(value: Any) -> bool:
    """Return whether a value is a range, or has one, which a search alone can draw from."""
    return isinstance(value, Range) or (isinstance(value, str) and bool(values.ranges_in(value)))


def _read(name: str, value: Any) -> Any:
    """Return a value as a run's spec has it. Raises OptionError for one that is not allowed."""
    return getattr(RunSpec(**{name: value}), name)


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def written(value: Any) -> Any:
    """Return a value as files have it: a range as text."""
    return str(value) if isinstance(value, Range) else value
