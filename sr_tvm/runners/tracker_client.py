"""A client of TVM's RPC tracker with a deadline on every step; TVM's own waits for ever. It needs no TVM."""

from __future__ import annotations

import json
import queue
import socket
import struct
import threading
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
    """A server as a tracker sees it.

    Attributes:
        key: Its kind.
        address: Where it listens, "HOST:PORT".
        free: How many servers of its kind are free.
        waiting: How many clients wait for one.
    """

    key: str
    address: str
    free: int
    waiting: int


def parse_address(text: str) -> tuple[str, int]:
    """Split HOST:PORT.

    Args:
        text: Such as "127.0.0.1:9190"; the host may stand in square brackets.

    Returns:
        The host and the port.

    Raises:
        SrTvmError: It is not of that form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise SrTvmError(f"tracker address {text!r} is not HOST:PORT, as in 127.0.0.1:9190")
    return host.strip("[]"), int(port)


def _receive(sock: socket.socket, count: int, until: float) -> bytes:
    data = b""
    while len(data) < count:
        sock.settimeout(_left(until))
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


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _addresses(host: str, port: int, until: float) -> list[Any]:
    """Return what a host stands for, as socket.getaddrinfo tells it, which itself waits as long as a dead name server.

    Raises:
        TimeoutError: There was no answer in time.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def resolve() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=resolve, daemon=True, name="resolve").start()
    try:
        found = answers.get(timeout=_left(until))
    except queue.Empty:
        raise TimeoutError("timed out") from None
    if isinstance(found, Exception):
        raise found
    return found


def _connect(host: str, port: int, until: float) -> socket.socket:
    """Return a connection to the first address of a host that answers; all of them together have the time ``until``.

    Raises:
        OSError: No address answered.
    """
    error: OSError = OSError("the name has no address")
    addresses = _addresses(host, port, until)
    for i, (family, kind, protocol, _, address) in enumerate(addresses):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as failure:  # no IPv6 here
            error = failure
            continue
        try:
            # A share of what is left, so that a silent address does not use up the time of those after it.
            sock.settimeout(_left(until) / (len(addresses) - i))
            sock.connect(address)
            return sock
        except OSError as failure:
            sock.close()
            error = failure
        except BaseException:
            sock.close()
            raise
    raise error


@contextmanager
def _connection(tracker: str, seconds: float) -> Iterator[tuple[socket.socket, float]]:
    host, port = parse_address(tracker)
    until = time.monotonic() + seconds
    try:
        with _connect(host, port, until) as sock:
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


def servers(tracker: str, seconds: float | None = None) -> list[Server]:
    """List the servers that a tracker knows.

    Args:
        tracker: The tracker's address, "HOST:PORT".
        seconds: That the answer may take; None for CONNECT_SECONDS.

    Returns:
        The servers, sorted by key.

    Raises:
        SrTvmError: No tracker answers there in time, or its answer is not understood.
    """  # noqa: DOC501  caught below
    seconds = CONNECT_SECONDS if seconds is None else seconds
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
    """Wait until a server of a kind is free.

    Args:
        tracker: The tracker's address, "HOST:PORT".
        key: The kind of server.
        seconds: To wait at most.

    Raises:
        SrTvmError: The tracker knows no such key (its keys are listed), or all stay busy for so long.
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
    """Claim a free server.

    Args:
        tracker: The tracker's address, "HOST:PORT".
        key: The kind of server.
        seconds: That it may take.

    Returns:
        Host, port and match key, for ``tvm.rpc.connect``.

    Raises:
        SrTvmError: No such server is free, another client was faster, or no tracker answers.
    """  # noqa: DOC501  caught below
    wait_for_free(tracker, key, min(seconds, 5.0))
    with _connection(tracker, min(seconds, CONNECT_SECONDS)) as (sock, until):
        try:
            answer = _ask(sock, [REQUEST, key, "", 1], until)
        except TimeoutError:  # the tracker answered just now: it waits for a server to become free, and so did we
            raise SrTvmError(
                f"tracker {tracker}: every server with key {key!r} is busy, as another client was faster; "
                "try again later"
            ) from None
    try:
        status, (host, port, match) = answer
        if status != SUCCESS:
            raise ValueError(f"status {status}")
        return str(host), int(port), str(match)
    except (ValueError, TypeError) as error:
        raise SrTvmError(f"tracker {tracker}: an answer that is not understood ({error})") from None
