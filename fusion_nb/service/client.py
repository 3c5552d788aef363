"""A Python client of the service. Programs without fusion_nb call the service by plain HTTP."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import quote

import numpy as np

from fusion_nb.core.history import from_dict
from fusion_nb.core.types import RoundRecord, Weights
from fusion_nb.service import payloads
from fusion_nb.service.transport import Transport
from fusion_nb.service.unreached import answer_of, line_of, part_of


class Client:
    """A client of a Model Fusion service.

    url:  address of the service, which may hold the credentials:
          `http://CLIENT_ID:CLIENT_SECRET@127.0.0.1:8765`
    client_id, client_secret: the credentials if the address has none; else they are looked up in
    `~/.netrc`, and then in the environment variable FUSION_NB_SERVICE_KEY, as ID:SECRET
    verify: a certificate authority's file for TLS, or False to trust any certificate

    Every method raises ServiceError when the service refuses the call or can't be reached.
    """

    def __init__(
        self, url: str, client_id: str = "", client_secret: str = "", *, verify: str | bool = True
    ) -> None:
        self._transport = Transport(url, client_id, client_secret, verify)
        #: The address without credentials.
        self.url = self._transport.url

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

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
        options: those of a run, by their names in RunSpec (`parties`, `lr`) or the original ones
        (`num_parties`, `learning_rate`)
        Its parties register by `start_party`, or keep their rows: `fusion-nb party --service`.
        """
        fields = {name: str(value) for name, value in options.items() if value is not None}
        with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
            model_type, path = payloads.model_file(model, Path(folder))
            files: dict[str, BinaryIO] = {"model_file": stack.enter_context(path.open("rb"))}
            if test is not None:
                files["test"] = payloads.central_test_file(test)
            fields = {"model_type": model_type, **fields}
            answer = self._transport.call("POST", "/start-aggregator", data=fields, files=files)
        return str(part_of(answer, "aggregator_id"))

    def start_party(
        self, aggregator_id: str, data: Any, handler: str = "", *, party: str = "", code: str = ""
    ) -> int:
        """Register a party with its data, and return how many parties have not registered yet.

        data:    (x, y), or ((x, y), (x_test, y_test)), or the path of a file
        handler: the data handler that reads the file (default: npz)
        party:   the party's name;  code: path of a module with the handler's class
        """
        fields = {
            "aggregator_id": aggregator_id,
            "data_handler_class_name": handler or "npz",
            "party": party,
        }
        with ExitStack() as stack:
            is_file = isinstance(data, str | Path)
            file = payloads.open_file(data) if is_file else payloads.rows_file(data)
            files = {"data": stack.enter_context(file)}
            if code:
                files["custom_data_handler"] = stack.enter_context(payloads.open_file(code))
            answer = self._transport.call("POST", "/start-party", data=fields, files=files)
        return int(part_of(answer, "remaining"))

    def train(self, aggregator_id: str, *, wait: bool = True) -> dict[str, Any]:
        """Train, and return the answer with `global_model` and `history`; or return at once."""
        answer = self._transport.call(
            "POST",
            "/train",
            is_patient=wait,
            params={"wait": str(wait).lower()},
            json={"aggregator_id": aggregator_id},
        )
        return answer_of(answer)

    def stop(self, aggregator_id: str) -> dict[str, Any]:
        """Stop a run at its last whole round, end the federation, and delete the parties' data."""
        answer = self._transport.call("POST", "/stop", json={"aggregator_id": aggregator_id})
        return answer_of(answer)

    def status(self, aggregator_id: str) -> dict[str, Any]:
        """Return the state of an aggregator and its run."""
        return answer_of(self._transport.call("GET", f"/status/{_quoted(aggregator_id)}"))

    def rounds(self, aggregator_id: str, after: int = 0) -> Iterator[RoundRecord]:
        """Yield the rounds after a given one, and, while the run trains, each new one."""
        for line in self._transport.lines(f"/rounds/{_quoted(aggregator_id)}", after=after):
            yield from_dict(line_of(line))

    def weights(self, aggregator_id: str, which: str = "last") -> Weights:
        """Return the fused weights of the last or the best whole round, as named arrays."""
        content = self._read_weights(aggregator_id, "npz", which)
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}

    def download(
        self, aggregator_id: str, path: str | Path, format: str = "npz", which: str = "last"
    ) -> Path:
        """Write the fused weights into a file, completely or not at all, and return its path."""
        target = Path(path)
        content = self._read_weights(aggregator_id, format, which)
        handle, draft = tempfile.mkstemp(prefix=f".{target.name}", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(draft, target)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        return target

    def _read_weights(self, aggregator_id: str, format: str, which: str) -> bytes:
        params = {"format": format, "which": which}
        path = f"/weights/{_quoted(aggregator_id)}"
        return self._transport.call("GET", path, params=params).content

    def aggregators(self) -> list[dict[str, Any]]:
        """Return the aggregators that this client started, the oldest first."""
        return list(part_of(self._transport.call("GET", "/aggregators"), "aggregators"))

    def remove(self, aggregator_id: str) -> None:
        """Delete an aggregator that this client started and that has ended."""
        self._transport.call("DELETE", f"/aggregators/{_quoted(aggregator_id)}")

    def health(self) -> dict[str, Any]:
        """Return the service's status, and the version of its fusion_nb."""
        return answer_of(self._transport.call("GET", "/health"))


def _quoted(aggregator_id: str) -> str:
    return quote(str(aggregator_id), safe="")
