"""How calls are timed: one record for the tuner, the benchmarks and the speed model, and the loop that follows it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from sr_tvm.errors import SrTvmError

# DEVICE: what a GPU's own clock says of its kernels, summed; gaps between them, and the host's work, don't count.
# ESTIMATE: nothing ran; see sr_tvm.runners.machine_code.
# PACKETS: instruction packets that a simulator counts; what is called a second then is a thousand of them.
THREAD_CPU, WALL, DEVICE, ESTIMATE, PACKETS = "thread-cpu", "wall", "device", "estimate", "packets"
CLOCKS = (THREAD_CPU, WALL, DEVICE, ESTIMATE, PACKETS)
MINIMUM, MEDIAN = "minimum", "median"
MAX_REPEATS, MAX_RUNS_PER_SAMPLE = 100_000, 1000


class Timed(Protocol):
    """Something that can be called and timed where it runs."""

    def seconds(self, clock: str, number: int, repeats: int) -> list[float]:
        """Take samples, each the mean time of one of several calls in a row.

        Args:
            clock: One of :data:`CLOCKS`.
            number: Calls in a sample.
            repeats: Samples.

        Returns:
            Seconds of a call, ``repeats`` of them; with the clock "packets" thousands of packets.
        """
        ...


@dataclass(frozen=True)
class Timer:
    """Settings of a measurement.

    Attributes:
        clock: "thread-cpu", which other programs disturb least and which counts one thread only, "wall", or "device",
            the sum of a GPU's kernels by its own clock, "estimate", where nothing runs, or "packets", where time means
            nothing.
        repeats: Samples to take.
        sample_ms: A sample repeats short calls until it lasts that long.
        statistic: What is told of the samples, "minimum" or "median".
        least: Samples to take at least, once ``budget_s`` is over; by default all.
        budget_s: Seconds after which ``least`` samples are enough; None for no limit.
        cool_down_s: Pause before each sample.

    Raises:
        SrTvmError: A field is out of range.
    """

    clock: str = THREAD_CPU
    repeats: int = 20
    sample_ms: float = 5.0
    statistic: str = MEDIAN
    least: int | None = None
    budget_s: float | None = None
    cool_down_s: float = 0.0

    def __post_init__(self) -> None:
        if isinstance(self.repeats, bool) or not 1 <= self.repeats <= MAX_REPEATS:
            raise SrTvmError(f"repeats is {self.repeats}; 1 to {MAX_REPEATS} is allowed")
        for name, allowed in (("clock", CLOCKS), ("statistic", (MINIMUM, MEDIAN))):
            if getattr(self, name) not in allowed:
                raise SrTvmError(f"timer field {name} is {getattr(self, name)!r}; {' or '.join(allowed)} is allowed")

    @classmethod
    def for_tuning(cls, clock: str) -> Timer:
        """Choose what tells two candidates apart in little time, taken in turns with what they are compared with.

        Args:
            clock: One of :data:`CLOCKS`.

        Returns:
            The timer.

        Raises:
            SrTvmError: The clock is unknown.
        """
        statistic = MINIMUM if clock == THREAD_CPU else MEDIAN
        return cls(clock, repeats=10, sample_ms=1.0, statistic=statistic, least=6, budget_s=1.5)

    def to_json(self) -> dict[str, Any]:
        """Describe the timer as JSON.

        Returns:
            Its fields by their names.
        """
        return asdict(self)

    def typical(self, samples: Sequence[float]) -> float:
        """Tell by ``statistic`` what samples are like.

        Args:
            samples: One or more, in any unit.

        Returns:
            The least or the median of them, in their unit.
        """
        return min(samples) if self.statistic == MINIMUM else statistics.median(samples)

    def number(self, seconds: float) -> int:
        """Choose how many calls make one sample.

        Args:
            seconds: That one call takes.

        Returns:
            As many as last ``sample_ms``, 1 to MAX_RUNS_PER_SAMPLE.
        """
        wanted = -(-self.sample_ms // max(seconds * 1e3, 1e-6))
        return min(MAX_RUNS_PER_SAMPLE, max(1, int(wanted)))

    def sample(
        self, timed: Sequence[Timed], number: int, cutoff: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> list[list[float]]:  # fmt: skip
        """Time several things in turns, so that what else the machine does slows all of them.

        Args:
            timed: What is timed; the first is the candidate.
            number: Calls in a sample.
            cutoff: Seconds; once a sample of the first takes longer, that is enough. None: each may take as long as it
                does.
            stopped: Asked before each turn; where it is true no more samples are taken.

        Returns:
            Samples of each, seconds of a call.
        """
        if len(timed) == 1 and self.budget_s is None and cutoff is None and not self.cool_down_s:
            return [timed[0].seconds(self.clock, number, self.repeats)]
        of: list[list[float]] = [[] for _ in timed]
        least, begun = self.least or self.repeats, time.perf_counter()
        while len(of[0]) < self.repeats and not stopped():
            for samples, what in zip(of, timed, strict=True):
                if self.cool_down_s:
                    time.sleep(self.cool_down_s)
                samples += what.seconds(self.clock, number, 1)
            slow = cutoff is not None and of[0][-1] > cutoff
            over = self.budget_s is not None and time.perf_counter() - begun > self.budget_s
            if slow or (over and len(of[0]) >= least):
                break
        return of
