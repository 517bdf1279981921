"""The fixed input shapes a model is compiled for: what the file says, and what the user says."""

from __future__ import annotations

import math

import onnx

from sr_tvm.errors import SrTvmError

Shapes = dict[str, tuple[int, ...]]
MAX_DIM, MAX_RANK = 2**16, 6
MAX_INPUT_ELEMENTS = 2**28
EXAMPLE = "1x3x360x640"


def parse_input_shape(text: str) -> Shapes:
    """``"1x3x360x640"`` to ``{"": (1, 3, 360, 640)}``, ``"x:1x3x360x640"`` to ``{"x": (1, 3, 360, 640)}``.

    The empty name stands for the only input of a model.

    Raises:
        SrTvmError: not of that form, or a dimension that is not from 1 to 65536.
    """
    name, _, dims = text.strip().rpartition(":")
    parts = dims.lower().split("x")
    if len(parts) > MAX_RANK or not all(p.strip().isascii() and p.strip().isdigit() for p in parts):
        raise SrTvmError(f"input shape {text!r} is not of the form {EXAMPLE} or NAME:{EXAMPLE}")
    if any(len(p.strip()) > 9 for p in parts):
        raise SrTvmError(f"input shape {text!r} has a dimension over {MAX_DIM}")
    shape = tuple(int(p) for p in parts)
    check_shape(shape, f"input shape {text!r}")
    return {name: shape}


def check_shape(shape: tuple[int, ...], where: str) -> None:
    """Refuse shapes nobody can mean, before anything is allocated for them."""
    for dim in shape:
        if not 1 <= dim <= MAX_DIM:
            raise SrTvmError(f"{where} has a dimension of {dim}; 1 to {MAX_DIM} is supported")
    if math.prod(shape) > MAX_INPUT_ELEMENTS:
        raise SrTvmError(f"{where} has {math.prod(shape)} elements; {MAX_INPUT_ELEMENTS} at most are supported")


def resolve_inputs(model: onnx.ModelProto, overrides: Shapes | None = None) -> Shapes:
    """The fixed shape of every input of ``model``, symbolic dimensions filled from ``overrides``.

    Raises:
        SrTvmError: an override of an unknown input, of another rank, or against a fixed dimension of the file; or a
            dimension that stays unknown.
    """
    weights = {t.name for t in model.graph.initializer}
    inputs = [v for v in model.graph.input if v.name not in weights]
    if not inputs:
        raise SrTvmError("the model has no input")
    names = [v.name for v in inputs]
    given = dict(overrides or {})
    if "" in given:
        if len(names) != 1:
            raise SrTvmError(f"the model has {len(names)} inputs; name one: --input-shape {names[0]}:{EXAMPLE}")
        given[names[0]] = given.pop("")
    for name in given:
        if name not in names:
            raise SrTvmError(f"--input-shape names input {name!r}; the model has {', '.join(map(repr, names))}")
    symbols: dict[str, tuple[int, str]] = {}
    return {v.name: _resolve(v, given.get(v.name), symbols) for v in inputs}


def _resolve(
    value: onnx.ValueInfoProto, given: tuple[int, ...] | None, symbols: dict[str, tuple[int, str]]
) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    known = tensor.HasField("shape")
    declared = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
    text = "x".join(map(str, declared)) if known else "unknown"
    where = f"input {value.name!r}"
    if given is None:
        if not known or any(isinstance(d, str) for d in declared):
            # What the file fixes stays; the rest as in the example of a picture.
            usual = (1, 3, 360, 640) if len(declared) == 4 else (1,) * len(declared)
            shown = "x".join(str(u if isinstance(d, str) else d) for d, u in zip(declared, usual, strict=True))
            example = shown if known else EXAMPLE
            raise SrTvmError(f"{where} has the shape {text}, not fixed; fix it, for example --input-shape {example}")
        given = tuple(int(d) for d in declared)
        check_shape(given, where)
        return given
    check_shape(given, f"--input-shape of {where}")
    if known and len(given) != len(declared):
        raise SrTvmError(f"--input-shape of {where} has {len(given)} dimensions; it needs {len(declared)} ({text})")
    for dim, want in zip(given, declared if known else given, strict=True):
        if isinstance(want, int) and dim != want:
            raise SrTvmError(f"--input-shape of {where} is {'x'.join(map(str, given))}, against the model's {text}")
        if isinstance(want, str) and want != "?" and symbols.setdefault(want, (dim, value.name))[0] != dim:
            first, there = symbols[want]
            raise SrTvmError(f"dimension {want!r} is {first} in input {there!r}, but {dim} in {where}")
    return given
