"""Building and measuring candidates behind a small seam: here, in a worker process; elsewhere, another Measurer."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sr_tvm.errors import SrTvmError
from sr_tvm.tuning.worker import HEADER, write_message

if TYPE_CHECKING:
    from sr_tvm.targets.cpu.rows.decisions import Decisions
    from sr_tvm.tuning.region_task import RegionTask

START_DEADLINE_S = 120.0  # importing TVM on a busy machine
BASELINE_DEADLINE_S = 300.0  # an unscheduled convolution of a large picture
REGION_DEADLINE_S = 60.0  # a network of many kernels is compiled
RESTARTS = 3  # workers in a row that don't even start


@dataclass(frozen=True)
class Timing:
    """Seconds of one candidate, or its error. ``reference``: the default's, measured in turns with it."""

    seconds: float | None = None
    error: str | None = None
    build_s: float = 0.0
    run_s: float = 0.0
    reference: float | None = None


class Measurer(Protocol):
    """Builds and measures the candidates of one task at a time: a kernel's, or a streaming region's.

    Modules hold one function, "main".
    """

    clock: str

    def open_task(self, mod: Any, baseline: Any = None) -> Timing:
        """From now on candidates must compute what this unscheduled module does. Measure ``baseline``, if given."""
        ...

    def measure(self, mod: Any, cutoff: float | None) -> Timing:
        """One candidate. Slower than ``cutoff`` seconds, it needn't be measured well."""
        ...

    def open_region(self, task: RegionTask, default: Decisions) -> Timing:
        """From now on decisions are of this region, and must compute what ``default`` does, which is measured."""
        ...

    def measure_region(self, decisions: Decisions, cutoff: float | None) -> Timing:
        """One candidate's decisions; ``cutoff`` as above."""
        ...

    def close(self) -> None: ...


class WorkerMeasurer:
    """A :class:`Measurer` in one long-lived process on this machine.

    A candidate that crashes the worker or exceeds ``deadline`` seconds (a region's ``region_deadline``: it is several
    kernels to compile) costs that process, and gets an error. With
    one thread the time is thread CPU time (minimum), which other processes disturb least; with more it is wall time
    (median).
    """

    def __init__(
        self, target: Any, threads: int = 1, deadline: float = 30.0, region_deadline: float = REGION_DEADLINE_S
    ) -> None:
        import tvm

        self._save = tvm.ir.save_json
        self.target, self.threads, self.deadline = str(tvm.target.Target(target)), threads, deadline
        self.region_deadline = region_deadline
        self.clock = "thread-cpu" if threads == 1 else "wall"
        self._process: subprocess.Popen[bytes] | None = None
        self._task: dict[str, Any] | None = None
        self._task_open = False
        self._region: str | None = None
        self._stderr: Any = None
        self.starts = 0

    def open_task(self, mod: Any, baseline: Any = None) -> Timing:
        from tvm.s_tir.meta_schedule.arg_info import ArgInfo

        infos = [info.as_json() for info in ArgInfo.from_entry_func(mod, True)]
        self._task = {
            "op": "task",
            "arguments": [(str(dtype), [int(n) for n in shape]) for _, dtype, shape in infos],
            "mod": self._save(mod),
            "target": self.target,
            "threads": self.threads,
        }
        if baseline is not None:
            self._task["baseline"] = self._save(baseline)
        self._region = None
        timing = self._ask(self._task, BASELINE_DEADLINE_S)
        self._task.pop("baseline", None)
        self._task_open = timing.error is None
        return timing

    def measure(self, mod: Any, cutoff: float | None = None) -> Timing:
        return self._in_task({"op": "measure", "mod": self._save(mod), "cutoff": cutoff}, self.deadline)

    def open_region(self, task: RegionTask, default: Decisions) -> Timing:
        if self._region == task.key and self._process is not None and self._task_open:  # compiled already
            return self.measure_region(default)
        from sr_tvm.regions.data import to_data

        self._region = task.key
        self._task = {
            "op": "region",
            "region": to_data(task.region),
            "shape": task.shape,
            "size": task.size,
            "processor": asdict(task.lowering.processor),
            "winograd": task.lowering.winograd,
            "default": default.to_json(),
            "target": self.target,
            "threads": self.threads,
        }
        timing = self._ask(self._task, BASELINE_DEADLINE_S)
        self._task_open = timing.error is None
        return timing

    def measure_region(self, decisions: Decisions, cutoff: float | None = None) -> Timing:
        message = {"op": "decisions", "decisions": decisions.to_json(), "cutoff": cutoff}
        return self._in_task(message, self.region_deadline)

    def _in_task(self, message: dict[str, Any], deadline: float) -> Timing:
        """The answer to a candidate; a worker that died meanwhile is started, and gets the task again."""
        if self._process is None and self._task is not None:
            self._task_open = False
        if not self._task_open:
            if self._task is None:
                raise RuntimeError("open_task or open_region comes first")
            timing = self._ask(self._task, BASELINE_DEADLINE_S)
            if timing.error is not None:
                return timing
            self._task_open = True
        return self._ask(message, deadline)

    def close(self) -> None:
        """Kill the worker. Nothing of worth is in it."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if stream is not None:
                        stream.close()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def __enter__(self) -> WorkerMeasurer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, message: dict[str, Any], deadline: float) -> Timing:
        process = self._process or self._start()
        whole = False
        try:
            assert process.stdin is not None
            try:
                write_message(process.stdin, message)
                reply = self._read(process, deadline)
            except (BrokenPipeError, TimeoutError) as error:
                return Timing(error=self._obituary(process, error))
            whole = True
        finally:
            if not whole:  # also on Ctrl-C: a late reply must not be taken for the next candidate's
                self.close()
        known = ("seconds", "reference", "error", "build_s", "run_s")
        return Timing(**{k: reply[k] for k in known if k in reply})

    def _start(self) -> subprocess.Popen[bytes]:
        count = str(self.threads)
        # Bound to cores, the workers of two searches would share core 0 (docs/devices.md).
        pool = {"TVM_NUM_THREADS": count, "OMP_NUM_THREADS": count, "TVM_BIND_THREADS": "0"}
        for attempt in range(RESTARTS):
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the worker
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "sr_tvm.tuning.worker", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**os.environ, **pool},
                start_new_session=True,  # Ctrl-C is for us; we then kill it
            )
            self.starts += 1
            try:
                self._read(process, START_DEADLINE_S)
                return process
            except (BrokenPipeError, TimeoutError) as error:
                reason = self._obituary(process, error)
                self.close()
                if attempt + 1 == RESTARTS:
                    raise SrTvmError(f"the tuning worker does not start: {reason}") from None
            except BaseException:
                self.close()
                raise
        raise AssertionError("unreachable")

    def _read(self, process: subprocess.Popen[bytes], deadline: float) -> dict[str, Any]:
        until = time.monotonic() + deadline
        size = int.from_bytes(self._bytes(process, HEADER, until), "big")
        return json.loads(self._bytes(process, size, until))

    @staticmethod
    def _bytes(process: subprocess.Popen[bytes], count: int, until: float) -> bytes:
        assert process.stdout is not None
        data = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while len(data) < count:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise TimeoutError
                chunk = os.read(process.stdout.fileno(), count - len(data))
                if not chunk:
                    raise BrokenPipeError
                data += chunk
        return data

    def _obituary(self, process: subprocess.Popen[bytes], error: BaseException) -> str:
        if isinstance(error, TimeoutError):
            return "too slow: no result within the deadline"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        code = process.returncode
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        last = ""
        if self._stderr is not None:
            self._stderr.seek(0)
            lines = self._stderr.read()[-4000:].decode(errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"crashed: {how}" + (f" ({last[:200]})" if last else "")
