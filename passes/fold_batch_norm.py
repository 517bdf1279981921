"""Fold batch normalisation into the convolution before it, or after it where that is exact."""

from __future__ import annotations

import numpy as np
import tvm
from tvm import relax
from tvm.relax.dpl import is_const, is_op, is_tuple_get_item, wildcard

from sr_tvm.passes.constants import array, channel_constant
from sr_tvm.passes.convolution import Convolution
from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.log import Log

_DATA = wildcard()
_NORM = is_op("relax.nn.batch_norm")(_DATA, is_const(), is_const(), is_const(), is_const())
PATTERN = is_tuple_get_item(_NORM, 0)
INTO = "scale into the weights, shift into the bias of the convolution {}"


@tvm.transform.module_pass(opt_level=0, name="FoldBatchNorm")
class FoldBatchNorm:
    """Fold batch_norm into its convolution's weights and bias; what cannot be folded becomes a multiply and an add."""

    def __init__(self, log: Log | None = None) -> None:
        self.log = log or Log()

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Fold every batch_norm of ``main`` whose other outputs nobody reads.

        Args:
            mod: High-level Relax of a network.

        Returns:
            A new module. Each fold or refusal has a row in the log.
        """
        graph = RelaxGraph(mod["main"])
        for var, value in list(graph.values.items()):
            if PATTERN.match(value, graph.var_to_value):
                self._fold(graph, var)
        return graph.update(mod)

    def _fold(self, graph: RelaxGraph, var: relax.Var) -> None:
        norm_var = graph.values[var].tuple_value
        norm = graph.value(norm_var)
        where = f"batch_norm ({var.name})"
        scale, shift = scale_and_shift(norm)
        if graph.readers.get(norm_var, []) not in ([var], []):
            self.log.refuse(where, "its mean and variance outputs are read as well")
            return
        reason = self._into_previous(graph, var, norm, scale, shift)
        if reason is None:
            self.log.rewrite("FoldBatchNorm", where, INTO.format("before"))
            return
        later = self._into_next(graph, var, norm, scale, shift)
        if later is None:
            self.log.rewrite("FoldBatchNorm", where, INTO.format("after"))
            return
        self.log.refuse(where, f"{reason}; {later}; kept as a multiply and an add")
        axis, rank = int(norm.attrs.axis), len(norm.args[0].ty.shape)
        scaled = relax.op.multiply(norm.args[0], channel_constant(scale, norm.args[1], axis, rank))
        graph.replace(var, relax.op.add(scaled, channel_constant(shift, norm.args[1], axis, rank)))

    def _into_previous(
        self, graph: RelaxGraph, var: relax.Var, norm: relax.Call, scale: np.ndarray, shift: np.ndarray
    ) -> str | None:
        """Return None when it is folded into the convolution that feeds it, else the reason why it can't be."""
        biased = graph.biased_convolution(norm.args[0])
        if biased is None or int(norm.attrs.axis) != 1:
            return "no convolution before it"
        conv, bias, chain = biased
        reader = graph.values[var].tuple_value
        for link in reversed(chain):  # the bias, then the convolution
            if not graph.only_reader(link, reader):
                return "the output of the convolution before it has other readers"
            reader = link
        total = shift if bias is None else shift + bias * scale
        call = conv.scale_output(scale).on(conv.data)
        graph.replace(var, relax.op.add(call, channel_constant(total, norm.args[1])))
        return None

    def _into_next(
        self, graph: RelaxGraph, var: relax.Var, norm: relax.Call, scale: np.ndarray, shift: np.ndarray
    ) -> str | None:
        """Return None when it is folded into every convolution that reads it, else the reason why it can't be."""
        readers = graph.readers.get(var, [])
        convs = [Convolution.of(graph.values[r]) if r is not None else None for r in readers]
        if not convs or any(c is None or not c.data.same_as(var) for c in convs):
            return "not read by convolutions alone"
        if int(norm.attrs.axis) != 1:
            return "not along the channels"
        if np.any(shift != 0) and any(c is not None and c.adds_borders for c in convs):
            return "a convolution after it pads with zeros, where its shift would be missing"
        for reader, conv in zip(readers, convs, strict=True):
            assert conv is not None and reader is not None
            value: relax.Expr = conv.scale_input(scale).on(norm.args[0])
            if np.any(shift != 0):
                value = relax.op.add(value, channel_constant(conv.shifted_by(shift), norm.args[1]))
            graph.replace(reader, value)
        return None


def scale_and_shift(norm: relax.Call) -> tuple[np.ndarray, np.ndarray]:
    """Express an inference batch_norm as y = scale * x + shift with one scale and shift for each channel.

    Args:
        norm: A call of ``relax.nn.batch_norm`` whose gamma, beta, mean and variance are constants.

    Returns:
        The scale and the shift, each (C,), float64.
    """
    gamma, beta, mean, variance = (array(arg) for arg in norm.args[1:5])
    assert gamma is not None and beta is not None and mean is not None and variance is not None
    scale = (gamma if norm.attrs.scale else 1.0) / np.sqrt(variance + float(norm.attrs.epsilon))
    return scale, (beta if norm.attrs.center else 0.0) - mean * scale
