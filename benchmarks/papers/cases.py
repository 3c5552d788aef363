"""Every case by name, and how many seeds it is repeated with."""

from __future__ import annotations

from types import ModuleType

from benchmarks.papers import (
    bucketing,
    estimators,
    fda,
    fedbuff,
    fedprox,
    mcmahan,
    mcmahan_cnn,
    niid_bench,
    private,
)
from benchmarks.papers.common import Case

SCRIPTS: tuple[ModuleType, ...] = (
    mcmahan,
    mcmahan_cnn,
    fda,
    niid_bench,
    fedprox,
    bucketing,
    fedbuff,
    private,
    estimators,
)


def _name(script: ModuleType) -> str:
    return script.__name__.rpartition(".")[2]


CASES: dict[str, Case] = {
    f"{_name(script)}.{name}": case for script in SCRIPTS for name, case in script.CASES.items()
}
#: Seeds of a case: five, three where it takes longer than twenty minutes or needs many rounds, and
#: one where nothing is random.
_MANY, _FEW = 5, 3
_SEEDS = {
    "niid_bench": _FEW,
    "mcmahan": _FEW,
    "mcmahan_cnn": _FEW,
    "private.accountants": 1,
}


def seeds(case: str) -> range:
    """Return the seeds that a case is repeated with.

    >>> list(seeds("mcmahan.iid")), len(seeds("fda.every"))
    ([0, 1, 2], 5)
    """
    return range(_SEEDS.get(case, _SEEDS.get(case.partition(".")[0], _MANY)))
