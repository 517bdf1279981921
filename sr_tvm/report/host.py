"""What was this measured on: the machine and the versions that go beside every number."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

PACKAGES = ("sr-tvm", "apache-tvm", "apache-tvm-ffi", "torch", "onnx", "onnxruntime", "numpy")


def _field(path: str, name: str) -> str:
    try:
        for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    except OSError:
        pass
    return ""


def machine() -> dict[str, str | int | float]:
    """Processor, cores this process may use, memory in GiB and system. No host name: it says nothing about speed."""
    memory = _field("/proc/meminfo", "MemTotal").split()
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return {
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(usable),
        "memory_gib": round(int(memory[0]) / 2**20, 1) if memory else 0.0,
        "system": f"{platform.system()} {platform.machine()}",
        "virtual": "hypervisor" in _field("/proc/cpuinfo", "flags").split(),
    }


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Installed versions of ``packages`` and of Python; those that are not installed are left out."""
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
