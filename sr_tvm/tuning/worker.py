"""The process that builds and measures candidates: ``python -m sr_tvm.tuning.worker PARENT``, started by runner.py.

It may crash, hang or be killed: nothing of worth lives here. Messages are JSON behind an 8-byte length, modules are
TVM's JSON text; stdout is the reply pipe, so whatever else prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from sr_tvm.devices.lifeline import die_with_parent

HEADER = 8
MIN_SAMPLE_S = 1e-3  # a sample repeats short kernels until it is this long
MAX_REPEATS, TIME_BUDGET_S = 10, 0.2
# Reordered sums of float32 differ by about 1e-6 of the largest output; a wrong schedule by far more.
TOLERANCE = {"float16": 2e-2, "bfloat16": 5e-2}
DEFAULT_TOLERANCE = 1e-4


def read_message(stream: IO[bytes]) -> dict[str, Any] | None:
    """The next message; None at the end of the stream, also in the middle of a message (the other side died)."""
    header = stream.read(HEADER)
    if len(header) < HEADER:
        return None
    size = int.from_bytes(header, "big")
    body = stream.read(size)
    return json.loads(body) if len(body) == size else None


def write_message(stream: IO[bytes], message: dict[str, Any]) -> None:
    body = json.dumps(message, separators=(",", ":")).encode()
    stream.write(len(body).to_bytes(HEADER, "big") + body)
    stream.flush()


class Bench:
    """One task: its inputs, the output of its unscheduled function, and a stopwatch."""

    def __init__(self, tvm: Any, message: dict[str, Any]) -> None:
        self.tvm = tvm
        self.target = tvm.target.Target(json.loads(message["target"]))
        self.clock: Callable[[], int] = time.thread_time_ns if message["threads"] == 1 else time.perf_counter_ns
        self.typical = min if message["threads"] == 1 else np.median
        mod = tvm.ir.load_json(message["mod"])
        rng = np.random.default_rng(0)
        self.initial = [_fill(rng, shape, dtype) for dtype, shape in message["arguments"]]
        self.arguments = [tvm.runtime.tensor(a) for a in self.initial]
        self._call_once(self._build(mod))
        self.expected = [a.numpy().copy() for a in self.arguments]

    def _build(self, mod: Any) -> Any:
        with self.tvm.transform.PassContext(opt_level=3):
            return self.tvm.tirx.build(mod, target=self.target)["main"]

    def _call_once(self, function: Any) -> float:
        for argument, value in zip(self.arguments, self.initial, strict=True):
            argument.copyfrom(value)
        start = self.clock()
        function(*self.arguments)
        return (self.clock() - start) * 1e-9

    def wrong(self) -> str | None:
        """What differs between the arguments now and after the unscheduled function; None if nothing does."""
        for place, (argument, expected) in enumerate(zip(self.arguments, self.expected, strict=True)):
            actual = argument.numpy()
            if expected.dtype.kind not in "fV":
                if not np.array_equal(actual, expected):
                    return f"wrong result: argument {place} differs"
                continue
            peak = max(1.0, float(np.abs(expected).max(initial=0)))
            tolerance = TOLERANCE.get(str(expected.dtype), DEFAULT_TOLERANCE) * peak
            error = float(np.abs(actual.astype("float64") - expected).max(initial=0))
            if not error <= tolerance:  # NaN is wrong too
                return f"wrong result: argument {place} is off by {error:.3g}, allowed {tolerance:.3g}"
        return None

    def measure(self, mod: Any, cutoff: float | None) -> dict[str, Any]:
        started = time.perf_counter()
        function = self._build(mod)
        built = time.perf_counter()
        first = self._call_once(function)
        problem = self.wrong()
        if problem:
            return {"error": problem}
        number = max(1, int(MIN_SAMPLE_S / max(first, 1e-7)))
        samples: list[float] = []
        begun = time.perf_counter()
        while len(samples) < MAX_REPEATS:
            start = self.clock()
            for _ in range(number):
                function(*self.arguments)
            samples.append((self.clock() - start) * 1e-9 / number)
            slow = cutoff is not None and samples[-1] > cutoff  # far from the best: one look is enough
            if slow or (len(samples) >= 3 and time.perf_counter() - begun > TIME_BUDGET_S):
                break
        times = {"build_s": built - started, "run_s": time.perf_counter() - built}
        return {"seconds": float(self.typical(samples)), "samples": samples, **times}


def _fill(rng: np.random.Generator, shape: list[int], dtype: str) -> np.ndarray:
    if dtype.startswith(("float", "bfloat")):
        return rng.uniform(-1, 1, shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)  # 0 and 1 are valid as flags, indices and numbers


def serve(tvm: Any, requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer until the stream ends. An exception is an answer; a crash is not ours to catch."""
    bench: Bench | None = None
    write_message(replies, {"ready": os.getpid()})
    while (message := read_message(requests)) is not None:
        try:
            if message["op"] == "task":
                bench = Bench(tvm, message)
                baseline = message.get("baseline")
                reply = bench.measure(tvm.ir.load_json(baseline), None) if baseline else {}
            elif bench is None:
                reply = {"error": "no task is open"}
            else:
                reply = bench.measure(tvm.ir.load_json(message["mod"]), message["cutoff"])
        except Exception as error:
            reply = {"error": _one_line(error)}
        write_message(replies, reply)


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else ''}"[:300]


def main() -> None:
    die_with_parent(int(sys.argv[1]))  # a hung candidate must not outlive the tuner
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    # TVM imports PyTorch where it is installed, to share tensors: half of our start-up, for nothing.
    sys.modules["torch"] = None  # type: ignore[assignment]
    import tvm  # after the streams are safe: it may print

    serve(tvm, sys.stdin.buffer, replies)


if __name__ == "__main__":
    main()
