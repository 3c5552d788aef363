"""Rules around a fusion that say how updates travel: encoded, or masked."""

from __future__ import annotations

from fusion_nb.algorithms.compressions.compressed import Compressed
from fusion_nb.core import registry
from fusion_nb.core.protocols import Fusion
from fusion_nb.errors import OptionError, option
from fusion_nb.runs.spec import RunSpec
from fusion_nb.runs.spec.errors import about


def around(spec: RunSpec, rule: Fusion) -> Fusion:
    """Return a rule with those around it that the spec's `compress` and `secure` ask for.

    Raises OptionError for both at once, which can't be.
    """
    if spec.compress and spec.secure:
        raise OptionError(
            f"{option('secure', spec.secure)} with {option('compress', spec.compress)}: masks hide "
            "whole numbers that are added up, and encoded changes can't be",
            "use one of them",
        )
    if spec.compress:
        made = registry.create("compressions", spec.compress)
        return Compressed(rule, made, seed=spec.seed)
    if spec.secure:
        with about("secure", spec.secure):
            kind, options = registry.bind("secure", spec.secure)
            masked: Fusion = kind(rule, **options)
        return masked
    return rule
