"""The lowering for processors with vectors: regions as kernels that stream rows, cut where that is faster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from typing_extensions import override

from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.regions.cut import Cutter, Piece
from sr_tvm.regions.region import Region
from sr_tvm.targets.cpu.gemm.lowering import winograd_gemm, worth
from sr_tvm.targets.cpu.rows.choices import narrowest
from sr_tvm.targets.cpu.rows.decide import Decider
from sr_tvm.targets.cpu.rows.decisions import RowDecisions
from sr_tvm.targets.cpu.rows.element import FLOAT32, Element, check_range
from sr_tvm.targets.cpu.rows.kernel import stream_kernel
from sr_tvm.targets.cpu.rows.layout import RowLayout
from sr_tvm.targets.cpu.rows.machine import CpuCore
from sr_tvm.targets.cpu.rows.plan import plan_stages
from sr_tvm.targets.cpu.rows.space import RowSpace
from sr_tvm.targets.cpu.rows.stages import build_stages
from sr_tvm.targets.lowering import Lowering


class RowLowering(Lowering[RowDecisions]):
    """Streams rows of pixels in vectors, as the package's other modules say.

    Attributes:
        processor: the core that kernels are made for.
        element: what the kernels compute with.
    """

    name = "rows"

    def __init__(self, processor: CpuCore, winograd: bool = True, element: Element = FLOAT32) -> None:
        self.processor, self.element = processor, element
        self.decider = Decider(processor, winograd, element)

    @property
    @override
    def hardware(self) -> dict[str, int]:
        """The float32 of a vector and the vector registers; for an element other than float32, its bytes too."""
        facts = {"lanes": self.processor.lanes, "registers": self.processor.registers}
        return facts if self.element == FLOAT32 else {**facts, "element_bytes": self.element.bytes}

    @override
    def decide(self, region: Region, shape: Shape) -> RowDecisions:
        return self.decider.decide(region, shape)

    @override
    def lower(self, region: Region, shape: Shape, name: str, decisions: RowDecisions | None = None) -> list[Kernel]:
        """Make the kernels as decided, one of each piece.

        Args:
            region: What is to be computed.
            shape: N, H and W of the region; None for what is known only at run time.
            name: Of the kernel's function, followed by the number of the piece where there are several.
            decisions: None for those of :meth:`decide`.

        Returns:
            The kernels, in the order that they run.

        Raises:
            SrTvmError: A weight does not fit the element, or strips are too narrow for the halo.
        """
        decisions = decisions or self.decide(region, shape)
        check_range(region, self.element)
        kernels = []
        pieces = Cutter(region).pieces(decisions.cuts)
        products = [worth(piece.region, shape, self.processor.l2_bytes) for piece in pieces]
        by_rows = self._by_rows(region, pieces, products)
        for i, (piece, decided) in enumerate(zip(pieces, decisions.pieces, strict=True)):
            kernel_name = f"{name}_{i}" if len(pieces) > 1 else name
            kernel = None
            if products[i]:
                lanes, registers = self.processor.lanes, self.processor.registers
                kernel = winograd_gemm(piece.region, shape, kernel_name, lanes, registers, self.processor.l2_bytes)
            if kernel is None:
                layout = self.decider.layout(decided.width, decided.phases)
                kernel = stream_kernel(piece.region, shape, kernel_name, layout, decided.tiles, by_rows=by_rows)
            kernels.append(kernel)
        return kernels

    def _by_rows(self, region: Region, pieces: list[Piece], products: list[bool]) -> frozenset[str]:
        """Return the values that only row kernels hand to one another: these may lie in memory as suits them."""
        found = {name for piece in pieces for name in piece.crossing} - {result.value for result in region.results}
        for piece, product in zip(pieces, products, strict=True):
            if product:
                found -= {*piece.crossing, *(source.name for source in piece.region.sources)}
        return frozenset(found)

    @override
    def space(self, region: Region, shape: Shape, known: Iterable[RowDecisions] = ()) -> RowSpace:
        return RowSpace(self.decider, region, shape, known)

    @override
    def fits(self, decisions: RowDecisions, region: Region, shape: Shape) -> bool:
        """Return whether there is a piece for each cut, and strips of whole column blocks are wider than the halo."""
        block = 2 * self.processor.lanes
        pieces = Cutter(region).pieces(decisions.cuts)
        if len(pieces) != len(decisions.pieces) or any(cut >= len(region.nodes) for cut in decisions.cuts):
            return False
        for piece, decided in zip(pieces, decisions.pieces, strict=True):
            layout = RowLayout(self.processor.lanes, decided.phases, decided.phases, block)
            halo = plan_stages(build_stages(piece.region), layout).halo
            if decided.width % block or decided.width < narrowest(halo, block):
                return False
        return True

    @override
    def to_json(self, decisions: RowDecisions) -> dict[str, Any]:
        return decisions.to_json()

    @override
    def from_json(self, data: Any, where: str) -> RowDecisions:
        return RowDecisions.from_json(data, where)
