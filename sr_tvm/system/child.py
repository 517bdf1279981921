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
from collections.abc import Mapping, Sequence
from typing import IO, Any, Self

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.system.channel import Answer, Channel
from sr_tvm.system.death import ChildDied, how_ended, killed_for_memory, last_words

START_SECONDS = 120.0  # importing TVM on a busy machine
STARTS = 3  # processes in a row that don't even start
# How long a child that closed its connection may take to end, and how much of its last words is looked at.
DYING_SECONDS, TAIL_BYTES = 3.0, 65536


class RequestFailed(SrTvmError):
    """A child answered with an error and lives; ``told`` says that it raised an SrTvmError there, in our words."""

    def __init__(self, message: str, told: bool) -> None:
        super().__init__(message)
        self.told = told


class Child:
    """``python -m MODULE`` in a process group of its own, which calls :func:`sr_tvm.system.channel.serve`.

    It ends when this process does, and Ctrl-C is not its business: a call that is interrupted here ends it. What it
    prints goes nowhere but into the last words of a :class:`ChildDied`. ``hello`` is what it said when it was ready.
    Use it in a ``with`` block, or :meth:`kill` it.

    Args:
        module: The Python module that runs.
        what: The process in words, for messages: "the RPC client".
        environment: Set besides ours.
        arguments: Of the module, after those that the channel needs.
        command: What runs instead of ``python -m MODULE``, such as a file and another environment's Python.
        seconds: To get ready, in each start.
        starts: Processes in a row that may fail to start.

    Raises:
        ChildDied: It does not start; the message has its last words.
    """

    def __init__(
        self, module: str, what: str, environment: Mapping[str, str] | None = None, arguments: Sequence[str] = (), *,
        command: Sequence[str] = (), seconds: float = START_SECONDS, starts: int = STARTS,
    ) -> None:  # fmt: skip
        self.what, self.environment = what, dict(environment or {})
        self.command, self.arguments = list(command) or [sys.executable, "-m", module], list(arguments)
        for attempt in range(starts):
            try:
                self.hello = self._start(seconds)
                return
            except ChildDied as error:
                if attempt + 1 == starts:
                    told = {"verb": "does not start", "hint": "see 'sr-tvm doctor'"}
                    raise ChildDied(what, error.how, error.words, late=error.late, **told) from None

    def _start(self, seconds: float) -> dict[str, Any]:
        ours, theirs = socket.socketpair()
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._starved = killed_for_memory()
        with theirs:
            ends = [str(os.getpid()), str(theirs.fileno())]
            try:
                self._process = subprocess.Popen(
                    [*self.command, *ends, *self.arguments], stdin=subprocess.DEVNULL, stdout=self._words,
                    stderr=self._words, pass_fds=[theirs.fileno()], env={**os.environ, **self.environment},
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                ours.close()
                self._words.close()
                raise ChildDied(self.what, f"{self.command[0]}: {error.strerror or error}") from None
        self._channel = Channel(ours)
        return self._exchange(None, (), "its start", seconds)[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """The process number, which is that of its group, too."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """The answer to whether the process still runs."""
        return self._process.poll() is None

    def ask(self, request: Mapping[str, Any], arrays: Sequence[np.ndarray] = (), *, seconds: float) -> Answer:
        """Send a request and wait for its answer.

        Args:
            request: Fields that JSON can hold; "operation" is named in messages.
            arrays: That belong to it.
            seconds: That sending and waiting may take.

        Returns:
            The fields and the arrays of the answer.

        Raises:
            RequestFailed: The answer is an error.
            ChildDied: The process is gone. Whatever goes wrong, Ctrl-C too, ends it: a late answer must not be taken
                for the next one's.
        """
        answer, results = self._exchange(dict(request), arrays, str(request.get("operation", "the call")), seconds)
        if "error" in answer:
            raise RequestFailed(answer["error"], bool(answer.get("told")))
        return answer, results

    def _exchange(
        self, request: dict[str, Any] | None, arrays: Sequence[np.ndarray], operation: str, seconds: float
    ) -> Answer:
        until, whole = time.monotonic() + seconds, False
        try:
            if request is not None:
                self._channel.send(request, arrays, until)
            answer = self._channel.receive(until)
            whole = True
            return answer
        except TimeoutError:
            how, hint = f"{operation} did not finish within {seconds:.3g} s", "it hangs, or needs a longer deadline"
            raise ChildDied(self.what, how, self._last_words(), verb="was killed", late=True, hint=hint) from None
        except OSError as error:
            raise ChildDied(self.what, self._ended() or str(error), self._last_words()) from None
        finally:
            if not whole:
                self.kill()

    def kill(self) -> None:
        """End the process and all that it started, from any thread: a call that waits for it fails."""
        self._channel.shut()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._channel.close()
        self._words.close()

    def _ended(self) -> str:
        """Return how the process ended; "" where it still runs."""
        try:
            code = self._process.wait(DYING_SECONDS)
        except subprocess.TimeoutExpired:
            return ""
        starved = code == -signal.SIGKILL and killed_for_memory() > self._starved
        return how_ended(code) + (", while memory ran out" if starved else "")

    def _last_words(self) -> str:
        try:
            fd = self._words.fileno()
            # pread: the child shares the file's position.
            text = os.pread(fd, TAIL_BYTES, max(0, os.fstat(fd).st_size - TAIL_BYTES))
        except (OSError, ValueError):  # another thread has killed it
            return ""
        return last_words(text.decode(errors="replace"))
