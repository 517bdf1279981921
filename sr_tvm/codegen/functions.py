"""The functions of a kernel: the entry, and the private ones that it calls, shared where they are equal."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import tvm
from tvm import tirx

STATUS = tvm.ir.PrimType("int32")  # what a private function returns: 0
ATTRIBUTES = {"s_tir": True, "tirx.noalias": True, "tirx.is_scheduled": True}


def entry(params: Sequence[tirx.Var], body: tirx.Stmt) -> tirx.PrimFunc:
    """Make the function of a kernel that the outside calls.

    Args:
        params: Its parameters: buffers, then numbers and pointers if there are any.
        body: What it does.

    Returns:
        The function, marked as scheduled, so that no rule schedules it again.
    """
    return tirx.PrimFunc(list(params), body).with_attr(ATTRIBUTES)


def private(name: str, params: Sequence[tirx.Var], body: tirx.Stmt) -> tirx.PrimFunc:
    """Make a function that others of its module call, and that LLVM must not inline.

    TVM tells LLVM that buffers of different names never share memory. That holds within a function; inlined into its
    caller, one function's read of a line buffer would seem to have nothing to do with another's write. The attribute is
    what TVM gives to the body of an entry.

    Args:
        name: By which others call it.
        params: Its parameters, numbers and pointers.
        body: What it does.

    Returns:
        The function, marked as scheduled. It returns 0, an int32.
    """
    scope = tirx.AttrStmt(tirx.const(0, "int32"), "compute_scope", tvm.ir.StringImm(f"{name}_compute_"), body)
    done = tirx.Return(tirx.const(0, "int32"))
    return tirx.PrimFunc(list(params), tirx.SeqStmt([scope, done]), STATUS).with_attr(ATTRIBUTES)


class Functions:
    """The private functions of a kernel, each made once: equal layers share one, which keeps compilation short.

    Attributes:
        prefix: What the functions' names begin with.
        made: The functions by name.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.made: dict[str, tirx.PrimFunc] = {}
        self._of: dict[Hashable, tvm.ir.GlobalVar] = {}

    def of(self, key: Hashable, make: Callable[[str], tirx.PrimFunc]) -> tvm.ir.GlobalVar:
        """Find the function of a key, or make it the first time that it is asked for.

        Args:
            key: Equal for calls that the same function serves.
            make: Makes the function, given its name.

        Returns:
            The variable to call it by.
        """
        if key not in self._of:
            name = f"{self.prefix}_row{len(self._of)}"
            self._of[key] = tvm.ir.GlobalVar(name)
            self.made[name] = make(name)
        return self._of[key]

    @property
    def variables(self) -> tuple[tvm.ir.GlobalVar, ...]:
        """The variables that the functions are called by, in the order they were made."""
        return tuple(self._of.values())
