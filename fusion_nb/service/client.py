"""A client of the service, for notebooks and scripts that have fusion_nb; others need no more than
HTTP.
"""

from __future__ import annotations

import io
import json
import netrc
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from fusion_nb.core.history import from_dict
from fusion_nb.core.types import RoundRecord, Weights
from fusion_nb.errors import DataError, ModelError, OptionError, ServiceError, missing_extra
from fusion_nb.models import lookup
from fusion_nb.service.request_fields import MODELS, TYPES, WHOLE
from fusion_nb.service.storage.run_folder import write_npz

#: Seconds to wait for a connection, and for an answer that is not that of a training.
_CONNECT, _ANSWER = 10, 300


class Client:
    """Calls a Model Fusion service: start_aggregator, start_party, train, stop, and what came of
    it.

    url:  address of the service, which may hold the credentials:
          `http://CLIENT_ID:CLIENT_SECRET@127.0.0.1:8765`
    client_id, client_secret: the credentials, if the address has none; else they are looked up in
    `~/.netrc`
    verify: a certificate authority's file for TLS, or False to trust any certificate

    Raises ServiceError, with what is allowed and what to do next, for whatever the service refuses.
    """

    def __init__(
        self, url: str, client_id: str = "", client_secret: str = "", *, verify: str | bool = True
    ) -> None:
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise missing_extra(error, "a client of the service") from error
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL:
            address = httpx.URL("")
        if address.scheme not in ("http", "https") or not address.host:
            raise ServiceError(
                f"{_hidden(url)!r} is no address of a service", "write it as http://127.0.0.1:8765"
            )
        #: The address, without credentials.
        self.url = str(address.copy_with(userinfo=b"")).rstrip("/")
        credentials = (
            (client_id, client_secret) if client_id else (address.username, address.password)
        )
        auth = credentials if credentials[0] else _from_netrc(address.host)
        timeout = httpx.Timeout(_ANSWER, connect=_CONNECT)
        self._http = httpx.Client(
            base_url=self.url, auth=auth, timeout=timeout, verify=_context(verify)
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start_aggregator(self, model: Any, *, test: Any = None, **options: Any) -> str:
        """Start an aggregator with a model, and return its id.

        model:   a model, or the path of its file;  test: (x_test, y_test) for the fused model
        options: those of a run, under its names (`parties`, `lr`) or the original ones
        (`num_parties`, `learning_rate`)
        """
        fields = {name: str(value) for name, value in options.items() if value is not None}
        with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
            kind, path = _to_file(model, Path(folder))
            files: dict[str, BinaryIO] = {"model_file": stack.enter_context(path.open("rb"))}
            if test is not None:
                if not _is_two(test):
                    raise DataError(
                        f"test is {type(test).__name__}, not a pair", "give test=(x_test, y_test)"
                    )
                files["test"] = _npz({"x_test": test[0], "y_test": test[1]})
            answer = self._call(
                "POST", "/start-aggregator", data={"model_type": kind, **fields}, files=files
            )
        return str(answer.json()["aggregator_id"])

    def start_party(
        self, aggregator_id: str, data: Any, handler: str = "", *, party: str = "", code: str = ""
    ) -> int:
        """Register a party with its data, and return how many are still to register.

        data:    (x, y), or ((x, y), (x_test, y_test)), or the path of a file that the handler reads
        handler: what reads the data (default: npz);  code: path of a module with the handler's
        class
        """
        fields = {
            "aggregator_id": aggregator_id,
            "data_handler_class_name": handler or "npz",
            "party": party,
        }
        with ExitStack() as stack:
            is_file = isinstance(data, str | Path)
            files = {"data": stack.enter_context(_open(data)) if is_file else _npz(_named(data))}
            if code:
                files["custom_data_handler"] = stack.enter_context(_open(code))
            return int(
                self._call("POST", "/start-party", data=fields, files=files).json()["remaining"]
            )

    def train(self, aggregator_id: str, *, wait: bool = True) -> dict[str, Any]:
        """Train, and return what came of it, `global_model` and `history` among it; or return at
        once.
        """
        asked = {"params": {"wait": str(wait).lower()}, "json": {"aggregator_id": aggregator_id}}
        return dict(self._call("POST", "/train", timeout=None if wait else _ANSWER, **asked).json())

    def stop(self, aggregator_id: str) -> dict[str, Any]:
        """Stop a run at its last whole round, end the federation, and have its parties' data
        deleted.
        """
        return dict(self._call("POST", "/stop", json={"aggregator_id": aggregator_id}).json())

    def status(self, aggregator_id: str) -> dict[str, Any]:
        """Return where an aggregator and its run stand."""
        return dict(self._call("GET", f"/status/{_quoted(aggregator_id)}").json())

    def rounds(self, aggregator_id: str, after: int = 0) -> Iterator[RoundRecord]:
        """Yield the rounds after that one: those there are and, while it trains, each other one as
        it comes.
        """
        import httpx

        path, params = f"/rounds/{_quoted(aggregator_id)}", {"after": after}
        try:
            with self._http.stream(
                "GET", path, params=params, timeout=httpx.Timeout(None, connect=_CONNECT)
            ) as answer:
                if answer.is_error:
                    answer.read()
                    raise _told(answer)
                for line in answer.iter_lines():
                    yield from_dict(json.loads(line))
        except httpx.HTTPError as error:
            raise self._lost(error) from None

    def weights(self, aggregator_id: str, which: str = "last") -> Weights:
        """Return the fused weights of the last or the best whole round, as named arrays."""
        answer = self._call(
            "GET", f"/weights/{_quoted(aggregator_id)}", params={"format": "npz", "which": which}
        )
        with np.load(io.BytesIO(answer.content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}

    def download(
        self, aggregator_id: str, path: str | Path, format: str = "npz", which: str = "last"
    ) -> Path:
        """Write the fused weights into a new file, whole or not at all, and return its path."""
        target = Path(path)
        answer = self._call(
            "GET", f"/weights/{_quoted(aggregator_id)}", params={"format": format, "which": which}
        )
        handle, draft = tempfile.mkstemp(prefix=f".{target.name}", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(answer.content)
            os.replace(draft, target)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        return target

    def aggregators(self) -> list[dict[str, Any]]:
        """Return the aggregators that this client started, the oldest first."""
        return list(self._call("GET", "/aggregators").json()["aggregators"])

    def remove(self, aggregator_id: str) -> None:
        """Remove all that the service keeps of an aggregator of this client's that has ended."""
        self._call("DELETE", f"/aggregators/{_quoted(aggregator_id)}")

    def health(self) -> dict[str, Any]:
        """Return that the service is there, and the version of its fusion_nb."""
        return dict(self._call("GET", "/health").json())

    def _call(self, method: str, path: str, **asked: Any) -> Any:
        import httpx

        try:
            answer = self._http.request(method, path, **asked)
        except httpx.HTTPError as error:
            raise self._lost(error) from None
        if answer.is_error:
            raise _told(answer)
        return answer

    def _lost(self, error: Exception) -> ServiceError:
        reason = str(error) or type(error).__name__
        return ServiceError(
            f"{self.url} can't be reached ({reason})", "is it running? fusion-nb serve starts it"
        )


def _told(answer: Any) -> ServiceError:
    try:
        found = answer.json()
        message, hint = str(found["error"]), str(found.get("hint", ""))
    except (ValueError, KeyError, TypeError):  # something else answers at that address
        message, hint, found = (
            f"the answer was {answer.status_code}, and not a service's",
            "is the address right?",
            {},
        )
    return ServiceError(
        message, hint, status=answer.status_code, field=str(found.get("field") or "")
    )


def _from_netrc(host: str) -> tuple[str, str] | None:
    try:
        found = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):  # there is none, or one that others can read
        return None
    return (found[0], found[2]) if found else None


def _context(verify: str | bool) -> Any:
    import ssl

    if not isinstance(verify, str):
        return verify
    try:
        return ssl.create_default_context(cafile=verify)
    except OSError as error:
        line = f"verify={verify!r} can't be read ({error.strerror or error})"
        raise OptionError(line, "give a certificate authority's file, as PEM") from None


def _hidden(url: str) -> str:
    """Return an address without what may be a secret in it."""
    return f"...@{url.rpartition('@')[2]}" if "@" in url else url


def _quoted(aggregator_id: str) -> str:
    from urllib.parse import quote

    return quote(aggregator_id, safe="")


def _open(path: str | Path) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise DataError(
            f"{path} can't be read ({error.strerror})", f"the current folder is {Path.cwd()}"
        ) from None


def _to_file(model: Any, folder: Path) -> tuple[str, Path]:
    """Return a model's type, and its file, which is written into `folder` unless the model is one
    already.
    """
    if isinstance(model, str | Path):
        path = Path(model)
        if not path.is_file():
            raise ModelError(f"there is no file {path}", f"the current folder is {Path.cwd()}")
        kind = next((kind for kind, name in MODELS.items() if Path(name).suffix == path.suffix), "")
        if not kind:
            known = ", ".join(Path(name).suffix for name in MODELS.values())
            raise ModelError(
                f"{path} is no kind of file that models are sent as", f"those are: {known}"
            )
        return kind, path
    adapter = lookup.wrap(model, "the model")
    kind = TYPES.get(lookup.framework_of(model), "")
    if not kind:
        raise ModelError(f"the service takes no {adapter.kind}", f"it takes: {', '.join(MODELS)}")
    path = folder / MODELS[kind]
    adapter.save(path, adapter.get_weights(), WHOLE[kind])
    return kind, path


def _named(data: Any) -> Mapping[str, Any]:
    """Return the arrays of a party's rows by the names of an `.npz`."""
    hint = "give (x, y), or ((x, y), (x_test, y_test)), or the path of a file and its handler"
    if not _is_two(data):
        raise DataError(f"a party's data is {type(data).__name__}, not a pair", hint)
    train, test = data if isinstance(data[0], tuple) else (data, None)
    if not _is_two(train) or (test is not None and not _is_two(test)):
        raise DataError("a party's rows are no pair of x and y", hint)
    x, y = train
    return {"x_train": x, "y_train": y} | (
        {} if test is None else {"x_test": test[0], "y_test": test[1]}
    )


def _is_two(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2


def _npz(arrays: Mapping[str, Any]) -> BinaryIO:
    made = {name: np.asarray(array) for name, array in arrays.items()}
    if bad := next((name for name, array in made.items() if array.dtype.hasobject), ""):
        raise DataError(
            f"{bad} holds Python objects, which are not sent",
            "send numbers, or a file and its handler",
        )
    file = io.BytesIO()
    write_npz(file, made)
    file.seek(0)
    return file
