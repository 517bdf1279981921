"""What a stage costs on a GPU, counted without compiling it: for the decisions of what nobody tuned."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from msgspec.structs import replace

from sr_tvm.regions.region import Region
from sr_tvm.targets.opencl.decisions import GROUPS, StageDecisions
from sr_tvm.targets.opencl.shares import LANES, depthwise, splits_of
from sr_tvm.targets.opencl.steps import AddedConvolution, Apply, ConvolutionSum, Join, Load, Step, plan_steps
from sr_tvm.targets.opencl.weights import uses_winograd

SEEN = 1.3  # vectors that a pixel beside the work-item's takes, with its address
WEIGHT, PIXEL = 1.05, 5.0  # issue slots to load a vector of weights, or a pixel
OVERHEAD = 60.0  # of them that a work-item takes besides
# Issue slots that a byte read or written is worth. Where nothing hides it an Adreno 660 takes 8 at its published rates,
# a Mali G57 3.6; other work-items hide much of it.
BYTE = 5.0
WINOGRAD = 1.0  # more of them for each vector of transformed weights: numbers change registers
UNROLLED = 2  # whole groups of inputs whose loop compilers unroll, which puts the pixels of two into registers
LAUNCH = 40  # work-groups that a kernel has at least, where the picture lets it: for all cores of the GPU, evenly


def groups(channels: int) -> int:
    """Count the vectors of four that hold the channels of a pixel.

    Args:
        channels: Of a value.

    Returns:
        Vectors, the last of which may be padded.
    """
    return -(-channels // LANES)


@dataclass(frozen=True, eq=False)
class Costs:
    """What a stage costs by its decisions.

    Attributes:
        region: The stage.
        narrow: As in the decisions of the whole region.
        size: The picture's height and width.
        number: Bytes of a number in memory.
    """

    region: Region
    narrow: int
    size: tuple[int, int]
    number: int = 4

    @cached_property
    def steps(self) -> list[Step]:
        """What a work-item of the stage does, in order."""
        return plan_steps(self.region, self.narrow)

    @cached_property
    def products(self) -> list[AddedConvolution]:
        """The convolutions of the stage, in the order they are added to sums."""
        return [product for step in self.steps if isinstance(step, ConvolutionSum) for product in step.convs]

    def best(self, limit: int, candidates: Iterable[StageDecisions]) -> StageDecisions:
        """Choose the decisions that are estimated to take least, among those that don't spill.

        Where a picture is too small to occupy all cores with several tiles a work-group, fewer tiles come first.

        Args:
            limit: Vectors of registers of four numbers that a work-item has.
            candidates: At least one.

        Returns:
            The cheapest candidate that needs at most ``limit`` vectors; where none does, one of those that need fewest.

        Raises:
            ValueError: There are no candidates.
        """
        computed: dict[StageDecisions, tuple[int, float]] = {}

        def rank(decided: StageDecisions) -> tuple[int, bool, float]:
            apart = replace(decided, group=GROUPS[0], tiles=1)  # of which neither depends
            if apart not in computed:
                computed[apart] = self.registers(apart), self.slots(apart)
            needed, slots = computed[apart]
            return max(needed, limit), self._few(decided), self._with_bytes(slots, decided)

        return min(candidates, key=rank)

    def cost(self, decided: StageDecisions) -> float:
        """Estimate what a pixel takes: issue slots, and what its bytes are worth in them.

        Args:
            decided: Of the stage.

        Returns:
            Issue slots for each pixel of the picture.
        """
        return self._with_bytes(self.slots(decided), decided)

    def _with_bytes(self, slots: float, decided: StageDecisions) -> float:
        return slots * self._idle(decided) + BYTE * self.moved(decided)

    def registers(self, decided: StageDecisions) -> int:
        """Estimate the vectors of four numbers that a work-item holds at the same time, at most.

        Args:
            decided: Of the stage.

        Returns:
            Vectors.
        """
        pixels, splits = decided.pixels, splits_of(self.region, decided.outputs, self.narrow)
        last = {step.value: i for i, step in enumerate(self.steps)}
        for i, step in enumerate(self.steps):
            for name in _reads(step):
                last[name] = i
        most = 0.0
        for i, step in enumerate(self.steps):
            # What is added and not needed again becomes the sum.
            merged = set(step.centers) - _factors(step) if isinstance(step, ConvolutionSum) else set()
            before = self.steps[: i + 1]
            alive = [s.value for s in before if last[s.value] > i or (last[s.value] == i and s.value not in merged)]
            live = sum(groups(self.region.by_name[name].channels) for name in {*alive, step.value})
            beside = 0.0
            for product in step.convs if isinstance(step, ConvolutionSum) else ():
                if product.hidden is not None:
                    beside = max(beside, pixels)
                elif not product.registers:
                    by_winograd = uses_winograd(product.conv, decided.winograd, pixels)
                    seen = pixels + product.conv.weight.shape[3] - 1
                    between = pixels * groups(product.conv.channels) / splits if by_winograd else 0
                    if by_winograd and product.conv.weight.shape[1] // LANES <= UNROLLED:
                        between += seen
                    beside = max(beside, between + 1 + SEEN * seen)
            most = max(most, live * pixels / splits + beside)
        return math.ceil(most)

    def slots(self, decided: StageDecisions) -> float:
        """Estimate the issue slots of computing, without what bytes are worth.

        Args:
            decided: Of the stage.

        Returns:
            Issue slots for each pixel that a work-item makes.
        """
        splits = splits_of(self.region, decided.outputs, self.narrow)
        pixels, total, spared = decided.pixels, OVERHEAD * splits, 0.0
        loaded = [step.value for step in self.steps if isinstance(step, Load)]
        total += PIXEL * pixels * sum(groups(self.region.by_name[name].channels) for name in loaded)
        for product in self.products:
            conv, hidden = product.conv, product.hidden
            outputs, inputs, tall, wide = conv.weight.shape
            dense = conv.groups > 1 and splits == 1 and not depthwise(conv)  # zeros are multiplied, too
            if dense:
                inputs *= conv.groups
                spared -= conv.weight.size * (conv.groups - 1)
            weights = tall * wide * inputs * groups(outputs)
            if hidden is not None:
                weights += groups(hidden.expand.channels) * hidden.expand.weight.shape[1]
            total += WEIGHT * weights
            if not product.registers:
                seen = groups(outputs) / splits if depthwise(conv) else groups(inputs)
                total += PIXEL * splits * tall * seen * (pixels + wide - 1)
            if uses_winograd(conv, decided.winograd, pixels):
                spared += outputs * inputs * tall * wide / 3
                total += WEIGHT * weights / 3 + WINOGRAD * weights * 4 / 3
                total += (2 * splits * tall * inputs + 8 * groups(outputs)) * pixels
        return float(self.region.macs()) - spared + total / pixels

    def moved(self, decided: StageDecisions) -> float:
        """Estimate the bytes that a work-group reads and writes, each of them once.

        Args:
            decided: Of the stage.

        Returns:
            Bytes for each pixel that the work-group makes.
        """
        again = splits_of(self.region, decided.outputs, self.narrow) if decided.tiles == 1 else 1
        wide, tall = _tile(decided)
        total = self._weights / (wide * tall) + sum(self.region.by_name[r.value].channels for r in self.region.results)
        for name, (down, along) in self._reach.items():
            seen = (1 + 2 * along / wide) * (1 + 2 * down / tall)
            total += self.region.by_name[name].channels * seen * again
        return total * self.number

    @cached_property
    def _weights(self) -> int:
        convs = [(p.conv, p.hidden.expand) if p.hidden else (p.conv,) for p in self.products]
        return sum(int(conv.weight.size) for several in convs for conv in several)

    @cached_property
    def _reach(self) -> dict[str, tuple[int, int]]:
        """How far around its pixels a work-item looks, down and along a row, in what it reads from memory."""
        found = {step.value: (0, 0) for step in self.steps if isinstance(step, Load)}
        for product in self.products:
            down, along = (n // 2 for n in product.conv.weight.shape[2:])
            for name in () if product.registers else product.conv.inputs:
                before = found.get(name, (0, 0))
                found[name] = max(before[0], down), max(before[1], along)
        return found

    def _idle(self, decided: StageDecisions) -> float:
        """Return how many work-items are launched for one that has pixels of its own."""
        (height, width), (wide, tall) = self.size, _tile(decided)
        return (-(-width // wide) * wide / width) * (-(-height // tall) * tall / height)

    def _few(self, decided: StageDecisions) -> bool:
        """Return whether cores go idle because work-groups are larger than they need to be."""
        wide, tall = _tile(decided)
        return decided.tiles > 1 and -(-self.size[0] // tall) * -(-self.size[1] // wide) < LAUNCH


def _tile(decided: StageDecisions) -> tuple[int, int]:
    """Return the pixels of a work-group, along a row and down."""
    return decided.pixels * decided.group[0], decided.group[1] * decided.tiles


def _reads(step: Step) -> set[str]:
    match step:
        case Apply() | Join():
            return set(step.node.inputs)
        case ConvolutionSum():
            return {*step.centers, *_factors(step)}
    return set()


def _factors(step: ConvolutionSum) -> set[str]:
    """Return the values in registers that a sum's convolutions multiply."""
    found: set[str] = set()
    for product in step.convs:
        if product.registers:
            found.update((product.hidden.expand if product.hidden else product.conv).inputs)
    return found
