"""Every node of a region as a kernel of scalar loops, whatever the node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from tvm import tirx
from typing_extensions import override

from newcomer.decisions import Order, Orders
from sr_tvm.codegen.builder import FunctionBuilder
from sr_tvm.codegen.kernel import Kernel, KernelConstant, Shape
from sr_tvm.regions.region import Add, Concat, Conv, Pointwise, Region, Source
from sr_tvm.regions.value import Value
from sr_tvm.targets.lowering import Lowering


class NodeLowering(Lowering[Order]):
    """One kernel a node; it stores its value for other nodes, and as each result that it is."""

    name = "newcomer"
    hardware: dict[str, int] = {}

    @override
    def decide(self, region: Region, shape: Shape) -> Order:
        return Order()

    @override
    def space(self, region: Region, shape: Shape, known: Iterable[Order] = ()) -> Orders:
        return Orders(known)

    @override
    def fits(self, decisions: Order, region: Region, shape: Shape) -> bool:
        return True

    @override
    def to_json(self, decisions: Order) -> dict[str, Any]:
        return decisions.to_json()

    @override
    def from_json(self, data: Any, where: str) -> Order:
        return Order.from_json(data, where)

    @override
    def lower(self, region: Region, shape: Shape, name: str, decisions: Order | None = None) -> list[Kernel]:
        decided = decisions or self.decide(region, shape)
        if any(isinstance(region.by_name[r.value], Source) for r in region.results):
            return []
        kernels = []
        for i, node in enumerate(node for node in region.nodes if not isinstance(node, Source)):
            shuffles = {r.shuffle for r in region.results if r.value == node.name}
            if region.readers[node.name]:
                shuffles.add(1)
            outputs = [region.value(node.name, shuffle) for shuffle in sorted(shuffles)]
            kernels.append(_kernel(node, region, outputs, shape, f"{name}_{i}", decided.outer))
        return kernels


def _kernel(node: Any, region: Region, outputs: list[Value], shape: Shape, name: str, outer: str) -> Kernel:
    b = FunctionBuilder(index="int64")
    n, h, w = (tirx.Var(v, "int64") if s is None else tirx.const(s, "int64") for v, s in zip("nhw", shape, strict=True))
    inputs = {i: region.value(i) for i in node.inputs}
    read = {i: b.tensor(f"x{k}", value.shape(n, h, w)) for k, (i, value) in enumerate(inputs.items())}
    arrays: list[np.ndarray] = [node.weight, node.bias] if isinstance(node, Conv) else []
    if isinstance(node, Pointwise):
        arrays = list(node.parameters)
    constants = [b.tensor(f"c{k}", array.shape) for k, array in enumerate(arrays)]
    written = [b.tensor(f"y{k}", value.shape(n, h, w)) for k, value in enumerate(outputs)]

    def store(value: Any, image: Any, c: Any, y: Any, x: Any) -> None:
        for out, buffer in zip(outputs, written, strict=True):
            r = out.enlarged
            b.store(buffer, value, image, c // (r * r), y * r + c % (r * r) // r, x * r + c % r)

    def conv(image: Any, o: Any, y: Any, x: Any) -> None:
        total = b.register("total")
        total.set(b.load(constants[1], o))
        outputs_of_group, (_, deep, kh, kw) = node.channels // node.groups, node.weight.shape
        first = 0  # of this input's channels, among those of all inputs
        for i in node.inputs:
            with b.loop("c", inputs[i].channels) as c, b.loop("ky", kh) as ky, b.loop("kx", kw) as kx:
                above, aside = y + ky - kh // 2, x + kx - kw // 2
                at = c + first - o // outputs_of_group * deep  # within the group that o reads
                inside = tirx.all(above >= 0, above < h, aside >= 0, aside < w, at >= 0, at < deep)
                with b.when(inside):
                    total.fma(b.load(read[i], image, c, above, aside), b.load(constants[0], o, at, ky, kx))
            first += inputs[i].channels
        store(total.get(), image, o, y, x)

    def pixel(image: Any, c: Any, y: Any, x: Any) -> None:
        if isinstance(node, Conv):
            conv(image, c, y, x)
        elif isinstance(node, Add):
            store(sum(b.load(read[i], image, c, y, x) for i in node.inputs), image, c, y, x)
        elif isinstance(node, Pointwise):
            store(_arithmetic(b, node, b.load(read[node.inputs[0]], image, c, y, x), constants, c), image, c, y, x)
        elif isinstance(node, Concat):
            first = 0
            for i in node.inputs:
                with b.when(tirx.all(c >= first, c < first + inputs[i].channels)):
                    store(b.load(read[i], image, c - first, y, x), image, c, y, x)
                first += inputs[i].channels

    with b.loop("image", n) as image:
        if outer == "channel":
            with b.loop("c", node.channels) as c, b.loop("y", h) as y, b.loop("x", w) as x:
                pixel(image, c, y, x)
        else:
            with b.loop("y", h) as y, b.loop("c", node.channels) as c, b.loop("x", w) as x:
                pixel(image, c, y, x)
    packed = tuple(KernelConstant(f"c{k}", array) for k, array in enumerate(arrays))
    function = b.entry([*read.values(), *constants, *written])
    return Kernel({name: function}, name, tuple(inputs.values()), packed, tuple(outputs))


def _arithmetic(b: FunctionBuilder, node: Pointwise, value: Any, constants: list[Any], c: Any) -> Any:
    p = [b.load(constant, c) for constant in constants]
    match node.function:
        case "relu":
            return tirx.max(value, b.real(0))
        case "prelu":
            return tirx.Select(value > b.real(0), value, value * p[0])
        case "clip":
            return tirx.min(tirx.max(value, p[0]), p[1])
        case "shift":
            return value + p[0]
        case "scale":
            return value * p[0]
