"""The OpenCL runtime as TVM loads it, and the OpenCL devices of this machine."""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.runtimes.opencl import build

KIND = "opencl"  # of TVM's devices, and of modules
DEVICES = "sr_tvm.opencl.devices"
LIBRARY_VARIABLE, DEVICE_VARIABLE = "SR_TVM_OPENCL", "SR_TVM_OPENCL_DEVICE"
REMEDY = "install the GPU's driver, or pocl-opencl-icd, which runs OpenCL on the CPU (make system-deps)"


@dataclass(frozen=True)
class ClDevice:
    """What an OpenCL device says of itself; ``number`` is TVM's, as in ``opencl:0``. Sizes are in bytes and pixels.

    Attributes:
        version: of OpenCL, with the driver's own words.
        float16: whether kernels may compute in it (cl_khr_fp16).
        max_work_group: work-items; ``local_bytes``: local memory of a group.
        max_buffer_bytes: of one buffer.
    """

    number: int
    platform: str
    name: str
    vendor: str
    version: str
    driver: str
    gpu: bool
    compute_units: int
    max_work_group: int
    local_bytes: int
    global_bytes: int
    max_buffer_bytes: int
    float16: bool
    images: bool
    image_width: int
    image_height: int

    def __str__(self) -> str:
        return f"{KIND}:{self.number} {self.name}, {self.platform}, driver {self.driver}"


@dataclass(frozen=True)
class Found:
    """The OpenCL library that was opened and its devices; ``problem`` says why there are none, "" where there are.

    ``ignored`` are devices that are too old, each with the reason.
    """

    library: str
    problem: str
    devices: tuple[ClDevice, ...]
    ignored: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, text: str) -> Found:
        """Read the list of devices that the runtime made.

        Args:
            text: JSON; fields of devices that are not known here are left out.

        Returns:
            The library and its devices.
        """
        value = json.loads(text)
        names = {field.name for field in fields(ClDevice)}
        devices = tuple(ClDevice(**{k: v for k, v in row.items() if k in names}) for row in value["devices"])
        return cls(value["library"], value["problem"], devices, tuple(value["ignored"]))


def autoload() -> None:
    """Load the runtime if it was built: TVM's entry point, called by every ``import tvm``. Never raises.

    Building is :func:`ensure`'s: an import must be quick, and must work without a compiler.
    """
    with contextlib.suppress(Exception):
        path = build.library()
        if path.is_file():
            _load(path)


def _load(path: Path) -> None:
    # It registers itself, unless another OpenCL runtime has.
    ctypes.CDLL(str(path), ctypes.RTLD_LOCAL)


def _function(name: str) -> Any:
    from sr_tvm.system.tvm_setup import import_tvm

    return import_tvm().get_global_func(name, allow_missing=True)


def ensure() -> None:
    """Have TVM know OpenCL in this process, building the runtime if that was never done. Finds no device yet.

    Raises:
        SrTvmError: it can't be built, or what was built can't be loaded.
    """
    if _function("device_api.opencl") is not None:
        return
    path = build.build()
    try:
        _load(path)
    except OSError:  # damaged, or of another machine that shares this home
        with contextlib.suppress(OSError):
            path.unlink()
        path = build.build()
        try:
            _load(path)
        except OSError as error:
            raise SrTvmError(f"the OpenCL runtime can't be loaded: {error}") from None
    if _function("device_api.opencl") is None:
        raise SrTvmError(f"{path}: loaded, and TVM still has no OpenCL; delete it")


def find_json() -> str:
    """Do what :func:`find` does, for another process.

    Returns:
        The library and its devices as JSON.

    Raises:
        SrTvmError: The runtime can't be built or loaded, or is not ours.
    """
    ensure()
    ask = _function(DEVICES)
    if ask is None:
        raise SrTvmError("this TVM was built with an OpenCL runtime of its own, which can't list its devices")
    return str(ask())


def find() -> Found:
    """List this machine's OpenCL devices, building the runtime if needed: GPUs first, then CPUs.

    SR_TVM_OPENCL in the environment names the OpenCL library, SR_TVM_OPENCL_DEVICE a part of the platform or name of
    the devices to be listed. Both count at the first use in a process.

    Returns:
        The library and its devices, or why there are none.

    Raises:
        SrTvmError: As of :func:`ensure`.
    """
    return Found.from_json(find_json())


def device(number: int = 0) -> Any:
    """Open an OpenCL device in TVM.

    Args:
        number: TVM's, as in ``opencl:0``.

    Returns:
        TVM's device.

    Raises:
        SrTvmError: There is no such device, or no OpenCL; the message says what to install.
    """
    ensure()
    from sr_tvm.system.tvm_setup import import_tvm

    opened = import_tvm().device(KIND, number)
    if not opened.exist:
        raise SrTvmError(why_none(number) or f"there is no device opencl:{number}")
    return opened


def remedy(problem: str) -> str:
    """Say what to do where no device is found.

    Args:
        problem: Of a :class:`Found`.

    Returns:
        One line.
    """
    named = next((name for name in (DEVICE_VARIABLE, LIBRARY_VARIABLE) if name in problem), None)
    return f"set {named} to another value, or not at all" if named else REMEDY


def why_none(number: int = 0) -> str | None:
    """Say why there is no OpenCL device of a number, and what to do.

    Args:
        number: TVM's, as in ``opencl:0``.

    Returns:
        One line; None where there is one.
    """
    try:
        found = find()
    except SrTvmError as error:
        return str(error)
    if found.problem:
        return f"no OpenCL device: {found.problem}; {remedy(found.problem)}"
    if number >= len(found.devices):
        return f"there is no device opencl:{number}; this machine has {len(found.devices)}, numbered from 0"
    return None


if __name__ == "__main__":
    sys.stdout.write(find_json() + "\n")
