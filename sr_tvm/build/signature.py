"""The inputs and outputs of a Relax module as records of an artifact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sr_tvm.errors import SrTvmError
from sr_tvm.records.tensor import Tensor


def signature(mod: Any, output_names: Sequence[str]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Read the tensors that ``main`` of a Relax module takes and gives.

    Args:
        mod: The module.
        output_names: In order; if empty, outputs are called y, output1, output2...

    Returns:
        The inputs and the outputs.

    Raises:
        SrTvmError: A dimension is no number, name or multiple of a name.
    """
    from tvm.relax import TupleType

    main = mod["main"]
    result = main.ret_ty
    outputs = list(result.fields) if isinstance(result, TupleType) else [result]
    names = list(output_names) or [f"output{i}" if i else "y" for i in range(len(outputs))]
    return (
        tuple(_tensor(p.name, p.ty) for p in main.params),
        tuple(_tensor(name, kind) for name, kind in zip(names, outputs, strict=True)),
    )


def _tensor(name: str, kind: Any) -> Tensor:
    return Tensor(name, dims(kind.shape), str(kind.dtype))


def dims(shape: Sequence[Any]) -> tuple[int | str, ...]:
    """Read a shape of TVM's: numbers, names and multiples of a name.

    Args:
        shape: TVM's dimensions.

    Returns:
        Whole numbers, and texts such as "height" and "2*height".

    Raises:
        SrTvmError: A dimension is none of these.
    """
    return tuple(_dim(n) for n in shape)


def _dim(size: Any) -> int | str:
    """Return a dimension as a number, a name, or a multiple of a name.

    Raises:
        SrTvmError: It is none of these.
    """
    from tvm import sym, tirx

    if isinstance(size, tirx.IntImm | int):
        return int(size)
    name, *others = tirx.analysis.undefined_vars(size)
    factor, rest = sym.detect_linear_equation(size, [name]) or (0, 1)
    if others or int(rest) != 0:
        raise SrTvmError(f"an output of {size} pixels is no whole multiple of the input's")
    return name.name if int(factor) == 1 else f"{int(factor)}*{name.name}"
