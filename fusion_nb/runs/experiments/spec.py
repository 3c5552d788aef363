"""An experiment is data: the options of a run, and what varies from run to run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusion_nb.core import seeds
from fusion_nb.errors import OptionError, nearest, option
from fusion_nb.runs.checks.names import check_names
from fusion_nb.runs.experiments import places, values, varying
from fusion_nb.runs.experiments.search import Search
from fusion_nb.runs.experiments.values import Range
from fusion_nb.runs.redaction import values_without_secrets
from fusion_nb.runs.spec import RunSpec, named
from fusion_nb.runs.spec import text as spec_text

#: Options of an experiment that are none of a run.
OWN = ("seeds", "hold", "band", "search", "workers")
#: How a band around a mean is made.
BANDS = {
    "std": "mean ± standard deviation",
    "bootstrap": "mean with its 95 % interval by bootstrap",
}
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
        return varying.label_of(self.settings)


@dataclass(frozen=True)
class ExperimentSpec:
    """All options of an experiment.

    options: those of every run, by their names in `RunSpec`
    vary:    option -> its values, each combined with each of the others
    seeds:   one run for each of them;  hold: the parts of a run that keep the first seed
    band:    `std` or `bootstrap`: what is told of the spread over seeds
    search:  "" for every combination, or a search such as optuna:trials=50
    workers: processes that train runs beside each other; 0 trains them in this one, and so does
             None, but that processes join it where the runs take long
    cluster: the Ray cluster that they are processes of, as ray:address=auto; "" for this machine
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    vary: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    hold: tuple[str, ...] = ()
    band: str = "std"
    search: str = ""
    workers: int | None = None
    cluster: str = ""

    @classmethod
    def of(
        cls,
        given: Mapping[str, Any],
        *,
        varies: bool = True,
        namespace: Mapping[str, Any] | None = None,
    ) -> ExperimentSpec:
        """Return the experiment of options as a line, a file or a call has them.

        varies:    whether options may have several values, or the seed alone
        namespace: where a class or a function may be that was not registered
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
            found = {name: varying.several_values(name, value) for name, value in options.items()}
            vary = {
                name: several
                for name in RunSpec.model_fields  # in one order, however they were written
                if (several := found.get(name)) is not None
            }
        made = cls(
            _checked({name: value for name, value in options.items() if name not in vary}),
            vary,
            values.parse_seeds(own.get("seeds", options.get("seed", 0))),
            _parse_hold(own.get("hold", "")),
            str(own.get("band", "std")),
            search,
            *places.parse_workers(own.get("workers", places.AUTO)),
        )
        made.check(namespace)
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

    def check(self, namespace: Mapping[str, Any] | None = None) -> None:
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
                    f"give an option several values: {option('lr', '[0.001..0.1]')}",
                )
            return
        for name, several in self.vary.items():
            for value in several:
                if varying.is_open(value):
                    raise OptionError(
                        f"{option(name, value)} is a range, and a grid needs values",
                        f"list them, as [0.01,0.1], or add {option('search', 'optuna:trials=20')}",
                    )
        for point in self.points():
            check_names(point.spec, namespace)

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

    @property
    def varied(self) -> list[str]:
        """The parts of a run that the seeds decide anew for each run."""
        of_own = seeds.apart(str(self.options.get("seed_of", "")))
        return [part for part in seeds.PARTS if part not in self.hold and part not in of_own]

    def told(self, built: bool = False) -> str:
        """Return in a sentence which parts of a run the seeds fix, and which are held.

        built: whether the model has its weights already, which no seed draws anew
        """
        if len(self.seeds) == 1:
            return ""
        held = [part for part in seeds.PARTS if part not in self.varied]
        varied = [part for part in self.varied if not (built and part == "weights")]
        text = f"{len(self.seeds)} seeds vary {_joined(varied)}" if varied else "nothing varies"
        return f"{text}; held: {_joined(held)}" if held else text

    def to_dict(self) -> dict[str, Any]:
        """Return the options as values that JSON and YAML can hold; `of` reads them."""
        found: dict[str, Any] = {
            # Where an experiment is saved decides none of its curves.
            name: value
            for name, value in self.options.items()
            if name not in ("seed", "checkpoint")
        }
        found |= {
            name: [varying.written(value) for value in several]
            for name, several in self.vary.items()
        }
        found["seeds"] = list(self.seeds)
        if self.hold:
            found["hold"] = ",".join(self.hold)
        defaults = ExperimentSpec()
        for name in ("band", "search", "workers"):
            if getattr(self, name) != getattr(defaults, name):
                found[name] = getattr(self, name)
        if self.cluster:
            found["workers"] = self.cluster
        return found

    def to_yaml(self) -> str:
        """Return the experiment as YAML text; `fusion_nb.sweep(config="file.yaml")` reads it."""
        return spec_text.yaml_of(self.to_dict())

    def to_text(self) -> str:
        """Return the cell that repeats the experiment; Python, where it was called with objects."""
        found = self.to_dict()
        given = {name: _in_python(value) for name, value in values_without_secrets(found).items()}
        if not any(_has_object(value) for value in found.values()):
            return self.to_cell()
        lines = [given.pop(name) for name in ("model", "data") if name in given]
        lines += [f"{name}={value}" for name, value in given.items()]
        written = "".join(f"    {line},\n" for line in lines)
        return f"import fusion_nb\n\nexperiment = fusion_nb.sweep(\n{written})"

    def to_cell(self) -> str:
        """Return the cell that repeats the experiment."""
        found = self.to_dict()
        code = str(found.pop("code", ""))
        found["seeds"] = ",".join(map(str, self.seeds))
        for name in self.vary:
            found[name] = f"[{','.join(str(value) or varying.NONE for value in found[name])}]"
        command = "sweep " if self.vary else ""
        cell = spec_text.cell_of(found, code)
        if code:
            return f"%%fusion {command}{cell.removeprefix('%%fusion ')}"
        return f"%fusion {command or 'run '}{cell.removeprefix('%fusion run ')}"


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as a run's spec has them. Raises OptionError for one that is not allowed."""
    read = RunSpec(**options)
    return {name: getattr(read, name) for name in options}


def _has_object(value: Any) -> bool:
    """Return whether a value, or one in a list, stands for an object of a call from Python."""
    each = value if isinstance(value, list) else [value]
    return any(str(one).startswith("given_") for one in each)


def _in_python(value: Any) -> str:
    """Return a value as Python has it; the names of objects stand without quotes."""
    if isinstance(value, list):
        return f"[{', '.join(map(_in_python, value))}]"
    return value if _has_object(value) else repr(value)


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


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))
