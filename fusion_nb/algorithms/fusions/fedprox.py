"""FedProx: local training with a term that keeps parties near the fused model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fusion_nb.algorithms.fusions.averaging import Averaging
from fusion_nb.core.types import Requirements


class FedProx(Averaging):
    """Average the parties' weights, with local training held near the fused model.

    Each party's loss has the term mu / 2 * squared distance from the fused model.

    With mu 0 it is fedavg, except that the partial work of stragglers is used.

    Source: Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous
    Networks", MLSys 2020. The distance is squared, as there, and not the bare norm that some
    implementations add.
    """

    linear = True
    requires = Requirements(uses_partial_work=True)

    def __init__(
        self,
        *,
        mu: Annotated[float, Field(description="how strongly parties are held", ge=0)] = 0.1,
    ) -> None:
        self.client_options = {"mu": mu}
