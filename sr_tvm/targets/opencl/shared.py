"""The weights of a stage as work-items get them: out of local memory, which the group fills, or where they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from tvm import tirx

from sr_tvm.codegen.builder import Expr
from sr_tvm.targets.opencl.code import GpuBuilder
from sr_tvm.targets.opencl.registers import Fetch
from sr_tvm.targets.opencl.shares import LANES
from sr_tvm.targets.opencl.weights import WeightBlock, WeightPhase

Turn = Callable[[Expr, Fetch], None]  # given its number, and a way to fetch its weights


class SharedWeights:
    """Fills local memory phase by phase while a kernel is written, and loops over the turns of its blocks.

    Args:
        b: Writes the kernel.
        phases: When each block's weights are in local memory.
        array: Where all of them lie; None where there are none.
        several: Vectors that are read at a time.
        item: The work-item's number in its work-group.
        items: Work-items of the group.
    """

    def __init__(
        self, b: GpuBuilder, phases: Sequence[WeightPhase], array: tirx.Var | None, several: int, item: Expr, items: int
    ) -> None:
        self.b, self.phases, self.array, self.several, self.item, self.items = b, phases, array, several, item, items
        size = max((phase.size for phase in phases), default=0)
        self.memory = b.vectors("shared", size // several, "shared", LANES * several) if size else None
        # What fits as a whole is copied once, before the tiles.
        self.whole = len(phases) == 1 and phases[0].size > 0 and not phases[0].turns
        self.loaded: WeightPhase | None = None

    def begin_share(self, split: Expr) -> None:
        """Begin a share of the channels: copy its weights, if local memory holds all of them.

        Args:
            split: Which share, from 0.
        """
        self.split = split
        if self.whole:
            self._fill(self.phases[0], split * self.phases[0].whole)

    def begin_tile(self) -> None:
        """Forget what the tile before has left in local memory, if that is not everything."""
        self.loaded = self.phases[0] if self.whole else None

    def turns(self, block: WeightBlock, turn: Turn) -> None:
        """Write the loop over the turns of a block, and the copying of their weights to local memory before.

        Args:
            block: Of one of the phases.
            turn: Writes the body, given the number of the turn and a way to fetch its weights.
        """
        b = self.b
        phase = next(phase for phase in self.phases if block in phase.blocks)
        offset = self.split * phase.whole + phase.offset
        if not phase.size:
            with b.loop("turn", block.turns) as at:
                turn(at, Fetch(b, self.several, self._far, offset + at * block.size))
        elif not phase.turns:
            if self.loaded is not phase:
                self._fill(phase, offset)
                self.loaded = phase
            before = phase.blocks[: phase.blocks.index(block)]
            base = sum(other.turns * other.size for other in before)
            with b.loop("turn", block.turns) as at:
                turn(at, Fetch(b, self.several, self._near, at * block.size + base))
        else:
            self.loaded = None
            with b.loop("part", block.turns // phase.turns) as part:
                self._fill(phase, offset + part * phase.size)
                with b.loop("turn", phase.turns) as at:
                    turn(part * phase.turns + at, Fetch(b, self.several, self._near, at * block.size))

    def _near(self, vector: Expr) -> Expr:
        return self.b.get(self.memory, vector // self.several)

    def _far(self, vector: Expr) -> Expr:
        return self.b.cast(self.b.load(self.array, vector * LANES, lanes=LANES * self.several), self.b.dtype)

    def _fill(self, phase: WeightPhase, first: Expr) -> None:
        """Copy a phase's weights to local memory, all work-items of the group together."""
        b, loads = self.b, phase.size // self.several
        b.barrier()
        with b.loop("copy", -(-loads // self.items)) as i:
            at = i * self.items + self.item
            with b.when(at < loads) if loads % self.items else nullcontext():
                b.put(self.memory, at, self._far(first + at * self.several))
        b.barrier()
