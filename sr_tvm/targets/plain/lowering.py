"""The lowering every target can use: scalar loops over line buffers, for a region of any size.

The code asks for nothing but loops, calls, loads, stores and float32 arithmetic, so whatever compiles TIR for a CPU or
a scalar DSP takes it. It streams as every lowering does: step t of a loop produces a row or a few of every value, each
with its own delay (:mod:`sr_tvm.regions.delays`), and a value keeps only the rows somebody still reads. The first nodes
read the sources where they lie; results are stored from their newest row, and a pixel shuffle is the address of that
store. Layers of equal structure share one private function for their row, so a deep net compiles as fast as a shallow.

A GPU has no use for one thread that walks down a picture. Its lowering takes the same region and the same delays, with
a work-group for each strip of columns: the loop over x becomes the work-items, the line buffers lie in local memory,
and a barrier follows each node.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from tvm import tirx
from typing_extensions import override

from sr_tvm.codegen.builder import FunctionBuilder
from sr_tvm.codegen.functions import Functions
from sr_tvm.codegen.kernel import Kernel, KernelConstant, Shape
from sr_tvm.errors import SrTvmError
from sr_tvm.regions.delays import delays
from sr_tvm.regions.region import Region, Source
from sr_tvm.targets.lowering import Lowering
from sr_tvm.targets.plain.decisions import PlainDecisions, PlainSpace
from sr_tvm.targets.plain.places import INDEX, RowPlace, dimensions
from sr_tvm.targets.plain.rows import constants_of, node_function, node_key, store_function


class PlainLowering(Lowering[PlainDecisions]):
    """Makes one kernel of a whole region, whatever the hardware."""

    name = "plain"
    hardware: dict[str, int] = {}  # scalar loops suit all alike

    @override
    def decide(self, region: Region, shape: Shape) -> PlainDecisions:
        return PlainDecisions()

    @override
    def space(self, region: Region, shape: Shape, known: Iterable[PlainDecisions] = ()) -> PlainSpace:
        return PlainSpace(known)

    @override
    def fits(self, decisions: PlainDecisions, region: Region, shape: Shape) -> bool:
        return True

    @override
    def to_json(self, decisions: PlainDecisions) -> dict[str, Any]:
        return decisions.to_json()

    @override
    def from_json(self, data: Any, where: str) -> PlainDecisions:
        return PlainDecisions.from_json(data, where)

    @override
    def lower(self, region: Region, shape: Shape, name: str, decisions: PlainDecisions | None = None) -> list[Kernel]:
        """Make one kernel of the whole region.

        Args:
            region: What is to be computed.
            shape: N, H and W of the region; None for what is known only at run time.
            name: Of the kernel's function, and the prefix of the names of those that it calls.
            decisions: None for those of :meth:`decide`.

        Returns:
            A list of that kernel.

        Raises:
            SrTvmError: The region has no result, or a pixel shuffle does not divide the channels.
        """
        check(region)
        decided = decisions or self.decide(region, shape)
        b, dims = FunctionBuilder(index=INDEX), dimensions(shape)
        batch, height, width = dims
        runtime = [dim for dim, s in zip(dims, shape, strict=True) if s is None]
        times = delays(region, decided.rows)
        places, data = {}, {}
        for node in region.nodes:
            line_buffer = 0 if isinstance(node, Source) else times.live[node.name]
            places[node.name] = place = RowPlace(node.channels, line_buffer)
            data[node.name] = b.tensor(node.name, place.extents(*dims))
            if line_buffer:
                # TVM's CompactBufferAllocation shrinks a line buffer to what it sees of its use, and errs where a
                # picture has one row. It leaves alone what is passed on as a pointer, as all line buffers are.
                b.add(tirx.AllocBuffer(data[node.name]))
        outputs = [
            b.tensor(
                f"out{i}", (batch, places[r.value].channels // r.shuffle**2, height * r.shuffle, width * r.shuffle)
            )
            for i, r in enumerate(region.results)
        ]

        functions = Functions(name)
        constants = {node.name: constants_of(node) for node in region.nodes}
        weights = {
            node: [b.tensor(f"{node}_{i}", array.shape) for i, array in enumerate(arrays)]
            for node, arrays in constants.items()
        }
        steps = (height + (decided.rows - 1)) // decided.rows + times.last
        with b.loop("image", batch) as image, b.loop("step", steps) as step:
            for node in region.nodes:
                place, at, calls = places[node.name], step - times.delay[node.name], []
                if not isinstance(node, Source):
                    inputs = [places[i] for i in node.inputs]
                    make = partial(node_function, node, place, inputs, shape, decided.order)
                    used = [data[node.name], *(data[i] for i in node.inputs), *weights[node.name]]
                    calls.append((functions.of((node_key(node), place, *inputs), make), used))
                for result, out in zip(region.results, outputs, strict=True):
                    if result.value == node.name:
                        make = partial(store_function, place, result.shuffle, shape)
                        function = functions.of(("store", place, result.shuffle), make)
                        calls.append((function, [out, data[node.name]]))
                for function, buffers in calls:
                    with b.loop("row", decided.rows) as inside:
                        row = at * decided.rows + inside if decided.rows > 1 else at
                        where = [tirx.Cast("int32", image), tirx.Cast("int32", row), *runtime]
                        with b.when(tirx.And(row >= 0, row < height)):
                            b.call(function, [*(buffer.data for buffer in buffers), *where])

        sources = [data[source.name] for source in region.sources]
        kernel = Kernel(
            functions={name: b.entry([*sources, *sum(weights.values(), []), *outputs]), **functions.made},
            entry=name,
            inputs=tuple(region.value(source.name) for source in region.sources),
            constants=tuple(
                KernelConstant(f"{node}_{i}", array)
                for node, arrays in constants.items()
                for i, array in enumerate(arrays)
            ),
            outputs=tuple(region.value(r.value, r.shuffle) for r in region.results),
            called=functions.variables,
        )
        return [kernel]


def check(region: Region) -> None:
    """Refuse a region that has no kernel.

    Args:
        region: What is to be computed.

    Raises:
        SrTvmError: The region has no result, or a pixel shuffle does not divide the channels.
    """
    if not region.results:
        raise SrTvmError("a region without a result has nothing to compute")
    for result in region.results:
        channels, r = region.by_name[result.value].channels, result.shuffle
        if channels % r**2:
            raise SrTvmError(f"pixel shuffle x{r} of {channels} channels: {r**2} must divide them")
