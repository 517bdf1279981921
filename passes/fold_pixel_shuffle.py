"""Turn depth-to-space into one TIR kernel whose store index is the shuffle: it can be a fused kernel's last store.

ONNX importers give it as reshape, permute_dims, reshape over six axes. The input channel that goes to output channel c,
row h r + i and column w r + j (r the scale, C output channels) is c r^2 + i r + j in CRD order, PyTorch's, and
i r C + j C + c in DCR order, ONNX's default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.relax.dpl import is_op, wildcard
from tvm.script import tirx as T

from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.log import Log
from sr_tvm.passes.shapes import Dim, dims, same, static

_DATA = wildcard()
_SPLIT = is_op("relax.reshape")(_DATA, wildcard())
_PERMUTE = is_op("relax.permute_dims")(_SPLIT)
PATTERN = is_op("relax.reshape")(_PERMUTE, wildcard())
BUILTIN = is_op("relax.nn.pixel_shuffle")(_DATA)

# Which axes of the split are channel, row and column, and the permutation that puts rows and columns in place.
ORDERS = {"CRD": ((1, 2, 3), (0, 1, 4, 2, 5, 3)), "DCR": ((3, 1, 2), (0, 3, 4, 1, 5, 2))}
NAME = "pixel_shuffle"
# On the TIR function: the scale and the order, as "x2 CRD".
ATTRIBUTE = "sr_tvm.pixel_shuffle"


@tvm.transform.module_pass(opt_level=0, name="FoldPixelShuffle")
class FoldPixelShuffle:
    """Replace reshape, permute, reshape by one call of a kernel that stores at (h r + i, w r + j)."""

    def __init__(self, log: Log | None = None) -> None:
        self.log = log or Log()

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Replace each depth-to-space of ``main`` by a call of its kernel.

        Args:
            mod: High-level Relax of a network.

        Returns:
            A new module with the kernels added. Each replacement has a row in the log.
        """
        graph = RelaxGraph(mod["main"])
        builder = relax.BlockBuilder(mod)
        for var, value in list(graph.values.items()):
            found = recognise(graph, value)
            if found is None:
                continue
            data, scale, order = found
            shape = dims(data)
            assert shape is not None
            graph.replace(var, shuffle_call(builder, data, shape, scale, order, value.ty))
            rule = f"x{scale} in {order} order: address arithmetic of one store"
            self.log.rewrite("FoldPixelShuffle", f"{NAME} ({var.name})", rule)
        return graph.update(builder.finalize())


def recognise(graph: RelaxGraph, value: relax.Expr) -> tuple[relax.Expr, int, str] | None:
    """Read an expression as a depth-to-space: PyTorch's builtin, or reshape, permute_dims, reshape.

    Args:
        graph: The function that the expression is in.
        value: What a variable is bound to.

    Returns:
        The tensor (N, C r^2, H, W) that is shuffled, the scale r and the order of its channels, ``"CRD"`` or ``"DCR"``;
        None for anything else.
    """
    found = BUILTIN.extract_matched_expr(value, graph.var_to_value)
    if found is not None:
        return value.args[0], int(value.attrs.upscale_factor), "CRD"
    if PATTERN.extract_matched_expr(value, graph.var_to_value) is None:
        return None
    permute = graph.value(value.args[0])
    split = graph.value(permute.args[0])
    data = split.args[0]
    shapes = [dims(e) for e in (data, split, value)]
    if any(s is None for s in shapes) or [len(s or ()) for s in shapes] != [4, 6, 4]:
        return None
    whole, parts, out = (list(s or ()) for s in shapes)
    for order, ((c, i, j), axes) in ORDERS.items():
        scale = static(parts[i])
        if scale is None or static(whole[1]) is None or tuple(int(a) for a in permute.attrs.axes) != axes:
            continue
        split_as_expected = same([parts[j], parts[0], *parts[4:]], [scale, whole[0], *whole[2:]])
        if split_as_expected and same(out, [whole[0], parts[c], whole[2] * scale, whole[3] * scale]):
            return data, scale, order
    return None


def shuffle_call(
    builder: relax.BlockBuilder, data: relax.Expr, shape: Sequence[Dim], scale: int, order: str, kind: relax.TensorType
) -> relax.Call:
    """Call a kernel that shuffles a tensor, and add that kernel to the module.

    Args:
        builder: Of the module.
        data: The tensor to shuffle, of (N, C r^2, H, W).
        shape: Its dimensions; N, H and W may be symbols.
        scale: The r of the shuffle.
        order: Of its channels, ``"CRD"`` or ``"DCR"``.
        kind: The type of the result, (N, C, H r, W r).

    Returns:
        The ``call_tir``.
    """
    func = store_pattern(shape, str(kind.dtype), scale, order).with_attr(ATTRIBUTE, f"x{scale} {order}")
    return relax.call_tir(builder.add_func(func, NAME), relax.Tuple([data]), out_ty=kind)


def store_pattern(shape: Sequence[Dim], dtype: str, scale: int, order: str) -> tvm.tirx.PrimFunc:
    """Write a kernel that reads (N, C r^2, H, W) in order and stores each element where the shuffle puts it.

    Args:
        shape: (N, C r^2, H, W); N, H and W may be symbols, and the kernel then has symbols of its own.
        dtype: Of the elements, in TVM's words (``"float32"``).
        scale: The r of the shuffle.
        order: Of the channels, ``"CRD"`` or ``"DCR"``.

    Returns:
        A function of the input and the output buffer (N, C, H r, W r).
    """
    deep = static(shape[1])
    assert deep is not None
    whole = [T.int64(n) if isinstance(n, int) else tvm.tirx.Var(f"n{i}", "int64") for i, n in enumerate(shape)]
    merged = [whole[0], T.int64(deep // scale**2), whole[2] * scale, whole[3] * scale]
    channel, row, column = _places(deep, scale, order)

    @T.prim_func(private=True, s_tir=True)
    def shuffle(a: T.handle, b: T.handle):
        T.func_attr({"tirx.noalias": True})
        source = T.match_buffer(a, whole, dtype)
        out = T.match_buffer(b, merged, dtype)
        for n, k, h, w in T.grid(*whole):
            with T.sblock("pixel_shuffle"):
                vn, vk, vh, vw = T.axis.remap("SSSS", [n, k, h, w])
                out[vn, channel(vk), vh * scale + row(vk), vw * scale + column(vk)] = source[vn, vk, vh, vw]

    return shuffle


def _places(deep: int, scale: int, order: str) -> tuple[Callable[[Any], Any], ...]:
    """Return functions from an input channel, number or TIR, to its output channel, row and column in the cell."""
    area, channels = scale**2, deep // scale**2
    if order == "CRD":
        return lambda k: k // area, lambda k: k % area // scale, lambda k: k % scale
    return lambda k: k % channels, lambda k: k // (channels * scale), lambda k: k // channels % scale


def as_crd(deep: int, scale: int) -> np.ndarray:
    """List which channel of a tensor in DCR order a shuffle in CRD order wants in each place.

    Args:
        deep: Channels before the shuffle, C r^2.
        scale: The r of the shuffle.

    Returns:
        (``deep``,), whole numbers; entry k is the channel that belongs in place k.
    """
    return np.arange(deep).reshape(scale, scale, -1).transpose(2, 0, 1).reshape(-1)


def before_shuffle(numbers: np.ndarray, scale: int, order: str) -> np.ndarray:
    """Repeat one number for each output channel for the r^2 input channels that make it.

    Adding these before the shuffle is the same as adding ``numbers`` after it; so it is with multiplication.

    Args:
        numbers: (C,), one for each channel after the shuffle.
        scale: The r of the shuffle.
        order: Of the channels before it, ``"CRD"`` or ``"DCR"``.

    Returns:
        (C r^2,), one for each channel before the shuffle.
    """
    deep = len(numbers) * scale**2
    channel = _places(deep, scale, order)[0]
    return np.array([numbers[channel(k)] for k in range(deep)])


def scale_and_order(mod: tvm.IRModule, value: relax.Expr) -> tuple[int, str] | None:
    """Read the scale and the channel order from a call of a kernel that :class:`FoldPixelShuffle` made.

    Args:
        mod: The module that the kernel is in.
        value: What a variable is bound to.

    Returns:
        The scale, and ``"CRD"`` or ``"DCR"``; None for anything else.
    """
    if not isinstance(value, relax.Call) or value.op != tvm.ir.Op.get("relax.call_tir"):
        return None
    said = (mod[value.args[0]].attrs or {}).get(ATTRIBUTE)
    if said is None:
        return None
    scale, order = str(said).removeprefix("x").split()
    return int(scale), order
