"""A Relax function of one straight block, as an ordered list of bindings that passes can ask and edit."""

from __future__ import annotations

from itertools import count

import numpy as np
import tvm
from tvm import relax

from sr_tvm.errors import SrTvmError
from sr_tvm.passes.constants import per_channel
from sr_tvm.passes.convolution import Convolution


class RelaxGraph:
    """A Relax function of one straight block, as an ordered list of bindings that passes can ask and edit.

    Attributes:
        func: The function as it was given.
        values: What each variable is bound to, in order.
        outputs: The variables that the function's result is made of.
        readers: The variables whose bindings read a variable; None stands for the caller of the function.

    Raises:
        SrTvmError: The function has control flow or casts, which no network of ours has.
    """

    def __init__(self, func: relax.Function) -> None:
        self.func = func
        self.values: dict[relax.Var, relax.Expr] = {}
        for block in func.body.blocks:
            for binding in block.bindings:
                if not isinstance(binding, relax.VarBinding) or isinstance(binding.value, relax.If):
                    raise SrTvmError(f"cannot optimise {binding.var.name}: control flow or a cast of shapes")
                self.values[binding.var] = binding.value
        self._index()

    def _index(self) -> None:
        """Find every variable's readers, and drop bindings without any: a dead reader must not forbid a rewrite.

        The reader None is the caller of the function.
        """
        self.outputs = set(relax.analysis.free_vars(self.func.body.body))
        self.readers: dict[relax.Var, list[relax.Var | None]] = {var: [None] for var in self.outputs}
        for var, value in reversed(list(self.values.items())):
            if var not in self.readers:
                del self.values[var]
                continue
            for read in relax.analysis.free_vars(value):
                self.readers.setdefault(read, []).insert(0, var)
        self.var_to_value = tvm.runtime.convert(self.values)

    def value(self, expr: relax.Expr) -> relax.Expr:
        """Look up what an expression is bound to.

        Args:
            expr: Any expression.

        Returns:
            The value bound to it; itself where it is no bound variable.
        """
        return self.values.get(expr, expr) if isinstance(expr, relax.Var) else expr

    def only_reader(self, var: relax.Var, reader: relax.Var) -> bool:
        """Tell whether one binding is all that reads a variable.

        Args:
            var: The variable that is read.
            reader: The variable of that binding.

        Returns:
            False where other bindings or the function's caller read it too, and where nothing does.
        """
        return self.readers.get(var, []) == [reader]

    def replace(self, var: relax.Var, value: relax.Expr) -> None:
        """Bind a variable to another value. Calls nested in it get bindings of their own, in front.

        Args:
            var: A variable that is bound here.
            value: What to bind it to, of the same type; it reads only what is bound before ``var``.
        """
        values: dict[relax.Var, relax.Expr] = {}
        for name, old in self.values.items():
            if not name.same_as(var):
                values[name] = old
                continue
            values[name] = self._flat(value, values)
        self.values = values
        self._index()

    def _flat(self, value: relax.Expr, values: dict[relax.Var, relax.Expr]) -> relax.Expr:
        if not isinstance(value, relax.Call):
            return value
        args = []
        for arg in value.args:
            if isinstance(arg, relax.Tuple):  # the arguments of a call_tir
                arg = relax.Tuple([self._bound(field, values) for field in arg.fields])
            args.append(self._bound(arg, values))
        return relax.BlockBuilder().normalize(relax.Call(value.op, args, value.attrs, value.ty_args))

    def _bound(self, value: relax.Expr, values: dict[relax.Var, relax.Expr]) -> relax.Expr:
        """Return ``value``, or where it is a call a new variable that is bound to it."""
        if not isinstance(value, relax.Call):
            return value
        flat = self._flat(value, values)
        names = {var.name for var in (*self.values, *values)}
        fresh = next(name for i in count() if (name := f"folded{i}") not in names)
        var = relax.DataflowVar(fresh, flat.ty)
        values[var] = flat
        return var

    def biased_convolution(self, expr: relax.Expr) -> tuple[Convolution, np.ndarray | None, list[relax.Var]] | None:
        """Read an expression as a convolution, with the bias that is added to it if there is one.

        Args:
            expr: A variable that may be bound to either.

        Returns:
            The convolution, the bias (channels,) in float64 or None, and the variables from the convolution to the
            bias, ends included; None for anything else.
        """
        conv = Convolution.of(self.value(expr))
        if conv is not None:
            return conv, None, [expr]
        add = self.affine(expr, "add")
        conv = Convolution.of(self.value(add[0])) if add else None
        if add is None or conv is None or not isinstance(add[0], relax.Var):
            return None
        return conv, add[1], [add[0], expr]

    def affine(self, expr: relax.Expr, name: str) -> tuple[relax.Expr, np.ndarray] | None:
        """Read an expression as the addition or multiplication of one constant number for each channel.

        A subtraction is an addition of the negative, a division a multiplication by the inverse.

        Args:
            expr: A variable that may be bound to one.
            name: ``"add"`` or ``"multiply"``: which of the two is asked for.

        Returns:
            The tensor (N, C, H, W), and the numbers (C,) in float64; None for anything else, or a division by zero.
        """
        call = self.value(expr)
        if not isinstance(call, relax.Call) or not isinstance(call.op, tvm.ir.Op) or len(call.args) != 2:
            return None
        inverse = {"add": "subtract", "multiply": "divide"}[name]
        kind = call.op.name.removeprefix("relax.")
        if kind not in (name, inverse) or not isinstance(call.ty, relax.TensorType):
            return None
        for data, other in ((0, 1), (1, 0)):
            numbers = per_channel(call.args[other], call.args[data])
            if numbers is None or (data == 1 and kind == inverse):
                continue
            if kind == inverse:
                if name == "multiply" and np.any(numbers == 0):
                    return None
                numbers = -numbers if name == "add" else 1.0 / numbers
            return call.args[data], numbers
        return None

    def function(self) -> relax.Function:
        """Build the function of the bindings as they are now.

        Returns:
            A function of the old parameters and result; TVM has not normalized it.
        """
        bindings = [relax.VarBinding(var, value) for var, value in self.values.items()]
        body = relax.SeqExpr([relax.DataflowBlock(bindings)], self.func.body.body)
        return relax.Function(self.func.params, body, self.func.ret_ty, self.func.is_pure, self.func.attrs)

    def update(self, mod: tvm.IRModule, main: str = "main") -> tvm.IRModule:
        """Put the bindings as they are now into a copy of a module, without what nobody reads any more.

        Args:
            mod: The module that the function came from, with any kernels that were added since.
            main: The name of the function in it.

        Returns:
            A new, normalized module.
        """
        mod = tvm.IRModule(dict(mod.functions_items()), attrs=mod.attrs)
        mod[mod.get_global_var(main)] = self.function()
        return relax.transform.DeadCodeElimination([main])(relax.transform.Normalize()(mod))
