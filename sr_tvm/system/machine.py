"""What this machine is: its processor and cores. Imports nothing heavy."""

from __future__ import annotations

import os
import platform
from pathlib import Path

ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}


def machine() -> str:
    """This machine's architecture as uname -m names it."""
    name = platform.machine().lower()
    return ALIASES.get(name, name)


def machine_of_triple(triple: str) -> str:
    """The architecture in an LLVM target triple."""
    name = triple.split("-", 1)[0].lower()
    return ALIASES.get(name, name)


def field(path: str, name: str) -> str:
    """The first value of ``name`` in a file of "name: value" lines like /proc/cpuinfo; "" where there is none."""
    try:
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    except OSError:
        pass
    return ""


def cpu_name() -> str:
    """The CPU's marketing name, else its architecture."""
    names = (field("/proc/cpuinfo", name) for name in ("model name", "Hardware"))
    return next((name for name in names if name), "") or platform.processor() or machine()


def cores() -> int:
    """CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def l2_bytes(default: int = 1 << 20) -> int:
    """Size of CPU 0's second-level cache; ``default`` where it cannot be read."""
    try:
        size = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text(encoding="utf-8").strip()
        return int(size.removesuffix("K")) << 10
    except (OSError, ValueError):
        return default


def governor() -> str | None:
    """The frequency governor of CPU 0 where it can be read (on most virtual machines it cannot)."""
    try:
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    except OSError:
        return None
