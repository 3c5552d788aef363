"""Lines: bandwidth down and up, latency, and lost packets."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.core.clock.profiles import Line, Network

_Spread = Annotated[
    float,
    Field(
        description="how lines differ: standard deviation of the bandwidth's logarithm; 0: not",
        ge=0,
    ),
]
_Loss = Annotated[
    float, Field(description="share of packets that are lost and sent again", ge=0, lt=1)
]
#: Bytes in a megabit.
_MEGABIT = 125_000.0


class Own(Network):
    """Give each party a line with your own figures, in Mbit/s and milliseconds.

    A message takes the latency, and its bytes over the bandwidth that lost packets leave.
    """

    def __init__(
        self,
        *,
        down: Annotated[float, Field(description="Mbit/s from the aggregator", gt=0)],
        up: Annotated[float, Field(description="Mbit/s to the aggregator", gt=0)],
        latency: Annotated[float, Field(description="milliseconds of each message", ge=0)] = 0.0,
        loss: _Loss = 0.0,
        spread: _Spread = 0.0,
    ) -> None:
        self._line = Line(down * _MEGABIT, up * _MEGABIT, latency / 1000, loss)
        self._spread = spread

    def line(self, index: int, rng: np.random.Generator) -> Line:
        """Return a line; one normal number makes it slower or faster in both directions."""
        line, times = self._line, math.exp(self._spread * rng.normal())
        return Line(line.down * times, line.up * times, line.latency, line.loss)


class Mobile3G(Own):
    """Give each party a 3G line: 5.9 Mbit/s down, 1.6 up, 63.5 ms.

    Source: means of four operators in five cities of the United Kingdom, in Ofcom, "Measuring
    mobile broadband performance in the UK: 4G and 3G network performance", April 2015.
    """

    def __init__(self, *, loss: _Loss = 0.0, spread: _Spread = 0.0) -> None:
        super().__init__(down=5.9, up=1.6, latency=63.5, loss=loss, spread=spread)


class Mobile4G(Own):
    """Give each party a 4G line: 14.7 Mbit/s down, 13.6 up, 53.1 ms.

    Source: means of four operators in five cities of the United Kingdom, in Ofcom, "Measuring
    mobile broadband performance in the UK: 4G and 3G network performance", April 2015.
    """

    def __init__(self, *, loss: _Loss = 0.0, spread: _Spread = 0.0) -> None:
        super().__init__(down=14.7, up=13.6, latency=53.1, loss=loss, spread=spread)


class Mobile5G(Own):
    """Give each party a 5G line: 166.13 Mbit/s down, 21.08 up, 31 ms.

    Sources: medians of the world in Ookla, "Growing and Slowing: The State of 5G Worldwide in
    2021"; latency: median of the United Kingdom in Ookla's Speedtest figures for the second half of
    2024.
    """

    def __init__(self, *, loss: _Loss = 0.0, spread: _Spread = 0.0) -> None:
        super().__init__(down=166.13, up=21.08, latency=31.0, loss=loss, spread=spread)


class Home(Own):
    """Give each party a fixed line at home: 115.22 Mbit/s down, 17.18 up, 14 ms.

    Source: medians of the United States, second quarter of 2021, in Ookla, "How Starlink's
    Satellite Internet Stacks Up Against HughesNet and Viasat around the Globe", 2021.
    """

    def __init__(self, *, loss: _Loss = 0.0, spread: _Spread = 0.0) -> None:
        super().__init__(down=115.22, up=17.18, latency=14.0, loss=loss, spread=spread)


class Starlink(Own):
    """Give each party a line over satellites near the earth: 97.23 Mbit/s down, 13.89 up, 45 ms.

    Source: medians of Starlink in the United States, second quarter of 2021, in Ookla, "How
    Starlink's Satellite Internet Stacks Up Against HughesNet and Viasat around the Globe", 2021.
    """

    def __init__(self, *, loss: _Loss = 0.0, spread: _Spread = 0.0) -> None:
        super().__init__(down=97.23, up=13.89, latency=45.0, loss=loss, spread=spread)


class Satellite(Own):
    """Give each party a line over a geostationary satellite: 19.73 Mbit/s down, 2.43 up, 724 ms.

    Source: medians of HughesNet in the United States, second quarter of 2021, in Ookla, "How
    Starlink's Satellite Internet Stacks Up Against HughesNet and Viasat around the Globe", 2021.
    """

    def __init__(self, *, loss: _Loss = 0.0, spread: _Spread = 0.0) -> None:
        super().__init__(down=19.73, up=2.43, latency=724.0, loss=loss, spread=spread)
