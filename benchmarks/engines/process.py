"""An engine in a process of its own: started, ready, timed, ended; with a deadline on every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sr_tvm.errors import SrTvmError
from sr_tvm.system.child import Child, RequestFailed

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS, CALL_SECONDS = 600.0, 120.0
_LIMITS = ("OMP_NUM_THREADS", "TVM_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def ask(child: Child, request: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Have a child answer; an error of its own names it, as its death does."""
    try:
        return child.ask(request, seconds=seconds)[0]
    except RequestFailed as error:
        raise SrTvmError(f"{child.what}: {error}") from None


class Worker:
    """A process that serves "load", then "time": a run of what it loaded, in ms by its own clock.

    It is ``python -m MODULE ARGUMENTS``, or ``command`` with the arguments. ``environment`` is set besides ours, with
    TVM and the libraries of linear algebra limited to ``threads``. Use it in a ``with`` block.

    Raises:
        SrTvmError: from :meth:`ready` and :meth:`time`, with the worker's own words when it fails, dies or hangs.
    """

    def __init__(
        self, name: str, module: str, arguments: Sequence[str], threads: int, environment: Mapping[str, str],
        command: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.name, self.threads = name, threads
        self._how = (module, name, {**environment_of(threads), **environment}, arguments, command)
        self.child: Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def ready(self) -> dict[str, Any]:
        """Start it and have the network loaded and run; the worker's word, of an engine max_abs_err and peak."""
        module, name, environment, arguments, command = self._how
        self.child = Child(module, name, environment, arguments, command=command, seconds=READY_SECONDS, starts=1)
        return ask(self.child, {"operation": "load"}, READY_SECONDS)

    def time(self) -> float:
        """Milliseconds of one run, by the worker's clock."""
        assert self.child is not None
        return float(ask(self.child, {"operation": "time"}, CALL_SECONDS)["ms"])

    def close(self) -> None:
        """End the process and whatever it started."""
        if self.child is not None:
            self.child.kill()


def environment_of(threads: int) -> dict[str, str]:
    """What limits engines to so many threads, and lets them import the benchmarks."""
    return {name: str(threads) for name in _LIMITS} | {"TVM_BIND_THREADS": "0", "PYTHONPATH": str(ROOT)}


class EngineProcess(Worker):
    """Runs ``benchmarks.engines.worker`` with ENGINE FOLDER THREADS; ``time`` is wall time.

    ``label`` is its name among others, the engine's own without it.
    """

    def __init__(self, engine: str, folder: Path, threads: int, label: str | None = None) -> None:
        environment = {"TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
        arguments = (engine, str(folder), str(threads))
        super().__init__(label or engine, "benchmarks.engines.worker", arguments, threads, environment)
