"""The marks of a streamed kernel's functions, which later phases leave as they are."""

from __future__ import annotations

from typing import Any

import tvm

STREAMED, HELPER = "sr_tvm.streamed", "sr_tvm.helper"
# They have their schedule, and TVM's own analysis of a kernel says nothing of them (8 is kOpaque), so nothing fuses.
_ATTRIBUTES: dict[str, Any] = {STREAMED: True, "tirx.is_scheduled": True, "op_pattern": 8}


def mark(function: tvm.tirx.PrimFunc, helper: bool) -> tvm.tirx.PrimFunc:
    """``function`` as part of a streamed kernel: the one that ``main`` calls, or a ``helper`` of it."""
    for key, value in (_ATTRIBUTES | ({HELPER: True} if helper else {})).items():
        function = function.with_attr(key, value)
    return function


def is_streamed(function: Any) -> bool:
    """Whether a function of a module belongs to a streamed kernel."""
    return _has(function, STREAMED)


def is_helper(function: Any) -> bool:
    """Whether it is called by other TIR functions alone."""
    return _has(function, HELPER)


def _has(function: Any, key: str) -> bool:
    attrs = getattr(function, "attrs", None)
    return isinstance(function, tvm.tirx.PrimFunc) and attrs is not None and bool(attrs.get(key, False))
