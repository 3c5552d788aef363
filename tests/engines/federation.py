"""A SuperLink and parties on loopback, as tests of a running federation start them."""

from __future__ import annotations

import datetime
import ipaddress
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fusion_nb.engines.flower.children import Child, free_address, listens


def rows_of(number: int, count: int = 48) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    y = np.arange(count) % 3
    x = rng.normal(size=(count, 5)) + np.stack([y == 0, y == 1, y == 2, y, y], 1)
    return x.astype("float32"), y


class Federation:
    """A SuperLink, and the programs of its parties by name. All end with it."""

    def __init__(self, folder: Path, *tls: str, port: int = 0) -> None:
        self.folder, self.tls = folder, tls
        address = f"127.0.0.1:{port}" if port else free_address()
        self.port = int(address.rpartition(":")[2])
        self.address = f"localhost:{self.port}" if tls else address
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self.start()

    def start(self) -> None:
        """Start the SuperLink, perhaps again."""
        certificates = (
            [
                "--ssl-ca-certfile",
                self.tls[0],
                "--ssl-certfile",
                self.tls[1],
                "--ssl-keyfile",
                self.tls[2],
            ]
            if self.tls
            else ["--insecure"]
        )
        self.superlink = Child(
            self.folder,
            f"SuperLink {time.monotonic_ns()}",
            [
                "superlink",
                "--host",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--isolation",
                "process",
                "--disable-runtime-dependency-installation",
                *certificates,
            ],
        )
        address = f"127.0.0.1:{self.port}"
        self.superlink.wait_until(lambda: listens(address), lambda: None)

    def join(self, name: str, number: int, *options: str, program: str = "", app: str = "") -> None:
        """Start a party with rows of its own, or with an app of a folder: FOLDER/module:app."""
        file = self.folder / f"{number}.npz"
        x, y = rows_of(number)
        np.savez(file, x_train=x, y_train=y)
        folder, _, place = app.rpartition("/")
        trust = ["--certificates", self.tls[0]] if self.tls else ["--insecure"]
        how = [program] if program else ["-m", "fusion_nb.cli"]
        with (self.folder / f"{name}.out").open("ab") as out:
            self._programs[name] = subprocess.Popen(
                [
                    sys.executable,
                    *how,
                    "party",
                    "--superlink",
                    self.address,
                    *trust,
                    "--data",
                    f"flower_app:{place}" if app else str(file),
                    "--name",
                    name.partition("#")[0],
                    "--log",
                    str(self.log(name)),
                    *options,
                ],
                stdout=out,
                stderr=out,
                cwd=folder or None,
            )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def joined(self, name: str) -> bool:
        return self.log(name).is_file() and "connected to" in self.log(name).read_text()

    def kill(self, name: str) -> None:
        os.kill(self._programs[name].pid, signal.SIGKILL)
        self._programs.pop(name).wait()

    def leave(self, name: str) -> None:
        """Let a party end by itself, as by Ctrl-C."""
        os.kill(self._programs[name].pid, signal.SIGINT)
        self._programs.pop(name).wait()

    def close(self) -> None:
        for program in self._programs.values():
            program.kill()
            program.wait()
        self.superlink.close()


@contextmanager
def federation(folder: Path, *tls: str) -> Iterator[Federation]:
    made = Federation(folder, *tls)
    try:
        yield made
    finally:
        made.close()


def certificates(folder: Path) -> tuple[str, str, str]:
    """Write a root certificate, and a certificate and a key for localhost."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder.mkdir(exist_ok=True)
    root_key, key = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP384R1())
    root_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a root")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)

    def certificate(subject: Any, public: Any, is_root: bool) -> bytes:
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        )
        if not is_root:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = made.sign(root_key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    files = {
        "ca.pem": certificate(root_name, root_key.public_key(), True),
        "server.pem": certificate(name, key.public_key(), False),
        "server.key": key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    }
    for file, content in files.items():
        (folder / file).write_bytes(content)
    ca, server, server_key = (str(folder / file) for file in files)
    return ca, server, server_key
