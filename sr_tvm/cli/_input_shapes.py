"""The option ``--input-shape``, given once for each input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sr_tvm.errors import SrTvmError

S = TypeVar("S")


def merge(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]] | None:
    """Read input shapes of numbers only.

    Args:
        texts: Each ``[NAME:]NxCxHxW``.

    Returns:
        The shapes by name, "" for the one without; None where none is given.

    Raises:
        SrTvmError: One is not of that form, several are without names, or one name comes twice.
    """
    from sr_tvm.frontend.input_shapes import parse_input_shape

    return _merge(texts, parse_input_shape)


def merge_open(texts: tuple[str, ...]) -> dict[str, tuple[int | str, ...]] | None:
    """Read input shapes whose height and width may be names, as in 1x3xHxW, for any size.

    Args:
        texts: Each ``[NAME:]NxCxHxW``.

    Returns:
        The shapes by name, "" for the one without; None where none is given.

    Raises:
        SrTvmError: One is not of that form, several are without names, or one name comes twice.
    """
    from sr_tvm.frontend.input_shapes import parse_open_shape

    return _merge(texts, parse_open_shape)


def _merge(texts: tuple[str, ...], parse: Callable[[str], dict[str, S]]) -> dict[str, S] | None:
    shapes: dict[str, S] = {}
    for text in texts:
        ((name, shape),) = parse(text).items()
        if len(texts) > 1 and not name:
            raise SrTvmError(f"--input-shape {text}: of several, each must name its input, as in NAME:{text}")
        if name in shapes:
            raise SrTvmError(f"--input-shape names input {name!r} twice; give each input once")
        shapes[name] = shape
    return shapes or None
