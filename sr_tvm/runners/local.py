"""This machine, in this process: its CPU, and its OpenCL device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from typing_extensions import override

from sr_tvm.errors import SrTvmError, one_line
from sr_tvm.records import elf
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.module import Module
from sr_tvm.runners import threads
from sr_tvm.runners.base import Runner, Session, default_clock, module_of
from sr_tvm.runners.buffers import check_buffers
from sr_tvm.runners.place import LocalPlace
from sr_tvm.runners.station import Station
from sr_tvm.runtimes.opencl import backend
from sr_tvm.system import machine
from sr_tvm.targets import registry

# What TVM raises when a library can't be loaded or run.
FAILURES = (RuntimeError, ValueError, AttributeError, tvm.error.InternalError)


class LocalRunner(Runner):
    """Runs artifacts here, on the CPU or the OpenCL device, in one session for the life of the runner.

    With one thread it measures thread CPU time, which other programs disturb far less than wall time; with more
    threads, wall time; on an OpenCL device the time of its kernels by its own clock.

    Raises:
        SrTvmError: from any method, when the artifact was made for another kind of machine.
    """

    deadline = float("inf")  # a call in this process can't be ended

    def __init__(self, threads: int = 1) -> None:
        if not 1 <= threads <= machine.cores():
            raise SrTvmError(f"threads is {threads}; 1 to {machine.cores()} is possible on this machine")
        self.threads = threads
        self.name = machine.cpu_name()
        self._session = LocalSession(self)

    @property
    @override
    def clock(self) -> str:
        return default_clock(self.threads)

    @override
    def open(self, hold: float = 0.0) -> LocalSession:
        return self._session

    def load(self, artifact: Artifact) -> None:
        """Check and load an artifact now, and not in its first run; it stays loaded until another one is used.

        Args:
            artifact: An artifact for this machine.

        Raises:
            SrTvmError: It was made for another kind of machine, or its library can't be loaded.
        """
        self._session.load(self.module(artifact))

    @override
    def conditions(self, session: Session) -> dict[str, Any]:
        governor = machine.governor()
        return {"cpu": self.name, "method": "in process", **({"governor": governor} if governor else {})}

    @override
    def module(self, artifact: Artifact) -> Module:
        key = (str(artifact.library_path), artifact.library_sha256)
        if self._session.checked is None or self._session.checked[0] != key:
            self._session.checked = key, check_runs_here(artifact)
        return self._session.checked[1]


class LocalSession(Session):
    """The station of this process, in a thread with TVM's pool of so many threads."""

    def __init__(self, runner: LocalRunner) -> None:
        self.runner = runner
        self.place_here = LocalPlace(runner.threads)
        self.station = Station(self.place_here)
        # The last artifact that was found to run here: tiles of a picture go through it one after another.
        self.checked: tuple[tuple[str, str], Module] | None = None

    @override
    def ask(
        self, operation: str, arrays: Sequence[np.ndarray] = (), *, seconds: float | None = None, **request: Any
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        # One module at a time: those before it may hold gigabytes.
        request |= {"operation": operation, "keep": 1}
        return self._do(lambda: self.station.answer(request, list(arrays)), request)

    @override
    def close(self) -> None:
        """Keep what is loaded: the session is the runner's."""

    def _do(self, work: Callable[[], Any], request: dict[str, Any]) -> Any:
        self.place_here.stopped = False
        try:
            return threads.run_with_threads(self.runner.threads, work)
        except KeyboardInterrupt:
            self.place_here.stopped = True  # else Python would wait at its exit until all repeats are done
            raise
        except FAILURES as error:
            raise SrTvmError(f"running the artifact failed: {one_line(error)}") from error


def check_runs_here(artifact: Artifact) -> Module:
    """Refuse an artifact that this machine can't run, which could end the process with an illegal instruction.

    Args:
        artifact: The artifact that is to run here.

    Returns:
        The artifact as a module.

    Raises:
        SrTvmError: It is for another kind of device, another architecture, or needs CPU features that are absent here.
    """
    elf.check_machine(artifact, machine.machine(), "this machine")
    module = module_of(artifact)
    why = registry.get(artifact.target).why_not_here(artifact.tvm_target)
    if why is not None:
        raise SrTvmError(f"{artifact.folder}: {why}")
    if module.device == backend.KIND:
        check_buffers(artifact, backend.find().devices[0])
    return module
