"""The process behind start_tracker and start_server: TVM's own tracker or server, on 127.0.0.1, that can't be orphaned.

Its arguments are ``tracker`` or ``server HOST:PORT KEY``; when it is ready, it says its port. TVM's server is used from
its listening loop on; a session is served here, because TVM's way ends the whole server when one session crashes, lets
a frozen one live and accepts any path for an upload.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from sr_tvm.system import channel

HOST = "127.0.0.1"
PORTS = 200
PR_SET_PDEATHSIG = 1


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _session(sock: socket.socket, folder: str, server: int) -> None:
    """Run the forked process of one session."""
    # Its parent thread is the listening loop, which lives as long as the server: the death signal fits here.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)
    os.chdir(folder)
    from tvm.rpc import _ffi_api

    from sr_tvm.runners import remote

    remote.register(Path(folder))
    _ffi_api.ServerLoop(sock.fileno())


def _serving(sock: socket.socket, _address: Any, options: dict[str, float], _libraries: Any) -> None:
    """Serve one session in a process and a folder of its own, and survive whatever becomes of it."""
    folder = tempfile.mkdtemp(prefix="sr-tvm-rpc-")
    process = multiprocessing.get_context("fork").Process(target=_session, args=(sock, folder, os.getpid()))
    process.start()
    try:
        process.join(options.get("timeout"))
        if process.is_alive():
            process.kill()  # terminate() would wait for ever on a stopped process
            process.join()
    finally:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()
        shutil.rmtree(folder, ignore_errors=True)


def _start(role: str, arguments: list[str]) -> int:
    port = _free_port()
    if role == "tracker":
        from tvm.rpc import tracker

        return tracker.PopenTrackerServerState(HOST, port, port + PORTS, silent=True).port
    import tvm.rpc.server

    from sr_tvm.runners import remote  # noqa: F401  # imported before sessions fork, so that they start at once
    from sr_tvm.runners.tracker_client import parse_address

    address, key = arguments
    tvm.rpc.server._serving = _serving
    state = tvm.rpc.server.PopenRPCServerState(
        HOST, port, port + PORTS, tracker_addr=parse_address(address), key=key, silent=True
    )
    return state.port


def main() -> None:
    """Serve as the tracker or the server that the command line names, until the process that started this one ends."""
    role, *arguments = sys.argv[3:]
    port = _start(role, arguments)
    channel.serve(lambda request, arrays: ({}, []), hello={"port": port})


if __name__ == "__main__":
    main()
