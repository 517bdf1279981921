"""``--input-shape``, given once for each input."""

from __future__ import annotations

from sr_tvm.errors import SrTvmError


def merge(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]] | None:
    """All ``[NAME:]NxCxHxW`` by name; None where none is given.

    Raises:
        SrTvmError: one is not of that form, several without names, or one name twice.
    """
    from sr_tvm.frontend.input_shapes import parse_input_shape

    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        ((name, shape),) = parse_input_shape(text).items()
        if len(texts) > 1 and not name:
            raise SrTvmError(f"--input-shape {text}: of several, each must name its input, as in NAME:{text}")
        if name in shapes:
            raise SrTvmError(f"--input-shape names input {name!r} twice; give each input once")
        shapes[name] = shape
    return shapes or None
