"""A child process that answers requests, each with a deadline: one that hangs or crashes takes only itself with it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.system import wire
from sr_tvm.system.lifeline import die_with_parent

START_SECONDS = 120.0  # importing TVM on a busy machine
STARTS = 3  # processes in a row that don't even start
# How long a child that closed its connection may take to end, and how much of its last words is looked at.
DYING_SECONDS, TAIL_BYTES = 3.0, 65536

Answer = tuple[dict[str, Any], list[np.ndarray]]


class ChildDied(Exception):
    """The process ended, or closed its connection; the message says how, with its last line."""


class Child:
    """``python -m MODULE`` in a process group of its own, which calls :func:`serve`. It ends when this process does.

    Raises:
        SrTvmError: it does not start; the message has its last words.
    """

    def __init__(self, module: str, what: str, environment: Mapping[str, str] | None = None) -> None:
        self.module, self.what, self.environment = module, what, dict(environment or {})
        for attempt in range(STARTS):
            try:
                self._start()
                return
            except ChildDied as error:
                if attempt + 1 == STARTS:
                    raise SrTvmError(f"the {self.what} does not start: {error}; see 'sr-tvm doctor'") from None

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.module, str(os.getpid()), str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=self._words, stderr=self._words, pass_fds=[theirs.fileno()],
                env={**os.environ, **self.environment}, start_new_session=True,
            )  # fmt: skip
        self._socket = ours
        try:
            self._ask(lambda: None, time.monotonic() + START_SECONDS)
        except TimeoutError:
            raise ChildDied(f"it was not ready within {START_SECONDS:g} s") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: Mapping[str, Any], arrays: list[np.ndarray] | None = None, *, until: float) -> Answer:
        """Send a request and wait for its answer, at most until the time.monotonic() moment ``until``.

        Whatever goes wrong ends the process: a late answer must not be taken for the next one's.

        Raises:
            TimeoutError: nothing came until then.
            ChildDied: the process is gone.
        """

        def send() -> None:
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            wire.send(self._socket, dict(request), arrays)

        return self._ask(send, until)

    def _ask(self, send: Callable[[], None], until: float) -> Answer:
        whole = False
        try:
            send()
            answer = wire.receive(self._socket, until)
            whole = True
            return answer
        except TimeoutError:
            raise
        except OSError:
            raise ChildDied(self.last_words()) from None
        finally:
            if not whole:  # also on Ctrl-C
                self.kill()

    def kill(self) -> None:
        """End the process and all that it started. Nothing of worth may be in it."""
        self._socket.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._words.close()

    def last_words(self) -> str:
        """How the process ended, and the last line that it wrote."""
        try:
            code = self._process.wait(DYING_SECONDS)
        except subprocess.TimeoutExpired:
            ended = "it closed the connection"
        else:
            ended = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        fd = self._words.fileno()
        # pread: the child shares the file's position.
        text = os.pread(fd, TAIL_BYTES, max(0, os.fstat(fd).st_size - TAIL_BYTES)).decode(errors="replace")
        # After a crash faulthandler lists frames and modules: what was said before that tells more, else where it was.
        before, _, dump = text.partition("Fatal Python error")
        frames = (dump.partition("Current thread")[2] or dump).splitlines()
        last = one_line(before) or next((line.strip() for line in frames if line.startswith("  File ")), "")
        return f"{ended}: {last}" if last else ended


def serve(handle: Callable[[dict[str, Any], list[np.ndarray]], Answer], tidy: Callable[[], Any] = lambda: None) -> None:
    """Answer requests until the parent is gone; the main function of a child, called when it is ready.

    An exception is an answer with the field ``error``, one line; ``told`` says that it is an SrTvmError. ``tidy`` runs
    before each answer is sent.
    """
    parent, fd = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    sock = socket.socket(fileno=fd)
    wire.send(sock, {"ready": True})
    while True:
        try:
            request, arrays = wire.receive(sock)
        except ConnectionError:
            os._exit(0)
        try:
            answer, results = handle(request, arrays)
        except SrTvmError as error:
            answer, results = {"error": str(error), "told": True}, []
        except Exception as error:  # whatever TVM raises becomes one line in the parent
            answer, results = {"error": f"{type(error).__name__}: {one_line(error)}", "told": False}, []
        tidy()
        wire.send(sock, answer, results)
