"""The option line of `%fusion` and `%%fusion`: built from RunSpec, so that a new field is an option
at once.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NoReturn

from fusion_nb.errors import OptionError, nearest
from fusion_nb.runs import spec

#: Options of a run that `resume` takes.
_GIVEN_ANEW = ("model", "data", "data_handler", "label", "loss", "optimizer", "engine", "device")
#: sub-command -> (what it does, words after it, options of its own)
COMMANDS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "run": (
        "train: the same as %fusion with options alone",
        "",
        ("config", "background", "name", "quiet", "service"),
    ),
    "panel": ("configure, watch, steer and export a run by mouse or keyboard", "", ("config",)),
    "split": ("show who would hold what, before any training", "", ("config",)),
    "status": ("say where a run stands", "[RUN]", ()),
    "stop": ("stop a run, keeping its last whole round", "[RUN]", ()),
    "pause": ("hold a run between two batches", "[RUN]", ()),
    "resume": (
        "go on after a pause; or take up a run on disk, by its name or folder",
        "[RUN]",
        (*_GIVEN_ANEW, "name", "background", "quiet", "allow_other_rows"),
    ),
    "checkpoint": (
        "save the runs of this notebook in a cache: on, off, or its folder",
        "[WORD]",
        (),
    ),
    "more": ("train more rounds after the last one", "[RUN]", ("rounds", "background")),
    "runs": ("list the runs of this notebook, and those on disk", "", ()),
    "compare": ("draw several runs over each other", "[RUN RUN ...]", ()),
    "export": (
        "write the fused model and its card",
        "[RUN] FOLDER",
        ("format", "which", "overwrite"),
    ),
    "list": ("list fusions, splits, datasets, models, engines", "[KIND]", ()),
    "help": ("explain the options, or one fusion, split or data set", "[NAME]", ()),
}
#: option -> (help, choices, whether it stands alone)
OWN: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "config": (
        "YAML file with options; those on the line come first, and its code is run",
        (),
        False,
    ),
    "background": ("return at once and train while other cells run", (), True),
    "name": ("variable to bind the run to (default: run, run_2, ...)", (), False),
    "quiet": ("draw and print nothing", (), True),
    "service": (
        "train on a Model Fusion service, at http://CLIENT_ID:CLIENT_SECRET@host:port",
        (),
        False,
    ),
    "format": ("export: format, or several with commas", (), False),
    "which": ("export: the last or the best round", ("last", "best"), False),
    "overwrite": ("export: replace an earlier export", (), True),
    "allow_other_rows": (
        "resume: go on though the rows are not those that the run was begun with",
        (),
        True,
    ),
}
#: Commands that take the options of a run.
RUNNING = ("run", "split", "panel")


@dataclass(frozen=True)
class Line:
    """An option line, read: the sub-command, the words after it, a run's options, and the command's
    own.
    """

    command: str
    words: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionError(message.replace("argument ", "", 1), "%fusion help lists all options")


@cache
def names() -> dict[str, str]:
    """Return every way to write an option (`--fusion`, `--algorithm`, `-a`) with the field that it
    sets.
    """
    found = {}
    for name, info in spec.RunSpec.model_fields.items():
        if isinstance(info.json_schema_extra, dict):  # `code` is the cell's body, not an option
            aliases: Any = info.json_schema_extra["aliases"]
            for word in (name.replace("_", "-"), *aliases):
                found[f"-{word}" if len(word) == 1 else f"--{word}"] = name
    return found | {f"--{name.replace('_', '-')}": name for name in OWN}


@cache
def _parser() -> _Parser:
    parser = _Parser(
        prog="%fusion", add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS
    )
    parser.add_argument("words", nargs="*")
    for option, name in names().items():
        # Values stay text here: RunSpec turns them into numbers and says what is allowed.
        parser.add_argument(
            option, dest=name, action="store_true" if stands_alone(name) else "store"
        )
    return parser


def stands_alone(name: str) -> bool:
    """Return whether an option takes no value: it is said, or not."""
    return OWN[name][2] if name in OWN else spec.RunSpec.model_fields[name].annotation is bool


def tokens(line: str) -> list[str]:
    """Split a line as a shell does, up to a comment. Raises OptionError for a quote that is not
    closed.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    found = []
    try:
        for token in lexer:  # read one by one: an apostrophe inside a comment closes nothing
            if token.startswith("#"):
                break
            found.append(token)
    except ValueError:
        raise OptionError(
            f"a quote is not closed in: {line}", 'write values with spaces in quotes: "a b"'
        ) from None
    return found


def read(line: str) -> Line:
    """Return what an option line asks for. Raises OptionError, with the nearest option, for one
    that doesn't exist.
    """
    found, unknown = _parser().parse_known_intermixed_args(tokens(line))
    if unknown:
        raise _unknown(unknown[0])
    values = vars(found)
    words = values.pop("words", [])
    command = words.pop(0) if words else "run"
    if command not in COMMANDS:
        if line.lstrip().startswith(
            "-"
        ):  # a value fell apart: --until accuracy >= 0.95, --split dirichlet alpha=1
            hint = (
                "put a value with blanks in quotes, and a component's options after a colon: "
                "dirichlet:alpha=0.5"
            )
            raise OptionError(f"{command!r} stands alone on the line", hint)
        raise OptionError(
            f"%fusion has no command {command!r}", f"{nearest(command, COMMANDS)}{_commands()}"
        )
    allowed = COMMANDS[command][2]
    options = {name: value for name, value in values.items() if name not in OWN}
    own = {name: value for name, value in values.items() if name in OWN}
    refused = [name for name in own if name not in allowed]
    if command not in RUNNING:
        refused += [name for name in options if name not in allowed]
    if refused:
        known = ", ".join(f"--{name.replace('_', '-')}" for name in allowed) or "no options"
        raise OptionError(
            f"%fusion {command} takes no --{refused[0].replace('_', '-')}", f"it takes {known}"
        )
    takes = COMMANDS[command][1]
    if not takes.endswith("...]") and len(words) > len(takes.split()):
        hint = f"write %fusion {command} {takes}".rstrip()
        raise OptionError(
            f"%fusion {command} does not know what {words[-1]!r} is for",
            f"{hint}; options start with --",
        )
    return Line(command, words, options, own)


def to_spec(line: Line, code: str = "") -> spec.RunSpec:
    """Return the spec of a line: the options of `--config`, those of the line over them, and the
    cell's body.
    """
    options = spec.from_file(line.own["config"]) if "config" in line.own else {}
    options |= line.options
    if code.strip():
        options["code"] = code
    return spec.RunSpec(**options)


def _unknown(word: str) -> OptionError:
    option = word.partition("=")[0]
    return OptionError(
        f"there is no option {option}", f"{nearest(option, names())}%fusion help lists all of them"
    )


def _commands() -> str:
    return f"there are: {', '.join(COMMANDS)}"


def meaning(name: str) -> str:
    """Return what an option does, with its default."""
    if name in OWN:
        return OWN[name][0]
    info = spec.RunSpec.model_fields[name]
    return (
        f"{info.description} [{info.default}]"
        if info.default not in ("", None, False)
        else str(info.description)
    )


def usage() -> str:
    """Return all commands and options as text."""
    lines = ["%%fusion [options]        train the model that the cell's body defines", ""]
    lines += [
        f"  %fusion {name + ' ' + words:<22} {does}" for name, (does, words, _) in COMMANDS.items()
    ]
    lines += ["", "options of a run (and, at the end, of commands):"]
    written: dict[str, list[str]] = {}
    for option, name in names().items():
        written.setdefault(name, []).append(option)
    for name, spelled in written.items():
        lines.append(f"  {', '.join(spelled):<28} {meaning(name)}")
    return "\n".join(
        [
            *lines,
            "",
            "%fusion help NAME explains a fusion, a split or a data set; %fusion list shows them",
        ]
    )
