"""What a stage costs on a GPU, counted without compiling it: for the decisions of what nobody tuned."""

from __future__ import annotations

import math
from collections.abc import Iterable

from sr_tvm.regions.region import Region
from sr_tvm.targets.opencl.decisions import StageDecisions
from sr_tvm.targets.opencl.shares import LANES, splits_of
from sr_tvm.targets.opencl.steps import Apply, Join, Load, Step, Sum, plan_steps

SEEN = 1.3  # vectors that a pixel beside the work-item's takes, with its address
WEIGHT, PIXEL, OVERHEAD = 1.05, 5.0, 60.0  # issue slots to load a vector of weights, or a pixel; of a work-item besides


def groups(channels: int) -> int:
    return -(-channels // LANES)


def registers(region: Region, narrow: int, pixels: int, splits: int) -> int:
    """The vectors that a work-item holds at the same time, at most."""
    steps = plan_steps(region, narrow)
    last = {step.value: i for i, step in enumerate(steps)}
    for i, step in enumerate(steps):
        for name in _reads(step):
            last[name] = i
    most = 0.0
    for i, step in enumerate(steps):
        # What is added and not needed again becomes the sum.
        merged = set(step.centers) - _factors(step) if isinstance(step, Sum) else set()
        alive = [s.value for s in steps[: i + 1] if last[s.value] > i or (last[s.value] == i and s.value not in merged)]
        live = sum(groups(region.by_name[name].channels) for name in {*alive, step.value})
        beside = 0.0
        for product in step.convs if isinstance(step, Sum) else ():
            if product.hidden is not None:
                beside = max(beside, pixels)
            elif not product.registers:
                beside = max(beside, 1 + SEEN * (pixels + product.conv.weight.shape[3] - 1))
        most = max(most, live * pixels / splits + beside)
    return math.ceil(most)


def idle(decided: StageDecisions, height: int, width: int) -> float:
    """Work-items that are launched for one that has pixels of its own."""
    wide, tall = decided.pixels * decided.group[0], decided.group[1]
    return (-(-width // wide) * wide / width) * (-(-height // tall) * tall / height)


def slots(region: Region, narrow: int, decided: StageDecisions) -> float:
    """Issue slots of a pixel, about."""
    splits = splits_of(region, decided.outputs)
    pixels, total = decided.pixels, OVERHEAD * splits
    for step in plan_steps(region, narrow):
        if isinstance(step, Load):
            total += PIXEL * pixels * groups(region.by_name[step.value].channels)
        for product in step.convs if isinstance(step, Sum) else ():
            conv, hidden = product.conv, product.hidden
            outputs, inputs, tall, wide = conv.weight.shape
            weights = tall * wide * inputs * groups(outputs)
            if hidden is not None:
                weights += groups(hidden.expand.channels) * hidden.expand.weight.shape[1]
            total += WEIGHT * weights
            if not product.registers:
                total += PIXEL * splits * tall * groups(inputs) * (pixels + wide - 1)
    return float(region.macs()) + total / pixels


def best(
    region: Region, narrow: int, size: tuple[int, int], limit: int, candidates: Iterable[StageDecisions]
) -> StageDecisions:
    """The cheapest that needs at most ``limit`` vectors of registers; where none does, the one that needs fewest."""

    def rank(decided: StageDecisions) -> tuple[int, float]:
        splits = splits_of(region, decided.outputs)
        needed = registers(region, narrow, decided.pixels, splits)
        return max(needed, limit), slots(region, narrow, decided) * idle(decided, *size)

    return min(candidates, key=rank)


def _reads(step: Step) -> set[str]:
    match step:
        case Apply() | Join():
            return set(step.node.inputs)
        case Sum():
            return {*step.centers, *_factors(step)}
    return set()


def _factors(step: Sum) -> set[str]:
    """The values in registers that a sum's convolutions multiply."""
    found: set[str] = set()
    for product in step.convs:
        if product.registers:
            found.update((product.hidden.expand if product.hidden else product.conv).inputs)
    return found
