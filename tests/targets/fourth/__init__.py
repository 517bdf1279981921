"""A family of targets in one folder, as another package would bring it: this CPU, one kernel a node, lines in turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import tvm
from tvm import tirx

from sr_tvm.codegen.builder import FunctionBuilder
from sr_tvm.codegen.kernel import Kernel, KernelConstant, Shape
from sr_tvm.errors import SrTvmError
from sr_tvm.regions.region import Add, Conv, Pointwise, Region
from sr_tvm.regions.value import Layout, Value
from sr_tvm.targets.cpu.host import Cpu
from sr_tvm.targets.lowering import DecisionSpace, Lowering
from sr_tvm.targets.target import Capabilities, Target

LAYOUTS = ("NCHW", "NHCW", "NHWC4c")  # of what lies between kernels


@dataclass(frozen=True)
class Choice:
    """``layout`` of the values between kernels; ``outer`` loop of a convolution."""

    layout: str = LAYOUTS[0]
    outer: str = "o"


class Choices(DecisionSpace[Choice]):
    """All six."""

    def __init__(self, known: Iterable[Choice]) -> None:
        self.default, self.known = Choice(), list(known)

    def repair(self, decisions: Choice) -> Choice:
        return decisions

    def seeds(self) -> list[Choice]:
        return [self.default, *self.known]

    def random(self, rng: Random) -> Choice:
        return Choice(rng.choice(LAYOUTS), rng.choice("oy"))

    def crossover(self, a: Choice, b: Choice, rng: Random) -> Choice:
        return Choice(a.layout, b.outer)

    def mutate(self, genome: Choice, rng: Random) -> Choice | None:
        changed = self.random(rng)
        return None if changed == genome else changed

    def key(self, genome: Choice) -> str:
        return f"{LAYOUTS.index(genome.layout)}{'oy'.index(genome.outer)}"


class NodeByNode(Lowering[Choice]):
    """Every node through memory. A region with a concatenation or groups it leaves alone."""

    name = "node by node"
    hardware = {"lines": 1}

    def decide(self, region: Region, shape: Shape) -> Choice:
        return Choice()

    def space(self, region: Region, shape: Shape, known: Iterable[Choice] = ()) -> Choices:
        return Choices(known)

    def fits(self, decisions: Choice, region: Region, shape: Shape) -> bool:
        return True

    def to_json(self, decisions: Choice) -> dict[str, Any]:
        return {"layout": decisions.layout, "outer": decisions.outer}

    def from_json(self, data: Any, where: str) -> Choice:
        try:
            return Choice(str(data["layout"]), str(data["outer"]))
        except (KeyError, TypeError) as error:
            raise SrTvmError(f"{where}: lacks {error}") from None

    def lower(self, region: Region, shape: Shape, name: str, decisions: Choice | None = None) -> list[Kernel]:
        chosen = decisions or self.decide(region, shape)
        made: dict[str, Value] = {s.name: region.value(s.name) for s in region.sources}
        kernels = []
        results = {r.value: r for r in region.results}
        for i, node in enumerate(n for n in region.nodes if n.name not in made):
            if not isinstance(node, Conv | Pointwise | Add) or getattr(node, "groups", 1) > 1 or len(node.inputs) > 2:
                return []
            out = region.value(node.name)
            if node.name not in results:
                out = replace(out, layout=Layout(chosen.layout))
            elif results[node.name].shuffle > 1:
                return []
            made[node.name] = out
            inputs = tuple(made[n] for n in dict.fromkeys(node.inputs))
            kernels.append(_kernel(node, inputs, out, shape, f"{name}_{i}", chosen.outer))
        return kernels


def _kernel(node: Any, inputs: tuple[Value, ...], out: Value, shape: Shape, name: str, outer: str) -> Kernel:
    b = FunctionBuilder(index="int64")
    n, h, w = (tirx.Var(v, "int64") if s is None else tirx.const(s, "int64") for v, s in zip("nhw", shape, strict=True))
    tensors = {v.name: b.tensor(f"x{i}", v.shape(n, h, w)) for i, v in enumerate(inputs)}
    arrays = [node.weight, node.bias] if isinstance(node, Conv) else list(getattr(node, "parameters", ()))
    constants = [b.tensor(f"c{i}", a.shape) for i, a in enumerate(arrays)]
    y = b.tensor("y", out.shape(n, h, w))

    def at(value: Value, image: Any, c: Any, row: Any, x: Any) -> list[Any]:
        group = value.layout.group
        index = {"N": image, "C": c // group if group > 1 else c, "H": row, "W": x, "c": c % group}
        return [index[axis] for axis in value.layout._axes]

    def pixel(image: Any, o: Any, row: Any, x: Any) -> None:
        reads = [b.load(tensors[name_], *at(v, image, o, row, x)) for name_, v in zip(tensors, inputs, strict=True)]
        if isinstance(node, Add):
            b.store(y, reads[0] + reads[-1], *at(out, image, o, row, x))
            return
        if isinstance(node, Pointwise):
            p = [b.load(c, o) for c in constants]
            value = {
                "relu": lambda v: tirx.max(v, b.real(0)),
                "prelu": lambda v: tirx.Select(v > b.real(0), v, v * p[0]),
                "clip": lambda v: tirx.min(tirx.max(v, p[0]), p[1]),
                "shift": lambda v: v + p[0],
                "scale": lambda v: v * p[0],
            }[node.function](reads[0])
            b.store(y, value, *at(out, image, o, row, x))
            return
        _, depth, kh, kw = node.weight.shape
        place = at(out, image, o, row, x)
        b.store(y, b.load(constants[1], o), *place)
        with b.loop("i", depth) as i, b.loop("ky", kh) as ky, b.loop("kx", kw) as kx:
            above, aside = row + ky - kh // 2, x + kx - kw // 2
            inside = tirx.all(above >= 0, above < h, aside >= 0, aside < w)
            with b.when(inside):
                product = b.load(tensors[inputs[0].name], *at(inputs[0], image, i, above, aside))
                b.store(y, b.load(y, *place) + product * b.load(constants[0], o, i, ky, kx), *place)

    with b.loop("image", n) as image:
        if outer == "o":
            with b.loop("o", out.channels) as o, b.loop("row", h) as row, b.loop("x", w) as x:
                pixel(image, o, row, x)
        else:
            with b.loop("row", h) as row, b.loop("o", out.channels) as o, b.loop("x", w) as x:
                pixel(image, o, row, x)
    function = b.entry([*tensors.values(), *constants, y])
    packed = tuple(KernelConstant(f"c{i}", a) for i, a in enumerate(arrays))
    return Kernel({name: function}, name, inputs, packed, (out,))


@dataclass(frozen=True)
class Fourth(Target):
    """Nothing of it is known outside of this folder."""

    name = "fourth"
    description = "a family of its own"
    speed: int = 1

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities("cpu", any_size=True)

    def tvm_target(self) -> tvm.target.Target:
        return Cpu().tvm_target()

    def why_not_here(self, tvm_target: Mapping[str, Any]) -> str | None:
        return None

    def lowering(self) -> NodeByNode:
        return NodeByNode()
