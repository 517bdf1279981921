"""When a streamed region produces each row, and how many rows of each value are alive at once: free of TVM and targets.

A region runs in steps. In step t a value with delay d gets its rows (t - d) * R ... (t - d) * R + R - 1, where R is the
rows of a step; the nodes of a step run in the region's order, so a node sees what its inputs got in the same step. Rows
outside the picture are nobody's: whoever reads them takes zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sr_tvm.regions.region import Conv, Node, Region


@dataclass(frozen=True)
class Delays:
    """The timetable of a region.

    Attributes:
        rows: R, the rows of every value a step produces.
        delay: Of each value, in steps.
        live: Rows of each value that someone may still read at the end of a step, the newest R among them. A line
            buffer of so many rows is enough; one of :meth:`line_buffer` rows also keeps the R rows of a step side by
            side.
    """

    rows: int
    delay: dict[str, int]
    live: dict[str, int]

    @property
    def last(self) -> int:
        """The largest delay: a picture of H rows takes ceil(H / R) + ``last`` steps."""
        return max(self.delay.values())

    def steps(self, height: int) -> int:
        """Count the steps that a picture takes.

        Args:
            height: Rows of the picture.

        Returns:
            Steps: ceil(height / R) and the largest delay.
        """
        return -(-height // self.rows) + self.last

    def line_buffer(self, value: str) -> int:
        """Compute the rows of a line buffer that also keeps the R rows of a step side by side.

        Args:
            value: The name of a value.

        Returns:
            Rows: ``live`` rounded up to a multiple of R.
        """
        return -(-self.live[value] // self.rows) * self.rows


def halo(node: Node) -> int:
    """Tell how many rows above its own, and below, a node reads of its inputs.

    Args:
        node: Of a region.

    Returns:
        Rows: half the kernel's height, rounded down, for a convolution; else 0.
    """
    return int(node.weight.shape[2]) // 2 if isinstance(node, Conv) else 0


def timetable(reads: Sequence[Mapping[int, int]], rows: int) -> tuple[list[int], list[int]]:
    """Find the earliest timetable of things that run in order, each of which makes some rows of its value in a step.

    A thing with halo h makes rows r ... r + R - 1 of rows r - h ... r + R - 1 + h, so it runs ceil(h / R) steps after
    the latest that it reads. A value is alive from its own step to that of its last reader: a long skip is alive long.

    Args:
        reads: For each thing, the positions of those before it that it reads, with the halo of that read in rows.
        rows: R, the rows that each makes in a step.

    Returns:
        Two lists with an item for each thing: its delay in steps, and how many rows of its value are alive at once.
    """
    delay: list[int] = []
    for each in reads:
        delay.append(max((delay[i] - (-halo // rows) for i, halo in each.items()), default=0))
    live = [rows] * len(reads)
    for reader, each in enumerate(reads):
        for i, halo in each.items():
            live[i] = max(live[i], (delay[reader] - delay[i] + 1) * rows + halo)
    return delay, live


def delays(region: Region, rows: int = 1) -> Delays:
    """Find the earliest timetable of a region, in which each node is a thing of its own.

    Args:
        region: That is streamed row by row.
        rows: R, the rows of every value that a step makes.

    Returns:
        The delay of each value, and how many rows of it are alive at once.
    """
    place = {node.name: i for i, node in enumerate(region.nodes)}
    delay, live = timetable([{place[name]: halo(node) for name in node.inputs} for node in region.nodes], rows)
    return Delays(rows, dict(zip(place, delay, strict=True)), dict(zip(place, live, strict=True)))
