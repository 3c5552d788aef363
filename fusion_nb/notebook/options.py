"""The option line of `%fusion` and `%%fusion`.

It is built from `RunSpec`, so that a new field is an option at once.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn

from fusion_nb.errors import OptionError, nearest, option
from fusion_nb.notebook.option_text import tokens
from fusion_nb.runs import spec
from fusion_nb.runs.spec.errors import meant

#: Characters in a line of help, and those before a text that stands beside a name.
_WIDTH, _BESIDE = 96, 31


@dataclass(frozen=True)
class Command:
    """A command of `%fusion`.

    purpose: one line of help;  words: the words that it takes;  options: the options of its own
    """

    purpose: str
    words: str = ""
    options: tuple[str, ...] = ()

    @property
    def max_words(self) -> float:
        """How many words it takes at most."""
        return float("inf") if self.words.endswith("...]") else len(self.words.split())


@dataclass(frozen=True)
class LineOption:
    """An option that belongs to a command and is no field of `RunSpec`.

    choices: the values it takes where they are few;  is_flag: whether it is written without a value
    """

    description: str
    choices: tuple[str, ...] = ()
    is_flag: bool = False


#: Options of a run that `resume` takes.
_GIVEN_AGAIN = ("model", "data", "data_handler", "label", "loss", "optimizer", "engine", "device")
COMMANDS: Mapping[str, Command] = {
    "run": Command(
        "train: the same as %fusion with options alone",
        options=("config", "background", "name", "quiet", "service", "seeds", "hold", "band"),
    ),
    "sweep": Command(
        "train every combination of options: --fusion fedavg,fedprox:mu=[0.1,1] --lr [0.01,0.1]; "
        "none in a list leaves an option out: --compress [none,topk]",
        options=(
            *("config", "background", "name", "quiet"),
            *("seeds", "hold", "band", "search", "workers"),
        ),
    ),
    "panel": Command(
        "configure, watch, steer and export a run by mouse or keyboard", options=("config",)
    ),
    "split": Command("show which party would hold which rows", options=("config",)),
    "stats": Command(
        "show the statistics of a table's columns, per party and together",
        "[DATA]",
        ("config", "min_count"),
    ),
    "status": Command("show the round and the metrics of a run", "[RUN]", ("follow",)),
    "stop": Command("stop a run and keep its last whole round", "[RUN]"),
    "pause": Command("pause a run between two batches", "[RUN]"),
    "resume": Command(
        "continue a paused run; or one on disk, by its name or folder",
        "[RUN]",
        (*_GIVEN_AGAIN, "name", "background", "quiet", "allow_other_rows"),
    ),
    "more": Command("train more rounds after the last one", "[RUN]", ("rounds", "background")),
    "runs": Command("list the runs of this notebook, and those on disk"),
    "checkpoint": Command(
        "save the runs of this notebook in a cache: on, off, or its folder", "[WORD]"
    ),
    "compare": Command(
        "draw several runs in one chart; experiments, exported folders and trackers too, as "
        "mlflow:uri=sqlite:///mlflow.db",
        "[RUN|FOLDER|TRACKER ...]",
    ),
    "audit": Command("measure what the updates of a run give away", "[RUN] [PARTY ...]"),
    "export": Command(
        "write the fused model and its card", "[RUN] FOLDER", ("format", "which", "overwrite")
    ),
    "list": Command("list fusions, splits, datasets, models, engines", "[KIND]"),
    "help": Command("explain the options, or one fusion, split or data set", "[NAME]"),
}
LINE_OPTIONS: Mapping[str, LineOption] = {
    "config": LineOption(
        "YAML file with options; options on the line replace those of the file, and its code is run"
    ),
    "background": LineOption("return at once and train while other cells run", is_flag=True),
    "name": LineOption("variable to bind the run to (default: run, run_2, ...)"),
    "follow": LineOption("status: show a run that trains in the background here", is_flag=True),
    "quiet": LineOption("draw and print nothing", is_flag=True),
    "service": LineOption(
        "train on a Model Fusion service: its address, or a variable with it; the key in ~/.netrc "
        "or FUSION_NB_SERVICE_KEY is not saved with the cell"
    ),
    "format": LineOption("export: format, or several with commas"),
    "which": LineOption("export: the last or the best round", ("last", "best")),
    "overwrite": LineOption("export: replace an earlier export", is_flag=True),
    "seeds": LineOption("one run for each of several seeds: 0-4, or 0,3,7"),
    "hold": LineOption(
        "parts that keep the first of --seeds: split,cohort,batches,weights, or some of them"
    ),
    "band": LineOption(
        "around a mean over seeds: std, or bootstrap, its 95 % interval", ("std", "bootstrap")
    ),
    "search": LineOption("sweep: a search in place of a grid: optuna:trials=50,metric=accuracy"),
    "workers": LineOption(
        "sweep: processes that train runs beside each other, or a Ray cluster, as ray:address=auto "
        "(default: auto, here, joined by processes where runs take long; 0: all of them here)"
    ),
    "min_count": LineOption("stats: hide counts of fewer rows (default: 5)"),
    "allow_other_rows": LineOption(
        "resume: continue although the rows differ from those that the run began with",
        is_flag=True,
    ),
}
#: Commands that take the options of a run.
COMMANDS_WITH_RUN_OPTIONS = ("run", "sweep", "split", "stats", "panel")


@dataclass(frozen=True)
class Line:
    """An option line that has been read.

    command: the command;  words: the words after it;  options: options of a run, as text;  own: the
    command's own options;  num_lines: the lines of a cell that it took
    """

    command: str
    words: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    num_lines: int = 1


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        written = message.removeprefix("argument ").partition(":")[0].split("/")[0]
        if "expected one argument" in message and written in names():
            name = names()[written]
            taken = "text" if name in LINE_OPTIONS else spec.allowed(name)
            raise OptionError(f"{option(name)} has no value", f"it takes {taken}: {describe(name)}")
        raise OptionError(message.replace("argument ", "", 1), "%fusion help lists all options")


@cache
def names() -> dict[str, str]:
    """Return every way to write an option (`--fusion`, `-a`) with the field that it sets."""
    spellings = {}
    for name, info in spec.RunSpec.model_fields.items():
        if isinstance(info.json_schema_extra, dict):  # `code` is the cell's body, not an option
            aliases: Any = info.json_schema_extra["aliases"]
            for word in (name.replace("_", "-"), *aliases):
                spellings[f"-{word}" if len(word) == 1 else f"--{word}"] = name
    return spellings | {f"--{name.replace('_', '-')}": name for name in LINE_OPTIONS}


def is_flag(name: str) -> bool:
    """Return whether an option is written without a value."""
    if name in LINE_OPTIONS:
        return LINE_OPTIONS[name].is_flag
    return spec.RunSpec.model_fields[name].annotation is bool


def read(line: str) -> Line:
    """Return an option line, read and checked.

    Raises OptionError for a command or an option that does not exist, or that do not go together.
    """
    written = tokens(line)
    for token in written:
        if token[:1] == "-" and token[1:2] != "-" and f"-{token}" in names() and token[2:]:
            raise OptionError(f"there is no option {token}", f"it has two dashes: -{token}")
    parsed, unknown = _parser().parse_known_intermixed_args(written)
    if unknown:
        word = unknown[0].partition("=")[0]
        raise OptionError(
            f"there is no option {word}", f"{meant(word, names())}%fusion help lists all of them"
        )
    values = vars(parsed)
    words = values.pop("words", [])
    name = words.pop(0) if words else "run"
    if name not in COMMANDS:
        raise _unknown_command(name, line)
    _check_options(name, values)
    _check_words(name, words)
    return Line(
        name,
        words,
        options={name: value for name, value in values.items() if name not in LINE_OPTIONS},
        own={name: value for name, value in values.items() if name in LINE_OPTIONS},
    )


def to_spec(line: Line, code: str = "") -> spec.RunSpec:
    """Return the spec of a line and a cell's body.

    The options of `--config` are replaced by those of the line.
    """
    of_file = spec.from_file(line.own["config"]) if "config" in line.own else {}
    options = of_file | line.options
    if code.strip():
        options["code"] = code
    try:
        return spec.RunSpec(**options)
    except OptionError as error:
        if error.option not in of_file or error.option in line.options:
            raise
        message = error.spelled(_yaml_spelling).message
        parts: dict[str, Any] = {
            "option": error.option,
            "value": error.value,
            "allowed": error.allowed,
        }
        raise OptionError(f"{line.own['config']}: {message}", error.hint, **parts) from None


def _yaml_spelling(name: str, value: str | None = None) -> str:
    """Write an option as a YAML file has it: `batch_size: 32`."""
    return name if value is None else f"{name}: {value}"


def describe(name: str) -> str:
    """Return the description of an option, with its default."""
    if name in LINE_OPTIONS:
        return LINE_OPTIONS[name].description
    info = spec.RunSpec.model_fields[name]
    has_default = info.default not in ("", None, False)
    return f"{info.description} [{info.default}]" if has_default else str(info.description)


def usage() -> str:
    """Return all commands and options as text."""
    spellings: dict[str, list[str]] = {}
    for written, name in names().items():
        spellings.setdefault(name, []).append(written)
    return "\n".join(
        [
            "%%fusion [options]             train the model that the cell's body defines",
            "",
            *(
                _entry(f"%fusion {name} {command.words}".rstrip(), command.purpose)
                for name, command in COMMANDS.items()
            ),
            "",
            "options of a run (and, at the end, of commands):",
            *(_entry(", ".join(written), describe(name)) for name, written in spellings.items()),
            "",
            "%fusion help NAME explains a fusion, a split or a data set; %fusion list shows them",
        ]
    )


def _entry(name: str, text: str) -> str:
    """Return a name with its text beside it, in lines that no window breaks within a word."""
    beside = textwrap.wrap(
        text, _WIDTH - _BESIDE, break_long_words=False, break_on_hyphens=False
    ) or [""]
    first = f"  {name:<{_BESIDE - 3}} "
    if len(first) == _BESIDE:
        first += beside.pop(0)
    return "\n".join([first.rstrip(), *(" " * _BESIDE + line for line in beside)])


@cache
def _parser() -> _Parser:
    parser = _Parser(
        prog="%fusion", add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    parser.add_argument("words", nargs="*")
    for written, name in names().items():
        # Values stay text here: RunSpec turns them into numbers and says what is allowed.
        parser.add_argument(written, dest=name, action="store_true" if is_flag(name) else "store")
    return parser


def _unknown_command(word: str, line: str) -> OptionError:
    _check_no_assignment(word)
    # A value that fell apart: --until accuracy >= 0.95, --split dirichlet alpha=1
    if line.lstrip().startswith("-"):
        return OptionError(
            f"{word!r} stands alone on the line",
            "put a value with blanks in quotes, and a component's options after a colon: "
            "dirichlet:alpha=0.5",
        )
    return OptionError(
        f"%fusion has no command {word!r}",
        f"{nearest(word, COMMANDS)}there are: {', '.join(COMMANDS)}",
    )


def _check_no_assignment(word: str) -> None:
    """Raise OptionError for an option that is written as in Python: rounds=3."""
    name, sign, value = word.partition("=")
    flag = f"--{name.replace('_', '-')}"
    if sign and flag in names():
        raise OptionError(f"{word!r} stands alone on the line", f"write {flag} {value}")


def _check_options(name: str, values: Mapping[str, Any]) -> None:
    """Raise OptionError for an option that the command does not take."""
    own = COMMANDS[name].options
    takes_run_options = name in COMMANDS_WITH_RUN_OPTIONS
    for each in values:
        if each not in own and (each in LINE_OPTIONS or not takes_run_options):
            taken = ", ".join(option(other) for other in own) or "no options"
            raise OptionError(f"%fusion {name} takes no {option(each)}", f"it takes {taken}")


def _check_words(name: str, words: list[str]) -> None:
    """Raise OptionError for more words than the command takes."""
    command = COMMANDS[name]
    for word in words[: 0 if command.words else None]:
        _check_no_assignment(word)
    if len(words) > command.max_words:
        usage = f"write %fusion {name} {command.words}".rstrip()
        raise OptionError(
            f"%fusion {name} has no use for {words[-1]!r}", f"{usage}; options start with --"
        )
