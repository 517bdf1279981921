"""The marks of a streamed kernel's functions, which later phases leave as they are."""

from __future__ import annotations

from typing import Any

import tvm

STREAMED, HELPER = "sr_tvm.streamed", "sr_tvm.helper"
# They have their schedule, and TVM's own analysis of a kernel says nothing of them (8 is kOpaque), so nothing fuses.
_ATTRIBUTES: dict[str, Any] = {STREAMED: True, "tirx.is_scheduled": True, "op_pattern": 8}


def mark(function: tvm.tirx.PrimFunc, helper: bool) -> tvm.tirx.PrimFunc:
    """Mark a function as part of a streamed kernel, so that later phases neither fuse nor schedule it.

    Args:
        function: Of TIR, schedule and all.
        helper: Whether other functions of the kernel call it; false for the entry, which ``main`` calls.

    Returns:
        The function with the marks as attributes.
    """
    for key, value in (_ATTRIBUTES | ({HELPER: True} if helper else {})).items():
        function = function.with_attr(key, value)
    return function


def is_streamed(function: Any) -> bool:
    """Tell whether a function of a module belongs to a streamed kernel.

    Args:
        function: Of Relax or TIR.

    Returns:
        Whether it bears the mark, as entry or helper.
    """
    return _has(function, STREAMED)


def is_helper(function: Any) -> bool:
    """Tell whether a function is called by other functions of a streamed kernel alone.

    Args:
        function: Of Relax or TIR.

    Returns:
        Whether it bears the mark of a helper.
    """
    return _has(function, HELPER)


def _has(function: Any, key: str) -> bool:
    attrs = getattr(function, "attrs", None)
    return isinstance(function, tvm.tirx.PrimFunc) and attrs is not None and bool(attrs.get(key, False))
