"""The engines that run the same ONNX file, one module each with ``load(name, folder, threads, x) -> Loaded``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Loaded:
    """A network ready to run. ``call`` runs it once to the end; ``output`` turns what it gave into an array."""

    call: Callable[[], Any]
    output: Callable[[Any], Any]


@dataclass(frozen=True)
class Engine:
    module: str
    packages: tuple[str, ...]
    how: str


OURS = "sr-tvm"
ENGINES = {
    OURS: Engine("ours", ("apache-tvm",), "our passes and schedules through TVM; see summary.ours"),
    "onnxruntime": Engine("onnxruntime_cpu", ("onnxruntime",), "CPU provider, all graph optimisations"),
    "openvino": Engine("openvino_cpu", ("openvino",), "precision hint f32, one stream"),
    "mnn": Engine("mnn_cpu", ("MNN",), "converted from the ONNX file, precision high; its input is copied in each run"),
    "ncnn": Engine("ncnn_cpu", ("ncnn", "pnnx"), "converted from TorchScript by pnnx, fp16 and bf16 off"),
    "torch": Engine("pytorch", ("torch",), "eager, channels last"),
    "torch.compile": Engine("pytorch", ("torch",), "inductor with freezing, channels last"),
}
# Not compared in peers: other benchmarks use them.
LIBRARY, OPENCL, PACKAGE, NO_ARENA = "library", "opencl", "package", "onnxruntime, no arena"
ALL = ENGINES | {
    LIBRARY: Engine("library", ("apache-tvm",), "model.so of the folder, as it is"),
    OPENCL: Engine("opencl", ("apache-tvm",), "model.so of the folder on the OpenCL device"),
    PACKAGE: Engine("package", (), "the C library of the folder's package, called by ctypes"),
    NO_ARENA: Engine("onnxruntime_cpu", ("onnxruntime",), "memory arena off"),
}
