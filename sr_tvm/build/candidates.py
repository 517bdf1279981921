"""From a candidate's JSON form to a module: decisions of a streaming region, or a scheduled kernel."""

from __future__ import annotations

import hashlib
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tvm
from tvm import tirx

from sr_tvm.build.integer_candidates import IntegerCandidates
from sr_tvm.codegen.kernel import Kernel
from sr_tvm.errors import SrTvmError
from sr_tvm.records.elf import library_machine
from sr_tvm.records.module import Argument, Module
from sr_tvm.regions.data import from_data
from sr_tvm.regions.value import Value
from sr_tvm.system.files import sha256
from sr_tvm.targets import registry
from sr_tvm.targets.target import Target

HOST = "cpu"
PREFIX = "srtvmpiece"  # of function names: a word that occurs nowhere else in a module
KEPT_OBJECTS = 64  # compiled pieces: children share most with their parents
SYMBOL = "__tvm_ffi_{}"  # what TVM calls the function of a global_symbol in the object file


class RegionCandidates:
    """A region at one size, whose candidates are decisions.

    A piece is compiled once for all candidates that have it, and for all pieces of its structure: the numbers come as
    constants. ``request`` is the task's JSON form.

    Raises:
        SrTvmError: The target streams no regions.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.target = registry.from_spec(request["target"])
        lowering = self.target.lowering()
        if lowering is None:
            raise SrTvmError(f"target {self.target.name} streams no regions")
        self.lowering = lowering
        self.region = from_data(request["region"])
        self.shape, self.size = tuple(request["shape"]), tuple(request["size"])
        self.objects = _Objects(self.target)

    def build(self, candidate: dict[str, Any], key: str, folder: str) -> Module:
        """Lower the region by a candidate's decisions, compile what is new of it, and link.

        Args:
            candidate: {"decisions"}, in the lowering's JSON form.
            key: Of the candidate, which becomes the module's.
            folder: Where the module's files go.

        Returns:
            The module of a function that takes all tensors.

        Raises:
            SrTvmError: The decisions are not right, or the lowering leaves the region alone.
        """
        decisions = self.lowering.from_json(candidate["decisions"], "a candidate")
        kernels = self.lowering.lower(self.region, self.shape, PREFIX, decisions)
        if not kernels:
            raise SrTvmError(f"the lowering {self.lowering.name} leaves the region alone")
        if self.target.capabilities.device != HOST:
            return self._build_for_device(kernels, key, folder)
        arguments, constants, calls, objects = self._plan(kernels)
        aliases = _own_names(calls)
        entry = self.objects.of(_caller(arguments, calls), "main")
        return _linked(self.target, key, folder, [*objects, entry], tuple(arguments), constants, aliases)

    def _build_for_device(self, kernels: list[Kernel], key: str, folder: str) -> Module:
        """Return a module with one library of all kernels: device code is not linked."""
        arguments, constants, calls = self._calls(kernels)
        functions: dict[str, tirx.PrimFunc] = {}
        for i, kernel in enumerate(kernels):
            name = f"{PREFIX}_{i}"
            functions[name] = kernel.functions[kernel.entry].with_attr("global_symbol", name)
            calls[i] = name, calls[i][1]
        with _module_file(folder) as library:
            self.target.write_library(tvm.IRModule(functions), _caller(arguments, calls), library)
            return _described(self.target, key, library, tuple(arguments), constants)

    def _plan(self, kernels: list[Kernel]) -> tuple[list[Argument], dict[str, np.ndarray], list[Any], list[Path]]:
        """Return what :meth:`_calls` does, but with the symbols of the kernels' object files; and the files' paths."""
        arguments, constants, calls = self._calls(kernels)
        objects: list[Path] = []
        for i, kernel in enumerate(kernels):
            symbol, path = self.objects.of_kernel(kernel)
            calls[i] = symbol, calls[i][1]
            if path not in objects:
                objects.append(path)
        return arguments, constants, calls, objects

    def _calls(self, kernels: list[Kernel]) -> tuple[list[Argument], dict[str, np.ndarray], list[Any]]:
        """Return the entry's arguments, the constants, and the calls of the kernels with their arguments' names."""
        results = {(r.value, r.shuffle) for r in self.region.results}
        arguments: dict[str, Argument] = {}
        constants: dict[str, np.ndarray] = {}
        calls = []
        for source in self.region.sources:
            value = self.region.value(source.name)
            arguments[_name(value)] = Argument(_name(value), value.shape(*self.size), value.dtype, "input")
        for i, kernel in enumerate(kernels):
            names = [_name(value) for value in kernel.inputs]
            for constant in kernel.constants:
                name = f"{i} {constant.name}"
                numbers = constants[name] = np.ascontiguousarray(constant.numbers)
                arguments[name] = Argument(name, numbers.shape, str(numbers.dtype), "constant")
                names.append(name)
            for value in kernel.outputs:
                role: Any = "output" if value.key in results else "scratch"
                shape = value.shape(*self.size)
                arguments[_name(value)] = Argument(_name(value), shape, value.dtype, role, value.scope)
                names.append(_name(value))
            calls.append((kernel.entry, names))
        return list(arguments.values()), constants, calls


class KernelCandidates:
    """A kernel that MetaSchedule schedules; a candidate is the whole scheduled module, with its function "main".

    ``request`` is the task's JSON form.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.target = registry.from_spec(request["target"])
        self.arguments = tuple(
            Argument(f"argument {i}", tuple(shape), dtype, "inout")
            for i, (dtype, shape) in enumerate(request["arguments"])
        )

    def build(self, candidate: dict[str, Any], key: str, folder: str) -> Module:
        """Compile a candidate's scheduled module and link it.

        Args:
            candidate: {"mod"}, TVM's JSON of a module.
            key: Of the candidate, which becomes the module's.
            folder: Where the module's files go.

        Returns:
            The module of a function that takes all tensors.
        """
        mod = tvm.ir.load_json(candidate["mod"])
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            path = Path(scratch) / "main.o"
            self.target.object(tvm.IRModule({"main": mod["main"].with_attr("global_symbol", "main")}), path)
            return _linked(self.target, key, folder, [path], self.arguments, {})


TASKS: dict[str, type] = {"region": RegionCandidates, "kernel": KernelCandidates, "integer": IntegerCandidates}


class _Objects:
    """Object files by the code in them."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.folder = tempfile.TemporaryDirectory(prefix="sr-tvm-objects-")
        self.found: OrderedDict[str, Path] = OrderedDict()

    def of_kernel(self, kernel: Kernel) -> tuple[str, Path]:
        """Return the symbol of a kernel's entry, which tells its code, and its object file."""
        functions = kernel.module_functions()
        text = tvm.ir.save_json(tvm.IRModule(functions)).replace(f'"{kernel.entry}', '"')
        symbol = "piece_" + hashlib.sha256(text.encode()).hexdigest()[:24]
        if symbol in self.found:
            self.found.move_to_end(symbol)
            return symbol, self.found[symbol]
        named = {
            var: function.with_attr("global_symbol", symbol) if var.name_hint == kernel.entry else function
            for var, function in functions.items()
        }
        return symbol, self.of(tvm.IRModule(named), symbol)

    def of(self, mod: tvm.IRModule, name: str) -> Path:
        path = Path(self.folder.name) / f"{name}.o"
        self.target.object(mod, path)
        self.found[name] = path
        while len(self.found) > KEPT_OBJECTS:
            self.found.popitem(last=False)[1].unlink(missing_ok=True)
        return path


def _name(value: Value) -> str:
    """Return a value's name in the session; a shuffled one's is another."""
    return value.name if value.enlarged == 1 else f"{value.name} x{value.enlarged}"


def _own_names(calls: list[tuple[str, list[str]]]) -> dict[str, str]:
    """Give every call a symbol of its own, in place.

    LLVM takes the second declaration of a function in one module for another function.

    Returns:
        By new symbol of the object file, the one that it stands for.
    """
    aliases: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for i, (symbol, names) in enumerate(calls):
        if seen[symbol]:
            alias = f"{symbol}_{seen[symbol]}"
            aliases[SYMBOL.format(alias)] = SYMBOL.format(symbol)
            calls[i] = alias, names
        seen[symbol] += 1
    return aliases


def _caller(arguments: list[Argument], calls: list[tuple[str, list[str]]]) -> tvm.IRModule:
    """Return a module with a host function "main" that takes all tensors and calls the kernels in order."""
    buffers = {a.name: tirx.decl_buffer(a.shape, a.dtype, f"t{i}", scope=a.scope) for i, a in enumerate(arguments)}
    rows = [
        tirx.Evaluate(tirx.call_cpacked(SYMBOL.format(symbol), *(buffers[name] for name in names)))
        for symbol, names in calls
    ]
    body = rows[0] if len(rows) == 1 else tirx.SeqStmt(rows)
    function = tirx.PrimFunc([buffers[a.name] for a in arguments], body)
    return tvm.IRModule({"main": function.with_attr({"global_symbol": "main", "s_tir": True})})


def _linked(
    target: Target, key: str, folder: str, objects: list[Path], arguments: tuple[Argument, ...],
    constants: dict[str, np.ndarray], aliases: dict[str, str] | None = None,
) -> Module:  # fmt: skip
    with _module_file(folder) as library:
        target.link(library, objects, aliases)
        return _described(target, key, library, arguments, constants)


@contextmanager
def _module_file(folder: str) -> Iterator[Path]:
    """Make a new file for a library, gone again where that can't be made.

    Yields:
        Its path.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix="module-", suffix=".so", delete=False) as made:
        library = Path(made.name)
    try:
        yield library
    except BaseException:
        library.unlink(missing_ok=True)
        raise


def _described(
    target: Target, key: str, library: Path, arguments: tuple[Argument, ...], constants: dict[str, np.ndarray]
) -> Module:
    numbers = ""
    if constants:
        numbers = str(library.with_suffix(".npz"))
        np.savez(numbers, **constants)  # type: ignore[arg-type]
    return Module(
        key,
        str(library),
        sha256(library),
        library_machine(library),
        target.capabilities.device,
        target.name,
        "function",
        arguments,
        numbers,
    )
