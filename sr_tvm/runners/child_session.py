"""Sessions whose calls are made by a child process, each with a deadline; and the runners that open them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.module import Module
from sr_tvm.runners.base import Runner, Session, SessionLost, default_clock
from sr_tvm.runtimes.opencl import backend, build
from sr_tvm.system import machine
from sr_tvm.system.child import Child, RequestFailed
from sr_tvm.system.death import ChildDied

MODULE = "sr_tvm.runners.worker"


class ChildRunner(Runner):
    """Runs modules on this machine's CPU in a child process: one that crashes or hangs ends that process alone."""

    what = "the process that runs modules"
    leases = False  # whether sessions end by themselves

    def __init__(self, threads: int = 1, deadline: float = 30.0) -> None:
        if threads < 1:
            raise SrTvmError(f"threads is {threads}; 1 or more is allowed")
        if not deadline > 0:
            raise SrTvmError(f"deadline is {deadline}; seconds above 0 are allowed")
        self.name, self.threads, self.deadline = machine.cpu_name(), threads, float(deadline)
        self.opened = 0  # sessions so far
        self._idle: list[Child] = []

    @property
    @override
    def clock(self) -> str:
        return default_clock(self.threads)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that its child processes have in their environment besides ours."""
        count = str(self.threads)
        # Bound to cores, two of them would share core 0 (docs/devices.md).
        return {"TVM_NUM_THREADS": count, "OMP_NUM_THREADS": count, "TVM_BIND_THREADS": "0"}

    @property
    def where(self) -> str:
        """The words that begin a message about a call that went wrong; "" for this machine."""
        return ""

    def place(self, lease: float) -> dict[str, Any]:
        """Describe where the child process is to work, for the request "open".

        Args:
            lease: Seconds after which a server may end its session.

        Returns:
            "tracker", None for this machine, and "threads"; of a server "key" and "lease" too.
        """
        return {"tracker": None, "threads": self.threads}

    @override
    def module(self, artifact: Artifact) -> Module:
        module = super().module(artifact)
        if module.device == backend.KIND and not self.where:
            build.build()  # its seconds belong to no call's deadline
        return module

    def wait_until_free(self) -> None:
        """Wait until a session may be opened; here that is at once.

        A runner of servers raises SrTvmError where none becomes free in time.
        """
        return

    @override
    def open(self, hold: float = 0.0) -> ChildSession:
        self.wait_until_free()
        lease = max(hold, self.deadline)
        session = self.session(self._child(), lease if self.leases else math.inf)
        try:
            session.ask("open", place=self.place(lease))
        except BaseException:
            session.kill()
            raise
        self.opened += 1
        return session

    def session(self, child: Child, lease: float) -> ChildSession:
        """Make the session object of a child process.

        Args:
            child: The process, started and idle.
            lease: Seconds after which the session ends by itself; infinite where it does not.

        Returns:
            The session.
        """
        return ChildSession(self, child, lease)

    def _child(self) -> Child:
        while self._idle:
            child = self._idle.pop()
            if child.alive:
                return child
            child.kill()
        return Child(MODULE, self.what, self.environment)

    def done_with(self, child: Child) -> None:
        """Take back a child process that is in order, for the next session.

        Args:
            child: The process, which holds nothing any more.
        """
        self._idle.append(child)

    @override
    def close(self) -> None:
        while self._idle:
            self._idle.pop().kill()

    def __del__(self) -> None:
        if getattr(self, "_idle", None):
            self.close()


class ChildSession(Session):
    """A session held by a child process. Closed, the process waits for the runner's next one."""

    runner: ChildRunner

    def __init__(self, runner: ChildRunner, child: Child, lease: float) -> None:
        self.runner, self.child = runner, child
        self.until = time.monotonic() + lease

    @override
    def ask(
        self, operation: str, arrays: Sequence[np.ndarray] = (), *, seconds: float | None = None, **request: Any
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        deadline = seconds or self.runner.deadline
        where = f"{self.runner.where}: " if self.runner.where else ""
        request |= {"operation": operation, "deadline": deadline, "seconds": deadline}
        try:
            return self.child.ask(request, arrays, seconds=deadline)
        except ChildDied as error:
            raise SessionLost(f"{where}{error}") from None
        except RequestFailed as error:
            # What TVM raised may have come from a broken connection: no more calls on it.
            if not error.told and where:
                self.child.kill()
                raise SessionLost(f"{where}{error}") from None
            raise

    @override
    def close(self) -> None:
        if not self.child.alive:
            self.child.kill()
            return
        try:
            self.ask("close")
        except SrTvmError:
            self.child.kill()
            return
        self.runner.done_with(self.child)

    @override
    def expires_within(self, seconds: float) -> bool:
        return time.monotonic() + seconds > self.until

    def kill(self) -> None:
        """End the child process at once, from any thread: a call that waits for it fails."""
        self.child.kill()
