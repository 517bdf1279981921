"""Where tiles lie so that tiling cannot be seen. Pure geometry: no pictures, no network."""

from __future__ import annotations

from dataclasses import dataclass

from sr_tvm.errors import SrTvmError

# Sides in input pixels by default. For networks of any size they cost no compilation and no memory but of the pixels,
# and longer ones read less twice.
TILE, ANY_SIZE_TILE = 256, 512
VECTOR = 16  # floats; a multiple of the vectors of every processor


@dataclass(frozen=True)
class Rect:
    """A rectangle in pixels, half-open: rows ``top`` to ``bottom``, columns ``left`` to ``right``."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """The number of rows."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """The number of columns."""
        return self.right - self.left

    def scaled(self, scale: int) -> Rect:
        """Enlarge the rectangle with the picture that it lies in.

        Args:
            scale: A whole factor, 1 or more.

        Returns:
            The same part of the enlarged picture.
        """
        return Rect(self.top * scale, self.left * scale, self.bottom * scale, self.right * scale)

    def within(self, outer: Rect) -> Rect:
        """Express this rectangle in the coordinates of another that holds it.

        Args:
            outer: The rectangle that holds it.

        Returns:
            A rectangle of the same size, relative to the top left of ``outer``.
        """
        return Rect(self.top - outer.top, self.left - outer.left, self.bottom - outer.top, self.right - outer.left)

    @property
    def slices(self) -> tuple[slice, slice]:
        """The rows and the columns as indices of an array (H, W, ...)."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def side(length: int, wanted: int, halo: int) -> int:
    """Choose how long tiles should be along an axis: ``wanted``, or less for a small picture.

    A network compiled for an odd width compiles slowly, runs slowly and is of use to no other picture. So a side below
    ``wanted`` that is not a whole number of vectors is covered by two shorter tiles that are, where it can be.

    Args:
        length: Of the axis, in input pixels.
        wanted: Length of a tile on large pictures, in input pixels.
        halo: Input pixels to each side that an output pixel depends on.

    Returns:
        Input pixels, at most ``length``.
    """
    if length >= wanted:
        return wanted
    half = -(-(length // 2 + length % 2 + halo) // VECTOR) * VECTOR
    if length <= 2 * VECTOR or length % VECTOR == 0 or half > length:
        return length
    return half


def even_side(length: int, wanted: int, halo: int) -> int:
    """Choose how long tiles should be for a network of any size: as few as with ``wanted``, and no longer than needed.

    One length for all, since TVM keeps memory for each size that it has seen.

    Args:
        length: Of the axis, in input pixels.
        wanted: The largest length of a tile, in input pixels.
        halo: Input pixels to each side that an output pixel depends on.

    Returns:
        Input pixels, at most ``length``.
    """
    if length <= wanted or wanted <= 2 * halo:  # the latter is refused by spans
        return min(length, wanted)
    count = -(-(length - 2 * halo) // (wanted - 2 * halo))
    return -(-(length - 2 * halo) // count) + 2 * halo


def spans(length: int, tile: int, halo: int) -> list[tuple[int, int, int, int]]:
    """Cover one axis with tiles of one length.

    All tiles are ``min(tile, length)`` long, since many compiled networks have one shape. The kept parts cover the axis
    exactly once, and lie at least ``halo`` from an end of their tile that is not an end of the picture: there the
    network pads with zeros as it would on the whole picture, anywhere else it must see real neighbours. So the last
    tile is shifted back to end where the picture ends.

    Args:
        length: Of the axis, in input pixels; at least 1.
        tile: Length of a tile, in input pixels; at least 1.
        halo: Input pixels to each side that an output pixel depends on.

    Returns:
        (tile start, tile end, kept start, kept end) of each tile, in order, in input pixels.

    Raises:
        SrTvmError: The axis needs several tiles and a tile has nothing left between its two halos.
        ValueError: A length is below 1, or the halo below 0.
    """
    if length < 1 or tile < 1 or halo < 0:
        raise ValueError(f"length {length} and tile {tile} must be at least 1, halo {halo} at least 0")
    if length <= tile:
        return [(0, length, 0, length)]
    if tile <= 2 * halo:
        raise SrTvmError(
            f"tiles of {tile} pixels are too small: this network looks {halo} pixels to each side; "
            f"use tiles of {2 * halo + 1} or more (128 or more is efficient)"
        )
    result = []
    kept = 0
    while kept < length:
        start = min(max(0, kept - halo), length - tile)
        end = start + tile
        upto = length if end == length else end - halo
        result.append((start, end, kept, upto))
        kept = upto
    return result


def plan(height: int, width: int, tile: int | tuple[int, int], halo: int) -> list[tuple[Rect, Rect]]:
    """Cover a picture with tiles, row by row.

    Every tile is min(tile, picture) long on each axis; see :func:`spans` for the rule.

    Args:
        height: Of the picture, in input pixels.
        width: Of the picture, in input pixels.
        tile: The side of square tiles, or (height, width).
        halo: Input pixels to each side that an output pixel depends on.

    Returns:
        Of each tile, what the network reads and what is kept of it.

    Raises:
        SrTvmError: Several tiles are needed and one has nothing left between its two halos.
    """
    tall, wide = (tile, tile) if isinstance(tile, int) else tile
    columns = spans(width, wide, halo)
    return [
        (Rect(top, left, bottom, right), Rect(y0, x0, y1, x1))
        for top, bottom, y0, y1 in spans(height, tall, halo)
        for left, right, x0, x1 in columns
    ]
