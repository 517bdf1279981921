"""A real TVM RPC tracker and server on this machine, as context managers."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sr_tvm.errors import SrTvmError
from sr_tvm.runners.tracker_client import Server, servers
from sr_tvm.system.child import Child

REGISTER_SECONDS = 15.0
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Running:
    """A started process.

    Attributes:
        address: Where it listens, "127.0.0.1:PORT".
        pid: Its process number, which leads a process group of its own.
    """

    address: str
    pid: int


@contextmanager
def _process(role: str, *arguments: str) -> Iterator[Running]:
    # Its sessions, frozen ones too, are in its process group and end with it.
    with Child("sr_tvm.runners.serve", f"the RPC {role}", arguments=(role, *arguments)) as child:
        yield Running(f"127.0.0.1:{child.hello['port']}", child.pid)


@contextmanager
def start_tracker() -> Iterator[str]:
    """Start a TVM RPC tracker on 127.0.0.1 and a free port, for the length of the block.

    Yields:
        Its address, "127.0.0.1:PORT".

    Raises:
        SrTvmError: It did not start; the message holds its last words.
    """
    with _process("tracker") as running:
        yield running.address


@contextmanager
def start_server(tracker: str, key: str) -> Iterator[Running]:
    """Start a TVM RPC server on 127.0.0.1, registered with a tracker, for the length of the block.

    Args:
        tracker: The tracker's address, "HOST:PORT".
        key: The kind that the server registers as.

    Yields:
        The running server.

    Raises:
        SrTvmError: No tracker answers, the key is no plain word, or the server did not start or register.
    """
    if not _KEY.fullmatch(key):
        raise SrTvmError(f"key {key!r}: letters, digits, '.', '_' and '-' are allowed, 64 at most")
    servers(tracker)
    with _process("server", tracker, key) as running:
        until = time.monotonic() + REGISTER_SECONDS
        while not any(s.address == running.address and s.free for s in servers(tracker)):
            if time.monotonic() > until:
                raise SrTvmError(f"the RPC server {running.address} did not register with tracker {tracker}")
            time.sleep(0.05)
        yield running


def list_devices(tracker: str) -> list[Server]:
    """List the servers that a tracker knows.

    Args:
        tracker: The tracker's address, "HOST:PORT".

    Returns:
        The servers, sorted by key.

    Raises:
        SrTvmError: No tracker answers there; within seconds, naming the address.
    """
    return servers(tracker)
