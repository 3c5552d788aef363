"""An experiment is data: the options of a run, and what varies from run to run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fusion_nb.core import registry, seeds
from fusion_nb.errors import OptionError, nearest, option
from fusion_nb.runs import spec_text
from fusion_nb.runs.experiments import values
from fusion_nb.runs.experiments.search import Search
from fusion_nb.runs.experiments.values import Range
from fusion_nb.runs.resolve import check_names
from fusion_nb.runs.spec import RunSpec, named, run_option

#: Options of an experiment that are none of a run.
OWN = ("seeds", "hold", "band", "search", "workers")
#: How a band around a mean is made.
BANDS = {
    "std": "mean ± standard deviation",
    "bootstrap": "mean with its 95 % interval by bootstrap",
}
#: Options that name a component, of which several stand in a list without brackets.
_COMPONENTS = ("fusion", "split", "engine", "optimizer", "personal", "share", "ensemble")
#: Options that no experiment varies: a list of them has another meaning, or each needs one.
_FIXED = ("model", "data", "metrics", "code", "checkpoint", "seed", "seed_of", "changes", "roles")
#: Trials of a grid, at most.
MAX_TRIALS = 5000


@dataclass(frozen=True)
class Point:
    """One run of an experiment before it is trained.

    number:   counts from 1;  seed: of the run;  spec: all its options
    settings: the options that vary, with the value that each has here
    """

    number: int
    settings: Mapping[str, Any]
    seed: int
    spec: RunSpec

    @property
    def label(self) -> str:
        """The settings in words, without the seed."""
        return label_of(self.settings)


@dataclass(frozen=True)
class ExperimentSpec:
    """All options of an experiment.

    options: those of every run, by their names in `RunSpec`
    vary:    option -> its values, each combined with each of the others
    seeds:   one run for each of them;  hold: the parts of a run that keep the first seed
    band:    `std` or `bootstrap`: what is told of the spread over seeds
    search:  "" for every combination, or a search such as optuna:trials=50
    workers: processes that train runs beside each other; 0 trains them in this one
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    vary: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    hold: tuple[str, ...] = ()
    band: str = "std"
    search: str = ""
    workers: int = 0

    @classmethod
    def of(cls, given: Mapping[str, Any], *, varies: bool = True) -> ExperimentSpec:
        """Return the experiment of options as a line, a file or a call has them.

        varies: whether options may have several values, or the seed alone
        Raises OptionError for an option that does not exist, or a value that is not allowed.
        """
        own = {name: value for name, value in given.items() if name in OWN}
        options = named({name: value for name, value in given.items() if name not in OWN})
        if "seeds" in own and "seed" in options:
            raise OptionError(
                f"{option('seed')} and {option('seeds')} say the same",
                f"leave {option('seed')} out",
            )
        search = str(own.get("search", ""))
        if search and (metric := Search.parse(search).metric):
            options.setdefault("monitor", metric)
        vary: dict[str, tuple[Any, ...]] = {}
        if varies:
            found = {name: _several(name, value) for name, value in options.items()}
            vary = {name: several for name, several in found.items() if several is not None}
        made = cls(
            _checked({name: value for name, value in options.items() if name not in vary}),
            vary,
            values.parse_seeds(own.get("seeds", options.get("seed", 0))),
            _parse_hold(own.get("hold", "")),
            str(own.get("band", "std")),
            search,
            _parse_workers(own.get("workers", 0)),
        )
        made.check()
        return made

    @property
    def searched(self) -> Search | None:
        """The search, or None for a grid."""
        return Search.parse(self.search) if self.search else None

    @property
    def size(self) -> int:
        """The number of runs, if nothing ends it early."""
        if search := self.searched:
            return search.trials * len(self.seeds)
        return math.prod(len(each) for each in self.vary.values()) * len(self.seeds)

    def check(self) -> None:
        """Raise OptionError for a value that is not allowed, before any run is made."""
        if self.band not in BANDS:
            raise OptionError(
                f"{option('band', self.band)} is not allowed", f"there are: {', '.join(BANDS)}"
            )
        if self.hold and len(self.seeds) == 1:
            raise OptionError(
                f"{option('hold', ','.join(self.hold))} has nothing to hold",
                f"give several seeds: {option('seeds', '0-4')}",
            )
        if self.size > MAX_TRIALS:
            raise OptionError(
                f"the experiment has {self.size:,} runs", f"at most {MAX_TRIALS:,} are allowed"
            )
        search = self.searched
        if search is not None:
            search.check_installed()
            if not self.vary:
                raise OptionError(
                    f"{option('search', self.search)} has nothing to vary",
                    "give an option several values: --lr [0.001..0.1]",
                )
            return
        for name, several in self.vary.items():
            for value in several:
                if isinstance(value, Range) or (isinstance(value, str) and values.ranges_in(value)):
                    raise OptionError(
                        f"{option(name, value)} is a range, and a grid needs values",
                        f"list them, as [0.01,0.1], or add {option('search', 'optuna:trials=20')}",
                    )
        for point in self.points():
            check_names(point.spec)

    def points(self) -> list[Point]:
        """Return the runs of a grid: each combination under all seeds before the next one."""
        found: list[Point] = []
        for combination in itertools.product(*self.vary.values()):
            settings = dict(zip(self.vary, combination, strict=True))
            for seed in self.seeds:
                found.append(self.point(len(found) + 1, settings, seed))
        return found

    def point(self, number: int, settings: Mapping[str, Any], seed: int) -> Point:
        """Return one run. Raises OptionError for a value that is not allowed."""
        options = {**self.options, **settings, "seed": seed}
        apart = seeds.apart(str(options.get("seed_of", "")))
        held = {part: self.seeds[0] for part in self.hold if part not in apart}
        if held and seed != self.seeds[0]:
            options["seed_of"] = ",".join(
                f"{part}={own}" for part, own in {**held, **apart}.items()
            )
        return Point(number, settings, seed, RunSpec(**options))

    def first(self) -> RunSpec:
        """Return the spec of its first run, or one with the first of each option's values."""
        settings = {
            name: next((v for v in several if not isinstance(v, Range)), several[0].low)
            if isinstance(several[0], Range)
            else several[0]
            for name, several in self.vary.items()
        }
        for name, value in settings.items():
            if isinstance(value, str):
                for written, each in values.ranges_in(value).items():
                    settings[name] = value.replace(written, f"{each.low:g}")
        return self.point(1, settings, self.seeds[0]).spec

    def told(self) -> str:
        """Return in a sentence which parts of a run the seeds fix, and which are held."""
        if len(self.seeds) == 1:
            return ""
        of_own = seeds.apart(str(self.options.get("seed_of", "")))
        held = [part for part in seeds.PARTS if part in self.hold or part in of_own]
        varied = [part for part in seeds.PARTS if part not in held]
        text = f"{len(self.seeds)} seeds vary {_joined(varied)}" if varied else "nothing varies"
        return f"{text}; held: {_joined(held)}" if held else text

    def with_code(self, code: str) -> ExperimentSpec:
        """Return the experiment whose runs begin with a cell's body."""
        return replace(self, options={**self.options, "code": code}) if code.strip() else self

    def to_dict(self) -> dict[str, Any]:
        """Return the options as values that JSON and YAML can hold; `of` reads them."""
        found: dict[str, Any] = {
            name: value for name, value in self.options.items() if name != "seed"
        }
        found |= {
            name: [_written(value) for value in several] for name, several in self.vary.items()
        }
        found["seeds"] = list(self.seeds)
        if self.hold:
            found["hold"] = ",".join(self.hold)
        defaults = ExperimentSpec()
        for name in ("band", "search", "workers"):
            if getattr(self, name) != getattr(defaults, name):
                found[name] = getattr(self, name)
        return found

    def to_yaml(self) -> str:
        """Return the experiment as YAML text; `fusion_nb.sweep(config="file.yaml")` reads it."""
        return spec_text.yaml_of(self.to_dict())

    def to_cell(self) -> str:
        """Return the cell that repeats the experiment."""
        found = self.to_dict()
        code = str(found.pop("code", ""))
        found["seeds"] = ",".join(map(str, self.seeds))
        for name in self.vary:
            found[name] = f"[{','.join(map(str, found[name]))}]"
        command = "sweep " if self.vary else ""
        cell = spec_text.cell_of(found, code)
        if code:
            return f"%%fusion {command}{cell.removeprefix('%%fusion ')}"
        return f"%fusion {command or 'run '}{cell.removeprefix('%fusion run ')}"


def label_of(settings: Mapping[str, Any]) -> str:
    """Return settings in words: a component stands for itself, a number has its name.

    >>> label_of({"fusion": "fedprox:mu=0.1", "lr": 0.01})
    'fedprox:mu=0.1, lr 0.01'
    """
    parts = [
        str(value) if name in _COMPONENTS else f"{name} {_written(value)}"
        for name, value in settings.items()
    ]
    return ", ".join(parts)


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


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as a run's spec has them. Raises OptionError for one that is not allowed."""
    read = RunSpec(**options)
    return {name: getattr(read, name) for name in options}


def _several(name: str, value: Any) -> tuple[Any, ...] | None:
    """Return the values of an option that has several, or None where it has one."""
    if name in _FIXED or name not in RunSpec.model_fields:
        if name in ("seed", "seed_of", "checkpoint") and isinstance(value, list | tuple | range):
            raise OptionError(
                f"{option(name)} has several values",
                f"{option('seeds', '0-4')} gives several seeds",
            )
        return None
    if isinstance(value, str):
        found = _listed(name, value)
    elif isinstance(value, list | tuple | range) or type(value).__name__ == "ndarray":
        found = [each for v in value for each in (values.expand(v) if isinstance(v, str) else [v])]
        found = [Range.parse(v) or v if isinstance(v, str) else v for v in found]
        if not found:
            raise OptionError(f"{option(name)} has an empty list", "give it values")
    else:
        return None
    if len(found) == 1 and not _is_open(found[0]) and isinstance(value, str):
        return None
    read = [each if _is_open(each) else _read(name, each) for each in found]
    if len({str(each) for each in read}) < len(read):
        raise OptionError(f"{option(name, value)} has a value twice", "name each once")
    return tuple(read)


def _listed(name: str, text: str) -> list[Any]:
    """Return the values in the text of an option: [1,2], 1,2 for numbers, a,b for components."""
    bare = text.strip()
    has_brackets = bare.startswith("[") and bare.endswith("]")
    inside = bare[1:-1] if has_brackets else bare
    is_number = run_option(name).type in (int, float)
    if is_number and (found := Range.parse(inside)):
        return [found]
    if not (has_brackets or is_number or name in _COMPONENTS):
        return [text]
    parts = values.split_list(inside) or [text]
    return [each for part in parts for each in values.expand(part)]


def _is_open(value: Any) -> bool:
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


def _written(value: Any) -> Any:
    return str(value) if isinstance(value, Range) else value


def _parse_hold(given: Any) -> tuple[str, ...]:
    parts = given.split(",") if isinstance(given, str) else list(given)
    found = [str(part).strip() for part in parts if str(part).strip()]
    for part in found:
        if part not in seeds.PARTS:
            raise OptionError(
                f"{option('hold', ','.join(found))}: there is no part {part!r}",
                f"{nearest(part, seeds.PARTS)}parts are: "
                + "; ".join(f"{name}: {meaning}" for name, meaning in seeds.PARTS.items()),
            )
    return tuple(part for part in seeds.PARTS if part in found)


def _parse_workers(given: Any) -> int:
    try:
        found = int(given)
    except (TypeError, ValueError):
        found = -1
    if found < 0:
        raise OptionError(f"{option('workers', given)} is not allowed", "give a whole number >= 0")
    return found


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
