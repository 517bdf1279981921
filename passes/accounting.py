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
    """The kernel calls of ``main`` that depend on its inputs, and the bytes of their outputs less main's own.

    Sizes that only the run tells count as 1: bytes for each pixel of the input.
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
    """Bytes of main's results that kernels write, each tensor once."""
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
    """Kernels and intermediate bytes of ``mod`` with one kernel for each operator."""
    with target, tvm.transform.PassContext(opt_level=3):
        steps = (relax.transform.FoldConstant(), relax.transform.LegalizeOps(), relax.transform.DeadCodeElimination())
        calls, traffic = kernels(tvm.transform.Sequential(steps)(mod))
    return len(calls), traffic


def fusions(mod: tvm.IRModule, grouping: Grouping, log: Log) -> list[dict[str, Any]]:
    """Every kernel of the fused ``mod`` with its operators and the rules that joined them."""
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
