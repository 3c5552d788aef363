"""Where the service is that a party takes part in, and the registration there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from urllib.parse import urlsplit

from fusion_nb.engines.remote.link import EndedError
from fusion_nb.errors import OptionError, ServiceError
from fusion_nb.runs.client_apps.finding import PREFIX
from fusion_nb.service.network.addresses import is_loopback
from fusion_nb.service.party import token_file
from fusion_nb.service.party.fleet import ServiceFleet
from fusion_nb.service.transport import Transport
from fusion_nb.service.unreached import part_of

#: Statuses of an aggregator that is gone, or takes no party any more.
_OF_AN_END = (404, 409)


class ServiceConnection:
    """An aggregator of a service, and how both are trusted.

    url:          of the service; the key is looked up as a `Client` does
    certificates: path of its root certificate, or "" for those that this machine trusts
    token:        file of the party's token, or "" for one in the current folder
    most:         bytes of one request
    """

    needs = ""

    def __init__(
        self,
        url: str,
        aggregator_id: str,
        party: str,
        *,
        certificates: str = "",
        insecure: bool = False,
        token: str = "",
        most: int,
    ) -> None:
        self._aggregator_id, self._party, self._most = aggregator_id, party, most
        self._insecure = insecure
        self._token_file = Path(token or token_file.default_path(aggregator_id, party))
        verify = str(Path(certificates).expanduser()) if certificates else True
        self._transport = Transport(url, "", "", verify)
        self._token = ""
        #: Whether it has taken part: an end is no mistake then.
        self._is_known = False
        self.place = self._transport.url

    def check(self, data: str) -> None:
        """Make the party's token, where there is none yet.

        Raises OptionError for an address without encryption, or rows that an app reads.
        """
        address = urlsplit(self.place)
        is_open = address.scheme == "http" and not is_loopback(address.hostname or "")
        if is_open and not self._insecure:
            raise OptionError(
                f"{self.place} is reached without encryption: others could read your key and your "
                "updates",
                "use https://; --insecure goes without, behind a tunnel of your own say",
            )
        if data.startswith(PREFIX):
            raise OptionError(
                f"{data} is an app of Flower, and a service trains the aggregator's model",
                "name a file of rows as --data, or take part by --superlink",
            )
        self._token = token_file.read_or_make(self._token_file)

    def taking_part(self) -> AbstractContextManager[None]:
        """Return a context for the whole life of the party: there is nothing to do."""
        return nullcontext()

    @contextmanager
    def connected(self, describe: Callable[[], bytes]) -> Iterator[ServiceFleet]:
        """Register, or come back, and take part as a new node.

        Raises EndedError where the federation has ended meanwhile, and ServiceError.
        """
        fields = {
            "aggregator_id": self._aggregator_id,
            "party": self._party,
            "keeps_rows": "true",
            "token": self._token,
        }
        files = {"facts": ("facts", describe())}
        with self._ending():
            answer = self._transport.call("POST", "/start-party", data=fields, files=files)
            party, node = part_of(answer, "party"), part_of(answer, "node")
        self._is_known = True
        with self._ending():
            yield ServiceFleet(
                self._transport,
                self._aggregator_id,
                str(party),
                self._token,
                str(node),
                self._most,
            )

    @contextmanager
    def _ending(self) -> Iterator[None]:
        """Tell the end of a federation from a mistake: this party has taken part before."""
        try:
            yield
        except ServiceError as error:
            is_replaced = "another program" in error.message
            if self._is_known and error.status in _OF_AN_END and not is_replaced:
                raise EndedError(f"{error.message}; no row has left this machine") from None
            raise
