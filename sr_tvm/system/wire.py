"""Messages to a child process and back: JSON and arrays over a socket. Data, never code."""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from typing import Any

import numpy as np


def send(sock: socket.socket, message: dict[str, Any], arrays: list[np.ndarray] | None = None) -> None:
    """Send ``message`` and ``arrays``."""
    arrays = arrays or []
    head = {**message, "arrays": [{"shape": list(a.shape), "dtype": str(a.dtype)} for a in arrays]}
    body = json.dumps(head).encode()
    sock.sendall(struct.pack("<q", len(body)) + body)
    for array in arrays:
        sock.sendall(np.ascontiguousarray(array).tobytes())


def receive(sock: socket.socket, until: float | None = None) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The next message; ``until`` is a time.monotonic() moment.

    Raises:
        TimeoutError: nothing complete came until then.
        ConnectionError: the other side is gone.
    """
    (size,) = struct.unpack("<q", _exactly(sock, 8, until))
    message = json.loads(_exactly(sock, size, until))
    arrays = []
    for spec in message.pop("arrays"):
        dtype = np.dtype(spec["dtype"])
        data = _exactly(sock, math.prod(spec["shape"]) * dtype.itemsize, until)
        arrays.append(np.frombuffer(data, dtype).reshape(spec["shape"]))
    return message, arrays


def _exactly(sock: socket.socket, count: int, until: float | None) -> bytearray:
    data = bytearray(count)
    view = memoryview(data)
    while view:
        if until is None:
            sock.settimeout(None)
        else:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            sock.settimeout(left)
        got = sock.recv_into(view)
        if not got:
            raise ConnectionError("the other side closed the connection")
        view = view[got:]
    return data
