"""The channel between a process and its child, and the child's end of it: JSON and arrays over a socket.

What travels is data, never code. It needs no more of ours than ``sr_tvm.errors``: so a benchmark can load it by its
path beside an older checkout.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from sr_tvm.errors import SrTvmError, one_line

PERIOD = 0.5  # seconds between two looks whether the parent is still there
CHUNK = 1 << 16  # up to here a message goes in one piece
MOST_BYTES = 1 << 30  # of the JSON of a message
_SIZE = struct.Struct("<q")

Answer = tuple[dict[str, Any], list[np.ndarray]]


class Channel:
    """One end of a socket. A message is the length of its JSON, the JSON, and the bytes of its arrays.

    Not multiprocessing's: there a message that is begun, or that nobody takes, has no deadline, and arrays are copied.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        # What came with the last piece, and from where to where it was not asked for yet.
        self._piece, self._start, self._end = memoryview(bytearray(CHUNK)), 0, 0

    def send(self, message: dict[str, Any], arrays: Sequence[np.ndarray] = (), until: float | None = None) -> None:
        """Send a message and its arrays.

        Args:
            message: Fields that JSON can hold; "arrays" is ours.
            arrays: Of any shape and any type without Python objects.
            until: A moment of time.monotonic(); None for no deadline.

        Raises:
            TimeoutError: The other side has not taken all of it until then.
            OSError: The other side is gone.
        """
        head = {**message, "arrays": [{"shape": a.shape, "dtype": _name(a.dtype)} for a in arrays]}
        body = json.dumps(head).encode()
        parts: list[bytes | memoryview] = [_SIZE.pack(len(body)) + body]
        parts += [_bytes(np.ascontiguousarray(a)) for a in arrays]
        if sum(len(part) for part in parts) <= CHUNK:
            parts = [b"".join(parts)]
        for part in parts:
            self._limit(until)
            self._socket.sendall(part)

    def receive(self, until: float | None = None) -> Answer:
        """Wait for the next message.

        Args:
            until: A moment of time.monotonic(); None for no deadline.

        Returns:
            Its fields and its arrays.

        Raises:
            TimeoutError: Nothing complete came until then.
            ConnectionError: The other side is gone, or sends something else.
        """
        (count,) = _SIZE.unpack(self._take(_SIZE.size, until))
        if not 0 < count <= MOST_BYTES:
            raise ConnectionError(f"a message of {count} bytes: the other side speaks something else")
        message = json.loads(self._take(count, until).decode())
        arrays = [np.empty(spec["shape"], np.dtype(spec["dtype"])) for spec in message.pop("arrays")]
        for array in arrays:
            if array.dtype.hasobject:
                raise ConnectionError("a message with Python objects: the other side speaks something else")
            self._fill(_bytes(array), until)
        return message, arrays

    def _take(self, count: int, until: float | None) -> bytearray:
        data = bytearray(count)
        self._fill(memoryview(data), until)
        return data

    def _fill(self, view: memoryview, until: float | None) -> None:
        while view:
            if self._start == self._end:
                self._limit(until)
                whole = len(view) >= CHUNK  # straight to where it belongs
                got = self._socket.recv_into(view if whole else self._piece)
                if not got:
                    raise ConnectionError("the other side closed the connection")
                if whole:
                    view = view[got:]
                    continue
                self._start, self._end = 0, got
            got = min(len(view), self._end - self._start)
            view[:got] = self._piece[self._start : self._start + got]
            self._start += got
            view = view[got:]

    def _limit(self, until: float | None) -> None:
        left = None if until is None else until - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)

    def shut(self) -> None:
        """End the connection: whoever waits on it, in another thread too, is told that the other side is gone."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def close(self) -> None:
        """Close this end."""
        self._socket.close()


def _bytes(array: np.ndarray) -> memoryview:
    """Return the memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data


def _name(dtype: np.dtype) -> str:
    """Return a name by which NumPy finds it; those that others registered, such as bfloat16, have but the slow one."""
    return dtype.str if dtype.kind in "biufc" else str(dtype)


def serve(
    handle: Callable[[dict[str, Any], list[np.ndarray]], Answer], tidy: Callable[[], Any] = lambda: None,
    hello: dict[str, Any] | None = None,
) -> NoReturn:  # fmt: skip
    """Answer requests until the parent is gone; the main function of a child (see Child), called when it is ready.

    An exception is an answer with the field ``error``, one line; ``told`` says that it is an SrTvmError. The module's
    own arguments are ``sys.argv[3:]``.

    Args:
        handle: Makes the fields and arrays of an answer from those of a request.
        tidy: Runs before each answer is sent.
        hello: What the parent gets first; None for no fields.
    """
    parent, sock = int(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    sock.set_inheritable(False)
    belong_to(parent)
    channel = Channel(sock)
    channel.send(hello or {})
    while True:
        try:
            request, arrays = channel.receive()
        except OSError:
            end_group()
        try:
            answer, results = handle(request, arrays)
        except SrTvmError as error:
            answer, results = {"error": str(error), "told": True}, []
        except Exception as error:  # whatever TVM raises becomes one line in the parent
            answer, results = {"error": f"{type(error).__name__}: {one_line(error)}", "told": False}, []
        tidy()
        try:
            channel.send(answer, results)
        except OSError:
            end_group()


def belong_to(parent: int) -> None:
    """Leave Ctrl-C to the process that started this one, and end with it, even when it is killed with kill -9.

    This is the one place that decides what a signal is to a child: nothing. Its parent ends it with all that it
    started, so the caller must have put it into a process group of its own. Not by prctl(PR_SET_PDEATHSIG): that fires
    when the *thread* that made us ends, which may be long before its process.

    Args:
        parent: Its process number.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PERIOD)
        end_group()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True, name="lifeline").start()


def end_group() -> NoReturn:
    """End this process and all that it started."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)
