"""A package's C library, with its workspace for the whole picture."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int32, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import Loaded
from sr_tvm.package.interface import USES, VERSION
from sr_tvm.package.record import Package

FOLDER, ALIGNMENT = "package", 64


def load(name: str, folder: Path, threads: int, x: np.ndarray) -> Loaded:
    package = Package.load(folder / FOLDER)
    library = ctypes.CDLL(str(package.folder / "lib" / f"lib{package.name}.so"))

    def checked(function: str, *arguments: Any) -> None:
        code = getattr(library, f"{package.name}_{function}")(*arguments)
        if code:
            raise RuntimeError(f"{function} gives code {code}")

    network, size = c_void_p(), c_size_t()
    whole = [use for use, _ in USES].index("WHOLE") + 1
    images, _, height, width = x.shape
    checked("create", VERSION, threads, byref(network))
    checked("workspace_bytes", height, width, threads, whole, byref(size))
    memory = np.empty(size.value + ALIGNMENT, np.uint8)
    workspace = c_void_p(memory.ctypes.data + -memory.ctypes.data % ALIGNMENT)
    y = np.empty((images, package.channels, height * package.scale, width * package.scale), np.float32)
    pixels = [c_void_p(array.ctypes.data) for array in (x, y)]
    numbers = [c_int32(n) for n in (images, height, width)]

    def call() -> Any:
        checked("run_f32", network, *pixels, *numbers, workspace, size)
        return memory, y

    return Loaded(call, lambda result: result[1])
