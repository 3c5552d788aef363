"""Whether a federation's rounds follow simulated time or a real clock."""

from __future__ import annotations

from fusion_nb.core.clock.pace import Pace
from fusion_nb.core.history import History
from fusion_nb.core.network import Network
from fusion_nb.core.real_time.real_pace import RealPace
from fusion_nb.core.run_control import RunControl
from fusion_nb.core.settings import ChangePlan, FederationConfig


def pace_of(
    config: FederationConfig,
    network: Network,
    plan: ChangePlan,
    history: History,
    control: RunControl,
) -> Pace | RealPace:
    """Return the part of a federation that decides who is asked, and when."""
    if config.real_time:
        return RealPace(config, network, plan, history, control.clock)
    return Pace(config, network, plan, history)
