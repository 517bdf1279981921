"""Count kernels and the bytes they hand to one another, for the pass report."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from sr_tvm.passes.fuse_elementwise import Grouping, is_kernel, operator
from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.log import Log
from sr_tvm.passes.shapes import tensor_bytes


def kernels(mod: tvm.IRModule) -> tuple[list[relax.Var], int]:
    """List the kernel calls of ``main`` that depend on its inputs, and count the bytes of intermediate tensors.

    Sizes that only the run tells count as 1: bytes are then for each pixel of the input.

    Args:
        mod: A module whose ``main`` calls TIR kernels (after LegalizeOps).

    Returns:
        The variables bound to kernel calls, in order; and the bytes of their outputs less those of main's own results.
    """
    graph = RelaxGraph(mod["main"])
    live = set(graph.func.params)
    calls = []
    for var, value in graph.values.items():
        if live.intersection(relax.analysis.free_vars(value)):
            live.add(var)
            if is_kernel(value):
                calls.append(var)
    return calls, sum(tensor_bytes(var.ty) for var in calls) - _returned(graph, set(calls))


def _returned(graph: RelaxGraph, calls: set[relax.Var]) -> int:
    """Return the bytes of main's results that kernels write, each tensor once."""
    written: dict[tuple[relax.Var, int], int] = {}
    stack: list[relax.Expr] = list(graph.outputs)
    while stack:
        read = stack.pop()
        value, field = graph.value(read), 0
        if isinstance(value, relax.Tuple):
            stack.extend(value.fields)
            continue
        if isinstance(value, relax.TupleGetItem):
            read, field = value.tuple_value, int(value.index)
        elif isinstance(value, relax.Var) and not value.same_as(read):  # another name of it
            stack.append(value)
        if read in calls:
            kind = read.ty.fields[field] if isinstance(read.ty, relax.TupleType) else read.ty
            written[read, field] = tensor_bytes(kind)
    return sum(written.values())


def unfused(mod: tvm.IRModule, target: tvm.target.Target) -> tuple[int, int]:
    """Count kernels and intermediate bytes of a network with one kernel for each operator: the state before any fusion.

    Args:
        mod: High-level Relax of an imported network; it stays as it is.
        target: Of TVM, for which operators are legalized.

    Returns:
        The number of kernels, and the bytes of their outputs less the network's own.
    """
    with target, tvm.transform.PassContext(opt_level=3):
        steps = (relax.transform.FoldConstant(), relax.transform.LegalizeOps(), relax.transform.DeadCodeElimination())
        calls, traffic = kernels(tvm.transform.Sequential(steps)(mod))
    return len(calls), traffic


def fusions(mod: tvm.IRModule, grouping: Grouping, log: Log) -> list[dict[str, Any]]:
    """Tell for every kernel of a fused module its operators and the rules that joined them.

    Args:
        mod: The module after all phases.
        grouping: The groups that FuseElementwise made of it.
        log: What the passes said; it names the streamed kernels.

    Returns:
        One row for each kernel, in order: ``{kernel, operators, rule, output_bytes}``, the ``fusions`` of a PassReport.
    """
    graph = RelaxGraph(mod["main"])
    groups = {group.vars[-1].name: group for group in grouping.groups}
    rows = []
    for var in kernels(mod)[0]:
        name = graph.values[var].args[0].name_hint
        if name in log.streamed:
            operators, rules = log.streamed[name].operators, log.streamed[name].rules
        else:
            group = groups[var.name]
            operators, rules = [operator(grouping.graph, v) for v in group.vars], group.rules
        rows.append(
            {
                "kernel": name,
                "operators": list(operators),
                "rule": "; ".join(dict.fromkeys(rules)) or "one operator",
                "output_bytes": tensor_bytes(var.ty),
            }
        )
    return rows
