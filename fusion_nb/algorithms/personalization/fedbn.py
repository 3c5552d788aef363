"""FedBN: each party keeps its batch normalization to itself."""

from __future__ import annotations

from fusion_nb.algorithms.personalization.local_layers import LocalLayers
from fusion_nb.core.protocols import Fusion
from fusion_nb.core.types import FederationInfo
from fusion_nb.errors import OptionError, option


class FedBN(LocalLayers):
    """Let every party keep its batch normalization to itself, and fuse the other layers.

    Both the parameters and the statistics of these layers stay at the party.

    For parties whose rows look different (another scanner, another camera) and mean the same.

    Source: Li, Jiang, Zhang, Kamp, Dou, "FedBN: Federated Learning on Non-IID Features via Local
    Batch Normalization", ICLR 2021.
    """

    def __init__(self, inner: Fusion) -> None:
        super().__init__(inner)

    def local_names(self, info: FederationInfo) -> frozenset[str]:
        """Return the entries of batch normalization layers."""
        if not info.batch_norm:
            raise OptionError(
                f"{option('personal', 'fedbn')}, but the model has no batch normalization",
                f"use {option('personal', 'fedper:layers=...')}",
            )
        return info.batch_norm
