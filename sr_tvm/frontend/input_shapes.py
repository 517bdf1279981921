"""The input shapes a model is compiled for: what the file says, and what the user says. A name means any size."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import onnx

from sr_tvm.errors import SrTvmError
from sr_tvm.records.tensor import Dim, shape_text

Shapes = dict[str, tuple[int, ...]]
# Here a dimension may be a name, which stands for any size; the same name is the same size.
OpenShapes = dict[str, tuple[Dim, ...]]
MAX_DIM, MAX_RANK = 2**16, 6
MAX_INPUT_ELEMENTS = 2**28
EXAMPLE = "1x3x360x640"
AXES = ("batch", "channels", "height", "width")  # names of a picture's dimensions that the file does not name
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def parse_input_shape(text: str) -> Shapes:
    """Read an input shape as it is typed: ``"1x3x360x640"``, or ``"x:1x3x360x640"`` for the input of that name.

    Args:
        text: One shape.

    Returns:
        The shape by its input's name, ``{"x": (1, 3, 360, 640)}``; the empty name stands for the only input of a model.

    Raises:
        SrTvmError: It is not of that form, or a dimension is not from 1 to 65536.
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


def parse_open_shape(text: str) -> OpenShapes:
    """Read an input shape that may leave height and width open, as ``"1x3xHxW"``.

    Args:
        text: One shape, in the form of :func:`parse_input_shape` but for names as the last two of four dimensions.

    Returns:
        The shape by its input's name, ``{"": (1, 3, "H", "W")}``.

    Raises:
        SrTvmError: It is not of that form, or a dimension is not from 1 to 65536.
    """
    name, _, dims = text.strip().rpartition(":")
    parts = re.split("[xX]", dims)
    if len(parts) == 4 and all(NAME.fullmatch(p) for p in parts[2:]):
        return {name: (*parse_input_shape("x".join(parts[:2]))[""], *parts[2:])}
    return dict(parse_input_shape(text))


def is_open(shapes: Mapping[str, tuple[Any, ...]] | None) -> bool:
    """Tell whether any dimension of some shapes is a name.

    Args:
        shapes: By the names of inputs; None for no shapes.

    Returns:
        False where all dimensions are numbers.
    """
    return any(isinstance(dim, str) for shape in (shapes or {}).values() for dim in shape)


def check_shape(shape: tuple[int, ...], where: str) -> None:
    """Refuse a shape that nobody can mean, before anything is allocated for it.

    Args:
        shape: Its dimensions that are numbers.
        where: What the message begins with.

    Raises:
        SrTvmError: A dimension is not from 1 to 65536, or they come to over 2^28 elements.
    """
    for dim in shape:
        if not 1 <= dim <= MAX_DIM:
            raise SrTvmError(f"{where} has a dimension of {dim}; 1 to {MAX_DIM} is supported")
    if math.prod(shape) > MAX_INPUT_ELEMENTS:
        raise SrTvmError(f"{where} has {math.prod(shape)} elements; {MAX_INPUT_ELEMENTS} at most are supported")


def resolve_inputs(model: onnx.ModelProto, overrides: Mapping[str, tuple[Dim, ...]] | None = None) -> Shapes:
    """Find the fixed shape of every input of a model.

    Args:
        model: Its inputs say their dimensions; some may be symbolic.
        overrides: Shapes that the user gives, by the names of inputs ("" for the only one); they fill in symbolic
            dimensions.

    Returns:
        The shapes by name, in the model's order.

    Raises:
        SrTvmError: An override is of an unknown input, of another rank, or against a fixed dimension of the file; or a
            dimension stays unknown.
    """
    fixed: Shapes = {}
    for name, shape in resolve_open(model, overrides).items():
        fixed[name] = tuple(dim for dim in shape if isinstance(dim, int))
        if len(fixed[name]) != len(shape):
            raise SrTvmError(f"input {name!r} has the shape {shape_text(shape)}, not fixed; {fix_it(shape)}")
    return fixed


def fix_it(shape: tuple[Dim, ...]) -> str:
    """Suggest the option that fixes a shape: what is fixed stays, the rest is as in the example of a picture.

    Args:
        shape: With names among its dimensions.

    Returns:
        The end of a sentence, with an ``--input-shape`` to type.
    """
    usual = (1, 3, 360, 640) if len(shape) == 4 else (1,) * len(shape)
    shown = tuple(u if isinstance(d, str) else d for d, u in zip(shape, usual, strict=True))
    return f"fix it, for example --input-shape {shape_text(shown)}"


def resolve_open(model: onnx.ModelProto, overrides: Mapping[str, tuple[Dim, ...]] | None = None) -> OpenShapes:
    """Find the shape of every input of a model, where a symbolic dimension that nobody fixes stays open.

    Args:
        model: Its inputs say their dimensions; some may be symbolic.
        overrides: Shapes that the user gives, as for :func:`resolve_inputs`; they may have names as dimensions.

    Returns:
        The shapes by name. An open dimension keeps its name from the file, or gets one of ``AXES``.

    Raises:
        SrTvmError: An override is of an unknown input, of another rank, or against a fixed dimension of the file; or
            the rank of an input is unknown.
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
    symbols: dict[str, tuple[Dim, str]] = {}
    shapes = {v.name: _resolve(v, given.get(v.name), symbols, len(inputs) == 1) for v in inputs}
    # What is given for one input holds for the same symbol of another.
    return {k: tuple(symbols.get(d, (d,))[0] if isinstance(d, str) else d for d in v) for k, v in shapes.items()}


def _resolve(
    value: onnx.ValueInfoProto, given: tuple[Dim, ...] | None, symbols: dict[str, tuple[Dim, str]], alone: bool
) -> tuple[Dim, ...]:
    tensor, where = value.type.tensor_type, f"input {value.name!r}"
    known = tensor.HasField("shape")
    declared = [d.dim_value if d.HasField("dim_value") else d.dim_param or "?" for d in tensor.shape.dim]
    if given is None:
        if not known:
            raise SrTvmError(f"{where} has an unknown shape; fix it, for example --input-shape {EXAMPLE}")
        fixed = tuple(d for d in declared if isinstance(d, int))
        check_shape(fixed, where)
        return tuple(d if isinstance(d, int) else _name(d, i, value.name, alone) for i, d in enumerate(declared))
    where = f"--input-shape of {where}"
    check_shape(tuple(d for d in given if isinstance(d, int)), where)
    text = shape_text(tuple(declared))
    if known and len(given) != len(declared):
        raise SrTvmError(f"{where} has {len(given)} dimensions; it needs {len(declared)} ({text})")
    for dim, want in zip(given, declared if known else given, strict=True):
        if isinstance(want, int) and dim != want:
            raise SrTvmError(f"{where} is {shape_text(given)}, against the model's {text}")
        if isinstance(want, str) and want != "?" and symbols.setdefault(want, (dim, value.name))[0] != dim:
            first, there = symbols[want]
            raise SrTvmError(f"dimension {want!r} is {first} in input {there!r}, but {dim} in input {value.name!r}")
    return given


def _name(declared: str, axis: int, where: str, alone: bool) -> str:
    """Return a dimension's name as a plain identifier, one for each input where the file has none."""
    if NAME.fullmatch(declared):
        return declared
    return AXES[axis] if alone and axis < len(AXES) else re.sub("[^A-Za-z0-9_]", "_", f"dim_{where}_{axis}")[:64]
