"""Cut a streaming region into smaller ones, each a kernel: what fusion at a lesser depth would have made of it."""

from __future__ import annotations

from sr_tvm.codegen.kernel import Kernel, Shape
from sr_tvm.errors import SrTvmError
from sr_tvm.regions.depths import cut_at
from sr_tvm.regions.region import Region
from sr_tvm.targets.lowering import Lowering


class CutLowering:
    """Another lowering, given a region in parts of at most ``depth``. It may cut the parts further."""

    def __init__(self, inner: Lowering, depth: str) -> None:
        self.inner, self.depth, self.name = inner, depth, f"{inner.name}, {depth}"

    def lower(self, region: Region, shape: Shape, name: str) -> list[Kernel]:
        parts = cut_at(region, self.depth)
        kernels = []
        for i, part in enumerate(parts):
            made = self.inner.lower(part, shape, f"{name}_{i:03d}" if len(parts) > 1 else name)
            if not made:
                raise SrTvmError(f"depth {self.depth}: the lowering {self.inner.name} leaves part {i} of {name} alone")
            kernels += made
        return kernels
