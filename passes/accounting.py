"""Count kernels and the bytes they hand to one another, for the pass report."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from sr_tvm.passes.fuse_elementwise import Grouping, is_kernel, operator
from sr_tvm.passes.graph import Graph, tensor_bytes


def kernels(mod: tvm.IRModule) -> tuple[list[relax.Var], int]:
    """The kernel calls of ``main`` that depend on its inputs, and the bytes of their outputs less main's own."""
    graph = Graph(mod["main"])
    live = set(graph.func.params)
    calls = []
    for var, value in graph.values.items():
        if live.intersection(relax.analysis.free_vars(value)):
            live.add(var)
            if is_kernel(value):
                calls.append(var)
    return calls, sum(tensor_bytes(var.ty) for var in calls if var not in graph.outputs)


def unfused(mod: tvm.IRModule, target: tvm.target.Target) -> tuple[int, int]:
    """Kernels and intermediate bytes of ``mod`` with one kernel for each operator."""
    with target, tvm.transform.PassContext(opt_level=3):
        steps = (relax.transform.FoldConstant(), relax.transform.LegalizeOps(), relax.transform.DeadCodeElimination())
        calls, traffic = kernels(tvm.transform.Sequential(steps)(mod))
    return len(calls), traffic


def fusions(mod: tvm.IRModule, grouping: Grouping) -> list[dict[str, Any]]:
    """Every kernel of the fused ``mod`` with its operators and the rules that joined them."""
    graph = Graph(mod["main"])
    groups = {group.vars[-1].name: group for group in grouping.groups}
    rows = []
    for var in kernels(mod)[0]:
        group = groups[var.name]
        rows.append(
            {
                "kernel": graph.values[var].args[0].name_hint,
                "operators": [operator(grouping.graph, v) for v in group.vars],
                "rule": "; ".join(dict.fromkeys(group.rules)) or "one operator",
                "output_bytes": tensor_bytes(var.ty),
            }
        )
    return rows
