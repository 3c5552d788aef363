"""The option `privacy`: from its text to a rule around another one."""

from __future__ import annotations

from collections.abc import Sequence

from fusion_nb.algorithms import samplings
from fusion_nb.algorithms.privacy.base import PrivateFusion, PrivateRun
from fusion_nb.algorithms.privacy.cohorts import PrivateCohorts
from fusion_nb.core import registry
from fusion_nb.core.protocols import Fusion, Sampling, SamplingContext
from fusion_nb.errors import OptionError, option


def around(inner: Fusion, text: str, run: PrivateRun) -> PrivateFusion:
    """Return the private rule that text such as `central:clip=1,noise=1` makes of another one.

    Raises OptionError for a rule that can't be private, or options that are not allowed.
    """
    kind, chosen = registry.bind("privacy", text)
    made: PrivateFusion = kind(inner, run, **chosen)
    return made


def cohorts_of(
    sampling: Sampling,
    parties: Sequence[str],
    *,
    seed: int,
    cohort_seed: int,
    fraction: float,
    text: str,
) -> PrivateCohorts:
    """Return what may be known of the cohorts that a sampling draws.

    text: the option `sampling`. Raises OptionError for one that can't be counted.
    """
    if sampling is SamplingContext.uniform:
        return PrivateCohorts(tuple(parties), seed, fraction, cohort_seed=cohort_seed)
    chance = samplings.chance(sampling, fraction)
    if chance is None:
        raise OptionError(
            f"{option('sampling', text)} with privacy: who takes part may depend on "
            "the parties' rows, or differs from round to round, and then nobody can count it",
            f"use {option('sampling', 'poisson:q=0.3')}, whose secret draws amplify privacy, or "
            "leave it out",
        )
    return PrivateCohorts(tuple(parties), seed, fraction, chance, cohort_seed)
