"""The lowering every target can use: scalar loops over rings of rows, for a region of any size.

The code asks for nothing but loops, calls, loads, stores and float32 arithmetic, so whatever compiles TIR for a CPU or
a scalar DSP takes it. It streams as every lowering does: step t of a loop produces one row of every value, each with
its own delay (:mod:`sr_tvm.regions.delays`), and a value keeps only the rows somebody still reads. The first nodes
read the sources where they lie; results are stored from their newest row, and a pixel shuffle is the address of that
store. Layers of equal structure share one private function for their row, so a deep net compiles as fast as a shallow.

A GPU has no use for one thread that walks down a picture. Its lowering takes the same region and the same delays, with
a work-group for each strip of columns: the loop over x becomes the work-items, the rings lie in local memory, and a
barrier follows each node.
"""

from __future__ import annotations

from functools import partial

from tvm import tirx

from sr_tvm.errors import SrTvmError
from sr_tvm.regions.delays import delays
from sr_tvm.regions.region import Region, Source
from sr_tvm.targets.lowering import Kernel, Shape
from sr_tvm.targets.plain.function import Place
from sr_tvm.targets.plain.rows import constants_of, node_function, node_key, store_function
from sr_tvm.targets.plain.tir import Functions, argument, block, buffer, loop, number, variable, when


class PlainLowering:
    """Implements :class:`sr_tvm.targets.lowering.Lowering`: one kernel for the whole region."""

    name = "plain"

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        """One kernel; any of N, H and W may be None.

        Raises:
            SrTvmError: the region has no result, or a pixel shuffle does not divide the channels.
        """
        check(region)
        dims = [variable(n) if s is None else number(s) for s, n in zip(shape, "nhw", strict=True)]
        batch, height, width = dims
        runtime = [dim for dim, s in zip(dims, shape, strict=True) if s is None]
        image, step = variable("image"), variable("step")
        times = delays(region)
        places, data = {}, {}
        for node in region.nodes:
            ring = 0 if isinstance(node, Source) else times.live[node.name]
            places[node.name] = Place(node.channels, ring)
            extents = (node.channels, ring, width) if ring else (batch, node.channels, height, width)
            data[node.name] = buffer(node.name, extents)
        outputs = [
            buffer(f"out{i}", (batch, places[r.value].channels // r.shuffle**2, height * r.shuffle, width * r.shuffle))
            for i, r in enumerate(region.results)
        ]

        functions = Functions(name)
        rings, body, constants, constant_buffers = [], [], [], []
        for node in region.nodes:
            place, work = places[node.name], []
            row = step - number(times.delay[node.name])
            where = [argument(image), argument(row), *runtime]
            if not isinstance(node, Source):
                # TVM's CompactBufferAllocation shrinks a ring to what it sees of its use, and errs where a picture has
                # one row. It leaves alone what is passed on as a pointer, as all rings are.
                rings.append(tirx.AllocBuffer(data[node.name]))
                arrays = constants_of(node)
                buffers = [buffer(f"{node.name}_{i}", array.shape) for i, array in enumerate(arrays)]
                constants += arrays
                constant_buffers += buffers
                inputs = [places[i] for i in node.inputs]
                used = [data[node.name], *(data[i] for i in node.inputs), *buffers]
                pointers = [b.data for b in used]
                key = (node_key(node), place, *inputs)
                make = partial(node_function, node, place, inputs, shape)
                work.append(functions.call(key, make, [*pointers, *where]))
            for result, out in zip(region.results, outputs, strict=True):
                if result.value == node.name:
                    r = result.shuffle
                    pointers = [out.data, data[node.name].data]
                    make = partial(store_function, place, r, shape)
                    work.append(functions.call(("store", place, r), make, [*pointers, *where]))
            if work:
                body.append(when(tirx.And(row >= number(0), row < height), block(work)))

        steps = loop(step, number(0), height + number(times.last), block(body))
        params = [*(data[source.name] for source in region.sources), *constant_buffers, *outputs]
        entry = tirx.PrimFunc(params, block([*rings, loop(image, number(0), batch, steps)]))
        kernel = Kernel(
            functions={name: entry.with_attr("tirx.noalias", True), **functions.made},
            entry=name,
            inputs=tuple(source.name for source in region.sources),
            constants=tuple(constants),
            outputs=tuple((r.value, places[r.value].channels, r.shuffle) for r in region.results),
        )
        return [kernel]


def check(region: Region) -> None:
    if not region.results:
        raise SrTvmError("a region without a result has nothing to compute")
    for result in region.results:
        channels, r = region.by_name[result.value].channels, result.shuffle
        if channels % r**2:
            raise SrTvmError(f"pixel shuffle x{r} of {channels} channels: {r**2} must divide them")
