"""How operators map inputs to outputs, and which pairs may become one kernel: rules as tables of data.

The five types and :data:`TABLE` are those of DNNFusion (Niu et al., PLDI 2021, tables 2 and 3). They type an operator
as a whole and forbid many-to-many after many-to-many, which is every pair of convolutions. :data:`AXES` types each axis
on its own: a 1x1 convolution is many-to-many along the channels alone and one-to-one along rows and columns; a larger
one reads a window there, a halo of half its kernel. :data:`STREAMING` says which of these make one kernel that streams
rows. The published type of an operator is the strongest of its axes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Mapping(StrEnum):
    """How one operator's output elements depend on its input elements."""

    ONE_TO_ONE = "one-to-one"
    ONE_TO_MANY = "one-to-many"
    MANY_TO_MANY = "many-to-many"
    REORGANIZE = "reorganize"
    SHUFFLE = "shuffle"


class Decision(StrEnum):
    """What the table says of a pair. A profile settles D; without one it is refused (but see ADDRESS_ARITHMETIC)."""

    ALWAYS = "T"
    PROFILE = "D"
    NEVER = "X"


_O, _E, _M, _R, _S = Mapping
_T, _D, _X = Decision


class Along(StrEnum):
    """How output elements depend on input elements along one axis. A halo is a window around the element's place."""

    ONE_TO_ONE = "one-to-one"
    HALO = "halo"
    MANY_TO_MANY = "many-to-many"
    ONE_TO_MANY = "one-to-many"
    REORGANIZE = "reorganize"
    SHUFFLE = "shuffle"


class Axes(NamedTuple):
    """An operator's type along each axis of an NCHW tensor."""

    batch: Along
    channel: Along
    row: Along
    column: Along


_o, _h, _m, _e, _r, _s = Along

# Batch, channel, row, column -> operators. Where attributes decide (a convolution's kernel, stride and groups), this is
# the most that the operator can be within a region, and :func:`convolution_axes` says what one of them is.
AXES: dict[Axes, tuple[str, ...]] = {
    Axes(_o, _o, _o, _o): (
        "add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "negative", "abs", "clip",
        "relu", "relu6", "leaky_relu", "leakyrelu", "prelu", "sigmoid", "tanh", "exp", "log", "sqrt", "rsqrt", "square",
        "erf", "gelu", "silu", "hardsigmoid", "hardswish", "where", "cast", "astype", "batch_norm",
        "concat", "concatenate", "split", "slice", "strided_slice",
    ),
    Axes(_o, _m, _h, _h): ("conv2d", "conv2d_transpose"),
    Axes(_o, _o, _m, _m): (
        "max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_avg_pool", "global_avg_pool2d", "instance_norm",
        "pad",
    ),
    Axes(_o, _m, _m, _m): ("conv1d", "conv3d", "matmul", "dense", "softmax", "log_softmax", "layer_norm", "group_norm"),
    Axes(_m, _m, _m, _m): ("einsum", "sum", "mean", "max", "min", "prod", "cumsum"),
    Axes(_o, _o, _e, _e): ("resize2d", "resize", "upsampling"),
    Axes(_e, _e, _e, _e): ("broadcast_to", "expand", "repeat", "tile", "take", "gather"),
    Axes(_r, _r, _r, _r): ("reshape", "flatten", "squeeze", "expand_dims"),
    Axes(_o, _s, _s, _s): ("depth_to_space", "space_to_depth", "pixel_shuffle"),
    Axes(_s, _s, _s, _s): ("permute_dims", "transpose"),
}  # fmt: skip

# An operator as a whole is the first of these that an axis of it is.
_WHOLE = {_m: _M, _h: _M, _s: _S, _r: _R, _e: _E, _o: _O}

# (first that produces, second that consumes) -> what to do, and the type of the fused operator.
TABLE: dict[tuple[Mapping, Mapping], tuple[Decision, Mapping | None]] = {
    (_O, _O): (_T, _O), (_O, _E): (_T, _E), (_O, _M): (_T, _M), (_O, _R): (_T, _R), (_O, _S): (_T, _S),
    (_E, _O): (_T, _E), (_E, _E): (_D, _E), (_E, _M): (_X, None), (_E, _R): (_D, _E), (_E, _S): (_D, _E),
    (_M, _O): (_T, _M), (_M, _E): (_D, _M), (_M, _M): (_X, None), (_M, _R): (_D, _M), (_M, _S): (_D, _M),
    (_R, _O): (_T, _R), (_R, _E): (_D, _E), (_R, _M): (_D, _M), (_R, _R): (_T, _R), (_R, _S): (_T, _R),
    (_S, _O): (_T, _S), (_S, _E): (_D, _E), (_S, _M): (_D, _M), (_S, _R): (_T, _R), (_S, _S): (_T, _S),
}  # fmt: skip

# Operators that are nothing but the index of the last store: fusing them after anything removes a tensor and adds no
# work, so a D with one of these as the consumer needs no profile.
ADDRESS_ARITHMETIC = frozenset({"pixel_shuffle"})

# Along one axis of a kernel that streams rows: (first that produces, second that consumes) -> the type of both. A pair
# that is not listed is never fused. Channels: all those of a pixel are at hand at once. Rows and columns: windows add
# up; anything else would need the whole picture. A shuffle is the address of the last store: nothing comes after it.
_SPACE = {(_o, _o): _o, (_o, _h): _h, (_h, _o): _h, (_h, _h): _h, (_o, _s): _s, (_h, _s): _s}
STREAMING: dict[str, dict[tuple[Along, Along], Along]] = {
    "batch": {(_o, _o): _o},
    "channel": {(_o, _o): _o, (_o, _m): _m, (_m, _o): _m, (_m, _m): _m, (_o, _s): _s, (_m, _s): _s},
    "row": _SPACE,
    "column": _SPACE,
}

_GENERAL = (_o, _h, _m, _e, _r, _s)
_AXES = {name: axes for axes, names in AXES.items() for name in names}


def whole(axes: Axes) -> Mapping:
    """Give the published type of an operator whose axes are known.

    Args:
        axes: Its type along each axis.

    Returns:
        The strongest of them: many-to-many, then shuffle, reorganize, one-to-many, one-to-one.
    """
    return next(kind for along, kind in _WHOLE.items() if along in axes)


OPERATORS: dict[Mapping, tuple[str, ...]] = {
    kind: tuple(name for name, axes in _AXES.items() if whole(axes) == kind) for kind in Mapping
}
_TYPES = {name: whole(axes) for name, axes in _AXES.items()}
# TIR's own analysis of a kernel (OpPatternKind), for operators that the table above does not name.
_BY_PATTERN = {0: _O, 1: _O, 2: _S, 3: _M, 4: _M}


def operator_name(kernel: str) -> str:
    """Strip a name to the operator's plain one: ``relax.nn.conv2d`` and the kernel ``conv2d3`` are both ``conv2d``.

    Args:
        kernel: A name of Relax, or of a kernel that LegalizeOps made.

    Returns:
        The plain name, which this table may or may not know.
    """
    name = kernel.removeprefix("relax.").removeprefix("nn.").removeprefix("image.").removeprefix("tir_")
    return name if name in _TYPES else name.rstrip("0123456789").rstrip("_")


def mapping_type(op: str, pattern: int | None = None) -> Mapping | None:
    """Look up the mapping type of an operator, by its name and else by TIR's own analysis.

    Args:
        op: Its name in any form that :func:`operator_name` takes.
        pattern: The ``op_pattern`` of its kernel, TVM's OpPatternKind; None where it has none.

    Returns:
        The type; None where neither its name nor ``pattern`` tells.
    """
    known = _TYPES.get(operator_name(op))
    return known if known is not None or pattern is None else _BY_PATTERN.get(pattern)


def combine(first: Mapping, second: Mapping) -> tuple[Decision, Mapping | None]:
    """Look up what may be done with an operator that feeds another (DNNFusion, table 3).

    Args:
        first: The type of the one that produces.
        second: The type of the one that consumes.

    Returns:
        The decision, and the type of the fused operator, None where they are never fused.
    """
    return TABLE[first, second]


def rule(first: Mapping, second: Mapping) -> str:
    """Write the table's entry for a pair in words: ``many-to-many + one-to-one -> T many-to-many``.

    Args:
        first: The type of the one that produces.
        second: The type of the one that consumes.

    Returns:
        The words, for reports.
    """
    decision, result = TABLE[first, second]
    return f"{first} + {second} -> {decision}" + (f" {result}" if result else "")


def operator_axes(op: str) -> Axes | None:
    """Look up the type of an operator along each axis.

    Args:
        op: Its name in any form that :func:`operator_name` takes.

    Returns:
        The types; None where its name is unknown.
    """
    return _AXES.get(operator_name(op))


def convolution_axes(kernel: tuple[int, int], same: bool, channelwise: bool) -> Axes:
    """Give the type of one convolution along each axis.

    Args:
        kernel: Its (rows, columns), in pixels.
        same: Whether it has stride 1, no dilation, an odd kernel, and padding of half of that.
        channelwise: Whether each output channel reads one input channel alone (depthwise).

    Returns:
        One-to-one along rows or columns where the kernel is 1 there, else a halo; many-to-many where not ``same``.
    """
    row, column = ((_o if k == 1 else _h) if same else _m for k in kernel)
    return Axes(_o, _o if channelwise else _m, row, column)


def stronger(first: Axes, second: Axes) -> Axes:
    """Take along each axis the more general of two types of one tensor, as where two branches meet.

    Args:
        first: The types by way of one branch.
        second: The types by way of the other.

    Returns:
        The types of the tensor as a whole.
    """
    return Axes(*(max(pair, key=_GENERAL.index) for pair in zip(first, second, strict=True)))


def stream(first: Axes, second: Axes) -> tuple[Axes | None, str]:
    """Decide whether one operator may feed another within one streaming kernel.

    Args:
        first: The types of what produces, everything fused before it included.
        second: The types of what consumes.

    Returns:
        The types of both as one, None where they cannot stream; and the rule in words, such as ``row, column:
        one-to-one + halo -> T halo; channel: many-to-many + many-to-many -> T many-to-many``. A refusal names the
        axes that forbid it.
    """
    joined: list[Along] = []
    said: dict[str, list[str]] = {}
    refused: dict[str, list[str]] = {}
    for axis, a, b in zip(Axes._fields, first, second, strict=True):
        result = STREAMING[axis].get((a, b))
        if result is None:
            refused.setdefault(f"{a} + {b} -> {_X}", []).append(axis)
        else:
            joined.append(result)
            said.setdefault(f"{a} + {b} -> {_T} {result}", []).append(axis)
    everywhere = said.pop(f"{_o} + {_o} -> {_T} {_o}", [])  # not worth a word unless there is nothing else
    rows = refused or said or {f"{_o} + {_o} -> {_T} {_o}": everywhere}
    words = "; ".join(f"{', '.join(axes)}: {rule}" for rule, axes in rows.items())
    return (None if refused else Axes(*joined)), words
