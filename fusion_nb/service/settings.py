"""The settings of a service, which its operator chooses."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fusion_nb.errors import OptionError, option
from fusion_nb.service.processes.training_supervisor import Limits


@dataclass(frozen=True)
class Settings:
    """The settings of a service.

    state:             folder of everything that the service stores
    workers:           number of aggregators that train at the same time
    limits:            memory and time that each training process may use
    max_upload:        bytes of one request
    max_unpacked:      bytes of one uploaded archive after unpacking
    inspect_seconds:   seconds that reading one upload may take
    allow_custom_code: whether clients may send data handlers, which run in the training process
    max_connections:   number of open connections; one address may have a quarter of them
    head_seconds:      seconds in which the head of a request must arrive
    allowed_hosts:     names of the service beside loopback's and the one that it listens on; `*`
                       is any
    allowed_engines:   engines of other machines that clients may choose, such as `ray`
    allowed_origins:   sites whose pages may call it beside its own, as `https://example.org`
    """

    state: Path
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    max_upload: int = 1 << 30
    max_unpacked: int = 4 << 30
    inspect_seconds: float = 120
    allow_custom_code: bool = False
    max_connections: int = 400
    head_seconds: float = 20
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    allowed_engines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Make the state's folder an absolute path, since processes of the service leave the folder
        that it was started in.

        Raises OptionError for seconds that are no number: such a limit holds nobody.
        """
        object.__setattr__(self, "state", self.state.absolute())
        seconds = {
            "inspect_seconds": self.inspect_seconds,
            "head_seconds": self.head_seconds,
            "silence": self.limits.silence,
        }
        for name, value in seconds.items():
            if not 0 < value < float("inf"):
                raise OptionError(f"{option(name, value)} is not allowed", "give seconds > 0")
