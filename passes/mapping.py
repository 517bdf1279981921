"""How operators map inputs to outputs, and which pairs may become one kernel: DNNFusion's rules as two tables of data.

The five types and the pair table are those of DNNFusion (Niu et al., PLDI 2021, tables 2 and 3).
"""

from __future__ import annotations

from enum import StrEnum


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

OPERATORS: dict[Mapping, tuple[str, ...]] = {
    _O: (
        "add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "negative", "abs", "clip",
        "relu", "relu6", "leaky_relu", "leakyrelu", "prelu", "sigmoid", "tanh", "exp", "log", "sqrt", "rsqrt", "square",
        "erf", "gelu", "silu", "hardsigmoid", "hardswish", "where", "cast", "astype", "batch_norm",
        "concat", "concatenate", "split", "slice", "strided_slice",
    ),
    _E: ("broadcast_to", "expand", "repeat", "tile", "take", "gather", "resize2d", "resize", "upsampling"),
    _M: (
        "conv1d", "conv2d", "conv3d", "conv2d_transpose", "matmul", "dense", "einsum", "max_pool2d", "avg_pool2d",
        "adaptive_avg_pool2d", "adaptive_avg_pool", "global_avg_pool2d", "sum", "mean", "max", "min", "prod", "softmax",
        "log_softmax", "instance_norm", "layer_norm", "group_norm", "cumsum", "pad",
    ),
    _R: ("reshape", "flatten", "squeeze", "expand_dims"),
    _S: ("permute_dims", "transpose", "depth_to_space", "space_to_depth", "pixel_shuffle"),
}  # fmt: skip

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

_TYPES = {name: kind for kind, names in OPERATORS.items() for name in names}
# TIR's own analysis of a kernel (OpPatternKind), for operators that the table above does not name.
_BY_PATTERN = {0: _O, 1: _O, 2: _S, 3: _M, 4: _M}


def operator_name(kernel: str) -> str:
    """The operator's plain name: ``relax.nn.conv2d`` and the kernel ``conv2d3`` are both ``conv2d``."""
    name = kernel.removeprefix("relax.").removeprefix("nn.").removeprefix("image.").removeprefix("tir_")
    return name if name in _TYPES else name.rstrip("0123456789").rstrip("_")


def mapping_type(op: str, pattern: int | None = None) -> Mapping | None:
    """The mapping type of an operator, or None where neither its name nor its TIR ``pattern`` tells."""
    known = _TYPES.get(operator_name(op))
    return known if known is not None or pattern is None else _BY_PATTERN.get(pattern)


def combine(first: Mapping, second: Mapping) -> tuple[Decision, Mapping | None]:
    """The table's decision for ``first`` feeding ``second``, and the fused type (None where it is never fused)."""
    return TABLE[first, second]


def rule(first: Mapping, second: Mapping) -> str:
    """The table's entry in words: ``many-to-many + one-to-one -> T many-to-many``."""
    decision, result = TABLE[first, second]
    return f"{first} + {second} -> {decision}" + (f" {result}" if result else "")
