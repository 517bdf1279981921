"""This machine: its processor and cores. Imports nothing heavy."""

from __future__ import annotations

import os
import platform
from pathlib import Path

ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


def machine() -> str:
    """Name this machine's architecture.

    Returns:
        The name that uname -m has for it on Linux, such as "x86_64" or "aarch64".
    """
    name = platform.machine().lower()
    return ALIASES.get(name, name)


def machine_of_triple(triple: str) -> str:
    """Name the architecture in an LLVM target triple.

    Args:
        triple: Such as "arm64-linux-android".

    Returns:
        The name that uname -m has for it, such as "aarch64".
    """
    name = triple.split("-", 1)[0].lower()
    return ALIASES.get(name, name)


def field(path: str, name: str) -> str:
    """Find the first value of a name in a file of "name: value" lines.

    Args:
        path: A file like /proc/cpuinfo.
        name: What stands before the colon.

    Returns:
        The value; "" where there is none.
    """
    try:
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    except OSError:
        pass
    return ""


def cpu_name() -> str:
    """Name this machine's CPU.

    Returns:
        Its marketing name, else its architecture.
    """
    names = (field("/proc/cpuinfo", name) for name in ("model name", "Hardware"))
    return next((name for name in names if name), "") or platform.processor() or machine()


def cores() -> int:
    """Count the CPUs that this process may use.

    Returns:
        1 or more.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def l2_bytes(default: int = 1 << 20) -> int:
    """Read the size of CPU 0's second-level cache.

    Args:
        default: Bytes where it cannot be read.

    Returns:
        Bytes.
    """
    try:
        size = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text(encoding="utf-8").strip()
        return int(size.removesuffix("K")) << 10
    except (OSError, ValueError):
        return default


def governor() -> str | None:
    """Read the frequency governor of CPU 0.

    Returns:
        Such as "performance"; None where it can't be read, as on most virtual machines.
    """
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None
