"""The `Architecture` record: what a WDSR network is, apart from its weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from typing_extensions import override

from sr_tvm.errors import SrTvmError
from sr_tvm.system import files
from sr_tvm.system.validation import CheckedRecord, Record, one_of, plain, read, without

SCHEMA, VERSION = "sr-tvm/architecture", 1
SCALES = (2, 3, 4)
FAMILY = "wdsr-b"
Scale = Annotated[int, Meta(ge=min(SCALES), le=max(SCALES))]
Width = Annotated[int, Meta(ge=1, le=4096)]
HEAD_KERNEL, BLOCK_KERNEL, SKIP_KERNEL = 3, 3, 5
COLOURS = 3


class Family(Record, frozen=True, forbid_unknown_fields=False):
    """The kind of network that a file says it is."""

    family: Annotated[str, one_of([FAMILY])] = FAMILY


class Block(CheckedRecord, frozen=True):
    """One WDSR-B block: 1x1 to ``expand`` channels, ReLU, 1x1 to ``linear`` channels, 3x3 back, plus the input."""

    expand: Width
    linear: Width


class Architecture(CheckedRecord, frozen=True):
    """A WDSR-B network (Yu et al. 2018): head 3x3, blocks, tail 3x3, a 5x5 skip from the input, pixel shuffle.

    Pass-through blocks are gone: a network of depth 0 is the head, the tail and the skip.

    Raises:
        SrTvmError: A field is out of range; the message names it and says what is allowed.
    """

    scale: Scale
    channels: Width
    blocks: Annotated[tuple[Block, ...], Meta(max_length=256)]

    @classmethod
    def uniform(cls, scale: int, depth: int, channels: int, expand: int = 6, linear: float = 0.84) -> Architecture:
        """Make a plain WDSR-B network of equal blocks, whose widths are multiples of the channels.

        Args:
            scale: Times as many pixels along each side, 2, 3 or 4.
            depth: How many blocks there are, 0 to 256.
            channels: Between the blocks.
            expand: Times as many behind a block's first 1x1 convolution.
            linear: Times as many behind its second, rounded down, at least 1.

        Returns:
            The architecture.

        Raises:
            SrTvmError: A number is out of range; the message names it and says what is needed.
        """
        return cls(scale, channels, (Block(channels * expand, max(1, int(channels * linear))),) * depth)

    @property
    def convolutions(self) -> tuple[tuple[str, int, int, int], ...]:
        """Every convolution as (name, in channels, out channels, square kernel), in the order of execution."""
        n, out = self.channels, COLOURS * self.scale**2
        layers = [("head", COLOURS, n, HEAD_KERNEL)]
        for i, b in enumerate(self.blocks):
            layers += [
                (f"blocks.{i}.expand", n, b.expand, 1),
                (f"blocks.{i}.linear", b.expand, b.linear, 1),
                (f"blocks.{i}.project", b.linear, n, BLOCK_KERNEL),
            ]
        return (*layers, ("tail", n, out, HEAD_KERNEL), ("skip", COLOURS, out, SKIP_KERNEL))

    @property
    def params(self) -> int:
        """Weights and biases with weight norm folded, as published figures count them."""
        return sum(cin * cout * k * k + cout for _, cin, cout, k in self.convolutions)

    @property
    def halo(self) -> int:
        """How many low-resolution pixels to each side of its own an output pixel depends on."""
        deep = 2 * (HEAD_KERNEL // 2) + len(self.blocks) * (BLOCK_KERNEL // 2)
        return max(deep, SKIP_KERNEL // 2)

    def macs(self, height: int, width: int) -> int:
        """Count the multiply-accumulates of one image, biases not counted.

        Args:
            height: Low-resolution pixels.
            width: Low-resolution pixels.

        Returns:
            How many there are.
        """
        return height * width * sum(cin * cout * k * k for _, cin, cout, k in self.convolutions)

    @override
    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "version": VERSION, "family": FAMILY, **plain(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str = "architecture") -> Architecture:
        """Read what :meth:`to_json` gave.

        Args:
            value: A JSON object, not yet checked.
            where: Where it comes from, such as a file's name: the beginning of an error's message.

        Returns:
            The architecture.

        Raises:
            SrTvmError: Not an object, or a field is unknown, missing or out of range; the message names it.
        """
        architecture = read(cls, without(value, "schema", "version", "family"), where)
        read(Family, value, where)
        return architecture

    def save(self, path: str | Path) -> None:
        """Write the architecture as a JSON file.

        Args:
            path: The file; it is replaced.

        Raises:
            SrTvmError: It can't be written.
        """
        files.write_json(path, self.to_json())

    @classmethod
    def load(cls, path: str | Path) -> Architecture:
        """Read an architecture that :meth:`save` wrote.

        Args:
            path: The file.

        Returns:
            The architecture.

        Raises:
            SrTvmError: No such file, another schema, or a field is unknown, missing or out of range.
        """
        return cls.from_json(files.read_json(path, SCHEMA, VERSION), str(path))


def by_name(text: str, scale: int | None = None) -> Architecture:
    """Give the network that a command names.

    Args:
        text: A name as ``wdsr-3x24`` (blocks x channels), or the path of an architecture's JSON file.
        scale: Of a named one, 2 if None; of a file's, what it has to be, anything if None.

    Returns:
        The architecture.

    Raises:
        SrTvmError: Neither a name nor a file of an architecture, or the file's scale is another.
    """
    named = re.fullmatch(r"wdsr-(\d{1,4})x(\d{1,5})", text)
    if named:
        return Architecture.uniform(scale or 2, int(named[1]), int(named[2]))
    if not Path(text).suffix and not Path(text).exists():
        raise SrTvmError(f"architecture {text!r} is not known; try wdsr-3x24 (blocks x channels), or name a JSON file")
    found = Architecture.load(text)
    if scale not in (None, found.scale):
        raise SrTvmError(f"{text}: its scale is {found.scale}, but --scale is {scale}")
    return found
