"""Why a service can't be reached, or what answers is none: in words, with what to do."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fusion_nb.errors import ServiceError

if TYPE_CHECKING:
    import httpx

_NOT_TRUSTED = (
    "give the file of its certificate, as PEM: Client(url, verify=...), or --certificates of "
    "fusion-nb party, or the environment variable SSL_CERT_FILE"
)
#: Words of OpenSSL about a certificate -> what to do.
_OF_CERTIFICATES = {
    "expired": "its operator must renew it",
    "not yet valid": "look at the clocks of both machines",
    "mismatch": "write the address with the name that is in the certificate",
}


def unreached(url: str, error: Exception) -> ServiceError:
    """Return the error of a call that got no answer.

    url: the service's address;  error: of httpx
    """
    fault = next((each for each in _causes(error) if isinstance(each, ssl.SSLError)), None)
    if isinstance(fault, ssl.SSLCertVerificationError):
        said = fault.verify_message or "it can't be verified"
        hint = next((do for word, do in _OF_CERTIFICATES.items() if word in said), _NOT_TRUSTED)
        return ServiceError(f"the certificate of {url} is not accepted: {said.rstrip('.')}", hint)
    if fault is not None:
        return ServiceError(
            f"{url} does not answer by TLS ({_reason(fault)})",
            f"is it {url.replace('https://', 'http://', 1)}? Without TLS others can read keys and "
            "rows on the way",
        )
    reason = str(error).partition("\n")[0] or type(error).__name__
    if url.startswith("http://") and _was_hung_up(error):
        return ServiceError(
            f"{url} can't be reached: it hung up before its answer was whole ({reason})",
            f"is it running? One with TLS is reached as {url.replace('http://', 'https://', 1)}",
        )
    return ServiceError(f"{url} can't be reached ({reason})", "start it:  fusion-nb serve")


def answer_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the mapping that a service answered with. Raises ServiceError for anything else."""
    try:
        found = json.loads(answer.content)
        if isinstance(found, dict):
            return found
    except (ValueError, RecursionError):
        pass
    raise no_service(answer)


def line_of(line: str) -> dict[str, Any]:
    """Return the mapping in a line of a service's answer. Raises ServiceError for another line."""
    try:
        found = json.loads(line)
        if isinstance(found, dict):
            return found
    except (ValueError, RecursionError):
        pass
    raise ServiceError(f"the answer holds {line[:60]!r}, and no round", "is the address right?")


def part_of(answer: httpx.Response, name: str) -> Any:
    """Return a part of a service's answer. Raises ServiceError where it has none."""
    found = answer_of(answer)
    if name not in found:
        raise no_service(answer)
    return found[name]


def no_service(answer: httpx.Response) -> ServiceError:
    """Return the error of an answer that no service gives: another server is at that address."""
    place = answer.headers.get("location", "")[:200]
    elsewhere = f", and points to {place!r}" if answer.is_redirect else ""
    return ServiceError(
        f"the answer was {answer.status_code}, and not a service's{elsewhere}",
        "is the address right?",
        status=answer.status_code,
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those behind it."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _reason(fault: ssl.SSLError) -> str:
    return (fault.reason or str(fault)).replace("_", " ").lower()


def _was_hung_up(error: Exception) -> bool:
    """Return whether the connection was made, and closed before an answer."""
    import httpx

    return isinstance(error, httpx.ReadError | httpx.RemoteProtocolError)
