"""Move a pixel shuffle behind the arithmetic that follows it, so that it is the last store of the kernel."""

from __future__ import annotations

import tvm
from tvm import relax

from sr_tvm.passes.fold_pixel_shuffle import scale_and_order
from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.log import Log
from sr_tvm.passes.mapping import Mapping, mapping_type, operator_name


@tvm.transform.module_pass(opt_level=0, name="SinkPixelShuffle")
class SinkPixelShuffle:
    """f(shuffle(x)) becomes shuffle(f(x)) where f treats every element alike: clip, relu, arithmetic with a scalar."""

    def __init__(self, log: Log | None = None) -> None:
        self.log = log or Log()

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Move each pixel shuffle of ``main`` behind all elementwise operators that follow it.

        Args:
            mod: High-level Relax of a network; depth-to-space is already the kernel of FoldPixelShuffle.

        Returns:
            A new module. Each move has a row in the log.
        """
        graph = RelaxGraph(mod["main"])
        for var in list(graph.values):  # in order, so a chain moves one by one
            if var not in graph.values:
                continue
            value = graph.values[var]
            source = _alike(value)
            shuffle = graph.value(source) if source is not None else None
            if shuffle is None or scale_and_order(mod, shuffle) is None or not graph.only_reader(source, var):
                continue
            args = [shuffle.args[1].fields[0] if arg.same_as(source) else arg for arg in value.args]
            moved = relax.Tuple([relax.Call(value.op, args, value.attrs, value.ty_args)])
            graph.replace(var, relax.call_tir(shuffle.args[0], moved, out_ty=shuffle.ty_args[0]))
            name = operator_name(value.op.name)
            self.log.rewrite("SinkPixelShuffle", var.name, f"{name} after the pixel shuffle -> before it")
        return graph.update(mod)


def _alike(value: relax.Expr) -> relax.Var | None:
    """Return the one tensor that a one-to-one operator treats element by element, all else being scalars; else None."""
    if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.Op):
        return None
    if value.op.name == "relax.call_tir" or mapping_type(value.op.name) != Mapping.ONE_TO_ONE:
        return None
    tensors = [a for a in value.args if not (isinstance(a.ty, relax.TensorType) and len(a.ty.shape or [0]) == 0)]
    tensors = [a for a in tensors if isinstance(a.ty, relax.TensorType | relax.TupleType)]
    one = len(tensors) == 1 and isinstance(tensors[0], relax.Var) and isinstance(tensors[0].ty, relax.TensorType)
    return tensors[0] if one and isinstance(value.ty, relax.TensorType) else None
