"""The `Tensor` record: what an input or output of an artifact is, at one size or at any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta

from sr_tvm.system.validation import Positive, Record

Dim = int | str
_NAMED = Meta(
    pattern=r"^([1-9][0-9]{0,3}\*)?[A-Za-z_][A-Za-z0-9_]*\Z", description="a name as 'height' or '2*height'"
)


class Tensor(Record, frozen=True):
    """One input or output: its name, shape and element type (numpy's name).

    A dimension of any size is a name in an input, as "height", and in an output a name or a multiple, as "2*height".
    """

    name: str
    shape: tuple[Positive | Annotated[str, _NAMED], ...]
    dtype: str = "float32"

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
