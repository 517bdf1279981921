"""The `Tensor` record: what an input or output of an artifact is, at one size or at any."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sr_tvm.system.fields import expect, expect_keys

Dim = int | str
_DIM = re.compile(r"(?:([1-9][0-9]{0,3})\*)?([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class Tensor:
    """One input or output: its name, shape and element type (numpy's name).

    A dimension of any size is a name in an input, as "height", and in an output a name or a multiple, as "2*height".
    """

    name: str
    shape: tuple[Dim, ...]
    dtype: str = "float32"

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str = "tensor") -> Tensor:
        """Read one of a manifest. Raises SrTvmError that begins with ``where`` and names the field that is wrong."""
        keys = {"name", "shape", "dtype"}
        expect_keys(value, keys, keys, where)
        for i, n in enumerate(expect(value["shape"], list, f"{where}: field shape")):
            if not (isinstance(n, str) and _DIM.fullmatch(n)):
                expect(n, int, f"{where}: field shape[{i}]", least=1)
        name, dtype = (expect(value[key], str, f"{where}: field {key}") for key in ("name", "dtype"))
        return cls(name, tuple(value["shape"]), dtype)

    @property
    def names(self) -> set[str]:
        """The names among its dimensions."""
        return {term(d)[1] for d in self.shape if isinstance(d, str)}

    def example(self) -> str:
        """A shape it takes, as people type it."""
        usual = (1, 3, 360, 640) if len(self.shape) == 4 else (1,) * len(self.shape)
        return shape_text(tuple(u if isinstance(d, str) else d for u, d in zip(usual, self.shape, strict=True)))

    def at(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The shape with its names replaced."""
        terms = (term(d) if isinstance(d, str) else (d, "") for d in self.shape)
        return tuple(factor * sizes[name] if name else factor for factor, name in terms)

    def bind(self, shape: Sequence[int], sizes: dict[str, int]) -> bool:
        """Whether ``shape`` is one of this input's; ``sizes`` gets what the names stand for."""
        if len(shape) != len(self.shape):
            return False
        return all(
            n >= 1 and n == (sizes.setdefault(d, n) if isinstance(d, str) else d)
            for n, d in zip(shape, self.shape, strict=True)
        )


def shape_text(shape: Sequence[Dim]) -> str:
    """As people type it: 1x3x360x640."""
    return "x".join(map(str, shape))


def term(dim: str) -> tuple[int, str]:
    """The factor and the name: 2 and "height" of "2*height"."""
    factor, _, name = dim.rpartition("*")
    return int(factor or 1), name
