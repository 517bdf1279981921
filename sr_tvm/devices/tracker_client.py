"""Talking to a TVM RPC tracker with a deadline on every step; TVM's own client waits for ever. Needs no TVM."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sr_tvm.errors import SrTvmError

# TVM's tracker protocol (tvm/rpc/base.py): a magic number both ways, then JSON with a length before it.
TRACKER_MAGIC = 0x2F271
SUCCESS, REQUEST, SUMMARY = 0, 4, 6
MAX_ANSWER = 1 << 20
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Server:
    """A server as a tracker sees it: how many of its kind (``key``) are free, and how many clients wait for one."""

    key: str
    address: str
    free: int
    waiting: int


def parse_address(text: str) -> tuple[str, int]:
    """Split HOST:PORT.

    Raises:
        SrTvmError: it is not of that form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise SrTvmError(f"tracker address {text!r} is not HOST:PORT, as in 127.0.0.1:9190")
    return host.strip("[]"), int(port)


def _receive(sock: socket.socket, count: int, until: float) -> bytes:
    data = b""
    while len(data) < count:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        sock.settimeout(left)
        chunk = sock.recv(count - len(data))
        if not chunk:
            raise ConnectionError("connection closed")
        data += chunk
    return data


def _ask(sock: socket.socket, question: list[Any], until: float) -> Any:
    body = json.dumps(question).encode()
    sock.sendall(struct.pack("<i", len(body)) + body)
    (size,) = struct.unpack("<i", _receive(sock, 4, until))
    if not 0 < size <= MAX_ANSWER:
        raise ConnectionError(f"answer of {size} bytes")
    return json.loads(_receive(sock, size, until))


@contextmanager
def _connection(tracker: str, seconds: float) -> Iterator[tuple[socket.socket, float]]:
    host, port = parse_address(tracker)
    until = time.monotonic() + seconds
    try:
        with socket.create_connection((host, port), timeout=seconds) as sock:
            sock.sendall(struct.pack("<i", TRACKER_MAGIC))
            (magic,) = struct.unpack("<i", _receive(sock, 4, until))
            if magic != TRACKER_MAGIC:
                raise SrTvmError(f"{tracker}: something answers there, but it is not a TVM RPC tracker")
            yield sock, until
    except TimeoutError:
        raise SrTvmError(f"tracker {tracker}: no answer within {seconds:g} s; is it running and reachable?") from None
    except (OSError, ValueError, struct.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise SrTvmError(f"tracker {tracker}: {reason}; is it running and reachable?") from None


def servers(tracker: str, seconds: float = CONNECT_SECONDS) -> list[Server]:
    """The servers that ``tracker`` ("HOST:PORT") knows, sorted by key.

    Raises:
        SrTvmError: no tracker answers there within ``seconds``.
    """
    with _connection(tracker, seconds) as (sock, until):
        answer = _ask(sock, [SUMMARY], until)
    try:
        status, summary = answer
        if status != SUCCESS:
            raise ValueError(f"status {status}")
        found = []
        for item in summary["server_info"]:
            key = item["key"].split(":", 1)[1]
            queue = summary["queue_info"].get(key, {})
            host, port = item["addr"]
            found.append(Server(key, f"{host}:{port}", int(queue.get("free", 0)), int(queue.get("pending", 0))))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise SrTvmError(f"tracker {tracker}: an answer that is not understood ({error})") from None
    return sorted(found, key=lambda server: (server.key, server.address))


def wait_for_free(tracker: str, key: str, seconds: float) -> None:
    """Return once a server of kind ``key`` is free.

    Raises:
        SrTvmError: the tracker knows no such key (its keys are listed), or all stay busy for ``seconds``.
    """
    until = time.monotonic() + seconds
    known = servers(tracker)
    while True:
        mine = [server for server in known if server.key == key]
        if mine and mine[0].free > 0:
            return
        if time.monotonic() >= until:
            break
        # A server that comes back from a session, or has only just started, needs a moment to register.
        time.sleep(0.2)
        known = servers(tracker)
    free = {server.key: server.free for server in known}
    keys = ", ".join(f"{k} ({n} free)" for k, n in sorted(free.items()))
    if mine:
        raise SrTvmError(f"tracker {tracker}: every server with key {key!r} is busy; it knows {keys}; try again later")
    raise SrTvmError(f"tracker {tracker}: no server has the key {key!r}; it knows {keys or 'no servers at all'}")


def request(tracker: str, key: str, seconds: float) -> tuple[str, int, str]:
    """Claim a free server: (host, port, match key) for ``tvm.rpc.connect``.

    Raises:
        SrTvmError: as :func:`wait_for_free`, or another client was faster.
    """
    wait_for_free(tracker, key, min(seconds, 5.0))
    with _connection(tracker, min(seconds, CONNECT_SECONDS)) as (sock, until):
        answer = _ask(sock, [REQUEST, key, "", 1], until)
    try:
        status, (host, port, match) = answer
        if status != SUCCESS:
            raise ValueError(f"status {status}")
        return str(host), int(port), str(match)
    except (ValueError, TypeError) as error:
        raise SrTvmError(f"tracker {tracker}: an answer that is not understood ({error})") from None
