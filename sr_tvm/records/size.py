"""The `Size` of memory whose extent is known only when a picture comes: a sum of products of names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated

import numpy as np
from msgspec import Meta

from sr_tvm.records.tensor import Tensor, term

_PRODUCT = r"[0-9]{1,18}(\*[A-Za-z_][A-Za-z0-9_]*)*"
SizeText = Annotated[
    str, Meta(pattern=rf"^{_PRODUCT}( \+ {_PRODUCT})*\Z", description="a sum of products as '64 + 12*height*width'")
]
USUAL = 512  # what a name stands for where sizes are compared


@dataclass(frozen=True)
class Size:
    """Bytes as a sum, as in ``64 + 96*height*width``; ``terms`` are factors by the names that they multiply."""

    terms: tuple[tuple[tuple[str, ...], int], ...] = ()

    @classmethod
    def of(cls, tensor: Tensor) -> Size:
        """The bytes of a tensor."""
        parts = [term(d) if isinstance(d, str) else (d, "") for d in tensor.shape]
        names = tuple(sorted(name for _, name in parts if name))
        return cls._made({names: prod(factor for factor, _ in parts) * np.dtype(tensor.dtype).itemsize})

    @classmethod
    def fixed(cls, count: int) -> Size:
        """So many bytes, whatever the picture."""
        return cls._made({(): count})

    @classmethod
    def parse(cls, text: SizeText) -> Size:
        """Read what :meth:`__str__` gives."""
        found: dict[tuple[str, ...], int] = {}
        for part in text.split(" + "):
            factor, *names = part.split("*")
            found[tuple(sorted(names))] = found.get(tuple(sorted(names)), 0) + int(factor)
        return cls._made(found)

    def __add__(self, other: Size) -> Size:
        mine, theirs = dict(self.terms), dict(other.terms)
        return self._made({k: mine.get(k, 0) + theirs.get(k, 0) for k in mine | theirs})

    def cover(self, other: Size) -> Size:
        """The least sum that is at least both, whatever the names stand for."""
        mine, theirs = dict(self.terms), dict(other.terms)
        return self._made({k: max(mine.get(k, 0), theirs.get(k, 0)) for k in mine | theirs})

    def at(self, sizes: Mapping[str, int]) -> int:
        """The number of bytes where the names stand for ``sizes``."""
        return sum(factor * prod(sizes[name] for name in names) for names, factor in self.terms)

    @property
    def names(self) -> set[str]:
        return {name for names, _ in self.terms for name in names}

    @property
    def usual(self) -> int:
        """The bytes for a picture of usual size: to compare sizes by."""
        return self.at(dict.fromkeys(self.names, USUAL))

    def __str__(self) -> str:
        return " + ".join("*".join((str(factor), *names)) for names, factor in self.terms) or "0"

    @classmethod
    def _made(cls, found: Mapping[tuple[str, ...], int]) -> Size:
        return cls(tuple(sorted((k, v) for k, v in found.items() if v)))


def total(sizes: Iterable[Size]) -> Size:
    """The sum of sizes."""
    result = Size()
    for size in sizes:
        result += size
    return result
