"""One way to say that a field of a record is wrong."""

from __future__ import annotations

import reprlib
from typing import Any

from sr_tvm.errors import SrTvmError

_WORDS = {str: "text", int: "a whole number", float: "a number", dict: "an object", list: "a list", type(None): "null"}


def expect(value: Any, kinds: type | tuple[type, ...], field: str, least: int | None = None) -> Any:
    """``value``, if it is of one of ``kinds``, JSON's way: true is no number, and a float may be written as 3.

    ``least``: a number below it, or a list shorter than it, is refused too.

    Raises:
        SrTvmError: it is not; the message begins with ``field``, shows the value and says what is needed.
    """
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    allowed = (*kinds, int) if float in kinds else kinds
    right = isinstance(value, allowed) and not isinstance(value, bool)
    if right and least is not None and value is not None:
        right = (len(value) if isinstance(value, (list, tuple, str)) else value) >= least
    if not right:
        words = " or ".join(_WORDS[kind] for kind in kinds)
        if least is not None:
            words += f" of {least} or more" if list not in kinds else f" of at least {least}"
        raise SrTvmError(f"{field} is {reprlib.repr(value)}; {words} is needed")
    return value


def expect_keys(value: Any, needed: set[str], known: set[str], where: str) -> dict[str, Any]:
    """``value``, if it is an object with the ``needed`` keys and none but the ``known``.

    Raises:
        SrTvmError: it is not; the message begins with ``where`` and names the key.
    """
    expect(value, dict, where)
    for key in sorted(needed - value.keys()):
        raise SrTvmError(f"{where}: field {key} is missing")
    for key in value.keys() - known:
        raise SrTvmError(f"{where}: unknown field {reprlib.repr(key)}; known are {', '.join(sorted(known))}")
    return value
