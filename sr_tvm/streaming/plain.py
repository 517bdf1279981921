"""The lowering every target can use: scalar loops over rings of rows, one function for a region of any size.

The code asks for nothing but loops, loads, stores and float32 arithmetic, so whatever compiles TIR for a CPU or a scalar
DSP takes it. It streams as every lowering does: step t of a loop produces one row of every value, each with its own delay
(:mod:`sr_tvm.streaming.delays`), and a value keeps only the rows somebody still reads. The first nodes read the sources where
they lie; results are stored from their newest row, and a pixel shuffle is the address of that store.

A GPU has no use for one thread that walks down a picture. Its lowering takes the same region and the same delays, with a
work-group for each strip of columns: the loop over x becomes the work-items, the rings lie in local memory, and a barrier
follows each node.
"""

from __future__ import annotations

import numpy as np
import tvm
from tvm import tirx

from sr_tvm.errors import SrTvmError
from sr_tvm.streaming.delays import delays
from sr_tvm.streaming.lowering import Kernel, Shape
from sr_tvm.streaming.plain_rows import Rows, constants_of, node_row, store_row
from sr_tvm.streaming.plain_tir import allocate, block, buffer, loop, number, variable, when
from sr_tvm.streaming.region import Region, Source


class PlainLowering:
    """Implements :class:`sr_tvm.streaming.lowering.Lowering`: one kernel for the whole region."""

    name = "plain"

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        """One kernel; any of N, H and W may be None.

        Raises:
            SrTvmError: the region has no result, or a pixel shuffle does not divide the channels.
        """
        check(region)
        batch, height, width = (number(s) if s else variable(n) for s, n in zip(shape, "nhw", strict=True))
        times = delays(region)
        rows: dict[str, Rows] = {}
        image = variable("image")
        for node in region.nodes:
            if isinstance(node, Source):
                data = buffer(node.name, (batch, node.channels, height, width))
                rows[node.name] = Rows(data, node.channels, height, width, image=image)
            else:
                live = times.live[node.name]
                data = buffer(node.name, (node.channels, live, width))
                rows[node.name] = Rows(data, node.channels, height, width, ring=live)

        step = variable("step")
        body: list[tirx.Stmt] = []
        constants: list[np.ndarray] = []
        constant_buffers: list[tirx.Var] = []
        outputs = [
            buffer(f"out{i}", (batch, rows[r.value].channels // r.shuffle**2, height * r.shuffle, width * r.shuffle))
            for i, r in enumerate(region.results)
        ]
        for node in region.nodes:
            row = step - number(times.delay[node.name])
            work: list[tirx.Stmt] = []
            if not isinstance(node, Source):
                arrays = constants_of(node)
                buffers = [buffer(f"{node.name}_{i}", array.shape) for i, array in enumerate(arrays)]
                constants += arrays
                constant_buffers += buffers
                work.append(node_row(node, rows, buffers, row))
            for result, out in zip(region.results, outputs, strict=True):
                if result.value == node.name:
                    work.append(store_row(rows[node.name], out, image, row, result.shuffle))
            if work:
                body.append(when(tirx.And(row >= number(0), row < height), block(work)))

        steps = loop(step, number(0), height + number(times.last), block(body))
        rings = [s for n in region.nodes if not isinstance(n, Source) for s in allocate(rows[n.name].data)]
        sources = [rows[source.name].data for source in region.sources]
        function = tirx.PrimFunc(
            [*sources, *constant_buffers, *outputs], block([*rings, loop(image, number(0), batch, steps)])
        ).with_attr("tirx.noalias", True)
        kernel = Kernel(
            functions={name: function},
            entry=name,
            inputs=tuple(source.name for source in region.sources),
            constants=tuple(constants),
            outputs=tuple((r.value, rows[r.value].channels, r.shuffle) for r in region.results),
        )
        return [kernel]


def check(region: Region) -> None:
    if not region.results:
        raise SrTvmError("a region without a result has nothing to compute")
    for result in region.results:
        channels = region.by_name[result.value].channels
        if channels % result.shuffle**2:
            raise SrTvmError(f"pixel shuffle x{result.shuffle} of {channels} channels: {result.shuffle**2} must divide them")
