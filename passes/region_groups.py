"""Find maximal groups of operators that may become one streaming kernel, and the rule behind each edge."""

from __future__ import annotations

from dataclasses import dataclass, field

import tvm
from tvm import relax

from sr_tvm.passes import mapping
from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.read_region import Refusal, RegionStep, read


@dataclass(eq=False)
class Members:
    """The operators of one region to be.

    Attributes:
        vars: The variables that they are bound to, in the order of the function.
        rules: Empty; :meth:`RegionGroups.rules` tells them.
    """

    vars: list[relax.Var]
    rules: list[str] = field(default_factory=list)


class RegionGroups:
    """Groups of one function, grown along its edges while the table allows it and no path leaves one and returns.

    A group without a convolution is dropped: there is no work in it that would hide the traffic.
    """

    def __init__(self, mod: tvm.IRModule, graph: RelaxGraph) -> None:
        self.graph = graph
        self.steps: dict[relax.Var, RegionStep | Refusal] = {}
        for var in graph.values:
            step = read(mod, graph, var)
            if step is not None:
                self.steps[var] = step
        self.order = {var: i for i, var in enumerate(graph.values)}
        self.reads = {var: self._bound(value) for var, value in graph.values.items()}
        self.followers: dict[relax.Var, list[relax.Var]] = {var: [] for var in graph.values}
        for var, reads in self.reads.items():
            for source in reads:
                self.followers[source].append(var)
        self.of = {var: Members([var]) for var, step in self.steps.items() if isinstance(step, RegionStep)}
        self._grow()
        self.dropped = [m for m in self._all() if not self._worth(m)]
        self.groups = [m for m in self._all() if self._worth(m)]
        self.of = {var: m for m in self.groups for var in m.vars}

    def _bound(self, value: relax.Expr) -> list[relax.Var]:
        return [v for v in relax.analysis.free_vars(value) if v in self.graph.values]

    def _all(self) -> list[Members]:
        return list({id(m): m for m in self.of.values()}.values())

    def _worth(self, members: Members) -> bool:
        return any(self.steps[var].operator.startswith("conv2d") for var in members.vars)

    def _grow(self) -> None:
        changed = True
        while changed:
            changed = False
            for var in self.of:
                for source in self.reads[var]:
                    if source not in self.of or self.of[source] is self.of[var]:
                        continue
                    if self.allowed(source, var)[0] and not self._returns(self.of[source], self.of[var]):
                        self._merge(self.of[source], self.of[var])
                        changed = True

    def _merge(self, first: Members, second: Members) -> None:
        merged = Members(sorted(first.vars + second.vars, key=self.order.__getitem__))
        for var in merged.vars:
            self.of[var] = merged

    def allowed(self, source: relax.Var, var: relax.Var) -> tuple[bool, str]:
        """Decide whether an operator may join one that it reads in a streaming kernel.

        Args:
            source: The variable that is read.
            var: The variable of the operator that reads it.

        Returns:
            Whether the table of axes joins the edge; and its rule in words, or the reason against it.
        """
        first, second = self.steps.get(source), self.steps.get(var)
        if first is None or second is None:
            return False, "not an operator on tensors"
        words = ""
        if first.axes is not None and second.axes is not None:
            joined, words = mapping.stream(first.axes, second.axes)
            if joined is None:
                return False, words
        refusal = next((step for step in (first, second) if isinstance(step, Refusal)), None)
        return refusal is None, words if refusal is None else refusal.reason

    def _returns(self, first: Members, second: Members) -> bool:
        """Return whether some path leaves the two and comes back: as one kernel they would wait for themselves."""
        inside = {*first.vars, *second.vars}
        # A step of the search goes from an operator to all of its group: groups run as one.
        seen: set[relax.Var] = set()
        stack = [f for var in inside for f in self.followers[var] if f not in inside]
        while stack:
            var = stack.pop()
            if var in seen:
                continue
            together = self.of[var].vars if var in self.of else [var]
            seen.update(together)
            for member in together:
                for follower in self.followers[member]:
                    if follower in inside:
                        return True
                    if follower not in seen:
                        stack.append(follower)
        return False

    def rules(self, members: Members) -> list[str]:
        """List the rules that joined the operators of a group to what was fused before them.

        Args:
            members: A group of this function.

        Returns:
            Each rule once, in words, in the order of the operators.
        """
        types: dict[relax.Var, mapping.Axes] = {}  # of each operator with all before it
        words: list[str] = []
        for var in members.vars:
            axes = self.steps[var].axes
            assert axes is not None
            types[var] = axes
            for source in self.reads[var]:
                if source in types:
                    joined, rule = mapping.stream(types[source], axes)
                    assert joined is not None  # the fused type of allowed pairs is again one that the table allows
                    types[var] = mapping.stronger(types[var], joined)
                    words += rule.split("; ")
        return list(dict.fromkeys(words))

    def refusals(self) -> list[tuple[str, str]]:
        """Tell where groups end, and why.

        Returns:
            Pairs of an edge (``operator (variable) | operator (variable)``), or of an operator whose group was dropped,
            and the reason.
        """
        rows = []
        for var, reads in self.reads.items():
            for source in reads:
                first, second = self.of.get(source), self.of.get(var)
                if first is second or source not in self.steps or var not in self.steps:
                    continue
                allowed, words = self.allowed(source, var)
                if allowed and (first is None or second is None):
                    continue  # to a dropped group, which has a row of its own
                reason = "another path between the two leaves the region" if allowed else words
                rows.append((f"{self._name(source)} | {self._name(var)}", reason))
        for members in self.dropped:
            rows.append((self._name(members.vars[0]), "a region without a convolution has no work to stream"))
        return rows

    def _name(self, var: relax.Var) -> str:
        return f"{self.steps[var].operator} ({var.name})"
