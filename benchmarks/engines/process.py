"""An engine in a process of its own: started, ready, timed, ended; with a deadline on every answer."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sr_tvm.errors import SrTvmError, one_line

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS, CALL_SECONDS = 600.0, 120.0
_LIMITS = ("OMP_NUM_THREADS", "TVM_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Worker:
    """Runs a command that answers in lines of JSON: once when it is ready, then for every line it is sent.

    ``environment`` is set besides ours, with TVM and the libraries of linear algebra limited to ``threads``. Use it in
    a ``with`` block.

    Raises:
        SrTvmError: from :meth:`ready` and :meth:`time`, with the worker's own words when it fails, dies or hangs.
    """

    def __init__(self, name: str, command: Sequence[str], threads: int, environment: dict[str, str]) -> None:
        self.name, self.threads = name, threads
        limits = {name: str(threads) for name in _LIMITS} | {"TVM_BIND_THREADS": "0"}
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in close()
        self._buffer = b""
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            env={**os.environ, **limits, **environment}, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def ready(self) -> dict[str, Any]:
        """Wait until the network is loaded and has run; the worker's word, of an engine max_abs_err and peak."""
        return self._answer(READY_SECONDS)

    def time(self) -> float:
        """Milliseconds of one run, by the worker's clock."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"\n")
            self._process.stdin.flush()
        except OSError:
            raise SrTvmError(f"{self.name} died: {self._last_words()}") from None
        return float(self._answer(CALL_SECONDS)["ms"])

    def close(self) -> None:
        """End the process and whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with suppress(OSError):
                if stream:
                    stream.close()

    def _answer(self, seconds: float) -> dict[str, Any]:
        stream, until = self._process.stdout, time.monotonic() + seconds
        assert stream is not None
        while b"\n" not in self._buffer:
            found, _, _ = select.select([stream], [], [], max(0.0, until - time.monotonic()))
            if not found:
                raise SrTvmError(f"{self.name}: no answer within {seconds:g} s")
            data = os.read(stream.fileno(), 65536)
            if not data:
                raise SrTvmError(f"{self.name} died: {self._last_words()}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise SrTvmError(f"{self.name}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        self._process.wait(10)
        self._log.seek(0)
        return one_line(self._log.read()) or f"exit code {self._process.returncode}"


class EngineProcess(Worker):
    """Runs ``python -m benchmarks.engines.worker ENGINE FOLDER THREADS``; ``time`` is wall time.

    ``label`` is its name among others, the engine's own without it.
    """

    def __init__(self, engine: str, folder: Path, threads: int, label: str | None = None) -> None:
        command = [sys.executable, "-m", "benchmarks.engines.worker", engine, str(folder), str(threads)]
        environment = {"PYTHONPATH": str(ROOT), "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
        super().__init__(label or engine, command, threads, environment)
