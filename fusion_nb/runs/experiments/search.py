"""A search over settings by Optuna, which is imported when one begins."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fusion_nb.core import registry
from fusion_nb.core.history import is_higher_better
from fusion_nb.errors import OptionError, missing_extra, option
from fusion_nb.runs.experiments import values
from fusion_nb.runs.experiments.values import Range

#: Ways to decide which trials end before their last round.
PRUNERS = ("median", "halving", "none")


@dataclass(frozen=True)
class Search:
    """The notation `optuna:trials=50,metric=accuracy,pruner=median,seed=0`.

    trials: combinations that are tried;  metric: what is to be best, "" for that of the runs
    pruner: ends trials that are worse than most;  seed: of the search itself

    >>> Search.parse("optuna:trials=5")
    Search(trials=5, metric='', pruner='median', seed=0)
    """

    trials: int = 20
    metric: str = ""
    pruner: str = "median"
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> Search:
        """Return what an option says. Raises OptionError."""
        name, given = registry.parse(text)
        if name != "optuna":
            raise OptionError(
                f"{option('search', text)} is not allowed", "write optuna:trials=50,metric=accuracy"
            )
        found: dict[str, Any] = {}
        for word, value in given.items():
            word = word or "trials"
            if word in ("trials", "seed") and value.isdecimal() and (int(value) or word == "seed"):
                found[word] = int(value)
            elif word == "metric" or (word == "pruner" and value in PRUNERS):
                found[word] = value
            else:
                raise OptionError(
                    f"{option('search', text)}: {word}={value} is not allowed",
                    f"write trials=50 (>= 1), metric=accuracy, seed=0, "
                    f"pruner={' or '.join(PRUNERS)}",
                )
        return cls(**found)

    def check_installed(self) -> None:
        """Raise MissingExtraError where Optuna is not installed."""
        if importlib.util.find_spec("optuna") is None:
            error = ModuleNotFoundError(name="optuna")
            raise missing_extra(error, option("search", "optuna"))


class Study:
    """A search under way: it says what to try next, and which trials to end early.

    search: its options;  vary: option -> values and ranges;  metric: what is to be best
    """

    def __init__(self, search: Search, vary: Mapping[str, tuple[Any, ...]], metric: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._vary = vary
        pruners: dict[str, Callable[[], Any]] = {
            "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
            "halving": optuna.pruners.SuccessiveHalvingPruner,
            "none": optuna.pruners.NopPruner,
        }
        self._study = optuna.create_study(
            direction="maximize" if is_higher_better(metric) else "minimize",
            sampler=optuna.samplers.TPESampler(seed=search.seed),
            pruner=pruners[search.pruner](),
        )

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """Return the next trial, and its settings."""
        trial = self._study.ask()
        settings = {}
        for name, several in self._vary.items():
            index = trial.suggest_categorical(name, self._choices(several))
            value = several[self._choices(several).index(index)]
            settings[name] = self._within(trial, name, value)
        return trial, settings

    def report(self, trial: Any, value: float, step: int) -> bool:
        """Tell the value of a trial after a step, and return whether it is to end."""
        trial.report(value, step)
        return bool(trial.should_prune())

    def tell(self, trial: Any, value: float | None, state: str) -> None:
        """Tell how a trial ended: with a value, `pruned` or `failed`."""
        states = self._optuna.trial.TrialState
        if state == "pruned":
            self._study.tell(trial, state=states.PRUNED)
        elif value is None or value != value:
            self._study.tell(trial, state=states.FAIL)
        else:
            self._study.tell(trial, value)

    @staticmethod
    def _choices(several: tuple[Any, ...]) -> list[str]:
        return [str(each) for each in several]

    def _within(self, trial: Any, name: str, value: Any) -> Any:
        """Return a value with numbers in place of the ranges in it."""
        if isinstance(value, Range):
            return _drawn(trial, name, value)
        if isinstance(value, str):
            for written, each in values.ranges_in(value).items():
                key = f"{name} {value} {written}"
                value = value.replace(written, f"{_drawn(trial, key, each):.6g}", 1)
        return value


def _drawn(trial: Any, name: str, each: Range) -> float:
    name = f"{name} in {each}"
    if each.is_whole:
        return int(trial.suggest_int(name, int(each.low), int(each.high), log=each.is_log))
    return float(f"{trial.suggest_float(name, each.low, each.high, log=each.is_log):.6g}")
