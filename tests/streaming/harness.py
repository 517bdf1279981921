"""Compiles the kernels of any lowering for this machine and runs them on numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
import tvm
import tvm_ffi
from region_reference import evaluate, result_name
from tvm.target import codegen

from sr_tvm.codegen.kernel import Kernel, Lowers, Shape
from sr_tvm.regions.region import Region
from sr_tvm.regions.value import GLOBAL, Value

HOST = {"kind": "llvm", "mcpu": codegen.llvm_get_system_cpu()}
QUICK = {"kind": "llvm", "opt-level": 1}  # half the time to compile, a tenth of the speed
TOLERANCE = 1e-5  # of the reference's peak, or of 1


def module_of(kernels: Sequence[Kernel]) -> tvm.IRModule:
    """All functions of ``kernels``, with the entries visible under their names.

    Functions call each other by the very variables that occur in their bodies, so it is these that name them.
    """
    functions: dict[str, Any] = {}
    for kernel in kernels:
        assert kernel.entry in kernel.functions
        assert not functions.keys() & kernel.functions.keys(), "two kernels share a function's name"
        functions |= kernel.functions
        functions[kernel.entry] = functions[kernel.entry].with_attr("global_symbol", kernel.entry)
    names: dict[str, tvm.ir.GlobalVar] = {}

    def visit(var: tvm.ir.GlobalVar) -> None:
        names.setdefault(var.name_hint, var)

    for function in functions.values():
        tvm_ffi.structural_walk(function.body, (tvm.ir.GlobalVar, visit), order="post")
    return tvm.IRModule({names.get(name, tvm.ir.GlobalVar(name)): f for name, f in functions.items()})


class Compiled:
    """Kernels as machine code, and where they run."""

    device = tvm.cpu()

    def __init__(self, kernels: Sequence[Kernel], target: Mapping[str, Any] = HOST) -> None:
        self.kernels = tuple(kernels)
        self.code = self.compile(module_of(kernels), tvm.target.Target(dict(target)))
        self.constants = [[self.tensor(c.numbers) for c in kernel.constants] for kernel in kernels]

    def compile(self, mod: tvm.IRModule, target: tvm.target.Target) -> Any:
        return tvm.compile(mod, target=target)

    def tensor(self, array: np.ndarray, scope: str = GLOBAL) -> Any:
        made = tvm.runtime.empty(array.shape, str(array.dtype), self.device, None if scope == GLOBAL else scope)
        made.copyfrom(np.ascontiguousarray(array))
        return made

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[tuple[str, int], np.ndarray]:
        """Every output by value and pixel shuffle; ``inputs`` are the sources' arrays (N, C, H, W).

        Outputs start as NaN: what a kernel leaves unwritten shows.
        """
        batch, _, height, width = next(iter(inputs.values())).shape
        sizes = (batch, height, width)
        values = {(name, 1): self.tensor(a.astype("float32")) for name, a in inputs.items()}
        made: dict[tuple[str, int], Value] = {}
        for kernel, constants in zip(self.kernels, self.constants, strict=True):
            outputs = [self.tensor(np.full(v.shape(*sizes), np.nan, v.dtype), v.scope) for v in kernel.outputs]
            assert all(made.get(v.key, v) == v for v in kernel.inputs), "a value is read otherwise than it was made"
            self.code[kernel.entry](*[values[v.key] for v in kernel.inputs], *constants, *outputs)
            values |= {v.key: out for v, out in zip(kernel.outputs, outputs, strict=True)}
            made |= {v.key: v for v in kernel.outputs}
        arrays = {key: value.numpy() for key, value in values.items()}
        return arrays | {key: v.layout.unpack(arrays[key], v.channels) for key, v in made.items()}


def run_kernels(
    kernels: Sequence[Kernel], inputs: Mapping[str, np.ndarray], target: Mapping[str, Any] = HOST
) -> dict[tuple[str, int], np.ndarray]:
    """Compile and run once; see :meth:`Compiled.run`."""
    return Compiled(kernels, target).run(inputs)


@lru_cache(maxsize=16)
def compiled(lowering: Lowers, region: Region, shape: Shape, target: tuple[tuple[str, Any], ...]) -> Compiled:
    """The machine code of ``region`` for ``shape``; a region is the same only if it is the same object."""
    return Compiled(lowering.lower(region, shape, "region"), dict(target))


def random_inputs(region: Region, size: tuple[int, int, int], seed: int = 0) -> dict[str, np.ndarray]:
    """An array for each source at ``size`` (N, H, W), normal with mean 0.5: mistakes at the border show."""
    rng = np.random.default_rng(seed)
    n, h, w = size
    return {s.name: rng.normal(0.5, 1, (n, s.channels, h, w)).astype("float32") for s in region.sources}


def check(
    lowering: Lowers,
    region: Region,
    size: tuple[int, int, int],
    shape: Shape = (None, None, None),
    target: Mapping[str, Any] = HOST,
) -> None:
    """Fail unless what ``lowering`` makes of ``region`` for ``shape`` computes at ``size`` what PyTorch does.

    Further sizes of the same region and shape cost no further compilation.
    """
    inputs = random_inputs(region, size)
    code = compiled(lowering, region, shape, tuple(target.items()))
    compare(region, inputs, code.run(inputs))


def compare(region: Region, inputs: Mapping[str, np.ndarray], outputs: Mapping[tuple[str, int], np.ndarray]) -> None:
    """Fail unless ``outputs``, by value and pixel shuffle, has all results of ``region`` as PyTorch computes them.

    Where fewer than all values are off, the message has the first place (N, C, H, W), say at a strip's edge.
    """
    reference = evaluate(region, inputs, torch.float64)
    for result in region.results:
        expected = reference[result_name(result.value, result.shuffle)]
        actual = outputs[result.value, result.shuffle]
        assert actual.shape == expected.shape, f"{result}: shape {actual.shape}, expected {expected.shape}"
        limit = TOLERANCE * max(1.0, float(np.abs(expected).max()))
        error = np.abs(actual - expected)
        if not error.max() <= limit:
            place = tuple(int(i) for i in np.argwhere(~(error <= limit))[0])
            bad = int((~(error <= limit)).sum())
            raise AssertionError(
                f"{result} at {size_of(inputs)}: {bad} of {error.size} values off, the first at {place}: "
                f"{actual[place]} instead of {expected[place]}"
            )


def size_of(inputs: Mapping[str, np.ndarray]) -> str:
    n, _, h, w = next(iter(inputs.values())).shape
    return f"batch {n}, {h}x{w}"
