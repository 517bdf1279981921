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
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.system.channel import Answer, Channel

START_SECONDS = 120.0  # importing TVM on a busy machine
STARTS = 3  # processes in a row that don't even start
# How long a child that closed its connection may take to end, and how much of its last words is looked at.
DYING_SECONDS, TAIL_BYTES = 3.0, 65536
# Where the kernel counts the processes that it killed for want of memory: those of our cgroup, or of the machine.
OOM_COUNTS = ("/sys/fs/cgroup/memory.events", "/proc/vmstat")


class ChildDied(SrTvmError):
    """A child process ended that should not have; the message says of which, how, and its last line.

    Attributes:
        what: the process, in words, such as "the RPC client".
        how: "signal SIGSEGV", "exit code 1", or what was not done at its deadline.
        words: the last line that it wrote; "" where there is none.
        late: whether it was killed at a deadline.
    """

    def __init__(
        self, what: str, how: str, words: str = "", *, verb: str = "crashed", late: bool = False, hint: str = ""
    ) -> None:
        self.what, self.how, self.words, self.late = what, how, words, late
        super().__init__(f"{what} {verb}: {how}" + (f": {words}" if words else "") + (f"; {hint}" if hint else ""))


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
        what: the process in words, for messages: "the RPC client".
        environment: set besides ours.
        arguments: of the module, after those that the channel needs.
        command: what runs instead of ``python -m MODULE``, such as a file and another environment's Python.
        seconds: to get ready, in each of so many ``starts``.
    Raises:
        ChildDied: it does not start; the message has its last words.
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
        self._killed_for_memory = _killed_for_memory()
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
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, request: Mapping[str, Any], arrays: Sequence[np.ndarray] = (), *, seconds: float) -> Answer:
        """Send a request and wait for its answer, at most so many seconds.

        Raises:
            RequestFailed: the answer is an error.
            ChildDied: the process is gone. Whatever goes wrong, Ctrl-C too, ends it: a late answer must not be taken
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
        """How the process ended; "" where it still runs."""
        try:
            code = self._process.wait(DYING_SECONDS)
        except subprocess.TimeoutExpired:
            return ""
        starved = code == -signal.SIGKILL and _killed_for_memory() > self._killed_for_memory
        return how_ended(code) + (", while memory ran out" if starved else "")

    def _last_words(self) -> str:
        try:
            fd = self._words.fileno()
            # pread: the child shares the file's position.
            text = os.pread(fd, TAIL_BYTES, max(0, os.fstat(fd).st_size - TAIL_BYTES))
        except (OSError, ValueError):  # another thread has killed it
            return ""
        return last_words(text.decode(errors="replace"))


def how_ended(code: int) -> str:
    """Say how a process ended by its return code, as subprocess gives it: "signal SIGSEGV", "exit code 1"."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def last_words(text: str) -> str:
    """The line of what a process wrote that says why it ended.

    After a crash faulthandler lists frames and modules: what was said before that tells more, else where it was.
    """
    before, _, dump = text.partition("Fatal Python error")
    frames = (dump.partition("Current thread")[2] or dump).splitlines()
    return one_line(before) or next((line.strip() for line in frames if line.startswith("  File ")), "")


def _killed_for_memory() -> int:
    """How many processes the kernel has killed so far for want of memory; 0 where it does not tell."""
    for path in OOM_COUNTS:
        with contextlib.suppress(OSError, ValueError):
            for line in Path(path).read_text(encoding="utf-8").splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
    return 0
