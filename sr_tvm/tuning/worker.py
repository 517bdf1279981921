"""The process that builds and measures candidates: ``python -m sr_tvm.tuning.worker PARENT``, started by runner.py.

It may crash, hang or be killed: nothing of worth lives here. Messages are JSON behind an 8-byte length, modules are
TVM's JSON text; stdout is the reply pipe, so whatever else prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import IO, Any

import numpy as np

from sr_tvm.runners.lifeline import die_with_parent
from sr_tvm.tuning.stopwatch import Stopwatch, difference, fill

HEADER = 8


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
        self.tvm, self.watch = tvm, Stopwatch(message["threads"])
        self.target = tvm.target.Target(json.loads(message["target"]))
        mod = tvm.ir.load_json(message["mod"])
        rng = np.random.default_rng(0)
        self.initial = [fill(rng, shape, dtype) for dtype, shape in message["arguments"]]
        self.arguments = [tvm.runtime.tensor(a) for a in self.initial]
        self._call_once(self._build(mod))
        self.expected = [a.numpy().copy() for a in self.arguments]

    def _build(self, mod: Any) -> Any:
        with self.tvm.transform.PassContext(opt_level=3):
            return self.tvm.tirx.build(mod, target=self.target)["main"]

    def _call_once(self, function: Any) -> float:
        for argument, value in zip(self.arguments, self.initial, strict=True):
            argument.copyfrom(value)
        return self.watch.once(lambda: function(*self.arguments))

    def wrong(self) -> str | None:
        """What differs between the arguments now and after the unscheduled function; None if nothing does."""
        pairs = enumerate(zip(self.arguments, self.expected, strict=True))
        problems = (difference(f"argument {place}", actual.numpy(), expected) for place, (actual, expected) in pairs)
        return next(filter(None, problems), None)

    def measure(self, mod: Any, cutoff: float | None) -> dict[str, Any]:
        started = time.perf_counter()
        function = self._build(mod)
        built = time.perf_counter()
        first = self._call_once(function)
        problem = self.wrong()
        if problem:
            return {"error": problem}
        samples = self.watch.samples(lambda: function(*self.arguments), first, cutoff)
        times = {"build_s": built - started, "run_s": time.perf_counter() - built}
        return {"seconds": self.watch.typical(samples), "samples": samples, **times}


def serve(tvm: Any, requests: IO[bytes], replies: IO[bytes]) -> None:
    """Answer until the stream ends. An exception is an answer; a crash is not ours to catch."""
    answer = Answers(tvm)
    write_message(replies, {"ready": os.getpid()})
    while (message := read_message(requests)) is not None:
        try:
            reply = getattr(answer, message["op"])(message)
        except Exception as error:
            reply = {"error": _one_line(error)}
        write_message(replies, reply)


class Answers:
    """A method for each message: a kernel's task is opened, then its modules come; or a region, then decisions."""

    def __init__(self, tvm: Any) -> None:
        self.tvm = tvm
        self.bench: Any = None

    def task(self, message: dict[str, Any]) -> dict[str, Any]:
        self.bench = None  # its memory goes before that of the next
        self.bench = bench = Bench(self.tvm, message)
        baseline = message.get("baseline")
        return bench.measure(self.tvm.ir.load_json(baseline), None) if baseline else {}

    def measure(self, message: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(self.bench, Bench):
            return {"error": "no task is open"}
        return self.bench.measure(self.tvm.ir.load_json(message["mod"]), message["cutoff"])

    def region(self, message: dict[str, Any]) -> dict[str, Any]:
        from sr_tvm.tuning.region_bench import RegionBench

        self.bench = None
        bench = RegionBench(self.tvm, message)
        reply = bench.measure(bench.default, None)
        if "error" not in reply:
            self.bench = bench
        return reply

    def decisions(self, message: dict[str, Any]) -> dict[str, Any]:
        from sr_tvm.targets.cpu.rows.decisions import Decisions

        if self.bench is None or isinstance(self.bench, Bench):
            return {"error": "no region is open"}
        return self.bench.measure(Decisions.from_json(message["decisions"], "a candidate"), message["cutoff"])


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
