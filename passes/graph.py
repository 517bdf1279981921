"""A Relax function of one straight block, as an ordered list of bindings that passes can ask and edit."""

from __future__ import annotations

from math import prod

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprVisitor, visitor

from sr_tvm.errors import SrTvmError


@visitor
class _Vars(PyExprVisitor):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.found: list[relax.Var] = []

    def visit_var_(self, op: relax.Var) -> None:
        self.found.append(op)

    def visit_dataflow_var_(self, op: relax.DataflowVar) -> None:
        self.found.append(op)


def variables(expr: relax.Expr) -> list[relax.Var]:
    """The variables that ``expr`` reads, in order, with repeats."""
    visit = _Vars()
    visit.visit_expr(expr)
    return visit.found


class Graph:
    """Ask what a variable is bound to and who reads it; replace a binding's value; build the function again.

    Raises:
        SrTvmError: the function has control flow or casts, which no network of ours has.
    """

    def __init__(self, func: relax.Function) -> None:
        self.func = func
        self.values: dict[relax.Var, relax.Expr] = {}
        for block in func.body.blocks:
            for binding in block.bindings:
                if not isinstance(binding, relax.VarBinding) or isinstance(binding.value, relax.If):
                    raise SrTvmError(f"cannot optimise {binding.var.name}: control flow and match_cast are not supported")
                self.values[binding.var] = binding.value
        self._index()

    def _index(self) -> None:
        self.readers: dict[relax.Var, list[relax.Var | None]] = {}
        for var, value in self.values.items():
            for read in dict.fromkeys(variables(value)):
                self.readers.setdefault(read, []).append(var)
        self.outputs = dict.fromkeys(variables(self.func.body.body))
        for read in self.outputs:
            self.readers.setdefault(read, []).append(None)  # None: the caller of the function

    def value(self, expr: relax.Expr) -> relax.Expr:
        """What ``expr`` is bound to, or itself where it is no bound variable."""
        return self.values.get(expr, expr) if isinstance(expr, relax.Var) else expr

    def only_reader(self, var: relax.Var, reader: relax.Var) -> bool:
        """Whether ``reader`` is the one binding that reads ``var``."""
        return self.readers.get(var, []) == [reader]

    def replace(self, var: relax.Var, value: relax.Expr) -> None:
        """Bind ``var`` to another value, which may nest calls: :meth:`function` normalises."""
        self.values[var] = value
        self._index()

    def function(self) -> relax.Function:
        """The function of the bindings as they are now, in administrative normal form, dead bindings left in."""
        bindings = [relax.VarBinding(var, value) for var, value in self.values.items()]
        body = relax.SeqExpr([relax.DataflowBlock(bindings)], self.func.body.body)
        return relax.Function(self.func.params, body, self.func.ret_ty, self.func.is_pure, self.func.attrs)


def array(expr: relax.Expr) -> np.ndarray | None:
    """The numbers of a floating-point constant as float64, so that folding rounds once; None for anything else."""
    if not isinstance(expr, relax.Constant) or not expr.data.dtype.startswith("float"):
        return None
    return expr.data.numpy().astype("float64")


def tensor_bytes(ty: tvm.ir.Type) -> int:
    """Bytes of a tensor, or of all tensors of a tuple, of static shape."""
    if isinstance(ty, relax.TupleType):
        return sum(tensor_bytes(field) for field in ty.fields)
    return prod(int(n) for n in ty.shape) * (tvm.runtime.DataType(ty.dtype).itemsize)
