"""int4: four bits for each number."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from fusion_nb.algorithms.compressions.base import Down, Feedback
from fusion_nb.algorithms.compressions.blocks import BlockRounding


class Int4(BlockRounding):
    """Round the numbers of each block to four bits: 14.06 % of float32.

    Source: Dettmers, Lewis, Shleifer, Zettlemoyer, "8-bit Optimizers via Block-wise Quantization",
    ICLR 2022 (blocks), with even levels. The block size is that of its 4-bit successors.
    """

    def __init__(
        self,
        *,
        block: Annotated[int, Field(description="numbers that share a step", ge=1)] = 64,
        feedback: Feedback = True,
        down: Down = False,
    ) -> None:
        super().__init__(width=4, block=block, feedback=feedback, down=down)
