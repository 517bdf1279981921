"""Oclgrind, an OpenCL device that is simulated and watches its kernels: whether they are right, not how fast."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.records.module import Module
from sr_tvm.runners.child_session import ChildRunner, ChildSession
from sr_tvm.runtimes.opencl import backend
from sr_tvm.system.child import Child

LIBRARY = "lib/oclgrind/liboclgrind-rt.so"  # beside the program's bin/
MEMORY_BYTES = 1 << 30  # that the device says it has; Oclgrind's own choice is 128 MB
MAX_REPORTS = 10_000  # those that are not for us, of images, count as well
# Clang's optimizer leaves lanes undefined that are never used, which Oclgrind takes for values.
OPTIONS = "-cl-opt-disable"
UNINITIALIZED = re.compile("uninitialized", re.IGNORECASE)
_KERNEL = re.compile(r"^\s*Kernel: (\w+)$", re.MULTILINE)
_SIGNATURE = re.compile(rb"__kernel [^;{]*?void (\w+)\(([^;{]*)\)")
_SUPPRESSED = "suppressing further errors"


class OclgrindRunner(ChildRunner):
    """Runs OpenCL modules on Oclgrind, some ten thousand times slower than a device: for pictures of few pixels.

    A data race between work-items, an access outside of a buffer, of local memory or of an image, and the use of a
    value that nobody wrote are errors of the call that does it. Oclgrind 21.10 runs images, but does not know which of
    their values were written: of kernels that take one, uninitialised values are not reported.

    Raises:
        SrTvmError: Oclgrind is not installed.
    """

    what = "the process that runs modules on Oclgrind"

    def __init__(self, deadline: float = 600.0) -> None:
        super().__init__(threads=1, deadline=deadline)
        self.name = "oclgrind"
        self.library = _library()
        self._logs = tempfile.TemporaryDirectory(prefix="sr-tvm-oclgrind-")
        self._started = 0

    @property
    def _log(self) -> Path:
        """The reports of the newest child process."""
        return Path(self._logs.name) / f"log{self._started}"

    @property
    @override
    def environment(self) -> dict[str, str]:
        return super().environment | {
            backend.LIBRARY_VARIABLE: str(self.library),
            backend.DEVICE_VARIABLE: "Oclgrind",
            "OCLGRIND_DATA_RACES": "1",
            "OCLGRIND_UNINITIALIZED": "1",
            "OCLGRIND_BUILD_OPTIONS": OPTIONS,
            "OCLGRIND_GLOBAL_MEM_SIZE": str(MEMORY_BYTES),
            "OCLGRIND_NUM_THREADS": "1",
            "OCLGRIND_MAX_ERRORS": str(MAX_REPORTS),
            "OCLGRIND_LOG": str(self._log),
        }

    def _child(self) -> Child:
        self._started += 1
        return super()._child()

    @override
    def session(self, child: Child, lease: float) -> OclgrindSession:
        return OclgrindSession(self, child, lease, self._log)

    def done_with(self, child: Child) -> None:
        """End a child process instead of keeping it: Oclgrind stops after so many reports.

        Args:
            child: The process, whose session was closed.
        """
        child.kill()


class OclgrindSession(ChildSession):
    """A session whose calls fail where Oclgrind reports something."""

    def __init__(self, runner: OclgrindRunner, child: Child, lease: float, log: Path) -> None:
        super().__init__(runner, child, lease)
        self.log, self.read = log, 0
        self.images: set[str] = set()  # kernels that take some

    def ask(
        self, operation: str, arrays: Sequence[np.ndarray] = (), *, seconds: float | None = None, **request: Any
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Have the station answer one request, and fail where Oclgrind reports an error of a kernel.

        Args:
            operation: What is asked, all but "time" and "operators"; see :meth:`Session.ask`.
            arrays: Tensors that belong to the request.
            seconds: Deadline of the call in seconds; None for the runner's own.
            **request: Further fields of the request.

        Returns:
            The fields of the answer, and the tensors that came with it.

        Raises:
            SrTvmError: A kernel did what it must not, with the first report; or it was to be timed, or is no OpenCL.
        """
        if operation in ("time", "operators"):
            raise SrTvmError("Oclgrind simulates a device to check kernels: its times say nothing of any other")
        if request.get("module"):
            module = Module.from_json(request["module"])
            if module.device != backend.KIND:
                raise SrTvmError(f"{module.library}: Oclgrind runs OpenCL kernels; target {module.target} has none")
            self.images |= kernels_with_images(Path(module.library).read_bytes())
        answer = super().ask(operation, arrays, seconds=seconds, **request)
        self._check()
        return answer

    def _check(self) -> None:
        reports = self._new()
        found = [report for report in reports if not self._of_an_image(report)]
        if len(reports) >= MAX_REPORTS and not found:
            raise SrTvmError(f"Oclgrind stopped at {MAX_REPORTS} reports of images: run it with fewer pixels")
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise SrTvmError(f"Oclgrind: {' '.join(found[0].split())}{more}")

    def _new(self) -> list[str]:
        """Return what was reported since the last call."""
        if not self.log.exists():
            return []
        with open(self.log, encoding="utf-8", errors="replace") as handle:
            handle.seek(self.read)
            text = handle.read()
            self.read = handle.tell()
        reports = (report.strip() for report in re.split(r"\n\n(?=\S)", text))
        return [report for report in reports if report and _SUPPRESSED not in report]

    def _of_an_image(self, report: str) -> bool:
        kernel = _KERNEL.search(report)
        said = report.partition("\n")[0]
        return bool(UNINITIALIZED.search(said)) and kernel is not None and kernel.group(1) in self.images


def kernels_with_images(library: bytes) -> set[str]:
    """Find the kernels that take images, by the OpenCL C that a library carries.

    Args:
        library: The bytes of the library file.

    Returns:
        The names of those kernels.
    """
    return {match.group(1).decode() for match in _SIGNATURE.finditer(library) if b"image2d" in match.group(2)}


def _library() -> Path:
    program = shutil.which("oclgrind")
    library = Path(program).resolve().parent.parent / LIBRARY if program else None
    if library is None or not library.is_file():
        raise SrTvmError("Oclgrind is not installed: make system-deps (Debian has it as oclgrind)")
    return library
