"""The bench, where candidates are built, checked and timed: the seam between the search and the devices."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sr_tvm.build.builder import Buildable, Builder, Candidate
from sr_tvm.errors import SrTvmError
from sr_tvm.records.module import Module
from sr_tvm.records.timer import Timer
from sr_tvm.runners.base import Runner, Session, SessionLost

HOLD_SECONDS = 600.0  # then a session is given up for a new one: a server must not be lost for long by one that hangs
SLOW_SECONDS = 300.0  # for the truth: an unscheduled convolution of a large picture


@dataclass(frozen=True)
class Timing:
    """What a bench found of one candidate.

    Attributes:
        seconds: Of one call; None where it failed.
        error: Why it failed, in a line; None where it did not.
        reference: Seconds of the task's default, measured in turns with it.
    """

    seconds: float | None = None
    error: str | None = None
    reference: float | None = None


class Measurable(Buildable, Protocol):
    """A task that is built, and run on inputs."""

    def inputs(self) -> dict[str, np.ndarray]:
        """Make the inputs that candidates are run on, the same ones each time.

        Returns:
            Tensors by name, of the shapes and types of the task.
        """

    @property
    def default(self) -> Candidate:
        """The candidate that nobody tuned, which others are measured against."""
        ...

    @property
    def truth(self) -> Candidate:
        """The candidate that computes the right result, however slowly."""
        ...


class Bench(Protocol):
    """Measures candidates of tasks; may be called by several threads.

    Attributes:
        clock: What times are measured by, as a :class:`~sr_tvm.records.timer.Timer` names it.
        parallel: Candidates that are measured side by side, each called from a thread.
    """

    clock: str
    parallel: int

    def open(self) -> None:
        """Have devices ready before the first candidate comes; those that can't be had are told when one is needed."""
        ...

    def measure(self, task: Measurable, candidate: Candidate, cutoff: float | None = None) -> Timing:
        """Time a candidate in turns with the task's default.

        A candidate that can't be built, crashes, hangs or computes something else has an error.

        Args:
            task: What the candidate is of.
            candidate: The candidate.
            cutoff: Seconds; one that is slower is sampled once only. None for no such limit.

        Returns:
            Its time, or its error.

        Raises:
            SrTvmError: No device is left to measure on.
        """
        ...

    def abort(self) -> None:
        """End what is being measured: the calls in other threads return soon."""

    def close(self) -> None:
        """Give devices and builders back."""


class DeviceBench:
    """A :class:`Bench` of a builder here and a runner's sessions, one a device, held open over all candidates.

    A session that is lost is opened again for the next candidate; a device that can't be had any more is given up, and
    its candidate measured on another.
    """

    def __init__(self, builder: Builder, runner: Runner, parallel: int | None = None) -> None:
        self.builder, self.runner = builder, runner
        self.parallel = max(1, runner.capacity if parallel is None else min(parallel, runner.capacity))
        self.clock = runner.clock
        self.timer = Timer.for_tuning(runner.clock)
        self.sessions_opened = 0
        self.problem: SrTvmError | None = None  # why a device was given up
        self._lock = threading.Lock()
        self._seats = [_Seat(self) for _ in range(self.parallel)]
        self._free: queue.LifoQueue[_Seat | None] = queue.LifoQueue()
        for seat in self._seats:
            self._free.put(seat)

    def __enter__(self) -> DeviceBench:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Open the sessions of all devices side by side; one that can't be had is told when it is needed."""

        def ready(seat: _Seat) -> None:
            with contextlib.suppress(SrTvmError):
                seat.open()

        with ThreadPoolExecutor(self.parallel, "open") as pool:
            list(pool.map(ready, self._seats))

    def measure(self, task: Measurable, candidate: Candidate, cutoff: float | None = None) -> Timing:
        """Build a candidate, check it against the task's truth and time it in turns with the task's default.

        Args:
            task: What the candidate is of.
            candidate: The candidate.
            cutoff: Seconds; one that is slower is sampled once only. None for no such limit.

        Returns:
            Its time, or its error: it can't be built, crashes, hangs or computes something else.

        Raises:
            SrTvmError: No device is left to measure on; the message says why the last was given up.
        """
        try:
            wanted = (candidate, task.default, task.truth)
            module, reference, truth = (self.builder.build(task, what) for what in wanted)
        except SrTvmError as error:
            return Timing(error=str(error))
        while (seat := self._free.get()) is not None:
            try:
                problem = seat.prepare(task, truth)
            except SrTvmError as error:
                self._give_up(seat, error)
                continue
            try:
                return Timing(error=problem) if problem else seat.measure(module, reference, cutoff)
            finally:
                self._free.put(seat)
        self._free.put(None)  # for the others that wait
        raise SrTvmError(f"no device is left to measure on: {self.problem}")

    def _give_up(self, seat: _Seat, error: SrTvmError) -> None:
        seat.close()  # nothing else does from now on, and a server would stay taken
        with self._lock:
            self._seats.remove(seat)
            self.problem = error
            if not self._seats:
                self._free.put(None)

    def opened(self) -> Session:
        """Open a session that is counted in ``sessions_opened``.

        Returns:
            The session, to be held for ten minutes.

        Raises:
            SrTvmError: None can be had.
        """
        session = self.runner.open(HOLD_SECONDS)
        with self._lock:
            self.sessions_opened += 1
        return session

    def abort(self) -> None:
        """End the sessions at once, so that calls in other threads return."""
        for seat in self._seats:
            seat.kill()

    def close(self) -> None:
        """Close all sessions, the runner and the builder."""
        for seat in self._seats:
            seat.close()
        self.runner.close()
        self.builder.close()


class _Seat:
    """One session at a time, and the task that it was prepared for."""

    def __init__(self, bench: DeviceBench) -> None:
        self.bench = bench
        self.session: Session | None = None
        self.task: str | None = None

    def open(self) -> Session:
        """Return a session that lasts for a while.

        Raises:
            SrTvmError: None can be had.
        """
        if self.session is not None and self.session.expires_within(SLOW_SECONDS):
            self.close()
        if self.session is None:
            self.session, self.task = self.bench.opened(), None
        return self.session

    def prepare(self, task: Measurable, truth: Module) -> str | None:
        """Return what is wrong with the right result, if anything; a session has the task's inputs and it then.

        Raises:
            SrTvmError: No session can be had.
            SessionLost: It is lost over the task.
        """
        session = self.open()
        if self.task == task.key:
            return None
        try:
            session.place(task.inputs(), truth)
            problem = session.expect(truth, seconds=SLOW_SECONDS)
        except SessionLost:
            self.session = None
            raise
        self.task = None if problem else task.key
        return problem

    def measure(self, module: Module, reference: Module, cutoff: float | None) -> Timing:
        assert self.session is not None
        timer = self.bench.timer
        try:
            problem = self.session.check(module)
            if problem:
                return Timing(error=problem)
            against = None if module == reference else reference
            times = self.session.time(module, timer, reference=against, cutoff=cutoff)
        except SessionLost as error:
            self.session = None
            return Timing(error=f"session lost: {error}")
        except SrTvmError as error:
            return Timing(error=str(error))
        seconds = timer.typical(times.samples)
        return Timing(seconds, reference=timer.typical(times.reference) if times.reference else seconds)

    def kill(self) -> None:
        kill: Callable[[], Any] | None = getattr(self.session, "kill", None)
        if kill is not None:
            kill()

    def close(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.close()


def side_by_side(
    bench: Bench, measures: Sequence[Callable[[], Timing]], again: Callable[[Timing], bool]
) -> Iterator[tuple[int, list[Timing]]]:
    """Measure all of a generation, as many at once as the bench can, and some of them a second time.

    Stop taking results, or interrupt, and what is under way is ended.

    Args:
        bench: Whose ``parallel`` says how many at once; it is told to abort what is under way.
        measures: Each measures one candidate.
        again: Whether the first timing of a candidate calls for a second.

    Yields:
        The index of a candidate and its one or two timings, as they are complete.
    """
    if bench.parallel == 1:
        for i, measure in enumerate(measures):
            timing = measure()
            yield i, [timing, measure()] if again(timing) else [timing]
        return
    pool = ThreadPoolExecutor(bench.parallel, "measure")
    waiting: dict[Future[Timing], tuple[int, list[Timing]]] = {
        pool.submit(measure): (i, []) for i, measure in enumerate(measures)
    }
    try:
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                i, before = waiting.pop(future)
                found = [*before, future.result()]
                if len(found) == 1 and again(found[0]):
                    waiting[pool.submit(measures[i])] = i, found
                else:
                    yield i, found
    finally:
        if waiting:
            for future in waiting:
                future.cancel()
            bench.abort()
        pool.shutdown()
