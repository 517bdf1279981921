"""Decide which kernel calls become one kernel, by the table of mapping.py, and make them one."""

from __future__ import annotations

from dataclasses import dataclass, field

import tvm
from tvm import relax

from sr_tvm.passes import mapping
from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.mapping import Decision, Mapping
from sr_tvm.passes.outline import outline
from sr_tvm.passes.shapes import dims, has_symbols, same, symbols
from sr_tvm.passes.streamed import is_streamed

# A reshape of a whole tensor is a view in TVM's build, so it is no kernel and is never fused.
VIEWS = frozenset({"reshape", "flatten", "squeeze", "expand_dims"})
# One-to-one operators whose output is not of their input's shape, without broadcasting.
PARTIAL = frozenset({"concatenate", "concat", "split", "slice", "strided_slice"})
FIRST_LOAD = f"{mapping.rule(Mapping.ONE_TO_ONE, Mapping.MANY_TO_MANY)}, recomputed by each reader"


@dataclass
class FusionGroup:
    """Kernel calls that become one kernel.

    Attributes:
        vars: The variables that they are bound to, in order; the last is the kernel's output.
        type: The mapping type of the whole; None where it is not known.
        rules: Why each call joined, in words.
    """

    vars: list[relax.Var]
    type: Mapping | None
    rules: list[str] = field(default_factory=list)


def is_kernel(value: relax.Expr) -> bool:
    """Tell whether a binding is a call of a TIR function that does work.

    Args:
        value: What a variable is bound to.

    Returns:
        False for views (reshapes of a whole tensor) and for what is no ``call_tir``.
    """
    called = isinstance(value, relax.Call) and value.op == tvm.ir.Op.get("relax.call_tir")
    return called and mapping.operator_name(value.args[0].name_hint) not in VIEWS


def operator(graph: RelaxGraph, var: relax.Var) -> str:
    """Name the operator of a kernel call.

    Args:
        graph: The function that the call is in.
        var: The variable that it is bound to.

    Returns:
        Its plain name: ``conv2d``.
    """
    return mapping.operator_name(graph.values[var].args[0].name_hint)


class Grouping:
    """Groups of one function, grown from single calls until no rule allows another merge.

    Two groups merge when the table allows their types and everything that reads the first lies in the second. The
    latter keeps one output a group, and makes cycles impossible: a path out of the pair and back would need a reader
    outside. Followers (bias, activation, residual, the shuffle of the last store) join before first loads, so that an
    activation goes with the convolution that makes its input.
    """

    def __init__(self, mod: tvm.IRModule, main: str = "main") -> None:
        self.mod, self.graph = mod, RelaxGraph(mod[main])
        self.symbolic = has_symbols(mod[main])
        self.of = {v: FusionGroup([v], self._type(v)) for v, value in self.graph.values.items() if is_kernel(value)}
        self._sweep(first_loads=False)
        self._sweep(first_loads=True)
        self._recompute_first_loads()

    @property
    def groups(self) -> list[FusionGroup]:
        """The groups in the order in which their outputs appear."""
        return list({id(group): group for group in self.of.values()}.values())

    def _type(self, var: relax.Var) -> Mapping | None:
        func = self.mod[self.graph.values[var].args[0]]
        if is_streamed(func):
            return None
        pattern = func.attrs.get("op_pattern") if func.attrs else None
        return mapping.mapping_type(operator(self.graph, var), None if pattern is None else int(pattern))

    def streamed(self, var: relax.Var) -> bool:
        """Tell whether a kernel call is of a streamed region, whose neighbours were judged when it was formed.

        Args:
            var: The variable that the call is bound to.

        Returns:
            Whether its function bears the mark.
        """
        return is_streamed(self.mod[self.graph.values[var].args[0]])

    def producers(self, var: relax.Var) -> list[relax.Var]:
        """List the variables that a kernel call reads, constants left out.

        Args:
            var: The variable that the call is bound to.

        Returns:
            In the order of its arguments; one that it reads twice is there twice.
        """
        return [a for a in self.graph.values[var].args[1].fields if isinstance(a, relax.Var)]

    def _broadcasts(self, producer: relax.Var, var: relax.Var) -> bool:
        if self._type(var) != Mapping.ONE_TO_ONE or operator(self.graph, var) in PARTIAL:
            return False
        return not same(dims(producer), dims(var))

    def judge(self, producer: relax.Var, var: relax.Var) -> tuple[bool, str]:
        """Decide whether the group of one kernel call may merge into the group of a call that reads it.

        Args:
            producer: The variable that is read.
            var: The variable bound to the call that reads it.

        Returns:
            The decision, and the rule that allows it or the reason against it in words.
        """
        first, second = self.of[producer], self.of[var]
        if first.type is None or second.type is None:
            unknown = producer if first.type is None else var
            return False, f"{operator(self.graph, unknown)} has no known mapping type"
        if isinstance(producer.ty, relax.TupleType) or isinstance(var.ty, relax.TupleType):
            return False, "a kernel of several outputs stays alone"
        kind = self._kind(producer, var)
        words = mapping.rule(first.type, kind)
        decision, _ = mapping.combine(first.type, kind)
        if decision == Decision.NEVER:
            return False, words
        if decision == Decision.PROFILE:
            if operator(self.graph, second.vars[0]) not in mapping.ADDRESS_ARITHMETIC:
                return False, f"{words}: no profile says that it pays"
            words += ", address arithmetic of the last store"
        if operator(self.graph, var) in ("concatenate", "concat") and first.type != Mapping.ONE_TO_ONE:
            return False, f"{words}, but a concat has a store for each of its inputs"
        outside = {r for v in first.vars for r in self.graph.readers.get(v, [])} - set(first.vars) - set(second.vars)
        if outside:
            return False, f"{words}, but its output has {len(outside)} more reader{'s' * (len(outside) > 1)}"
        if self.symbolic and not self._deducible([*first.vars, *second.vars]):
            return False, f"{words}, but the sizes of its inputs do not tell the symbols in them"
        return True, words

    def _deducible(self, group: list[relax.Var]) -> bool:
        """Return whether the inputs' shapes tell each symbol of a kernel: a tensor of 2h rows alone does not tell h.

        FuseTIR would then lose the shape of the kernel's output.
        """
        inputs = [p.ty for var in group for p in self.producers(var) if p not in group]
        return symbols([*inputs, *(var.ty for var in group)]) <= symbols(inputs, bare=True)

    def _kind(self, producer: relax.Var, var: relax.Var) -> Mapping:
        """Return the type of ``var``'s group as ``producer`` sees it: what broadcasts its input is one-to-many."""
        kind = self.of[var].type
        assert kind is not None
        return Mapping.ONE_TO_MANY if kind == Mapping.ONE_TO_ONE and self._broadcasts(producer, var) else kind

    def _merge(self, producer: relax.Var, var: relax.Var, words: str) -> None:
        first, second = self.of[producer], self.of[var]
        assert first.type is not None
        kind = mapping.combine(first.type, self._kind(producer, var))[1]
        merged = FusionGroup(first.vars + second.vars, kind, [*first.rules, *second.rules, words])
        for member in merged.vars:
            self.of[member] = merged

    def _sweep(self, first_loads: bool) -> None:
        """Try every edge in order until none merges. A first load is anything in front of a many-to-many operator."""
        changed = True
        while changed:
            changed = False
            for var in list(self.of):
                for producer in reversed(self.producers(var)):
                    if producer not in self.of or self.of[producer] is self.of[var]:
                        continue
                    if first_loads != (self.of[var].type == Mapping.MANY_TO_MANY):
                        continue
                    allowed, words = self.judge(producer, var)
                    if allowed and first_loads and not self._cheap(producer, var):
                        continue
                    if allowed:
                        self._merge(producer, var, words)
                        changed = True

    def _cheap(self, producer: relax.Var, reader: relax.Var) -> bool:
        """Return whether a group computed at each load of ``reader`` reads no more memory than its result."""
        group = self.of[producer]
        inputs = {p for v in group.vars for p in self.producers(v) if p not in group.vars}
        return group.type == Mapping.ONE_TO_ONE and len(inputs) == 1 and not self._broadcasts(producer, reader)

    def _recompute_first_loads(self) -> None:
        """One-to-one arithmetic on one tensor that only many-to-many kernels read goes into their first loads."""
        for group in self.groups:
            last = group.vars[-1]
            readers = self.graph.readers.get(last, [])
            if len(readers) < 2 or not all(r in self.of and self._cheap(last, r) for r in readers):
                continue
            targets = {id(self.of[r]): self.of[r] for r in readers}
            if not all(t.type == Mapping.MANY_TO_MANY for t in targets.values()):
                continue
            for target in targets.values():
                target.vars = group.vars + target.vars
                target.rules.append(FIRST_LOAD)
            for var in group.vars:
                del self.of[var]

    def refusals(self) -> list[dict[str, str]]:
        """Tell why each pair of neighbouring kernels stayed two.

        Returns:
            Rows ``{where, reason}``; neighbours of streamed kernels are left out.
        """
        rows = []
        for var in self.of:
            for producer in dict.fromkeys(self.producers(var)):
                if producer in self.of and self.of[producer] is not self.of[var]:
                    if self.streamed(producer) or self.streamed(var):
                        continue
                    allowed, words = self.judge(producer, var)
                    names = [f"{operator(self.graph, v)} ({v.name})" for v in (producer, var)]
                    reason = f"{words}, but it would read more than one tensor at each load" if allowed else words
                    rows.append({"where": " | ".join(names), "reason": reason})
        return rows


@tvm.transform.module_pass(opt_level=0, name="FuseElementwise")
class FuseElementwise:
    """Make each group of kernel calls that the mapping table allows one private ``Primitive`` function."""

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Make functions of the groups that :class:`Grouping` finds in ``main``.

        Args:
            mod: A module after LegalizeOps and AnnotateTIROpPattern.

        Returns:
            A new module, ready for TVM's FuseTIR.
        """
        return outline(mod, [group.vars for group in Grouping(mod).groups])
