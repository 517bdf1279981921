"""Runs kernels compiled for a phone's CPU under qemu-aarch64, with a C driver in the place of TVM's runtime."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from harness import compare, module_of, random_inputs

from sr_tvm.codegen.kernel import Kernel, Lowers, Shape
from sr_tvm.regions.region import Region

PHONE = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a78"}
QEMU = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
DRIVER = Path(__file__).parent / "qemu_driver.c"

needs_qemu = pytest.mark.skipif(QEMU is None, reason="qemu-aarch64 is missing: make system-deps")


class Emulated:
    """Kernels as a static program for Linux on aarch64; in use like :class:`harness.Compiled`."""

    def __init__(self, kernels: Sequence[Kernel], target: Mapping[str, Any] = PHONE) -> None:
        self.kernels = tuple(kernels)
        self._names: list[tuple[str, int] | None] = []  # of each tensor the driver gets; None for constants
        self._numbers: dict[tuple[str, int], int] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="qemu-")
        folder = Path(self._folder.name)
        (folder / "calls.h").write_text(self._calls())
        self.program = folder / "kernels"
        code = tvm.compile(module_of(kernels), target=dict(target))
        code.export_library(str(self.program), fcompile=self._link)

    def _number(self, name: tuple[str, int] | None) -> int:
        """The number of a tensor; constants (None) are always new."""
        if name in self._numbers:
            return self._numbers[name]
        self._names.append(name)
        if name is not None:
            self._numbers[name] = len(self._names) - 1
        return len(self._names) - 1

    def _calls(self) -> str:
        lines, table = [], []
        for kernel in self.kernels:
            arguments = [self._number(value.key) for value in kernel.inputs]
            arguments += [self._number(None) for _ in kernel.constants]
            arguments += [self._number(value.key) for value in kernel.outputs]
            lines.append(f"Kernel __tvm_ffi_{kernel.entry};")
            numbers = ", ".join(map(str, arguments))
            table.append(f"{{__tvm_ffi_{kernel.entry}, {len(arguments)}, (const int[]){{{numbers}}}}}")
        return "\n".join([*lines, f"static const Call calls[] = {{{', '.join(table)}}};"])

    def _link(self, output: str, objects: list[str], **_: Any) -> None:
        include = Path(tvm_ffi.libinfo.find_include_path())
        dlpack = Path(tvm_ffi.libinfo.find_dlpack_include_path())
        command = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl", "-static", "-O1", "-w"]
        command += [f"-I{folder}" for folder in (self._folder.name, include, dlpack)]
        command += [str(DRIVER), *map(str, objects), "-lm", "-o", str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[tuple[str, int], np.ndarray]:
        """Every output by value and pixel shuffle; see :meth:`harness.Compiled.run`."""
        assert QEMU is not None
        batch, _, height, width = next(iter(inputs.values())).shape
        made = {value.key: value for kernel in self.kernels for value in kernel.outputs}
        shapes = {key: value.shape(batch, height, width) for key, value in made.items()}
        constants = iter([constant.numbers for kernel in self.kernels for constant in kernel.constants])
        tensors = []
        for name in self._names:
            if name is None:
                tensors.append(next(constants))
            else:
                tensors.append(np.full(shapes[name], np.nan, "float32") if name in shapes else inputs[name[0]])
        sent = [struct.pack("=i", len(tensors))]
        for tensor in tensors:
            tensor = tensor if tensor.dtype == "float16" else tensor.astype("float32")
            header = struct.pack(f"=ii{tensor.ndim}q", tensor.ndim, tensor.itemsize * 8, *tensor.shape)
            sent += [header, tensor.tobytes()]
        command = [QEMU, "-cpu", "max", str(self.program)]
        done = subprocess.run(command, input=b"".join(sent), capture_output=True, timeout=300, check=False)
        assert done.returncode == 0, f"exit status {done.returncode}: {done.stderr.decode()}"
        values, offset = {}, 0
        for name, tensor in zip(self._names, tensors, strict=True):
            if name is not None:
                flat = np.frombuffer(done.stdout, "float32", tensor.size, offset)
                values[name] = flat.reshape(tensor.shape)
                if name in made:
                    values[name] = made[name].layout.unpack(values[name], made[name].channels)
            offset += tensor.size * (2 if tensor.dtype == "float16" else 4)
        return values


def check_emulated(
    lowering: Lowers,
    region: Region,
    sizes: Sequence[tuple[int, int, int]],
    shape: Shape = (None, None, None),
    target: Mapping[str, Any] = PHONE,
) -> None:
    """Like :func:`harness.check`, for several sizes of one program."""
    code = Emulated(lowering.lower(region, shape, "region"), target)
    for size in sizes:
        inputs = random_inputs(region, size)
        compare(region, inputs, code.run(inputs))
