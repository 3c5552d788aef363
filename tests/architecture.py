"""The layers of the package, and the drawing of them in CONTRIBUTING.md.

`python tests/architecture.py` prints the drawing; with `--write` it is put into CONTRIBUTING.md.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGE = REPOSITORY / "fusion_nb"
GUIDE = REPOSITORY / "CONTRIBUTING.md"

#: The seven layers, lowest first: room -> a line about it. A room sees the rooms of lower layers,
#: and none of its own.
LAYERS: tuple[dict[str, str], ...] = (
    {"errors.py": "every error that a user meets", "version.py": "the version"},
    {
        "core/": "types and protocols (the contracts), federation (the loop), party, replies, "
        "evaluation, history, arithmetic, rows, schema, seeds, rounds, clock, real_time, registry, "
        "options, files, run_control"
    },
    {
        "data/": "loading, agreement (the schema), handlers, data sets, splits, skews, partition",
        "models/": "Model, lookup, metrics, optimizers; torch/ keras/ doc2vec/: one adapter each",
        "engines/": "local, vectorized, process, ray, flower, auto; remote/: parties with "
        "their own rows, over any transport; faults, deadlines and progress around any engine",
        "reporting/": "charts, the parties' table, the result, export, formatting",
    },
    {
        "algorithms/": "fusions/ (one file each), compressions/, privacy/, secure/, "
        "personalization/, ensembles/, baselines, attacks, samplings, profiles of devices"
    },
    {
        "runs/": "spec -> resolve -> checks -> assemble -> run; changes, preview, callbacks, "
        "trackers, experiments, contribution, audit, session (the runs of a process; federate)"
    },
    {
        "service/": "api/ storage/ processes/ mail/ party/; the service, its client, a run on a "
        "service"
    },
    {
        "notebook/": "magics, option line, completion, help, live view; panel/",
        "cli/": "the command fusion-nb: serve, run, party, tutorials, keys",
        "datasets.py": "the data sets under the name that notebooks import",
    },
)
LAYER = {
    room.removesuffix("/").removesuffix(".py"): number
    for number, rooms in enumerate(LAYERS)
    for room in rooms
}
#: The files of the package, as `core/types.py`.
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

_COLUMNS = 110
_FENCE = re.compile(r"(?<=<!-- the drawing of tests/architecture.py -->\n)```\n.*?```\n", re.DOTALL)


def adapter_of(module: str) -> str:
    """`models/torch` for a file of the registered adapter `torch`, else "".

    `models/torch_randomness.py` is its file too: others share it.
    """
    from fusion_nb.core.builtin import BUILTIN

    room, _, rest = module.partition("/")
    if room not in ("models", "engines"):
        return ""
    name = rest.split("/")[0].removesuffix(".py")
    owners = (own for own in BUILTIN[room] if name == own or name.startswith(f"{own}_"))
    return next((f"{room}/{own}" for own in owners), "")


def drawing() -> str:
    """Return the layers as text, the highest first."""
    lines: list[str] = []
    for number, rooms in reversed(list(enumerate(LAYERS))):
        for place, (room, text) in enumerate(rooms.items()):
            start = f"{number if place == 0 else ' '}  {room:<12} "
            for word in text.split():
                if len(start) + len(word) > _COLUMNS:
                    lines.append(start.rstrip())
                    start = " " * 16
                start += word + " "
            lines.append(start.rstrip())
    return "\n".join(lines) + "\n"


def written() -> str:
    """Return the drawing as CONTRIBUTING.md has it."""
    found = _FENCE.search(GUIDE.read_text(encoding="utf-8"))
    return found[0].removeprefix("```\n").removesuffix("```\n") if found else ""


def write() -> None:
    """Put the drawing into CONTRIBUTING.md."""
    text = GUIDE.read_text(encoding="utf-8")
    GUIDE.write_text(_FENCE.sub(lambda _: f"```\n{drawing()}```\n", text), encoding="utf-8")


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        write()
    else:
        sys.stdout.write(drawing())
