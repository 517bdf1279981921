"""Move per-channel constants, added or multiplied, into the weights and biases of convolutions, where that is exact.

Super-resolution networks subtract the mean colour first and add it last; importers leave biases of two branches to be
added apart. The rules, each applied until none fits (s, t, u per-channel constants; inner values read nowhere else):

- conv(x) * s, (conv(x) + t) * s, (x + t) + u, (x * s) * u: into the weights, or into one constant.
- shuffle(x) + t, shuffle(x) * s: before the shuffle, each number repeated for the r^2 channels that make its channel.
- (x + t) + (y + u), (x + y) + t: one constant, on the operand that is a convolution.
- conv(x * s): into the weights. Zero padding stays zero.
- conv(x + t): into the bias only where no pixel sees padding: at the border a padded convolution adds t through fewer
  taps. There the addition stays, and fuse_elementwise makes it arithmetic of the first load.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tvm
from tvm import relax

from sr_tvm.passes import fold_pixel_shuffle
from sr_tvm.passes.constants import channel_constant
from sr_tvm.passes.convolution import Convolution
from sr_tvm.passes.graph import RelaxGraph
from sr_tvm.passes.log import Log
from sr_tvm.passes.shapes import dims, same

add, multiply = relax.op.add, relax.op.multiply
# A shift divided by a scale may not grow beyond what half precision can hold.
LARGEST = 65504.0


@tvm.transform.module_pass(opt_level=0, name="FoldMeanShift")
class FoldMeanShift:
    """Fold per-channel additions and multiplications around convolutions into their weights and biases."""

    def __init__(self, log: Log | None = None) -> None:
        self.log = log or Log()

    def transform_module(self, mod: tvm.IRModule, _ctx: tvm.transform.PassContext) -> tvm.IRModule:
        """Apply the rules of this module to ``main`` until none fits.

        Args:
            mod: High-level Relax of a network; depth-to-space is already the kernel of FoldPixelShuffle.

        Returns:
            A new module. Each rewrite has a row in the log, and so has each addition that has to stay.
        """
        folder = _Folder(mod, RelaxGraph(mod["main"]), self.log)
        folder.run()
        return folder.graph.update(mod)


class _Folder:
    def __init__(self, mod: tvm.IRModule, graph: RelaxGraph, log: Log) -> None:
        self.mod, self.graph, self.log = mod, graph, log
        self.rules: tuple[Callable[[relax.Var], str | None], ...] = (
            self._scale_after,
            self._merge_constants,
            self._before_shuffle,
            self._residual,
            self._scale_before,
            self._shift_before,
        )

    def run(self) -> None:
        changed = True
        while changed:
            changed = False
            for var in list(self.graph.values):
                if var not in self.graph.readers:  # a rewrite of this sweep has left it dead
                    continue
                for rule in self.rules:
                    said = rule(var)
                    if said is not None:
                        changed = True
                        self.log.rewrite("FoldMeanShift", var.name, said)
                        break
        self._refuse()

    def _alone(self, expr: relax.Expr, reader: relax.Var) -> bool:
        return isinstance(expr, relax.Var) and self.graph.only_reader(expr, reader)

    def _constant(self, numbers: np.ndarray, like: relax.Expr) -> relax.Expr:
        return channel_constant(numbers, like)

    def _scale_after(self, var: relax.Var) -> str | None:
        """Return what was done where conv(x) * s was folded, else None."""
        found = self.graph.affine(var, "multiply")
        conv = Convolution.of(self.graph.value(found[0])) if found else None
        if found is None or conv is None or not self._alone(found[0], var):
            return None
        self.graph.replace(var, conv.scale_output(found[1]).on(conv.data))
        return "multiplication after a convolution -> its weights"

    def _merge_constants(self, var: relax.Var) -> str | None:
        """Return what was done where (x + t) + u, (conv(x) + t) * s or (x * s) * u was folded, else None."""
        for outer in ("add", "multiply"):
            found = self.graph.affine(var, outer)
            if found is None or not self._alone(found[0], var):
                continue
            inner = self.graph.affine(found[0], "add")
            if inner is not None:
                x, t = inner
                if outer == "add":
                    self.graph.replace(var, add(x, self._constant(t + found[1], var)))
                    return "two additions -> one"
                if Convolution.of(self.graph.value(x)) is None:
                    continue  # towards a convolution after it, the multiplication has to come last
                scaled = multiply(x, self._constant(found[1], var))
                self.graph.replace(var, add(scaled, self._constant(t * found[1], var)))
                return "multiplication moved before an addition"
            inner = self.graph.affine(found[0], "multiply")
            if inner is not None and outer == "multiply":
                self.graph.replace(var, multiply(inner[0], self._constant(inner[1] * found[1], var)))
                return "two multiplications -> one"
        return None

    def _before_shuffle(self, var: relax.Var) -> str | None:
        """Return what was done where shuffle(x) + t or shuffle(x) * s was folded, else None."""
        for name, op in (("add", add), ("multiply", multiply)):
            found = self.graph.affine(var, name)
            if found is None or not self._alone(found[0], var):
                continue
            shuffle = self.graph.value(found[0])
            how = fold_pixel_shuffle.scale_and_order(self.mod, shuffle)
            if how is None:
                continue
            data = shuffle.args[1].fields[0]
            numbers = fold_pixel_shuffle.before_shuffle(found[1], *how)
            moved = relax.Tuple([op(data, self._constant(numbers, data))])
            call = relax.call_tir(shuffle.args[0], moved, out_ty=shuffle.ty_args[0])
            self.graph.replace(var, call)
            return f"{name} after the pixel shuffle -> before it, repeated for {how[0] ** 2} channels"
        return None

    def _residual(self, var: relax.Var) -> str | None:
        """Return what was done where (x + t) + (y + u) or (x + y) + t was folded, else None."""
        value = self.graph.value(var)
        if not _is(value, "relax.add"):
            return None
        a, b = value.args
        if self._alone(a, var) and self._alone(b, var):
            left, right = self.graph.affine(a, "add"), self.graph.affine(b, "add")
            if left and right and _same_shape(left[0], right[0], var):
                total = self._constant(left[1] + right[1], var)
                self.graph.replace(var, self._on_convolution(left[0], right[0], total))
                return "the biases of both branches of a sum -> one"
        found = self.graph.affine(var, "add")
        if found is None or not self._alone(found[0], var):
            return None
        inner = self.graph.value(found[0])
        if not _is(inner, "relax.add") or not _same_shape(inner.args[0], inner.args[1], var):
            return None
        for side, other in ((0, 1), (1, 0)):
            into, x = inner.args[side], found[0]
            biased = self.graph.biased_convolution(into)
            if biased is not None and self._alone(into, x):
                bias = add(into, self._constant(found[1], var))
                self.graph.replace(var, add(bias, inner.args[other]))
                return "addition after a sum -> the bias of a branch"
        return None

    def _on_convolution(self, left: relax.Expr, right: relax.Expr, total: relax.Expr) -> relax.Expr:
        """Return the sum of three, the constant beside the convolution, if any: the later, which can end the kernel."""
        if Convolution.of(self.graph.value(right)) is not None:
            return add(left, add(right, total))
        return add(add(left, total), right)

    def _readers(self, var: relax.Var) -> list[tuple[relax.Var, Convolution]] | None:
        """Return the convolutions that read ``var``, where nothing else does and it is no bias of a convolution."""
        pairs = []
        for reader in self.graph.readers.get(var, []):
            conv = Convolution.of(self.graph.values[reader]) if reader is not None else None
            if reader is None or conv is None or not conv.data.same_as(var):
                return None
            pairs.append((reader, conv))
        return pairs or None

    def _scale_before(self, var: relax.Var) -> str | None:
        """Return what was done where conv(x * s) was folded, or conv(x * s + t) made conv((x + t/s) * s), else None."""
        readers = self._readers(var)
        if readers is None:
            return None
        found = self.graph.affine(var, "multiply")
        if found is None:
            shifted = self.graph.affine(var, "add")
            scaled = self.graph.affine(shifted[0], "multiply") if shifted else None
            if shifted is None or scaled is None or np.any(scaled[1] == 0) or not self._alone(shifted[0], var):
                return None
            shift = shifted[1] / scaled[1]
            if np.abs(shift).max() > LARGEST:
                return None
            moved = add(scaled[0], self._constant(shift, var))
            self.graph.replace(var, multiply(moved, self._constant(scaled[1], var)))
            return "multiplication moved after an addition, towards the convolution"
        for reader, conv in readers:
            self.graph.replace(reader, conv.scale_input(found[1]).on(found[0]))
        return "multiplication before a convolution -> its weights"

    def _shift_before(self, var: relax.Var) -> str | None:
        """Return what was done where conv(x + t) without padding was folded, else None."""
        readers = self._readers(var)
        found = self.graph.affine(var, "add")
        if found is None or readers is None or any(conv.adds_borders for _, conv in readers):
            return None
        if Convolution.of(self.graph.value(found[0])) is not None:
            return None  # it is a bias already, and free there
        for reader, conv in readers:
            bias = self._constant(conv.shifted_by(found[1]), var)
            self.graph.replace(reader, add(conv.on(found[0]), bias))
        return "addition before a convolution without padding -> its bias"

    def _refuse(self) -> None:
        for var in self.graph.values:
            found = self.graph.affine(var, "add")
            if found is None or Convolution.of(self.graph.value(found[0])) is not None:
                continue
            readers = self._readers(var)
            if readers is not None:
                reason = "a convolution after it pads with zeros, so its border would be wrong with this in the bias; "
                self.log.refuse(f"addition ({var.name})", reason + "kept as arithmetic of the first load")


def _is(value: relax.Expr, name: str) -> bool:
    return isinstance(value, relax.Call) and isinstance(value.op, tvm.ir.Op) and value.op.name == name


def _same_shape(*exprs: relax.Expr) -> bool:
    shapes = [dims(e) for e in exprs]
    return all(same(shape, shapes[0]) for shape in shapes)
