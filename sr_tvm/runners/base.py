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
    """Seconds of one call of a module, as a session measured them.

    Attributes:
        samples: Of the module, in order; each the mean seconds of one call.
        reference: Of the reference, taken in turns with them; empty where there was none.
        number: Calls that one sample is the mean of.
    """

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
        """Have the station at the device answer one request; every other method of a session goes through this one.

        Args:
            operation: What is asked, such as "info", "load" or "time"; see :class:`~sr_tvm.runners.station.Station`.
            arrays: Tensors that belong to the request, in the order that the operation expects.
            seconds: Deadline of the call in seconds; None for the runner's own.
            **request: Further fields of the request, of values that JSON can hold.

        Returns:
            The fields of the answer, and the tensors that came with it.
        """

    @abstractmethod
    def close(self) -> None:
        """Give the device back; the session can't be used afterwards."""

    def expires_within(self, seconds: float) -> bool:
        """Tell whether a call would outlast the session, as some servers end one after a time.

        Args:
            seconds: How long the call may take, in seconds from now.

        Returns:
            True where another session should be opened first.
        """
        return False

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def info(self) -> dict[str, Any]:
        """Ask what the device says of itself.

        Returns:
            "tvm", "machine" and "cpu", each None or absent where it can't tell; "opencl" is an OpenCL device's name.
        """
        return self.ask("info")[0]["info"]

    def place(self, inputs: Mapping[str, np.ndarray], like: Module, seconds: float | None = None) -> None:
        """Put inputs on the device, in place of those that were there.

        Args:
            inputs: The tensors by the names under which modules of kind "function" take them.
            like: A module; the inputs come to the kind of device that it is made for.
            seconds: Deadline of the call in seconds; None for the runner's own.
        """
        where = {"names": list(inputs), "device": like.device, "target": like.target}
        self.ask("place", list(inputs.values()), seconds=seconds, **where)

    def load(self, module: Module) -> None:
        """Check and load a module now, and not in its first use.

        Args:
            module: The module, with its library on this machine.
        """
        self.ask("load", module=module.to_json())

    def expect(self, module: Module, seconds: float | None = None) -> str | None:
        """Run a module and remember its outputs: all modules that are checked later must compute the same.

        Args:
            module: The one that is taken to be right.
            seconds: Deadline of the call in seconds; None for the runner's own.

        Returns:
            What is wrong with the outputs, such as values that are not finite; None where they are in order.
        """
        return self.ask("expect", module=module.to_json(), seconds=seconds)[0]["problem"]

    def check(self, module: Module, seconds: float | None = None) -> str | None:
        """Run a module and compare its outputs with those that :meth:`expect` remembered.

        Args:
            module: The module to judge.
            seconds: Deadline of the call in seconds; None for the runner's own.

        Returns:
            How its outputs are wrong, in a line; None where they are right.
        """
        return self.ask("check", module=module.to_json(), seconds=seconds)[0]["problem"]

    def time(
        self, module: Module, timer: Timer, arrays: Sequence[np.ndarray] = (), reference: Module | None = None,
        cutoff: float | None = None, seconds: float | None = None,
    ) -> Times:  # fmt: skip
        """Take samples of the time of a module's calls.

        Args:
            module: The module to time, on the inputs that were placed.
            timer: The clock, and how many samples of what length are taken.
            arrays: Inputs of a module of kind "vm", in its order; others take those that were placed.
            reference: A module that is sampled in turns with the first, so that disturbances hit both.
            cutoff: Seconds; once a call of the module takes longer, one sample is enough. None for no such limit.
            seconds: Deadline of the call in seconds; None for the runner's own.

        Returns:
            The samples in seconds.
        """
        against = None if reference is None else reference.to_json()
        answer, _ = self.ask(
            "time", arrays, module=module.to_json(), reference=against, timer=timer.to_json(), cutoff=cutoff,
            seconds=seconds,
        )  # fmt: skip
        of, *others = answer["samples"]
        return Times(tuple(of), tuple(others[0]) if others else (), answer["number"])

    # Artifacts

    def run(self, artifact: Artifact, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run an artifact once.

        Args:
            artifact: What :func:`sr_tvm.compile` built.
            inputs: In the artifact's order, of the types and shapes of ``artifact.inputs``, or any that it allows.

        Returns:
            The outputs in the artifact's order.

        Raises:
            SrTvmError: The inputs don't fit the artifact, or the run failed.
        """
        values = check_inputs(artifact, inputs)
        return self.ask("run", values, module=self.runner.module(artifact).to_json())[1]

    def measure(self, artifact: Artifact, repeats: int = 20, seed: int = 0) -> Measurement:
        """Time the artifact on seeded random inputs.

        One that takes any size must be fixed to one: ``artifact.at(...)``. So also for :meth:`per_operator`.

        Args:
            artifact: The artifact, at one size.
            repeats: Samples to take; each repeats a short run until several milliseconds are over.
            seed: Of the random inputs.

        Returns:
            The samples in the runner's unit, milliseconds where it has no other, with the conditions they were taken
            under.

        Raises:
            SrTvmError: ``repeats`` is out of range, no size was named, or the run failed.
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
        """Time each kernel of an artifact on seeded random inputs.

        Args:
            artifact: The artifact, at one size.
            repeats: Inferences to time.

        Returns:
            Rows {"kernel": name, "ms": median total per inference, "calls": calls per inference}.

        Raises:
            SrTvmError: ``repeats`` is out of range, or the device can't time single kernels.
        """
        Timer(repeats=repeats)  # which says what is allowed
        module = self.runner.module(artifact).to_json()
        return self.ask("operators", random_inputs(artifact), module=module, repeats=repeats)[0]["rows"]


class Runner(ABC):
    """Opens sessions on one kind of device: ``capacity`` at a time, each with ``threads`` threads for kernels.

    Its own ``run``, ``measure`` and ``per_operator`` are those of a session that is opened for the one call.

    Attributes:
        name: Of the device, for people.
        threads: That kernels use.
        deadline: Seconds that one call may take.
        capacity: Sessions that can be open side by side.
        unit: Of the samples of :meth:`measure`, such as "ms".
    """

    name: str
    threads: int
    deadline: float
    capacity: int = 1
    unit: str = "ms"

    @property
    @abstractmethod
    def clock(self) -> str:
        """The clock that a :class:`Timer` should measure by here, such as "thread-cpu" or "wall"."""

    def clock_on(self, device: str) -> str:
        """Name the clock that a :class:`Timer` should measure by for modules of a kind of device.

        Args:
            device: TVM's name of the kind, such as "cpu" or "opencl".

        Returns:
            The clock: the device's own for OpenCL, else that of :attr:`clock`.
        """
        return DEVICE if device == backend.KIND else self.clock

    @abstractmethod
    def open(self, hold: float = 0.0) -> Session:
        """Open a session for one call, or to be held for a time.

        Args:
            hold: Seconds that the session will be needed; a server may end it afterwards.

        Returns:
            The session; close it, or use it in a ``with`` block.

        Raises:
            SrTvmError: None can be had.
        """

    def measured_on(self, session: Session) -> str:
        """Name the device that the last module of a session ran on.

        Args:
            session: A session of this runner.

        Returns:
            The OpenCL device's name, or the runner's own.
        """
        return str(session.info().get(backend.KIND) or self.name)

    def conditions(self, session: Session) -> dict[str, Any]:
        """Collect what a measurement should tell of the device and of the method.

        Args:
            session: The session that measured.

        Returns:
            Words and numbers by name, such as "cpu", "governor" or "method".
        """
        return {}

    def module(self, artifact: Artifact) -> Module:
        """Make a module of an artifact.

        Args:
            artifact: The artifact that is to run.

        Returns:
            The module, of kind "vm".

        Raises:
            SrTvmError: The artifact was made for another kind of device than this runner's.
        """
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
        """Ask the device what it says of itself, in a session of its own.

        Returns:
            As of :meth:`Session.info`.
        """
        with self._opened() as session:
            return session.info()

    def run(self, artifact: Artifact, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run an artifact once, in a session of its own.

        Args:
            artifact: What :func:`sr_tvm.compile` built.
            inputs: In the artifact's order, of the types and shapes of ``artifact.inputs``, or any that it allows.

        Returns:
            The outputs in the artifact's order.

        Raises:
            SrTvmError: The inputs don't fit, no session can be had, or the run failed.
        """
        check_inputs(artifact, inputs)
        with self._opened() as session:
            return session.run(artifact, inputs)

    def measure(self, artifact: Artifact, repeats: int = 20, seed: int = 0) -> Measurement:
        """Time an artifact at one size on seeded random inputs, in a session of its own.

        Args:
            artifact: The artifact; one that takes any size must be fixed to one by ``artifact.at(...)``.
            repeats: Samples to take.
            seed: Of the random inputs.

        Returns:
            The samples in the runner's unit, milliseconds where it has no other, with the conditions they were taken
            under.

        Raises:
            SrTvmError: ``repeats`` is out of range, no session can be had, or the run failed.
        """
        Timer(repeats=repeats)  # which says what is allowed, before anything is opened
        with self._opened() as session:
            return session.measure(artifact, repeats, seed)

    def per_operator(self, artifact: Artifact, repeats: int = 5) -> list[dict[str, Any]]:
        """Time each kernel of an artifact at one size, in a session of its own.

        Args:
            artifact: The artifact; one that takes any size must be fixed to one by ``artifact.at(...)``.
            repeats: Inferences to time.

        Returns:
            Rows {"kernel": name, "ms": median total per inference, "calls": calls per inference}.

        Raises:
            SrTvmError: ``repeats`` is out of range, no session can be had, or single kernels can't be timed there.
        """
        with self._opened() as session:
            return session.per_operator(artifact, repeats)


def default_clock(threads: int) -> str:
    """Choose the clock of a CPU: thread CPU time, which other programs disturb least, or wall time for several threads.

    Args:
        threads: That kernels use.

    Returns:
        "thread-cpu" or "wall".
    """
    return THREAD_CPU if threads == 1 else WALL


class Deadline:
    """A moment in the future, of time.monotonic()."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.until = seconds, time.monotonic() + seconds

    @property
    def left(self) -> float:
        """The seconds that are left, below 0 once the moment is over."""
        return self.until - time.monotonic()


def module_of(artifact: Artifact) -> Module:
    """Make a module of an artifact, for the device of its target.

    Args:
        artifact: The artifact that is to run, with its library on this machine.

    Returns:
        The module, of kind "vm", whose key is its library's SHA-256.

    Raises:
        SrTvmError: The target is unknown, or the library is none.
    """
    from sr_tvm.targets import registry

    path = artifact.library_path.resolve()
    device = registry.get(artifact.target).capabilities.device
    machine = elf.library_machine(artifact.library_path)
    return Module(artifact.library_sha256, str(path), artifact.library_sha256, machine, device, artifact.target, "vm")


def check_inputs(artifact: Artifact, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Check inputs against an artifact and make them contiguous.

    Args:
        artifact: Whose ``inputs`` tell the allowed types and shapes.
        inputs: The tensors, in the artifact's order.

    Returns:
        The same tensors as contiguous arrays.

    Raises:
        SrTvmError: Their number, a shape or a type is not what the artifact was compiled for.
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
    """Draw inputs to time with: uniform in 0..1 like pictures, the same on every device.

    Args:
        artifact: The artifact, at one size.
        seed: Of the random numbers.

    Returns:
        A tensor for each input, of its shape and type.

    Raises:
        SrTvmError: The artifact takes any size and none was named.
    """
    rng = np.random.default_rng(seed)
    tensors = artifact.at({}).inputs
    return [rng.random(tensor.at({}), dtype=np.float32).astype(tensor.dtype) for tensor in tensors]


def measurement(
    device: str, artifact: Artifact, samples: Sequence[float], conditions: dict[str, Any], unit: str = "ms"
) -> Measurement:
    """Make the record of samples that were taken of an artifact at one size.

    Args:
        device: The name of what it ran on.
        artifact: What was measured.
        samples: One or more, in ``unit``.
        conditions: What else is to be told of the device and the method; the schedule is added.
        unit: Of the samples, such as "ms" or "packets".

    Returns:
        The measurement.
    """
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
