"""FedPer: each party keeps some layers to itself, such as the last one."""

from __future__ import annotations

import fnmatch
from typing import Annotated

from pydantic import Field

from fusion_nb.algorithms.personalization.local_layers import LocalLayers
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import FederationInfo
from fusion_nb.errors import OptionError, option


class FedPer(LocalLayers):
    """Let every party keep some layers to itself, such as the last one, and fuse the others.

    Its own layers never leave a party, and the aggregator's model has the first weights in their
    place.

    Source: Arivazhagan, Aggarwal, Singh, Choudhary, "Federated Learning with Personalization
    Layers", 2019.
    """

    def __init__(
        self,
        inner: Fusion,
        *,
        layers: Annotated[
            str, Field(description="names of weights with * for anything, as 4.*; several with |")
        ],
    ) -> None:
        super().__init__(inner)
        self._patterns = layers.split("|")

    def local_names(self, info: FederationInfo) -> frozenset[str]:
        """Return the entries whose names match."""
        names = list(info.entries)
        for pattern in self._patterns:
            if not fnmatch.filter(names, pattern):
                raise OptionError(
                    f"{option('personal', f'fedper:layers={pattern}')} is the name of no weights "
                    "of this model",
                    f"its weights are: {', '.join(names)}",
                )
        local = frozenset(
            name for pattern in self._patterns for name in fnmatch.filter(names, pattern)
        )
        if len(local) == len(names):
            given = option("personal", f"fedper:layers={'|'.join(self._patterns)}")
            raise OptionError(
                f"{given} leaves nothing to be fused", f"choose some of: {', '.join(names)}"
            )
        return local
