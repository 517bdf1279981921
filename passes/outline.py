"""Move groups of kernel calls out of ``main`` into private functions, which FuseTIR then turns into one kernel each."""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax

from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.mapping import operator_name


def kernel_name(operators: Sequence[str]) -> str:
    """Make a legible name for a fused kernel: ``fused_conv2d_add_relu``.

    Args:
        operators: Names of operators or of their kernels, in order, as ``relax.nn.conv2d`` or ``conv2d3``.

    Returns:
        The name; the module builder makes it unique.
    """
    return "_".join(["fused", *(operator_name(op) for op in operators)])


def outline(mod: tvm.IRModule, groups: Sequence[Sequence[relax.Var]], main: str = "main") -> tvm.IRModule:
    """Make each group of kernel calls one private function with the attribute ``Primitive``.

    A variable that is in several groups is computed in each.

    Args:
        mod: A module whose ``main`` calls TIR kernels.
        groups: Variables of ``main``. Only the last of a group, in the order of ``main``, may be read outside it; a
            group of one stays as it is.
        main: The name of the function.

    Returns:
        A new, normalized module.
    """
    graph = RelaxGraph(mod[main])
    order = {var: i for i, var in enumerate(graph.values)}
    ends = {max(group, key=order.__getitem__): sorted(group, key=order.__getitem__) for group in groups}
    inside = {var for group in ends.values() for var in group}
    builder = relax.BlockBuilder(mod)
    bindings: list[relax.VarBinding] = []
    for var, value in graph.values.items():
        if var not in ends:
            if var not in inside:
                bindings.append(relax.VarBinding(var, value))
            continue
        if len(ends[var]) > 1:
            value = _function(builder, graph, ends[var])
        bindings.append(relax.VarBinding(var, value))
    body = relax.SeqExpr([relax.DataflowBlock(bindings)], graph.func.body.body)
    func = relax.Function(graph.func.params, body, graph.func.ret_ty, graph.func.is_pure, graph.func.attrs)
    builder.update_func(mod.get_global_var(main), func)
    return relax.transform.Normalize()(builder.finalize())


def _function(builder: relax.BlockBuilder, graph: RelaxGraph, group: list[relax.Var]) -> relax.Call:
    """Return the call that replaces the group's last binding, its function added to the module."""
    calls = [graph.values[var] for var in group]
    params: dict[relax.Expr, relax.Var] = {}
    inner: dict[relax.Expr, relax.Expr] = {}
    for call in calls:
        for arg in call.args[1].fields:
            if arg not in params and not (isinstance(arg, relax.Var) and arg in group):
                hint = arg.name if isinstance(arg, relax.Var) else f"const_{len(params)}"
                params[arg] = relax.Var(hint, arg.ty)
    name = kernel_name([call.args[0].name_hint for call in calls])
    with builder.function(name, list(params.values()), attrs={"Primitive": True}, private=True):
        with builder.dataflow():
            inner.update(params)
            for var, call in zip(group, calls, strict=True):
                args = relax.Tuple([inner[arg] for arg in call.args[1].fields])
                emit = builder.emit_output if var is group[-1] else builder.emit
                inner[var] = emit(relax.Call(call.op, [call.args[0], args], call.attrs, call.ty_args))
        made = builder.emit_func_output(inner[group[-1]])
    return relax.Call(made, list(params))
