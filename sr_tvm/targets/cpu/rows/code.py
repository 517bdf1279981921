"""What every stage's code needs: its buffers and arguments, the packed numbers, and the steps after a sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import tirx

from sr_tvm.codegen.builder import FunctionBuilder
from sr_tvm.regions.region import Pointwise
from sr_tvm.regions.value import FLOAT32
from sr_tvm.targets.cpu.rows.layout import RowLayout
from sr_tvm.targets.cpu.rows.stages import Addend, RowStage, Step


def builder(layout: RowLayout) -> FunctionBuilder:
    """Make what a function of a kernel with this layout is written with.

    Args:
        layout: Says the lanes and the element type; sums of an emulated type are kept in float32.

    Returns:
        An empty function.
    """
    element = layout.element
    return FunctionBuilder(layout.lanes, element.dtype, sums=FLOAT32 if element.emulated else None)


@dataclass
class StageNumbers:
    """A stage's numbers in the order its code reads them.

    Attributes:
        arrays: what was added, flat, float32.
        size: how many numbers they are.
    """

    arrays: list[np.ndarray] = field(default_factory=list)
    size: int = 0

    def add(self, numbers: np.ndarray) -> int:
        """Append numbers.

        Args:
            numbers: Of any shape; they are taken in C order, as float32.

        Returns:
            Their offset from the stage's first number.
        """
        flat = np.ascontiguousarray(numbers, dtype=FLOAT32).ravel()
        offset = self.size
        self.arrays.append(flat)
        self.size += flat.size
        return offset


class StageCode:
    """The arguments of one stage's function, and access to what they point to.

    A call handles ``rows`` rows: 2 where Winograd or register tiles take pairs, else 1. The argument of an input is the
    offset of each row that it reads in the workspace, that of an output the offset of each row that it makes.

    Attributes:
        e: the function that is being written.
        ws: the workspace with line buffers and scratch.
        p: the packed numbers of all stages; those of this one begin at ``weights``.
        memory: the tensor that the stage reads or writes; None where it does neither.
        blocks: column blocks of the strip.
        inputs: by value and row relative to the first of the call, the offset of that row.
        outputs: offsets of the rows that are made; empty where they go to memory.
        column: elements to the column block at hand; to be set before an address is asked for.
    """

    def __init__(self, stage: RowStage, layout: RowLayout, rows: int, scratch: int, widths: dict[str, int]) -> None:
        self.stage, self.layout, self.rows, self.scratch, self.widths = stage, layout, rows, scratch, widths
        self.e = e = builder(layout)
        self.ws = e.view("W", e.pointer("ws"))
        self.p = e.view("P", e.pointer("p"))
        self.memory = None
        if stage.result is not None or stage.source is not None:
            self.memory = e.view("M", e.pointer("memory", FLOAT32))
        self.weights, self.blocks = e.parameter("weights"), e.parameter("blocks")
        self.inputs = {
            value: {dy: e.parameter(f"in{i}_{dy + halo}") for dy in range(-halo, rows + halo)}
            for i, (value, halo) in enumerate(stage.reads.items())
        }
        self.outputs = [] if stage.result is not None else [e.parameter(f"out{r}") for r in range(rows)]
        self.column: Any = None  # of the column block at hand

    def number(self, offset: Any) -> Any:
        """Read a packed number into all lanes.

        Args:
            offset: From the stage's first number.

        Returns:
            A vector.
        """
        return self.e.splat(self.e.scalar(self.p, self.weights + offset))

    def address(self, row: Any, channel: Any, slot: int, dx: int = 0) -> Any:
        """Find a vector of a line buffer's row, in the column block at hand.

        Args:
            row: Offset of the row in the workspace, as :attr:`inputs` and :attr:`outputs` have it.
            channel: Of the value.
            slot: Which of the column block's vectors, 0 or 1.
            dx: Pixels by which it is shifted to the right, negative to the left.

        Returns:
            Its offset in the workspace, in elements.
        """
        return row + (channel * self.layout.channel + self.layout.line(slot, dx)) + self.column

    def apply(self, steps: Sequence[tuple[Step, int]], value: Any, channel: Any, row: int, slot: int) -> Any:
        """Take a vector through the steps that follow a sum.

        Args:
            steps: Each with the offset of its packed parameters from the stage's first number; of a parameter there is
                a number for each channel.
            value: The vector.
            channel: That the vector is of.
            row: Of the call's rows.
            slot: Of the column block, 0 or 1.

        Returns:
            The vector after all steps.
        """
        for step, offset in steps:
            if isinstance(step, Addend):
                value = value + self.e.load(self.ws, self.address(self.inputs[step.value][row], channel, slot))
            else:
                numbers = [self.number(offset + i * step.channels + channel) for i in range(len(step.parameters))]
                value = pointwise(step, value, numbers, self.e.splat(0.0))
        return value


def pointwise(step: Pointwise, value: Any, numbers: list[Any], zero: Any) -> Any:
    """Apply one elementwise operator to a vector.

    Args:
        step: The operator.
        value: The vector.
        numbers: The operator's parameters for the vector's channel, each in all lanes.
        zero: A vector of zeros.

    Returns:
        The resulting vector.

    Raises:
        ValueError: Rows have no code for the operator's function.
    """
    if step.function == "relu":
        return tirx.Max(value, zero)
    if step.function == "prelu":
        return tirx.Max(value, zero) + numbers[0] * tirx.Min(value, zero)
    if step.function == "clip":
        return tirx.Min(tirx.Max(value, numbers[0]), numbers[1])
    if step.function == "shift":
        return value + numbers[0]
    if step.function == "scale":
        return value * numbers[0]
    raise ValueError(f"rows have no code for {step.function}")


def pack_steps(packed: StageNumbers, steps: tuple[Step, ...]) -> list[tuple[Step, int]]:
    """Pack the parameters of a layer's steps.

    Args:
        packed: The stage's numbers, which they are appended to.
        steps: What follows the layer's sum.

    Returns:
        Each step with the offset of its parameters from the stage's first number.
    """
    found = []
    for step in steps:
        offset = packed.size
        if isinstance(step, Pointwise):
            for numbers in step.parameters:
                packed.add(np.broadcast_to(numbers, (step.channels,)))
        found.append((step, offset))
    return found
