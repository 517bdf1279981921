"""The most memory that a package's example takes for a picture."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from sr_tvm.system.machine import field

SCALE = 2
HELD_BACK = 256 << 10  # bytes, more than a pipe holds: until they are read the process is there, with all work done
SECONDS = 600


def peak_of_example(example: Path, height: int, width: int) -> int:
    """Bytes at the highest (VmHWM) of the example's process, from a file of noise to a pipe, with one thread.

    The mark is read while the process still has some of its last rows to write, which are computed.
    """
    size = height * width * 3 * SCALE * SCALE
    with tempfile.NamedTemporaryFile(prefix="sr-tvm-", suffix=".ppm") as source:
        source.write(f"P6\n{width} {height}\n255\n".encode())
        rng = np.random.default_rng(0)
        for _ in range(height):
            source.write(rng.integers(0, 256, width * 3, np.uint8).tobytes())
        source.flush()
        command = [str(example), source.name, "/dev/stdout"]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            left = size - HELD_BACK
            while left > 0:
                found = len(process.stdout.read(min(left, 1 << 20)))
                if not found:
                    raise RuntimeError(f"{example} ended early")
                left -= found
            peak = int(field(f"/proc/{process.pid}/status", "VmHWM").split()[0]) * 1024
            while process.stdout.read(1 << 20):
                pass
            process.wait(SECONDS)
        if process.returncode:
            raise RuntimeError(f"{example} ended with {process.returncode}")
    return peak
