"""Runners and their sessions: where modules run, for the tuner, the benchmarks and the speed model alike."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from sr_tvm.errors import SrTvmError
from sr_tvm.records import elf
from sr_tvm.records.artifact import Artifact
from sr_tvm.records.measurement import Measurement
from sr_tvm.records.module import Module
from sr_tvm.records.tensor import shape_text
from sr_tvm.records.timer import DEVICE, MEDIAN, THREAD_CPU, WALL, Timer
from sr_tvm.runtimes.opencl import backend

# A bench's sample should last several ms: shorter ones are mostly the noise of the clock and the scheduler.
SAMPLE_MS = 5.0


class SessionLost(SrTvmError):
    """The session ended in the middle of a call: its process or its server crashed, or missed the deadline."""


@dataclass(frozen=True)
class Times:
    """Seconds of one call: all samples of a module, those of the reference taken in turns with them, calls a sample."""

    samples: tuple[float, ...]
    reference: tuple[float, ...] = ()
    number: int = 1


class Session(ABC):
    """A device held open over many modules and repeats. Every method raises SrTvmError where a call fails.

    Inputs are placed first, by name; modules of kind "function" find theirs there. A module is loaded when it is first
    used, and again if it has not been used for long. After :class:`SessionLost` the session is of no more use.
    """

    runner: Runner

    @abstractmethod
    def ask(
        self, operation: str, arrays: Sequence[np.ndarray] = (), *, seconds: float | None = None, **request: Any
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Have the station there answer, within ``seconds``, by default the runner's deadline."""

    @abstractmethod
    def close(self) -> None: ...

    def expires_within(self, seconds: float) -> bool:
        """Whether a call of so many seconds would outlast the session, as some servers end one after a time."""
        return False

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def info(self) -> dict[str, Any]:
        """What the device says of itself: tvm, machine, cpu; None where it can't tell."""
        return self.ask("info")[0]["info"]

    def place(self, inputs: Mapping[str, np.ndarray], like: Module, seconds: float | None = None) -> None:
        """Put inputs in place of those that were there, on the device that the module ``like`` is made for."""
        where = {"names": list(inputs), "device": like.device, "target": like.target}
        self.ask("place", list(inputs.values()), seconds=seconds, **where)

    def load(self, module: Module) -> None:
        """Check and load a module now, and not in its first use."""
        self.ask("load", module=module.to_json())

    def expect(self, module: Module, seconds: float | None = None) -> str | None:
        """Run a module and expect its outputs of all that are checked later; what is wrong with them, if anything."""
        return self.ask("expect", module=module.to_json(), seconds=seconds)[0]["problem"]

    def check(self, module: Module, seconds: float | None = None) -> str | None:
        """Run a module and compare; how its outputs are wrong, or None."""
        return self.ask("check", module=module.to_json(), seconds=seconds)[0]["problem"]

    def time(
        self, module: Module, timer: Timer, arrays: Sequence[np.ndarray] = (), reference: Module | None = None,
        cutoff: float | None = None, seconds: float | None = None,
    ) -> Times:  # fmt: skip
        """Take samples; with a ``reference``, in turns with samples of that. See :class:`Timer` for ``cutoff``."""
        against = None if reference is None else reference.to_json()
        answer, _ = self.ask(
            "time", arrays, module=module.to_json(), reference=against, timer=timer.to_json(), cutoff=cutoff,
            seconds=seconds,
        )  # fmt: skip
        of, *others = answer["samples"]
        return Times(tuple(of), tuple(others[0]) if others else (), answer["number"])

    # Artifacts

    def run(self, artifact: Artifact, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs for ``inputs``, which must have the types and shapes of ``artifact.inputs``, or any it allows."""
        values = check_inputs(artifact, inputs)
        return self.ask("run", values, module=self.runner.module(artifact).to_json())[1]

    def measure(self, artifact: Artifact, repeats: int = 20, seed: int = 0) -> Measurement:
        """Time the artifact on seeded random inputs; one sample per repeat.

        One that takes any size must be fixed to one: ``artifact.at(...)``. So also for :meth:`per_operator`.
        """
        module = self.runner.module(artifact)
        timer = Timer(self.runner.clock_on(module.device), repeats, SAMPLE_MS, MEDIAN)
        found = self.time(module, timer, random_inputs(artifact, seed))
        conditions = {
            **self.runner.conditions(self),
            "threads": self.runner.threads,
            "clock": timer.clock,
            "repeats": repeats,
            "runs_per_sample": found.number,
        }
        samples = [seconds * 1e3 for seconds in found.samples]
        return measurement(self.runner.measured_on(self), artifact, samples, conditions)

    def per_operator(self, artifact: Artifact, repeats: int = 5) -> list[dict[str, Any]]:
        """Time of each kernel as {"kernel": name, "ms": median total per inference, "calls": per inference}."""
        Timer(repeats=repeats)  # which says what is allowed
        module = self.runner.module(artifact).to_json()
        return self.ask("operators", random_inputs(artifact), module=module, repeats=repeats)[0]["rows"]


class Runner(ABC):
    """Opens sessions on one kind of device: ``capacity`` at a time, each with ``threads`` threads for kernels.

    Its own ``run``, ``measure`` and ``per_operator`` are those of a session that is opened for the one call.
    """

    name: str
    threads: int
    deadline: float
    capacity: int = 1
    unit: str = "ms"

    @property
    @abstractmethod
    def clock(self) -> str:
        """What :class:`Timer` should measure by here."""

    def clock_on(self, device: str) -> str:
        """What :class:`Timer` should measure by for modules of a kind of device."""
        return DEVICE if device == backend.KIND else self.clock

    @abstractmethod
    def open(self, hold: float = 0.0) -> Session:
        """Open a session for one call, or to be held for ``hold`` seconds. Raises SrTvmError where none can be had."""

    def measured_on(self, session: Session) -> str:
        """The name of the device that the session's last module ran on."""
        return str(session.info().get(backend.KIND) or self.name)

    def conditions(self, session: Session) -> dict[str, Any]:
        """What a measurement tells of the device and the method."""
        return {}

    def module(self, artifact: Artifact) -> Module:
        """An artifact as a module, refused where it was made for another kind of device than this runner's."""
        return module_of(artifact)

    def close(self) -> None:
        """End what runs on behalf of the runner. It can be used again."""
        return

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _opened(self) -> Iterator[Session]:
        session = self.open()
        try:
            yield session
        finally:
            session.close()

    def info(self) -> dict[str, Any]:
        with self._opened() as session:
            return session.info()

    def run(self, artifact: Artifact, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        check_inputs(artifact, inputs)
        with self._opened() as session:
            return session.run(artifact, inputs)

    def measure(self, artifact: Artifact, repeats: int = 20, seed: int = 0) -> Measurement:
        Timer(repeats=repeats)  # which says what is allowed, before anything is opened
        with self._opened() as session:
            return session.measure(artifact, repeats, seed)

    def per_operator(self, artifact: Artifact, repeats: int = 5) -> list[dict[str, Any]]:
        with self._opened() as session:
            return session.per_operator(artifact, repeats)


def default_clock(threads: int) -> str:
    """Thread CPU time for one thread, which other programs disturb least; wall time for more."""
    return THREAD_CPU if threads == 1 else WALL


class Deadline:
    """A moment in the future, of time.monotonic()."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.until = seconds, time.monotonic() + seconds

    @property
    def left(self) -> float:
        return self.until - time.monotonic()


def module_of(artifact: Artifact) -> Module:
    """An artifact as a module, made for the device of its target."""
    from sr_tvm.targets import registry

    path = artifact.library_path.resolve()
    device = registry.get(artifact.target).capabilities.device
    machine = elf.library_machine(artifact.library_path)
    return Module(artifact.library_sha256, str(path), artifact.library_sha256, machine, device, artifact.target, "vm")


def check_inputs(artifact: Artifact, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """``inputs`` as contiguous arrays.

    Raises:
        SrTvmError: their number, a shape or a type is not what the artifact was compiled for.
    """
    if len(inputs) != len(artifact.inputs):
        raise SrTvmError(f"{artifact.folder}: takes {len(artifact.inputs)} inputs, {len(inputs)} were given")
    sizes: dict[str, int] = {}
    for tensor, value in zip(artifact.inputs, inputs, strict=True):
        if not tensor.bind(value.shape, sizes) or str(value.dtype) != tensor.dtype:
            raise SrTvmError(
                f"{artifact.folder}: input {tensor.name!r} is {tensor.dtype} of shape {shape_text(tensor.shape)}; "
                f"{value.dtype} of shape {shape_text(value.shape)} was given"
            )
    return [np.ascontiguousarray(value) for value in inputs]


def random_inputs(artifact: Artifact, seed: int = 0) -> list[np.ndarray]:
    """Inputs to time with: uniform 0..1 like pictures, the same on every device.

    Raises:
        SrTvmError: the artifact takes any size and none was named.
    """
    rng = np.random.default_rng(seed)
    tensors = artifact.at({}).inputs
    return [rng.random(tensor.at({}), dtype=np.float32).astype(tensor.dtype) for tensor in tensors]


def measurement(
    device: str, artifact: Artifact, samples: Sequence[float], conditions: dict[str, Any], unit: str = "ms"
) -> Measurement:
    """The record of ``samples``, in ``unit``, of ``artifact``, at one size, on ``device``."""
    if artifact.any_size:  # a library for one size may be faster
        conditions = {**conditions, "compiled_for": "any size"}
    return Measurement(
        device=device,
        target=artifact.target,
        model=artifact.model,
        model_sha256=artifact.model_sha256,
        input_shape=artifact.inputs[0].at({}),
        samples=tuple(samples),
        conditions={**conditions, "schedule": artifact.schedule},
        architecture=artifact.architecture,
        unit=unit,
    )
