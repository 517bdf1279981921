"""A real TVM RPC tracker and server on this machine, as context managers."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.runners.tracker_client import Server, servers

# TVM takes seconds to import, more when the machine is busy.
START_SECONDS = 120.0
REGISTER_SECONDS = 15.0
STOP_SECONDS = 3.0
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Running:
    """A started process: ``address`` is "127.0.0.1:PORT", ``pid`` leads a process group of its own."""

    address: str
    pid: int


@contextmanager
def _process(role: str, *arguments: str) -> Iterator[Running]:
    command = [sys.executable, "-m", "sr_tvm.runners.serve", str(os.getpid()), role, *arguments]
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, start_new_session=True
        )
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
            line = process.stdout.readline() if ready else b""
            if not line:
                complaints.seek(0)
                last = one_line(complaints.read()) or f"nothing within {START_SECONDS:g} s"
                raise SrTvmError(f"the RPC {role} did not start: {last}")
            yield Running(f"127.0.0.1:{json.loads(line)['port']}", process.pid)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its sessions, frozen ones too."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


@contextmanager
def start_tracker() -> Iterator[str]:
    """A tracker on 127.0.0.1 and a free port; yields its address "127.0.0.1:PORT".

    Raises:
        SrTvmError: it did not start; the message holds its last words.
    """
    with _process("tracker") as running:
        yield running.address


@contextmanager
def start_server(tracker: str, key: str) -> Iterator[Running]:
    """A server of kind ``key`` on 127.0.0.1, registered with ``tracker``.

    Raises:
        SrTvmError: no tracker answers, the key is no plain word, or the server did not start or register.
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
    """The servers that the tracker at "HOST:PORT" knows.

    Raises:
        SrTvmError: no tracker answers there; within seconds, naming the address.
    """
    return servers(tracker)
