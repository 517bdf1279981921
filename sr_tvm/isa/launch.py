"""What is known of a kernel before it is compiled: how many work-items run it, and how often its loops go round."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sr_tvm.system.fields import expect


@dataclass(frozen=True)
class SourceLoop:
    """A loop of the source, and how much one iteration does outside of its inner loops.

    Attributes:
        extent: iterations.
        multiplies: floating-point multiplications of an iteration, an element of a vector each.
        macs: those of them whose product is added to something.
        stores: words of 32 bits written to global or local memory in an iteration.
    """

    extent: int
    multiplies: float = 0
    macs: float = 0
    stores: float = 0
    inner: tuple[SourceLoop, ...] = ()

    def total(self, field: str) -> float:
        """Add up what all iterations of the loop do, those of inner loops included.

        Args:
            field: "multiplies", "macs" or "stores".

        Returns:
            As many of them, in the unit of the field.
        """
        return self.extent * (getattr(self, field) + sum(loop.total(field) for loop in self.inner))

    def flat(self) -> Iterator[SourceLoop]:
        """List this loop and all within.

        Yields:
            The loops in the order of the text, this one first.
        """
        yield self
        for loop in self.inner:
            yield from loop.flat()

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> SourceLoop:
        """Read what ``dataclasses.asdict`` made of a loop.

        Args:
            value: Parsed JSON, of any source.
            where: What it was read from, in words: messages begin with it.

        Returns:
            The loop, with those within.

        Raises:
            SrTvmError: A field is missing or of another type.
        """
        value = expect(value, dict, where)
        inner = expect(value.get("inner", []), list, f"{where}: inner")
        numbers = {k: expect(value.get(k, 0), float, f"{where}: {k}") for k in ("multiplies", "macs", "stores")}
        loops = tuple(cls.from_json(v, f"{where}: inner[{i}]") for i, v in enumerate(inner))
        return cls(expect(value.get("extent"), int, f"{where}: extent", 0), **numbers, inner=loops)


@dataclass(frozen=True)
class Launch:
    """One kernel as it is launched.

    Attributes:
        name: the kernel's in the OpenCL C.
        groups: work-groups along x, y, z.
        local_size: work-items of a group along x, y, z.
        body: all that one work-item does, as a loop of one iteration.
        read, written: bytes that one work-item reads and writes, by memory ("global", "local", "constant", "image").
        footprint: bytes of buffers and images that all work-items together touch at least: each of them once.
        problem: why loops or sizes are not known; "" where they are.
    """

    name: str
    groups: tuple[int, int, int]
    local_size: tuple[int, int, int]
    body: SourceLoop
    read: dict[str, float]
    written: dict[str, float]
    footprint: float = 0
    problem: str = ""

    @property
    def items(self) -> int:
        """Work-items that are launched, idle ones at the edge included."""
        return math.prod(self.groups) * math.prod(self.local_size)

    def to_json(self) -> dict[str, Any]:
        """Write the record as a JSON object.

        Returns:
            The fields; :meth:`from_json` reads it.
        """
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any], where: str) -> Launch:
        """Read what :meth:`to_json` made.

        Args:
            value: Parsed JSON, of any source.
            where: What it was read from, in words: messages begin with it.

        Returns:
            The record; of ``groups`` and ``local_size`` axes that are left out are 1.

        Raises:
            SrTvmError: A field is missing or of another type.
        """
        value = expect(value, dict, where)

        def axes(key: str) -> tuple[int, int, int]:
            x, y, z = (*expect(value.get(key), list, f"{where}: {key}", 1), 1, 1)[:3]
            return (*(expect(n, int, f"{where}: {key}", 1) for n in (x, y, z)),)

        def moved(key: str) -> dict[str, float]:
            parts = expect(value.get(key), dict, f"{where}: {key}")
            return {str(k): float(expect(v, float, f"{where}: {key}")) for k, v in parts.items()}

        return cls(
            name=expect(value.get("name"), str, f"{where}: name"),
            groups=axes("groups"),
            local_size=axes("local_size"),
            read=moved("read"),
            written=moved("written"),
            body=SourceLoop.from_json(value.get("body", {}), f"{where}: body"),
            footprint=float(expect(value.get("footprint", 0), float, f"{where}: footprint")),
            problem=expect(value.get("problem", ""), str, f"{where}: problem"),
        )
