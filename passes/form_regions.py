"""Replace groups of operators by the kernels that the target makes of them: fusion of blocks, and of whole networks.

The groups come from the table of axes in mapping.py, and are the same for every target; what kernels become of one is
the target's. Operators that stream in no region stay as they are.
"""

from __future__ import annotations

from graphlib import TopologicalSorter
from itertools import count
from typing import Any

import tvm
import tvm_ffi
from tvm import relax

from sr_tvm.codegen.kernel import Kernel, Lowers
from sr_tvm.errors import SrTvmError
from sr_tvm.passes.build_region import Formed, build_region
from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.log import Log, Streamed
from sr_tvm.passes.read_region import RegionStep
from sr_tvm.passes.region_groups import Members, RegionGroups
from sr_tvm.passes.shapes import Dim, dims, static
from sr_tvm.passes.streamed import mark
from sr_tvm.regions.value import NCHW, Value

Binding = tuple[relax.Var, relax.Expr]


@tvm.transform.module_pass(opt_level=0, name="FormRegions")
class FormRegions:
    """Lower each maximal streaming region of ``main``. Without a lowering the module stays as it is."""

    def __init__(self, log: Log | None = None, lowering: Lowers | None = None) -> None:
        self.log, self.lowering = log or Log(), lowering

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Put the target's kernels in place of each region that its lowering takes.

        Args:
            mod: Relax of a network after the folding passes, before LegalizeOps.

        Returns:
            A new module with the kernels added; ``mod`` itself without a lowering. The log names each streamed kernel
            and each refusal.

        Raises:
            SrTvmError: The lowering's kernels do not fit together, or its values do not fit the region.
        """
        if self.lowering is None:
            return mod
        graph = RelaxGraph(mod["main"])
        groups = RegionGroups(mod, graph)
        steps = {var: step for var, step in groups.steps.items() if isinstance(step, RegionStep)}
        builder = relax.BlockBuilder(mod)
        made: dict[Members, list[Binding]] = {}
        for members in groups.groups:
            formed = build_region(graph, members.vars, steps)
            name = _fresh(builder.get(), "stream")
            kernels = self.lowering.lower(formed.region, _shape(formed), name)
            if not kernels:
                self.log.refuse(f"region of {len(members.vars)} operators", f"{self.lowering.name} leaves it alone")
                continue
            made[members] = _Calls(builder, formed, kernels).bindings()
            for kernel in kernels:
                self.log.streamed[kernel.entry] = Streamed(_operators(formed, kernel), groups.rules(members))
        for where, reason in groups.refusals():
            self.log.refuse(where, reason)
        return _rebuild(builder.finalize(), graph, made)


def _fresh(mod: tvm.IRModule, prefix: str) -> str:
    """Return the first of stream0, stream1, ... such that no function of the module has a name that starts with it."""
    taken = [var.name_hint for var in mod.get_global_vars()]
    numbered = (f"{prefix}{i}" for i in count())
    return next(name for name in numbered if not any(other.startswith(name) for other in taken))


def _shape(formed: Formed) -> tuple[int | None, int | None, int | None]:
    batch, _, height, width = _dims(next(iter(formed.sources.values())))
    return static(batch), static(height), static(width)


def _dims(var: relax.Var) -> tuple[Dim, ...]:
    shape = dims(var)
    assert shape is not None
    return shape


def _operators(formed: Formed, kernel: Kernel) -> list[str]:
    """Return the operators that a kernel does: those behind its outputs, as far as its inputs.

    Of values that are the lowering's own, such as a copy of an input in another form, there are none.
    """
    region, seen = formed.region, {value.name for value in kernel.inputs}
    stack = [value.name for value in kernel.outputs if value.name in region.by_name]
    names = set()
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            names.add(name)
            stack += region.by_name[name].inputs
    return [did for node in region.nodes if node.name in names for did in formed.operators.get(node.name, [])]


class _Calls:
    """The calls of a region's kernels, and what they are bound to."""

    def __init__(self, builder: relax.BlockBuilder, formed: Formed, kernels: list[Kernel]) -> None:
        self.builder, self.formed, self.kernels = builder, formed, kernels
        self.batch, _, self.height, self.width = _dims(next(iter(formed.sources.values())))
        self.values: dict[tuple[str, int], tuple[Value, relax.Expr]] = {}
        for name, var in formed.sources.items():
            value = formed.region.value(name)
            self.values[value.key] = value, var

    def bindings(self) -> list[Binding]:
        rows = [row for kernel in self.kernels for row in self._call(kernel)]
        for result, (first, *others) in self.formed.results.items():
            if result not in self.values:
                raise SrTvmError(f"the lowering made no {result[0]} of a region's results; please report this")
            rows += [(other, first) for other in others]
        return rows

    def _call(self, kernel: Kernel) -> list[Binding]:
        entry = add_functions(self.builder, kernel)
        arguments = [self._read(kernel, value) for value in kernel.inputs]
        arguments += [relax.const(c.numbers, str(c.numbers.dtype)) for c in kernel.constants]
        types = [self._type(value) for value in kernel.outputs]
        call = relax.call_tir(entry, relax.Tuple(arguments), out_ty=types[0] if len(types) == 1 else types)
        if len(types) == 1:
            var = self._variable(kernel.outputs[0], types[0])
            return [(var, call)]
        whole = relax.DataflowVar(f"{kernel.entry}_results", relax.TupleType(types))
        rows: list[Binding] = [(whole, call)]
        for i, output in enumerate(kernel.outputs):
            rows.append((self._variable(output, types[i]), relax.TupleGetItem(whole, i)))
        return rows

    def _read(self, kernel: Kernel, value: Value) -> relax.Expr:
        made, var = self.values[value.key]
        if made != value:
            raise SrTvmError(f"{kernel.entry} reads {value}, but what is there is {made}; please report this")
        return var

    def _variable(self, value: Value, kind: relax.TensorType) -> relax.Var:
        bound = self.formed.results.get(value.key)
        if bound and value.layout != NCHW:
            raise SrTvmError(f"the lowering made the result {value.name} as {value.layout}; please report this")
        var = bound[0] if bound else relax.DataflowVar(f"{value.name}_stored", kind)
        self.values[value.key] = value, var
        return var

    def _type(self, value: Value) -> relax.TensorType:
        return relax.TensorType(value.shape(self.batch, self.height, self.width), value.dtype)


def add_functions(builder: relax.BlockBuilder, kernel: Kernel) -> tvm.ir.GlobalVar:
    """Add a kernel's functions to the module.

    Functions call each other by the very variables that occur in their bodies, so it is these that name them.

    Args:
        builder: Of the module.
        kernel: Its functions get the marks of a streamed kernel.

    Returns:
        The entry's name in the module.
    """
    names: dict[str, tvm.ir.GlobalVar] = {}
    for function in kernel.functions.values():
        tvm_ffi.structural_walk(
            function.body, (tvm.ir.GlobalVar, lambda var: names.setdefault(var.name_hint, var) and None)
        )
    for name, function in kernel.functions.items():
        if name != kernel.entry:
            builder.update_func(names.setdefault(name, tvm.ir.GlobalVar(name)), mark(function, helper=True))
    return builder.add_func(mark(kernel.functions[kernel.entry], helper=False), kernel.entry)


def _rebuild(mod: tvm.IRModule, graph: RelaxGraph, made: dict[Members, list[Binding]]) -> tvm.IRModule:
    """Return ``main`` with the regions' bindings in place of their operators', definitions before what reads them."""
    unit: dict[relax.Var, Any] = {var: var for var in graph.values}
    unit |= {var: members for members in made for var in members.vars}
    after: TopologicalSorter[Any] = TopologicalSorter()
    for var, value in graph.values.items():
        reads = dict.fromkeys(unit[v] for v in relax.analysis.free_vars(value) if v in unit)
        after.add(unit[var], *(read for read in reads if read is not unit[var]))
    values: dict[relax.Var, relax.Expr] = {}
    for item in after.static_order():
        values.update(made[item] if isinstance(item, Members) else [(item, graph.values[item])])
    graph.values = values
    return graph.update(mod)
