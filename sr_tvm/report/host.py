"""What was this measured on: the machine and the versions that go beside every number."""

from __future__ import annotations

import importlib.metadata
import platform

from sr_tvm.system import machine as here

PACKAGES = ("sr-tvm", "apache-tvm", "apache-tvm-ffi", "torch", "onnx", "onnxruntime", "numpy")


def machine() -> dict[str, str | int | float]:
    """Describe this machine. No host name: it says nothing about speed.

    Returns:
        Processor, cores that this process may use, memory in GiB, system, and whether it is a virtual machine.
    """
    memory = here.field("/proc/meminfo", "MemTotal").split()
    return {
        "cpu": here.cpu_name(),
        "cores": here.cores(),
        "memory_gib": round(int(memory[0]) / 2**20, 1) if memory else 0.0,
        "system": f"{platform.system()} {platform.machine()}",
        "virtual": "hypervisor" in here.field("/proc/cpuinfo", "flags").split(),
    }


def versions(packages: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """List the installed versions of packages and of Python.

    Args:
        packages: Their names on a package index.

    Returns:
        Versions by name; without the packages that are not installed.
    """
    found = {"python": platform.python_version()}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
