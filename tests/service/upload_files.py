"""Files for uploads, and the answer that a refused one gets."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np
import requests
import torch
from serving import Server


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def saved(value: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def archive(**entries: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return file.getvalue()


def npy(shape: tuple[int, ...], kind: str = "|u1", body: bytes = b"") -> bytes:
    """Return an array's file with a header that need not match its body."""
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def assert_refused(answer: requests.Response, server: Server) -> None:
    """Assert that the answer is one line without a path of the server, which still answers."""
    assert answer.status_code in (400, 413, 422), answer.text
    error = answer.json()["error"]
    assert error
    assert "\n" not in error
    assert str(server.state) not in answer.text
    assert ".draft" not in answer.text
    assert server.call("GET", "/health").ok
