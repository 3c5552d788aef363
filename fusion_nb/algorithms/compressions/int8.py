"""int8: eight bits for each number."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fusion_nb.algorithms.compressions.base import Down, Feedback
from fusion_nb.algorithms.compressions.blocks import BlockRounding


class Int8(BlockRounding):
    """Round the numbers of each block to eight bits: 25.02 % of float32.

    Source: Dettmers, Lewis, Shleifer, Zettlemoyer, "8-bit Optimizers via Block-wise Quantization",
    ICLR 2022 (blocks), with even levels.
    """

    def __init__(
        self,
        *,
        block: Annotated[int, Field(description="numbers that share a step", ge=1)] = 4096,
        feedback: Feedback = True,
        down: Down = False,
    ) -> None:
        super().__init__(width=8, block=block, feedback=feedback, down=down)
