"""Devices: how many times longer than this machine a party takes for a batch."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated

import numpy as np
from pydantic import Field

from fusion_nb.core.clock.profiles import Device, Devices, SameDevices
from fusion_nb.errors import OptionError, option

#: Options that several profiles have.
_Per = Annotated[
    str,
    Field(description="party: a device is drawn once for each; trip: anew for each of its trips"),
]
_Watts = Annotated[
    float, Field(description="power of a device while it trains; 0: not counted", ge=0)
]


class _Drawn(Devices):
    """Devices whose factors are drawn from a distribution."""

    def __init__(self, per: str, watts: float) -> None:
        if per not in ("party", "trip"):
            raise OptionError(
                f"per={per} is not allowed", "give party or trip", option="devices", value=per
            )
        self.per_trip, self._watts = per == "trip", watts
        self.has_watts = watts > 0

    def device(self, index: int, rng: np.random.Generator) -> Device:
        """Return a device with a factor from the distribution."""
        return Device(self._factor(rng), self._watts)

    @abstractmethod
    def _factor(self, rng: np.random.Generator) -> float:
        """Return how many times longer than this machine a device takes."""


class Same(SameDevices):
    """Devices that all take `factor` times as long as this machine."""

    def __init__(
        self,
        *,
        factor: Annotated[
            float, Field(description="time of a batch, in times of this machine", gt=0)
        ] = 1.0,
        watts: _Watts = 0.0,
    ) -> None:
        self._device, self.has_watts = Device(factor, watts), watts > 0

    def device(self, index: int, rng: np.random.Generator) -> Device:
        """Return the same device for all."""
        return self._device


class HalfNormal(_Drawn):
    """Draw factors from a half-normal distribution: many are fast, and few are very slow.

    Source: the training times of a deployment, as Nguyen, Malik, Zhan, Yousefpour, Rabbat, Malek,
    Huba, "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022, model them.
    """

    def __init__(
        self,
        *,
        mean: Annotated[
            float, Field(description="mean time of a batch, in times of this machine", gt=0)
        ] = 1.0,
        per: _Per = "party",
        watts: _Watts = 0.0,
    ) -> None:
        super().__init__(per, watts)
        self._scale = mean * math.sqrt(math.pi / 2)

    def _factor(self, rng: np.random.Generator) -> float:
        return float(abs(rng.normal()) * self._scale)


class LogNormal(_Drawn):
    """Draw factors whose logarithms are normal: half of the devices are slower than the median."""

    def __init__(
        self,
        *,
        median: Annotated[
            float, Field(description="median time of a batch, in times of this machine", gt=0)
        ] = 1.0,
        sigma: Annotated[
            float, Field(description="spread: standard deviation of the logarithm", ge=0)
        ] = 0.5,
        per: _Per = "party",
        watts: _Watts = 0.0,
    ) -> None:
        super().__init__(per, watts)
        self._median, self._sigma = median, sigma

    def _factor(self, rng: np.random.Generator) -> float:
        return float(self._median * math.exp(self._sigma * rng.normal()))


class Pareto(_Drawn):
    """Draw factors with a heavy tail: some devices are slower than the fastest by far."""

    def __init__(
        self,
        *,
        least: Annotated[
            float, Field(description="time of the fastest, in times of this machine", gt=0)
        ] = 1.0,
        alpha: Annotated[
            float, Field(description="the tail: the smaller, the more are very slow", gt=0)
        ] = 2.0,
        per: _Per = "party",
        watts: _Watts = 0.0,
    ) -> None:
        super().__init__(per, watts)
        self._least, self._alpha = least, alpha

    def _factor(self, rng: np.random.Generator) -> float:
        return float(self._least * (1 + rng.pareto(self._alpha)))


class Classes(Devices):
    """Draw each party's device from a table of classes with shares."""

    def __init__(
        self,
        *,
        table: Annotated[
            str,
            Field(
                description="classes with / between, each as share x factor, or share x factor x "
                "watts: 0.3x1/0.5x3/0.2x9"
            ),
        ],
    ) -> None:
        self._shares, self._devices = _classes(table)
        self.has_watts = any(device.watts for device in self._devices)

    def device(self, index: int, rng: np.random.Generator) -> Device:
        """Return a device of a class, by the classes' shares."""
        return self._devices[int(rng.choice(len(self._devices), p=self._shares))]


class Phones(Classes):
    """Draw phones of three classes, with measured times and the shares of a user trace.

    A batch of FEMNIST's CNN took 179 ms on a Samsung Note 10, 588 ms on a Redmi Note 8 and 1642 ms
    on a Nexus 6; of 35,407 phones of a trace, 0.4 %, 46.4 % and 53.2 % were nearest to these. How
    many times longer than this machine the Note 10 takes is assumed: `fastest`.

    No figures of power are known for these times: no energy is counted unless `watts` is given.

    Source: Yang, Wang, Xu, Chen, Bian, Liu, Liu, "Characterizing Impacts of Heterogeneity in
    Federated Learning upon Large-Scale Smartphone Data", WWW 2021, and its code, FLASH.
    """

    def __init__(
        self,
        *,
        fastest: Annotated[
            float,
            Field(description="time of a Note 10 for a batch, in times of this machine", gt=0),
        ] = 1.0,
        watts: _Watts = 0.0,
    ) -> None:
        self._shares = [159 / 35407, 16428 / 35407, 18820 / 35407]
        factors = (fastest * time / 179 for time in (179, 588, 1642))
        self._devices = [Device(factor, watts) for factor in factors]
        self.has_watts = watts > 0


def _classes(table: str) -> tuple[list[float], list[Device]]:
    """Return the shares and the devices of a table. Raises OptionError for any other text."""
    shares, devices = [], []
    try:
        for part in table.split("/"):
            share, factor, *watts = (float(number) for number in part.split("x"))
            shares.append(share)
            devices.append(Device(factor, *watts))
    except (ValueError, TypeError):
        shares = []
    numbers = [*shares, *(d.factor for d in devices)]
    is_right = all(number > 0 and math.isfinite(number) for number in numbers)
    if not shares or not is_right or abs(sum(shares) - 1) > 1e-6:
        raise OptionError(
            f"{option('devices', f'classes:{table}')} is not allowed",
            "write each class as share x factor, with / between, shares that add up to 1: "
            "classes:0.3x1/0.5x3/0.2x9",
            option="devices",
            value=table,
        )
    return [share / sum(shares) for share in shares], devices
