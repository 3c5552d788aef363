"""The contract of an engine that may reach parties with rows of their own."""

from __future__ import annotations

from abc import abstractmethod

from fusion_nb.core.protocols import Engine
from fusion_nb.engines.remote.session import Session


class FederatedEngine(Engine):
    """An engine over parties whose rows are where their programs run.

    place:     where the parties are known, in messages; "" for an engine that is given the rows
    wait:      seconds in which parties may come before the run
    send_code: send the model's class as code, where parties allow that
    """

    place: str = ""
    wait: float = 60.0
    send_code: bool = False

    @abstractmethod
    def connect(self) -> Session:
        """Return a new connection to the parties. Raises RunError where there is none."""
