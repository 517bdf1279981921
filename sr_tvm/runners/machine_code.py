"""Machine-code counts in place of a phone: kernels are compiled for a named GPU, and their time is estimated."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.isa import gpus, system
from sr_tvm.isa.count import Count, count_sources
from sr_tvm.isa.device_code import DeviceCode, KernelSource, load_programs, programs_of
from sr_tvm.isa.network import NetworkCount, count_network
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.measurement import ESTIMATED_MS, Measurement
from sr_tvm.records.module import Module
from sr_tvm.records.timer import ESTIMATE, Timer
from sr_tvm.runners.base import Runner, Session, Times, measurement

CAPACITY = 8  # sessions side by side: what they ask for while the compiler runs is compiled together afterwards

INTERRUPTED = "the session that had the compiler was interrupted; try again"


class MachineCodeRunner(Runner):
    """Estimates the time of OpenCL kernels on ``gpu``, say "adreno-660", by their machine code (see sr_tvm.isa).

    Nothing is run and no output is checked. Instructions, with their waiting as far as the compiler writes it, are
    issued at the published rate, and memory is read and written at the published bandwidth: caches, latency, clocks
    and heat are not known. It tells which of two kernels is likelier to be faster.

    Raises:
        SrTvmError: an unknown GPU, one without published rates, or the compilers are not there.
    """

    deadline, threads, capacity, unit = float("inf"), 1, CAPACITY, ESTIMATED_MS

    def __init__(self, gpu: str) -> None:
        chosen = gpus.get(gpu)
        if chosen.rate("slots_per_second") is None or chosen.rate("bytes_per_second") is None:
            known = [n for n in gpus.names() if gpus.get(n).rate("slots_per_second")]
            raise SrTvmError(f"no rates of {gpu} are published, so nothing can be estimated; there are {known}")
        if (missing := system.missing()) is not None:
            raise SrTvmError(missing)
        self.gpu, self.name = gpu, f"{gpu} (estimated by machine code)"
        self._waiting: queue.SimpleQueue[tuple[KernelSource, Future[Count]]] = queue.SimpleQueue()
        self._compiler = threading.Lock()

    @property
    @override
    def clock(self) -> str:
        return ESTIMATE

    @override
    def clock_on(self, device: str) -> str:
        return ESTIMATE

    @override
    def open(self, hold: float = 0.0) -> Session:
        return _Estimates(self)

    def measure(self, artifact: Artifact, repeats: int = 20, seed: int = 0) -> Measurement:
        """Estimate the time of an artifact's kernels by their machine code; nothing runs.

        Args:
            artifact: An artifact that carries OpenCL kernels, at one size.
            repeats: Has no effect: counts are always the same, so there is one sample.
            seed: Has no effect: no inputs are needed.

        Returns:
            One sample in estimated milliseconds.

        Raises:
            SrTvmError: It has no OpenCL, a kernel does not build, or its counts can't be trusted.
        """
        counted = self._counted(artifact)
        conditions = {
            "method": f"static counts of Mesa {counted.mesa}'s machine code, not the vendor's: nothing ran",
            "threads": self.threads,
            "clock": self.clock,
            "repeats": 1,
            "runs_per_sample": 1,
        }
        return measurement(self.name, artifact, [counted.estimated_ms or 0.0], conditions, self.unit)

    @override
    def per_operator(self, artifact: Artifact, repeats: int = 5) -> list[dict[str, Any]]:
        counted = self._counted(artifact)
        return [
            {"kernel": c.name, "calls": counted.calls[c.name], "ms": counted.calls[c.name] * (c.estimated_ms or 0.0)}
            for c in counted.counts
        ]

    def _counted(self, artifact: Artifact) -> NetworkCount:
        counted = count_network(DeviceCode.load(artifact.folder), self.gpu)
        for name, problem in counted.problems.items():
            raise SrTvmError(f"{artifact.folder}: {name}: {problem}")
        return counted

    def seconds(self, module: Module) -> float:
        """Estimate one run of a module; what other sessions ask for meanwhile is compiled together.

        Args:
            module: A module whose library carries OpenCL kernels.

        Returns:
            Estimated seconds, those of scratch memory included where registers spill.

        Raises:
            SrTvmError: It has no OpenCL, a kernel does not build, or its counts can't be trusted.
        """
        asked = [(program, Future[Count]()) for program in load_programs(programs_of(module.library))]
        for pair in asked:
            self._waiting.put(pair)
        with self._compiler:
            self._compile()
        counts = [future.result() for _, future in asked]
        problems = [f"{count.name}: {count.problem}" for count in counts if count.problem]
        if problems:
            raise SrTvmError(problems[0])
        # What spills must not win by a few issue slots: its scratch memory is no floor, but it is no gain either.
        return sum((count.estimated_ms or 0.0) + count.scratch_ms for count in counts) / 1e3

    def _compile(self) -> None:
        """Count all that is waiting, of whatever session: starting the compiler takes longer than most kernels."""
        taken: list[tuple[KernelSource, Future[Count]]] = []
        try:
            while not self._waiting.empty():
                taken.append(self._waiting.get())
            if taken:
                self._count(taken)
        except BaseException as error:  # other sessions wait for what this one has taken
            for _, future in taken:
                if not future.done():
                    future.set_exception(error if isinstance(error, Exception) else SrTvmError(INTERRUPTED))
            raise

    def _count(self, taken: Sequence[tuple[KernelSource, Future[Count]]]) -> None:
        try:
            made = count_sources([(program.text, [program.launch]) for program, _ in taken], self.gpu)
        except SrTvmError:
            self._one_by_one(taken)
            return
        for (_, future), (count,) in zip(taken, made, strict=True):
            future.set_result(count)

    def _one_by_one(self, taken: Sequence[tuple[KernelSource, Future[Count]]]) -> None:
        """Tell each whether it is the one that does not build."""
        for program, future in taken:
            try:
                ((count,),) = count_sources([(program.text, [program.launch])], self.gpu)
            except SrTvmError as error:
                future.set_exception(error)
            else:
                future.set_result(count)


class _Estimates(Session):
    """A session without a device."""

    runner: MachineCodeRunner

    def __init__(self, runner: MachineCodeRunner) -> None:
        self.runner = runner

    def ask(
        self, operation: str, arrays: Sequence[np.ndarray] = (), *, seconds: float | None = None, **request: Any
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        if operation in ("place", "load", "expect", "check"):
            return {"problem": None}, []
        if operation == "info":
            return {"info": {"cpu": self.runner.name}}, []
        raise SrTvmError(f"{self.runner.name}: kernels are compiled and counted there, not run")

    def time(
        self, module: Module, timer: Timer, arrays: Sequence[np.ndarray] = (), reference: Module | None = None,
        cutoff: float | None = None, seconds: float | None = None,
    ) -> Times:  # fmt: skip
        told = tuple(self.runner.seconds(m) for m in (module, reference) if m is not None)
        return Times(told[:1], told[1:])

    def close(self) -> None:
        return
