"""Services behind the wrong scheme, an odd certificate, or no service at all: one line for each."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fusion_nb.errors import OptionError, ServiceError
from fusion_nb.service.client import Client

Serve = Callable[..., int]


def certificate(folder: Path, name: str = "127.0.0.1", age: int = 0) -> tuple[Path, Path]:
    """Write a self-signed certificate of two days, and its key; age: days ago that it ended."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    common = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "test")])
    try:
        place: Any = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        place = x509.DNSName(name)
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=age)
    day = datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder(common, common, key.public_key(), 1, now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([place]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(exist_ok=True)
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    paths[1].write_bytes(secret)
    return paths


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A maker of servers that give one answer to everything; it returns the port of each."""
    with contextlib.ExitStack() as stack:

        def start(answer: bytes, tls: tuple[Path, Path] | None = None) -> int:
            context = None
            if tls is not None:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*tls)
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            work = threading.Thread(target=answering, args=(listening, answer, context))
            work.daemon = True
            work.start()
            return int(listening.getsockname()[1])

        yield start


def answering(listening: socket.socket, answer: bytes, context: ssl.SSLContext | None) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:
            return
        with contextlib.suppress(OSError), connection:
            connection.settimeout(20)
            open_one = context.wrap_socket(connection, server_side=True) if context else connection
            open_one.recv(1 << 16)
            open_one.sendall(answer)
            open_one.close()


def http(body: bytes, status: str = "200 OK", header: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{header}\r\n"
    return head.encode() + body


WHOLE = http(b'{"aggregators": []}')


def refused(url: str, **options: Any) -> ServiceError:
    with (
        Client(url, "id", "secret", **options) as client,
        pytest.raises(ServiceError) as caught,
    ):
        client.aggregators()
    assert len(caught.value.message.splitlines()) == 1
    assert caught.value.hint
    return caught.value


def test_a_service_that_answers(serve: Serve, tmp_path: Path) -> None:
    own = certificate(tmp_path)
    for url, verify in ((f"http://127.0.0.1:{serve(WHOLE)}", True), ("", str(own[0]))):
        address = url or f"https://127.0.0.1:{serve(WHOLE, own)}"
        with Client(address, "id", "secret", verify=verify) as client:
            assert client.aggregators() == []


def test_https_to_a_service_without_tls(serve: Serve) -> None:
    port = serve(WHOLE)
    error = refused(f"https://127.0.0.1:{port}")
    assert "does not answer by TLS" in error.message
    assert f"http://127.0.0.1:{port}" in error.hint


def test_http_to_a_service_with_tls(serve: Serve, tmp_path: Path) -> None:
    port = serve(WHOLE, certificate(tmp_path))
    error = refused(f"http://127.0.0.1:{port}")
    assert "hung up before its answer was whole" in error.message
    assert f"https://127.0.0.1:{port}" in error.hint


@pytest.mark.parametrize(
    ("name", "age", "is_given", "said", "hint"),
    [
        ("127.0.0.1", 0, False, "self-signed certificate", "SSL_CERT_FILE"),
        ("127.0.0.1", 9, True, "expired", "renew it"),
        ("127.0.0.1", -9, True, "not yet valid", "clocks"),
        ("service.example", 0, True, "mismatch", "the name that is in the certificate"),
    ],
)
def test_a_certificate_that_is_not_accepted(
    serve: Serve, tmp_path: Path, name: str, age: int, is_given: bool, said: str, hint: str
) -> None:
    own = certificate(tmp_path, name, age)
    url = f"https://127.0.0.1:{serve(WHOLE, own)}"
    error = refused(url, **({"verify": str(own[0])} if is_given else {}))
    assert error.message.startswith(f"the certificate of {url} is not accepted: ")
    assert said in error.message
    assert hint in error.hint


def test_the_certificate_of_another_service_is_not_enough(serve: Serve, tmp_path: Path) -> None:
    own, other = certificate(tmp_path / "own"), certificate(tmp_path / "other")
    error = refused(f"https://127.0.0.1:{serve(WHOLE, own)}", verify=str(other[0]))
    assert "is not accepted" in error.message


@pytest.mark.parametrize("name", ["none.pem", "text.pem", "folder"])
def test_what_is_no_certificate_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.pem").write_text("no certificate")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OptionError, match="can't be read"):
        Client("https://127.0.0.1:1", verify=str(tmp_path / name))


@pytest.mark.parametrize(
    "answer",
    [
        http(b"<html>log in</html>"),
        http(b""),
        http(b"null"),
        http(b"[1, 2]"),
        http(b"NaN"),
        http(b'{"other": 1}'),
        http(b"[" * 100_000),
        http(b"\xff\xfe"),
        http(b"", "302 Found", "location: https://login.example/\r\n"),
        http(b"no", "404 Not Found"),
        http(b"[]", "500 Oh"),
        http(b"[" * 100_000, "500 Oh"),
    ],
    ids=lambda answer: str(answer[-20:]),
)
def test_another_server_is_at_the_address(serve: Serve, answer: bytes) -> None:
    error = refused(f"http://127.0.0.1:{serve(answer)}")
    assert "and not a service's" in error.message
    assert "is the address right?" in error.hint
    assert ("login.example" in error.message) == (b"302" in answer)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH\r\n", http(b"[]")[:-1]])
def test_a_server_that_hangs_up(serve: Serve, answer: bytes) -> None:
    assert "hung up" in refused(f"http://127.0.0.1:{serve(answer)}").message


@pytest.mark.parametrize("line", [b"<html>\n", b"[1]\n", b"{\n", b"[" * 100_000 + b"\n"])
def test_a_line_that_is_no_round(serve: Serve, line: bytes) -> None:
    with (
        Client(f"http://127.0.0.1:{serve(http(line))}", "id", "secret") as client,
        pytest.raises(ServiceError, match="and no round"),
    ):
        next(client.rounds("any"))
