"""The notation of the option `contribution`: `shapley:permutations=20,cross_site`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fusion_nb.errors import OptionError, nearest, option

#: Method -> what it tells.
METHODS = {
    "shapley": "each party's mean marginal contribution over all orders in which parties join",
    "leave_one_out": "by how much the model is worse without the party",
    "cross_site": "each party's model, trained alone, on each party's rows",
}
#: Parties up to which Shapley values are exact: 62 trainings for six.
MOST_EXACT = 6
_PERMUTATIONS = re.compile(r"(?:permutations\s*=\s*)?(\d+)\s*$")


@dataclass(frozen=True)
class ContributionOption:
    """The methods that are asked for, and the orders of parties that are sampled above six.

    >>> ContributionOption.parse("shapley:permutations=20,cross_site")
    ContributionOption(methods=('shapley', 'cross_site'), permutations=20)
    """

    methods: tuple[str, ...]
    permutations: int = 10

    @classmethod
    def parse(cls, text: str) -> ContributionOption:
        """Return what an option says. Raises OptionError for any other text."""
        methods, permutations = [], cls.permutations
        for part in filter(None, (part.strip() for part in text.split(","))):
            name, colon, rest = (word.strip() for word in part.partition(":"))
            if name not in METHODS:
                raise OptionError(
                    f"{option('contribution', text)} is not allowed: {name!r}",
                    f"{nearest(name, METHODS)}give {', '.join(METHODS)}, several with commas",
                    option="contribution",
                    value=text,
                    allowed=[*METHODS],
                )
            found = _PERMUTATIONS.match(rest)
            if colon and (name != "shapley" or not found or int(found[1]) < 2):
                raise OptionError(
                    f"{option('contribution', text)} is not allowed: {rest!r}",
                    "write shapley:permutations=20, a whole number >= 2",
                    option="contribution",
                    value=text,
                )
            permutations = int(found[1]) if found else permutations
            methods.append(name)
        return cls(tuple(dict.fromkeys(methods)), permutations)
