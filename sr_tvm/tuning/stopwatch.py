"""Time and compare what a candidate computes. Imports nothing of TVM."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

MIN_SAMPLE_S = 1e-3  # a sample repeats short kernels until it is this long
MAX_REPEATS, TIME_BUDGET_S = 10, 0.2
MIN_PAIRS, PAIRS_BUDGET_S = 6, 1.5
# Reordered sums of float32 differ by about 1e-6 of the largest output; a wrong schedule by far more.
TOLERANCE = {"float16": 2e-2, "bfloat16": 5e-2}
DEFAULT_TOLERANCE = 1e-4


class Stopwatch:
    """Seconds: thread CPU time and its minimum for one thread, else wall time and its median."""

    def __init__(self, threads: int) -> None:
        self.clock: Callable[[], int] = time.thread_time_ns if threads == 1 else time.perf_counter_ns
        self.one = threads == 1

    def once(self, call: Callable[[], None]) -> float:
        start = self.clock()
        call()
        return (self.clock() - start) * 1e-9

    def samples(self, call: Callable[[], None], first: float, cutoff: float | None) -> list[float]:
        """Up to MAX_REPEATS samples; ``first`` is what one call took. Slower than ``cutoff``, one sample will do."""
        number = max(1, int(MIN_SAMPLE_S / max(first, 1e-7)))
        samples: list[float] = []
        begun = time.perf_counter()
        while len(samples) < MAX_REPEATS:
            start = self.clock()
            for _ in range(number):
                call()
            samples.append((self.clock() - start) * 1e-9 / number)
            slow = cutoff is not None and samples[-1] > cutoff  # far from the best: one look is enough
            if slow or (len(samples) >= 3 and time.perf_counter() - begun > TIME_BUDGET_S):
                break
        return samples

    def ratio(
        self, call: Callable[[], None], reference: Callable[[], None], cutoff: float | None
    ) -> tuple[float, float]:
        """Seconds of ``call`` and of ``reference``, sampled in turns: what else the machine does slows both."""
        of: tuple[list[float], list[float]] = ([], [])
        number = max(1, int(MIN_SAMPLE_S / max(self.once(call), 1e-7)))

        def several(function: Callable[[], None]) -> float:
            start = self.clock()
            for _ in range(number):
                function()
            return (self.clock() - start) * 1e-9 / number

        begun = time.perf_counter()
        while len(of[0]) < MAX_REPEATS:
            for samples, function in zip(of, (call, reference), strict=True):
                samples.append(several(function))
            slow = cutoff is not None and of[0][-1] > cutoff
            if slow or (len(of[0]) >= MIN_PAIRS and time.perf_counter() - begun > PAIRS_BUDGET_S):
                break
        return self.typical(of[0]), self.typical(of[1])

    def typical(self, samples: list[float]) -> float:
        return float(min(samples) if self.one else np.median(samples))


def fill(rng: np.random.Generator, shape: list[int], dtype: str) -> np.ndarray:
    """Random numbers to compute with."""
    if dtype.startswith(("float", "bfloat")):
        return rng.uniform(-1, 1, shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)  # 0 and 1 are valid as flags, indices and numbers


def difference(what: str, actual: np.ndarray, expected: np.ndarray) -> str | None:
    """How ``actual`` is wrong; None where it is not."""
    if expected.dtype.kind not in "fV":
        return None if np.array_equal(actual, expected) else f"wrong result: {what} differs"
    peak = max(1.0, float(np.abs(expected).max(initial=0)))
    tolerance = TOLERANCE.get(str(expected.dtype), DEFAULT_TOLERANCE) * peak
    error = float(np.abs(actual.astype("float64") - expected).max(initial=0))
    if not error <= tolerance:  # NaN is wrong too
        return f"wrong result: {what} is off by {error:.3g}, allowed {tolerance:.3g}"
    return None
