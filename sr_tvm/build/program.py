"""From a scheduled module to its `Program`: the calls of its kernels, their constants and the memory between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx
from tvm.s_tir.stmt import SBlock

from sr_tvm.build.signature import dims
from sr_tvm.errors import SrTvmError
from sr_tvm.passes.streamed import is_helper
from sr_tvm.records.program import ALIGNMENT, WEIGHTS, Call, Code, Program, Stored, plan_memory
from sr_tvm.records.size import Size, total
from sr_tvm.records.tensor import Tensor
from sr_tvm.targets.target import Target

SYMBOL = "__tvm_ffi_{}"  # what TVM calls the function of a global_symbol in the object file
ON_STACK = 1024  # bytes: TVM puts what is smaller, and of known size, on the stack


class NoProgram(SrTvmError):
    """The module does more than to call kernels: it needs TVM's virtual machine."""


def program_of(
    mod: tvm.IRModule, target: Target, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> tuple[Program, bytes]:
    """Read the program of a scheduled module, and its constants as they lie in memory.

    Args:
        mod: The module.
        target: That it was scheduled for.
        inputs: Of ``main``, in order.
        outputs: Of ``main``, in order.

    Returns:
        The program, and the bytes of all constants, which its places point into.

    Raises:
        NoProgram: ``main`` has something else than calls of kernels, or a size that is no product of names.
    """
    reader = Reader(mod, inputs, outputs)
    scratch, buffers = plan_memory(reader.scratch, reader.calls)
    helpers = [function for _, function in mod.functions_items() if is_helper(function)]
    program = Program(
        device=target.capabilities.device,
        inputs=inputs,
        outputs=outputs,
        constants=tuple(reader.constants),
        scratch=scratch,
        buffers=buffers,
        kernels={name: _code(name, mod[name], helpers) for name in {call.kernel: None for call in reader.calls}},
        calls=tuple(reader.calls),
        step=target.row_step,
        features=target.instruction_sets(),
    )
    return program, bytes(reader.weights)


def write_program(
    mod: tvm.IRModule, target: Target, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], folder: Path
) -> Program:
    """Read the program of a scheduled module, and write its constants into a new folder.

    The kernels' object file comes from the build, and the record is saved by the caller.

    Args:
        mod: The module.
        target: That it was scheduled for.
        inputs: Of ``main``, in order.
        outputs: Of ``main``, in order.
        folder: Which is made.

    Returns:
        The program.

    Raises:
        NoProgram: As :func:`program_of`; no folder is made then.
    """
    program, weights = program_of(mod, target, inputs, outputs)
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(weights)
    return program


class Reader:
    """The calls of ``main`` of a scheduled module, which binds the result of one after another, and their tensors.

    ``calls`` are in order; ``constants`` have places in ``weights``; ``scratch`` are the tensors between calls, by
    name.

    Raises:
        NoProgram: ``main`` does something else.
    """

    def __init__(self, mod: tvm.IRModule, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        self.calls: list[Call] = []
        self.constants: list[Stored] = []
        self.weights = bytearray()
        self.scratch: dict[str, Tensor] = {}
        self._known: dict[bytes, str] = {}
        self._taken = {t.name for t in (*inputs, *outputs)}
        main = mod["main"]
        # By variable, or by the variable of a kernel's several results and the number of one.
        self._names: dict[Any, str] = dict(zip(main.params, (t.name for t in inputs), strict=True))
        rows = [binding for block in main.body.blocks for binding in block.bindings]
        for result, tensor in zip(self._results(main.body.body, rows), outputs, strict=True):
            if result in self._names:
                raise NoProgram("an output is an input, or another output")
            self._names[result] = tensor.name
        for row in rows:
            self._read(row)

    def _results(self, result: Any, rows: list[Any]) -> list[Any]:
        """Return the variables that kernels write and that leave the network, whatever they are called on the way."""
        self._values = {row.var: row.value for row in rows}
        fields = list(result.fields) if isinstance(result, relax.Tuple) else [result]
        return [self._source(field) for field in fields]

    def _source(self, var: Any) -> Any:
        while True:
            value = self._values.get(var)
            if isinstance(value, relax.TupleGetItem):
                return self._source(value.tuple_value), int(value.index)
            if not isinstance(value, relax.Var):
                return var
            var = value

    def _read(self, row: Any) -> None:
        value = row.value
        if isinstance(value, (relax.Var, relax.TupleGetItem)):
            return
        if not (isinstance(value, relax.Call) and value.op == tvm.ir.Op.get("relax.call_tir")):
            raise NoProgram(f"{row.var.name} is no call of a kernel")
        if len(value.args) > 2:
            raise NoProgram(f"{row.var.name} is a kernel of numbers")
        names = [self._argument(arg) for arg in value.args[1].fields]
        results = [(row.var, row.var.ty)]
        if isinstance(row.var.ty, relax.TupleType):
            results = [((row.var, i), kind) for i, kind in enumerate(row.var.ty.fields)]
        for key, kind in results:
            if key not in self._names:
                name = self._name(row.var.name)
                self._names[key] = name
                self.scratch[name] = self._tensor(name, kind)
        self.calls.append(Call(value.args[0].name_hint, (*names, *(self._names[key] for key, _ in results))))

    def _argument(self, arg: Any) -> str:
        if isinstance(arg, tvm.ir.GenericConst):
            return self._constant(arg)
        return self._names[self._source(arg)]

    def _constant(self, arg: tvm.ir.GenericConst) -> str:
        numbers = np.ascontiguousarray(arg.value.numpy())
        key = numbers.dtype.str.encode() + repr(numbers.shape).encode() + numbers.tobytes()
        if key not in self._known:
            self.weights += bytes(-len(self.weights) % ALIGNMENT)
            name = self._known[key] = self._name(f"weights{len(self.constants)}")
            self.constants.append(Stored(Tensor(name, numbers.shape, str(numbers.dtype)), len(self.weights)))
            self.weights += numbers.tobytes()
        return self._known[key]

    def _tensor(self, name: str, kind: Any) -> Tensor:
        try:
            return Tensor(name, dims(kind.shape), str(kind.dtype))
        except SrTvmError as error:
            raise NoProgram(str(error)) from None

    def _name(self, wanted: str) -> str:
        name = wanted
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def _code(name: str, function: tirx.PrimFunc, helpers: list[tirx.PrimFunc]) -> Code:
    """Return a kernel's entry, with the scratch memory that its code takes at most.

    All of its allocations are summed up, though some may not live at a time: TVM puts no two into one place. What
    helpers allocate belongs to a task.
    """
    everywhere = _allocations(function.body)
    parallel: list[Any] = []

    def visit(loop: tirx.For) -> None:
        if loop.kind == tirx.ForKind.PARALLEL:
            parallel.append(loop)

    tvm_ffi.structural_walk(function.body, (tirx.For, visit))
    in_tasks = {buffer: size for loop in parallel for buffer, size in _allocations(loop).items()}
    for helper in helpers:
        in_tasks |= _allocations(helper.body)
    once = total(size for buffer, size in everywhere.items() if buffer not in in_tasks)
    return Code(SYMBOL.format(name), once, total(in_tasks.values()))


def _allocations(body: Any) -> dict[Any, Size]:
    buffers: list[Any] = []

    def block(node: SBlock) -> None:
        buffers.extend(node.alloc_buffers)

    def statement(node: tirx.AllocBuffer) -> None:
        buffers.append(node.buffer)

    # What is raised inside of a walk comes out of it as another error.
    tvm_ffi.structural_walk(body, (SBlock, block))
    tvm_ffi.structural_walk(body, (tirx.AllocBuffer, statement))
    found: dict[Any, Size] = {}
    for buffer in buffers:
        try:
            size = Size.of(Tensor("", dims(buffer.shape), str(buffer.dtype)))
        except SrTvmError as error:
            raise NoProgram(f"what a kernel allocates: {error}") from None
        if size.names or size.usual > ON_STACK:
            found[buffer] = size + Size.fixed(2 * ALIGNMENT)  # what a runtime notes of it, and rounding
    return found
